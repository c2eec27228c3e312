"""The database of Buildbot 4.x: its tables, versions and values. Only this module knows them.

Times are Unix seconds. Text is UTF-8. Tables without an id have their parent's id as first column: `build_properties`
``buildid``, `logchunks` ``logid``.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

from sqlalchemy import TableClause, column, table

from buildbot.util import checks, jsontext

#: versions of the schema that can be read; 067 only adds the three tables of codebases
WITHOUT_CODEBASES, WITH_CODEBASES = "066", "067"
VERSIONS = (WITHOUT_CODEBASES, WITH_CODEBASES)

#: the compressions of a chunk: values of the column ``compressed``
RAW, GZ, BZ2, LZ4, ZSTD, BROTLI = range(6)

#: the result of requests and buildsets that are not finished
UNFINISHED = -1


def _table(name: str, columns: str) -> TableClause:
    return table(name, *map(column, columns.split()))


alembic_version = _table("alembic_version", "version_num")

masters = _table("masters", "id name last_active")
workers = _table("workers", "id name info paused pause_reason graceful")
projects = _table("projects", "id name slug description description_format description_html")
builders = _table("builders", "id name description description_format description_html projectid")
tags = _table("tags", "id name")
builders_tags = _table("builders_tags", "id builderid tagid")
schedulers = _table("schedulers", "id name enabled")
scheduler_changes = _table("scheduler_changes", "schedulerid changeid important")
changesources = _table("changesources", "id name")
users = _table("users", "uid identifier bb_username bb_password")
users_info = _table("users_info", "uid attr_type attr_data")
objects = _table("objects", "id name class_name")
object_state = _table("object_state", "objectid name value_json")

codebases = _table("codebases", "id projectid name slug")
codebase_commits = _table(
    "codebase_commits", "id codebaseid author committer comments when_timestamp revision parent_commitid"
)
codebase_branches = _table("codebase_branches", "id codebaseid name commitid last_timestamp")

patches = _table("patches", "id patchlevel patch_base64 patch_author patch_comment subdir")
sourcestamps = _table("sourcestamps", "id branch revision patchid repository codebase project created_at")
changes = _table(
    "changes",
    "changeid author committer comments branch revision revlink when_timestamp category repository codebase project"
    " sourcestampid parent_changeids",
)
change_files = _table("change_files", "changeid filename")
change_properties = _table("change_properties", "changeid property_name property_value")
change_users = _table("change_users", "changeid uid")

buildsets = _table(
    "buildsets",
    "id external_idstring reason submitted_at complete complete_at results parent_buildid parent_relationship"
    " rebuilt_buildid",
)
buildset_properties = _table("buildset_properties", "buildsetid property_name property_value")
buildset_sourcestamps = _table("buildset_sourcestamps", "buildsetid sourcestampid")
buildrequests = _table(
    "buildrequests", "id buildsetid builderid priority complete results submitted_at complete_at waited_for"
)
buildrequest_claims = _table("buildrequest_claims", "brid masterid claimed_at")
builds = _table(
    "builds",
    "id number builderid buildrequestid workerid masterid started_at complete_at locks_duration_s state_string results",
)
build_properties = _table("build_properties", "buildid name value source")
build_data = _table("build_data", "id buildid name value source")
steps = _table(
    "steps",
    "id number name buildid started_at locks_acquired_at complete_at state_string results urls_json hidden",
)
logs = _table("logs", "id name slug stepid complete num_lines type")
logchunks = _table("logchunks", "logid first_line last_line content compressed")
test_result_sets = _table(
    "test_result_sets",
    "id builderid buildid stepid description category value_unit tests_passed tests_failed complete",
)
test_names = _table("test_names", "id name")
test_code_paths = _table("test_code_paths", "id path")
test_results = _table(
    "test_results", "id builderid test_result_setid test_nameid test_code_pathid line duration_ns value"
)

#: tables with the links of running masters: they end with the process, and the new master writes its own
LINKS = (
    "builder_masters", "changesource_masters", "configured_workers", "connected_workers", "scheduler_masters",
)  # fmt: skip

#: kinds of schedulers that do not use changes, and have no state about them
_WITHOUT_CHANGES = frozenset({"ForceScheduler", "Triggerable", "Try_Jobdir", "Try_Userpass"})

#: JSON values that have only one serialization
_PLAIN = re.compile(r'"[ -!#-\[\]-~]*"|-?[1-9]\d{0,14}|0|true|false|null')


def json_text(value: Any, what: str) -> str:
    """A JSON text in Tenfold's serialization; TypeError or ValueError if it is invalid or cannot be stored."""
    if isinstance(value, str) and _PLAIN.fullmatch(value):
        return value
    return jsontext.dumps(jsontext.loads(checks.text(value, what)), what)


def pair(value: Any, what: str) -> list[Any]:
    """The ``[value, source]`` of a property of a change or a buildset; TypeError or ValueError if it is invalid."""
    found = jsontext.loads(checks.text(value, what))
    if not isinstance(found, list) or len(found) != 2 or not isinstance(found[1], str):
        raise ValueError(f"{what}: {value[:60]!r} is not a pair of value and source")
    return found


def patch_body(encoded: Any) -> str:
    """The text of a patch; TypeError or ValueError if it is no UTF-8 in base64."""
    try:
        return checks.text(base64.b64decode(checks.text(encoded, "patch_base64"), validate=True).decode(), "patch")
    except binascii.Error as error:
        raise ValueError(f"patch_base64 is no base64: {error}") from None
    except UnicodeDecodeError:
        raise ValueError("the patch is no UTF-8") from None


def is_secret(class_name: str, key: str) -> bool:
    """Whether a state is a secret of the old master, which no other master may have."""
    return class_name.rpartition(".")[2] == "WWWService" and key == "session_secret"


def is_git_poller(class_name: str, key: str) -> bool:
    """Whether a state is the position of a GitPoller, ``{branch: revision}``."""
    return class_name.rpartition(".")[2] == "GitPoller" and key == "lastRev"


def scheduler_kind(class_name: str) -> str | None:
    """The kind of a scheduler that uses changes, by an object's class; None if the class is no such scheduler.

    Classes outside of Buildbot count as schedulers: the caller asks only for objects with the name of a scheduler.
    """
    module, _, kind = class_name.rpartition(".")
    if not module or kind in _WITHOUT_CHANGES:
        return None
    return kind if module.startswith("buildbot.schedulers.") or not module.startswith("buildbot.") else None


#: the key of a timed scheduler's state with the time of its last build, in Unix seconds
LAST_BUILD = "last_build"
