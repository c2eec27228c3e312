"""Conversion of Buildbot's rows to Tenfold's, one function for each table; new columns are computed here.

Each function takes a row of `upstream`, and returns a tuple with the values of the columns that are listed above it. It
raises TypeError or ValueError, with the reason, for a row that cannot be stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from buildbot.db.changes import history_hash
from buildbot.db.sourcestamps import content_hash
from buildbot.importing import upstream
from buildbot.importing.source import Row
from buildbot.util import checks, jsontext
from buildbot.util.results import RETRY

#: the state string of a build that was running, the same as after the loss of a master
LOST = "master lost"

_MAX = checks.MAX_INT
_hash = checks.name_hash


def _text(value: Any, what: str) -> str:
    if isinstance(value, bytes):
        raise ValueError(f"{what} is no UTF-8")
    return checks.text(value, what)


def _optional(value: Any, what: str) -> str | None:
    return None if value is None else _text(value, what)


def readable(row: Row) -> Row:
    """A row of a small table whose damaged texts are escaped: other rows depend on it, so it is not left out."""
    return [
        value.decode(errors="backslashreplace") if isinstance(value, bytes)
        else value.replace("\x00", r"\x00") if isinstance(value, str)
        else value
        for value in row
    ]  # fmt: skip


def _number(value: Any, what: str) -> int:
    if type(value) is int and -_MAX <= value <= _MAX:
        return value
    return checks.integer(value, what, -_MAX, _MAX)


def _maybe(value: Any, what: str) -> int | None:
    return None if value is None else _number(value, what)


def _small(value: Any, what: str, default: int | None = None) -> int:
    if value is None and default is not None:
        return default
    return checks.integer(value, what, -checks.MAX_SMALL)


def _result(value: Any) -> int | None:
    return None if value is None else _small(value, "results")


def _flag(value: Any, what: str, default: int | None = None) -> int:
    if value is None and default is not None:
        return default
    return int(checks.boolean(value, what))


MASTERS = ("id", "name", "name_hash", "active", "last_active")


def master(row: Row) -> tuple[Any, ...]:
    """A master of Buildbot's, which is not active and has epoch 0."""
    number, name, last_active = row
    return number, _text(name, "name"), _hash(name), 0, _number(last_active, "last_active")


WORKERS = ("id", "name", "name_hash", "info", "paused", "pause_reason", "graceful")


def worker(row: Row) -> tuple[Any, ...]:
    """A worker."""
    number, name, info, paused, reason, graceful = row
    return (
        number, _text(name, "name"), _hash(name), upstream.json_text(info, "info"), _flag(paused, "paused"),
        _optional(reason, "pause_reason"), _flag(graceful, "graceful"),
    )  # fmt: skip


def worker_without_info(row: Row) -> tuple[Any, ...]:
    """A worker without its info, which cannot be read."""
    return worker([*row[:2], "{}", *row[3:]])


PROJECTS = ("id", "name", "name_hash", "slug", "description", "description_format", "description_html")


def project(row: Row) -> tuple[Any, ...]:
    """A project."""
    number, name, slug, *described = row
    return (number, _text(name, "name"), _hash(name), _text(slug, "slug"), *_described(described))


def _described(values: Iterable[Any]) -> Iterable[str | None]:
    return [_optional(value, what) for value, what in zip(values, PROJECTS[4:], strict=True)]


BUILDERS = (
    "id", "name", "name_hash", "description", "description_format", "description_html", "projectid", "tags",
)  # fmt: skip


def builder(row: Row, tags: Iterable[str]) -> tuple[Any, ...]:
    """A builder with its tags."""
    number, name, *described, projectid = row
    listed = jsontext.dump_list([_text(tag, "tags") for tag in tags])
    return (number, _text(name, "name"), _hash(name), *_described(described), _maybe(projectid, "projectid"), listed)


SCHEDULERS = ("id", "name", "name_hash", "enabled")


def scheduler(row: Row) -> tuple[Any, ...]:
    """A scheduler."""
    number, name, enabled = row
    return number, _text(name, "name"), _hash(name), _flag(enabled, "enabled", 1)


CHANGESOURCES = ("id", "name", "name_hash")


def changesource(row: Row) -> tuple[Any, ...]:
    """A change source."""
    return row[0], _text(row[1], "name"), _hash(row[1])


USERS = ("id", "identifier", "identifier_hash", "bb_username", "bb_username_hash", "bb_password")


def user(row: Row) -> tuple[Any, ...]:
    """A user, with the password hash unchanged: `buildbot.util.passwords` knows both formats."""
    number, identifier, username, password = row
    name = _optional(username, "bb_username")
    digest = None if name is None else _hash(name)
    return number, _text(identifier, "identifier"), _hash(identifier), name, digest, _optional(password, "bb_password")


USERS_INFO = ("uid", "attr_type_hash", "attr_type", "attr_data", "attr_hash")


def user_attribute(row: Row) -> tuple[Any, ...]:
    """An attribute of a user: the name in a version control system."""
    uid, kind, data = row
    return uid, _hash(_text(kind, "attr_type")), kind, _text(data, "attr_data"), _hash(kind, data)


CODEBASES = ("id", "projectid", "name", "name_hash", "slug")


def codebase(row: Row) -> tuple[Any, ...]:
    """A codebase."""
    number, projectid, name, slug = row
    return number, projectid, _text(name, "name"), _hash(name), _text(slug, "slug")


COMMITS = (
    "id", "codebaseid", "author", "committer", "comments", "when_timestamp", "revision", "revision_hash",
    "parent_commitid",
)  # fmt: skip


def commit(row: Row) -> tuple[Any, ...]:
    """A commit; ValueError if its parent is not older, since a history has no circles."""
    number, codebaseid, author, committer, comments, when, revision, parent = row
    if parent is not None and parent >= number:
        raise ValueError(f"its parent {parent} is not older")
    return (
        number, codebaseid, _text(author, "author"), _optional(committer, "committer"), _text(comments, "comments"),
        _number(when, "when_timestamp"), _text(revision, "revision"), _hash(revision), parent,
    )  # fmt: skip


BRANCHES = ("id", "codebaseid", "name", "name_hash", "commitid", "last_timestamp")


def branch(row: Row) -> tuple[Any, ...]:
    """A branch of a codebase."""
    number, codebaseid, name, commitid, last = row
    return number, codebaseid, _text(name, "name"), _hash(name), commitid, _number(last, "last_timestamp")


PATCHES = ("id", "level", "subdir", "author", "comment", "body")


def patch(row: Row) -> tuple[Any, ...]:
    """A patch, decoded to text."""
    number, level, encoded, author, comment, subdir = row
    return (
        number, _small(level, "patchlevel"), _optional(subdir, "subdir"), _text(author, "patch_author"),
        _text(comment, "patch_comment"), upstream.patch_body(encoded),
    )  # fmt: skip


SOURCESTAMPS = (
    "id", "content_hash", "branch", "revision", "repository", "project", "codebase", "patchid", "created_at",
)  # fmt: skip


def sourcestamp(row: Row) -> tuple[Any, ...]:
    """A source stamp; one with a patch is not shared, so it has no hash."""
    number, branch, revision, patchid, repository, codebase, project, created_at = row
    _optional(branch, "branch")
    _optional(revision, "revision")
    _text(repository, "repository")
    _text(project, "project")
    _text(codebase, "codebase")
    digest = content_hash(branch, revision, repository, project, codebase) if patchid is None else None
    created = _number(created_at, "created_at")
    return number, digest, branch, revision, repository, project, codebase, patchid, created


CHANGES = (
    "id", "author", "committer", "comments", "revision", "branch", "category", "revlink", "when_timestamp",
    "repository", "project", "codebase", "files", "links", "properties", "parent_changeids", "sourcestampid",
    "history_hash",
)  # fmt: skip


def change(row: Row, files: Iterable[Any], properties: Mapping[str, Any]) -> tuple[Any, ...]:
    """A change with its files and properties (``{name: [value, source]}``)."""
    (
        number, author, committer, comments, branch, revision, revlink, when, category, repository, codebase, project,
        ssid, parent,
    ) = row  # fmt: skip
    line = history_hash(
        _text(repository, "repository"), _text(project, "project"), _text(codebase, "codebase"),
        _optional(branch, "branch"),
    )  # fmt: skip
    return (
        number, _text(author, "author"), _optional(committer, "committer"), _text(comments, "comments"),
        _optional(revision, "revision"), branch, _optional(category, "category"), _optional(revlink, "revlink"),
        _number(when, "when_timestamp"), repository, project, codebase,
        jsontext.dump_list([_text(file, "files") for file in files]), "[]", jsontext.dumps(properties, "properties"),
        "[]" if parent is None else f"[{_number(parent, 'parent_changeids')}]", ssid, line,
    )  # fmt: skip


BUILDSETS = (
    "id", "external_idstring", "reason", "sourcestampsetid", "submitted_at", "complete", "complete_at", "results",
    "scheduler", "parent_buildid", "parent_relationship", "rebuilt_buildid", "properties",
)  # fmt: skip


def buildset(row: Row, properties: Mapping[str, Any]) -> tuple[Any, ...]:
    """A buildset; its source stamp set has the same id."""
    number, external, reason, submitted, complete, complete_at, results, parent, relationship, rebuilt = row
    by = properties.get("scheduler")
    return (
        number, _optional(external, "external_idstring"), _text(reason or "", "reason"), number,
        _number(submitted, "submitted_at"), _flag(complete, "complete"), _maybe(complete_at, "complete_at"),
        _small(results, "results", upstream.UNFINISHED), by[0] if by and isinstance(by[0], str) else None,
        _maybe(parent, "parent_buildid"), _optional(relationship, "parent_relationship"),
        _maybe(rebuilt, "rebuilt_buildid"), jsontext.dumps(properties, "properties"),
    )  # fmt: skip


BUILDREQUESTS = (
    "id", "buildsetid", "builderid", "priority", "complete", "results", "submitted_at", "complete_at", "waited_for",
    "claimed_by_masterid", "claimed_epoch", "claimed_at",
)  # fmt: skip


def buildrequest(row: Row, claim: Row | None) -> tuple[Any, ...]:
    """A request; only a complete one keeps its claim, since an incomplete one is to be claimed again."""
    number, buildsetid, builderid, priority, complete, results, submitted, complete_at, waited_for = row
    over = _flag(complete, "complete", 0)
    claimed: tuple[int | None, ...] = (None, None, None)
    if over and claim is not None:
        claimed = (claim[1], 0, _number(claim[2], "claimed_at"))
    return (
        number, buildsetid, builderid, _small(priority, "priority"), over,
        _small(results, "results", upstream.UNFINISHED), _number(submitted, "submitted_at"),
        _maybe(complete_at, "complete_at"), _flag(waited_for, "waited_for", 0), *claimed,
    )  # fmt: skip


BUILDS = (
    "id", "number", "builderid", "buildrequestid", "workerid", "masterid", "started_at", "complete_at",
    "locks_duration_s", "state_string", "results",
)  # fmt: skip


def build(row: Row, now: int) -> tuple[Any, ...]:
    """A build; one that was running ends with RETRY at ``now``, in Unix seconds."""
    (
        identifier, number, builderid, brid, workerid, masterid, started, complete_at, locks_s, state, results,
    ) = row  # fmt: skip
    _text(state, "state_string")
    if complete_at is None:
        complete_at, state, results = now, LOST, RETRY
    return (
        identifier, _small(number, "number"), builderid, brid, workerid, masterid, _number(started, "started_at"),
        _number(complete_at, "complete_at"), _small(locks_s, "locks_duration_s", 0), state, _result(results),
    )  # fmt: skip


BUILD_PROPERTIES = ("buildid", "name_hash", "name", "value", "source")


def build_property(row: Row) -> tuple[Any, ...]:
    """A property of a build."""
    buildid, name, value, source = row
    return buildid, _hash(_text(name, "name")), name, upstream.json_text(value, "value"), _text(source, "source")


BUILD_DATA = ("id", "buildid", "name", "name_hash", "length", "source")
BUILD_DATA_VALUES = ("build_dataid", "value")


def build_data(row: Row) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Two rows: the data of a build, and its value."""
    number, buildid, name, value, source = row
    stored = checks.data(value.encode() if isinstance(value, str) else value, "value")
    described = (number, buildid, _text(name, "name"), _hash(name), len(stored), _text(source, "source"))
    return described, (number, stored)


STEPS = (
    "id", "number", "name", "name_hash", "buildid", "started_at", "locks_acquired_at", "complete_at", "results",
    "state_string", "urls", "hidden",
)  # fmt: skip


def step(row: Row, now: int) -> tuple[Any, ...]:
    """A step; one that was running ends with RETRY at ``now``, in Unix seconds."""
    identifier, number, name, buildid, started, locks_at, complete_at, state, results, urls, hidden = row
    if complete_at is None:
        complete_at, results = now, RETRY
    return (
        identifier, _small(number, "number"), _text(name, "name"), _hash(name), buildid,
        _maybe(started, "started_at"), _maybe(locks_at, "locks_acquired_at"), _number(complete_at, "complete_at"),
        _result(results), _text(state, "state_string"),
        "[]" if urls == "[]" else upstream.json_text(urls, "urls_json"), _flag(hidden, "hidden"),
    )  # fmt: skip


LOGS = ("id", "name", "slug", "slug_hash", "stepid", "complete", "num_lines", "type")


def log(row: Row, lines: int) -> tuple[Any, ...]:
    """A complete log with this number of lines."""
    number, name, slug, stepid, _, _, kind = row
    return number, _text(name, "name"), _text(slug, "slug"), _hash(slug), stepid, 1, lines, _text(kind, "type")


TEST_RESULT_SETS = (
    "id", "builderid", "buildid", "stepid", "description", "category", "value_unit", "tests_passed", "tests_failed",
    "complete",
)  # fmt: skip


def test_result_set(row: Row) -> tuple[Any, ...]:
    """A complete set of test results."""
    number, builderid, buildid, stepid, description, category, unit, passed, failed, _ = row
    return (
        number, builderid, buildid, stepid, _optional(description, "description"), _text(category, "category"),
        _text(unit, "value_unit"), _maybe(passed, "tests_passed"), _maybe(failed, "tests_failed"), 1,
    )  # fmt: skip


TEST_RESULTS = (
    "id", "builderid", "test_result_setid", "test_nameid", "test_code_pathid", "line", "duration_ns", "value",
)  # fmt: skip


def test_result(row: Row, nameid: int | None, pathid: int | None) -> tuple[Any, ...]:
    """A test result, with the ids of name and path in the target."""
    number, builderid, setid, _, _, line, duration, value = row
    return (
        number, _number(builderid, "builderid"), setid, nameid, pathid,
        None if line is None else _small(line, "line"), _maybe(duration, "duration_ns"), _text(value, "value"),
    )  # fmt: skip
