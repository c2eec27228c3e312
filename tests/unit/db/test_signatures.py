"""Every method of the specification exists, with the specified arguments, defaults and order."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest

from buildbot.data.connector import DataConnector
from buildbot.db.model import Model
from buildbot.db.pool import DBThreadPool

#: component, method, arguments as the specification writes them; further ones may follow; * begins keywords
SPECIFIED = """
buildrequests getBuildRequest(brid)
buildrequests getBuildRequests(*, buildername=None, complete=None, claimed=None, bsid=None, branch=None, \
repository=None)
buildrequests claimBuildRequests(brids, claimed_at=None)
buildrequests reclaimBuildRequests(brids)
buildrequests unclaimBuildRequests(brids)
buildrequests completeBuildRequests(brids, results, complete_at=None)
buildrequests unclaimExpiredRequests(old)
builds getBuild(bid)
builds getBuildsForRequest(brid)
builds addBuild(brid, number)
builds finishBuilds(bids)
buildsets addBuildset(sourcestampsetid, reason, properties, builderNames, external_idstring=None)
buildsets completeBuildset(bsid, results, complete_at=None)
buildsets getBuildset(bsid)
buildsets getBuildsets(complete=None)
buildsets getRecentBuildsets(count, branch=None, repository=None, complete=None)
buildsets getBuildsetProperties(buildsetid)
changes addChange(*, author=None, files=None, comments=None, is_dir=0, links=None, revision=None, when_timestamp=None, \
branch=None, category=None, revlink='', properties={}, repository='', project='', uid=None)
changes getChange(changeid, no_cache=False)
changes getChangeUids(changeid)
changes getRecentChanges(count)
changes getLatestChangeid()
schedulers classifyChanges(objectid, classifications)
schedulers flushChangeClassifications(objectid, less_than=None)
schedulers getChangeClassifications(objectid, branch=?)
schedulers findSchedulerId(name)
schedulers setSchedulerMaster(schedulerid, masterid)
schedulers getScheduler(schedulerid)
schedulers getSchedulers(active=None, masterid=None)
sourcestamps addSourceStamp(branch, revision, repository, project, patch_body=None, patch_level=0, patch_author='', \
patch_comment='', patch_subdir=None, changeids=[], sourcestampsetid=None)
sourcestamps getSourceStamp(ssid, no_cache=False)
sourcestamps getSourceStamps(sourcestampsetid)
sourcestampsets addSourceStampSet()
state getObjectId(name, class_name)
state getState(objectid, name, default=?)
state setState(objectid, name, value)
state atomicCreateState(objectid, name, thd_create_callback)
users findUserByAttr(identifier, attr_type, attr_data)
users getUser(uid, no_cache=False)
users getUserByUsername(username)
users getUsers()
users updateUser(uid=None, identifier=None, bb_username=None, bb_password=None, attr_type=None, attr_data=None)
users removeUser(uid)
users identifierToUid(identifier)
changesources findChangeSourceId(name)
changesources setChangeSourceMaster(changesourceid, masterid)
changesources getChangeSource(changesourceid)
changesources getChangeSources(active=None, masterid=None)
masters findMasterId(name)
masters setMasterState(masterid, active)
masters getMaster(masterid)
masters getMasters()
masters setAllMastersActiveLongTimeAgo()
"""
METHODS = [re.fullmatch(r"(\w+) (\w+)\((.*)\)", line).groups() for line in SPECIFIED.strip().split("\n")]  # type: ignore[union-attr]
#: empty values that are written once and never changed
EMPTY: dict[str, tuple[Any, ...]] = {"{}": (None, {}), "[]": ((), [])}


def arguments(specified: str) -> list[tuple[str, str | None]]:
    """Names and defaults (None: required)."""
    pairs = (part.partition("=") for part in filter(None, specified.split(", ")) if part != "*")
    return [(name, default if equals else None) for name, equals, default in pairs]


@pytest.mark.parametrize(("component", "method", "specified"), METHODS, ids=[f"{m[0]}.{m[1]}" for m in METHODS])
def test_signature(master: Any, component: str, method: str, specified: str) -> None:
    """Names, arguments and defaults are those of the specification; further arguments come after them and are
    optional.
    """
    called = getattr(getattr(master.db, component), method)
    parameters = [p for p in inspect.signature(called).parameters.values() if p.name != "self"]
    wanted = arguments(specified)
    assert [p.name for p in parameters[: len(wanted)]] == [name for name, _ in wanted]
    for parameter, (_, default) in zip(parameters, wanted, strict=False):
        if default is None:
            assert parameter.default in (inspect.Parameter.empty, None)
        elif default == "?":
            assert parameter.default is not inspect.Parameter.empty
        else:
            assert parameter.default in EMPTY.get(default, (eval(default),))
        assert (parameter.kind is inspect.Parameter.KEYWORD_ONLY) == specified.startswith("*")
    assert all(p.default is not inspect.Parameter.empty for p in parameters[len(wanted) :])


@pytest.mark.parametrize(("component", "method"), [m[:2] for m in METHODS], ids=[f"{m[0]}.{m[1]}" for m in METHODS])
def test_twin_and_docstring(master: Any, component: str, method: str) -> None:
    """A twin is ``thd`` plus the method's name with a capital, connection first; there is a docstring."""
    owner = getattr(master.db, component)
    called, twin = getattr(owner, method), getattr(owner, f"thd{method[0].upper()}{method[1:]}")
    own = [p.name for p in inspect.signature(called).parameters.values() if p.name not in ("self", "no_cache")]
    assert list(inspect.signature(twin).parameters) == ["conn", *own]
    assert called.__doc__ is not None and called.__doc__.strip()
    assert called.__name__ == method


@pytest.mark.parametrize(
    ("owner", "method", "names"),
    [
        (DataConnector, "get", ["options", "path", "spec"]),
        (DataConnector, "snapshot", ["options", "path"]),
        (DataConnector, "startConsuming", ["callback", "options", "path"]),
        (DataConnector, "watch", ["callback", "options", "path"]),
        (DataConnector, "control", ["action", "args", "path"]),
        (DBThreadPool, "do", ["callable", "args", "kwargs"]),
        (DBThreadPool, "do_with_engine", ["callable", "args", "kwargs"]),
        (Model, "is_current", []),
        (Model, "upgrade", ["progress"]),
    ],
)
def test_others(owner: type, method: str, names: list[str]) -> None:
    """The Data API's and the pool's calls, with their source."""
    called = getattr(owner, method)
    assert list(inspect.signature(called).parameters)[1:] == names
    assert called.__doc__ is not None and called.__doc__.strip()


@pytest.mark.parametrize(
    ("method", "specified"),
    [
        ("findBuilderId", "name"),
        ("newBuild", "brid, number=None, workerid=None"),
        ("finishBuild", "buildid, results"),
        ("endBuild", "buildid, brid, results"),
        ("masterActive", ""),
        ("masterStopped", ""),
        ("expireMasters", "seconds=60"),
        ("schedulerEnable", "schedulerid, enabled"),
        ("trimEvents", "seconds, keep=None"),
        ("claimBuildRequests", "brids, claimed_at=None"),
        ("reclaimBuildRequests", "brids"),
        ("unclaimBuildRequests", "brids"),
        ("completeBuildRequests", "brids, results, complete_at=None"),
        ("unclaimExpiredRequests", "old"),
    ],
)
def test_updates(master: Any, method: str, specified: str) -> None:
    """Signatures of the update methods."""
    parameters = inspect.signature(getattr(master.data.update, method)).parameters.values()
    found = [(p.name, None if p.default is inspect.Parameter.empty else str(p.default)) for p in parameters]
    assert found == arguments(specified)
