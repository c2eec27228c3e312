"""ForceScheduler: what is submitted is built; what is wrong with it is said, all at once (http-api.md 4.2)."""

from __future__ import annotations

from typing import Any

import pytest

from buildbot.data.exceptions import ControlParamsError, InvalidControlError
from buildbot.schedulers.forcesched import ForceScheduler
from buildbot.schedulers.parameters import (
    AnyPropertyParameter,
    ChoiceStringParameter,
    FixedParameter,
    IntParameter,
    NestedParameter,
    StringParameter,
    UserNameParameter,
)
from tests.unit.process.mastered import Running


async def started(master: Any, **arguments: Any) -> ForceScheduler:
    scheduler = ForceScheduler("force", ["b1", "b2"], **arguments)
    await scheduler.activate(Running(master))  # type: ignore[arg-type]
    return scheduler


async def properties_of(master: Any, bsid: int) -> Any:
    return await master.data.get({}, ("buildsets", bsid, "properties"))


async def test_the_form_is_shown_while_the_scheduler_runs(master: Any) -> None:
    scheduler = await started(master)
    (shown,) = await master.data.get({}, ("forceschedulers",))
    expected = scheduler.describe() | {"enabled": True}
    assert {key: shown[key] for key in expected} == expected
    assert shown["button_name"] == shown["label"] == "force"
    await scheduler.deactivate()
    assert await master.data.get({}, ("forceschedulers",)) == []


async def test_everything_submitted_is_built(master: Any) -> None:
    """The page's own submission (http-api 9.4): property source, reason, owner, nested groups as objects."""
    nested = NestedParameter("nest", fields=[StringParameter("inner"), FixedParameter("fx", default="fv")])
    scheduler = await started(master, properties=[IntParameter("num"), nested, AnyPropertyParameter("any")])
    bsid, brids = await scheduler.force(
        {
            "owner": "ann@example.org", "username": "", "reason": "because", "priority": 7,
            "branch": "main", "revision": "", "repository": "repo", "project": "",
            "num": "3", "nest_inner": "iv", "nest_fx": "ignored", "any_name": "extra", "any_value": "1",
        }
    )  # fmt: skip
    source = "Force Build Form"
    assert await properties_of(master, bsid) == {
        "num": [3, source],
        "nest": [{"inner": "iv", "fx": "fv"}, source],
        "extra": ["1", source],
        "reason": ["because", source],
        "owner": ["ann@example.org", source],
        "scheduler": ["force", "Scheduler"],
    }
    buildset = await master.data.get({}, ("buildsets", bsid))
    assert buildset["reason"] == "A build was forced by 'ann@example.org': because"
    (stamp,) = buildset["sourcestamps"]
    assert (stamp["branch"], stamp["revision"], stamp["repository"], stamp["codebase"]) == ("main", None, "repo", "")
    requests = await master.data.get({}, ("buildrequests",))
    assert {str(each["builderid"]): each["buildrequestid"] for each in requests} == brids
    assert {each["priority"] for each in requests} == {7}


async def test_builders_may_be_chosen(master: Any) -> None:
    scheduler = await started(master)
    second = await master.data.update.findBuilderId("b2")
    other = await master.data.update.findBuilderId("other")
    for args in ({"builderid": second}, {"builderid": str(second)}, {"builderNames": ["b2", "other"]}):
        _, brids = await scheduler.force(args)
        assert list(brids) == [str(second)]
    assert len((await scheduler.force({}))[1]) == 2
    for wrong in ({"builderid": other}, {"builderid": 99}, {"builderid": "x"}, {"builderNames": ["other"]}):
        with pytest.raises(InvalidControlError):
            await scheduler.force(wrong)


async def test_who_is_logged_in_needs_no_name(master: Any) -> None:
    """A user name that is required is asked of anonymous visitors only."""
    scheduler = await started(master, username=UserNameParameter(required=True))
    bsid, _ = await scheduler.force({"owner": "ann@example.org"})
    assert (await properties_of(master, bsid))["owner"][0] == "ann@example.org"
    with pytest.raises(ControlParamsError):
        await scheduler.force({"owner": "anonymous"})


async def test_an_anonymous_owner_is_who_the_form_says(master: Any) -> None:
    scheduler = await started(master)
    bsid, _ = await scheduler.force({"owner": "anonymous", "username": "Ann <ann@example.org>"})
    assert (await properties_of(master, bsid))["owner"][0] == "Ann <ann@example.org>"
    bsid, _ = await scheduler.force({"owner": "anonymous"})
    assert (await properties_of(master, bsid))["owner"][0] == ""


async def test_all_mistakes_are_told_at_once_and_nothing_is_done(master: Any) -> None:
    scheduler = await started(
        master,
        reason=StringParameter("reason", label="reason:", required=True),
        properties=[IntParameter("num"), ChoiceStringParameter("choice", choices=["a", "b", "c"])],
    )
    with pytest.raises(ControlParamsError) as caught:
        await scheduler.force({"reason": "", "num": "x", "choice": "zzz", "username": "ann"})
    assert caught.value.messages == {
        "reason": "'reason:' needs to be specified",
        "num": "invalid literal for int() with base 10: 'x'",
        "choice": "'zzz' does not belong to list of available choices '['a', 'b', 'c']'",
        "username": "username: please fill in email address in the form 'User <email@email.com>'",
    }
    assert await master.data.get({}, ("buildsets",)) == []
