"""Dictionaries of builds for formatters and receivers of reports, from the Data API.

Times in these dictionaries are datetime objects (UTC); properties are pairs of value and source.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from buildbot.data.base import Link
from buildbot.util.deferreds import deferred
from buildbot.util.results import RETRY

#: the most characters of a log in a report
MAX_LOG_CHARS = 10_000_000
_LINES = 10_000

#: fields that are times
_TIMES = ("started_at", "complete_at", "submitted_at", "claimed_at", "created_at", "locks_acquired_at")


def with_times(entity: Mapping[str, Any]) -> dict[str, Any]:
    """A dictionary of the Data API without links, and with times as datetime objects (UTC)."""
    made = {name: value for name, value in entity.items() if not isinstance(value, Link)}
    for name in _TIMES:
        if isinstance(made.get(name), int):
            made[name] = dt.datetime.fromtimestamp(made[name], dt.UTC)
    return made


def base_url(master: Any) -> str:
    """``c['buildbotURL']``, which ends with a slash."""
    return str(master.config.buildbotURL)


def getURLForBuild(master: Any, builderid: int, build_number: int) -> str:
    """The URL of a build's page."""
    return f"{base_url(master)}#/builders/{builderid}/builds/{build_number}"


def getURLForBuildrequest(master: Any, buildrequestid: int) -> str:
    """The URL of a build request's page."""
    return f"{base_url(master)}#/buildrequests/{buildrequestid}"


def get_url_for_log(master: Any, builderid: int, build_number: int, step_number: int, log_slug: str) -> str:
    """The URL of a log's page."""
    return f"{getURLForBuild(master, builderid, build_number)}/steps/{step_number}/logs/{quote(log_slug)}"


def get_url_for_log_raw(master: Any, logid: int, suffix: str) -> str:
    """The URL of a log's text; ``suffix`` is ``raw`` or ``raw_inline``."""
    return f"{base_url(master)}api/v2/logs/{logid}/{suffix}"


@deferred
async def getPreviousBuild(master: Any, build: Mapping[str, Any]) -> dict[str, Any] | None:
    """The builder's last finished build before this one; builds with the result RETRY do not count. Deferred."""
    found = await master.data.get(
        {
            "filters": {"number__lt": build["number"], "complete": True, "results__ne": RETRY},
            "order": ["-number"],
            "limit": 1,
        },
        ("builders", build["builderid"], "builds"),
    )
    return with_times(found[0]) if found else None


@deferred
async def getDetailsForBuildset(
    master: Any,
    bsid: int,
    want_properties: bool = False,
    want_steps: bool = False,
    want_previous_build: bool = False,
    want_logs: bool = False,
    add_logs: bool | None = None,
    want_logs_content: bool | Sequence[str] = False,
) -> dict[str, Any]:
    """A buildset with its builds: ``{"buildset": …, "builds": […]}``; Deferred. Arguments as `getDetailsForBuilds`."""
    buildset = with_times(await master.data.get({}, ("buildsets", bsid)))
    builds: list[dict[str, Any]] = []
    for request in await master.data.get({"order": ["buildrequestid"]}, ("buildsets", bsid, "buildrequests")):
        found = await master.data.get({"order": ["buildid"]}, ("buildrequests", request["buildrequestid"], "builds"))
        builds += map(with_times, found)
    await getDetailsForBuilds(
        master,
        buildset,
        builds,
        want_properties,
        want_steps,
        want_previous_build,
        want_logs,
        add_logs,
        want_logs_content,
    )
    return {"buildset": buildset, "builds": builds}


@deferred
async def getDetailsForBuild(
    master: Any,
    build: dict[str, Any],
    want_properties: bool = False,
    want_steps: bool = False,
    want_previous_build: bool = False,
    want_logs: bool = False,
    add_logs: bool | None = None,
    want_logs_content: bool | Sequence[str] = False,
) -> None:
    """Add the details that reports need to a build of the Data API; Deferred. Arguments as `getDetailsForBuilds`."""
    request = await master.data.get({}, ("buildrequests", build["buildrequestid"]))
    buildset = with_times(await master.data.get({}, ("buildsets", request["buildsetid"])))
    await getDetailsForBuilds(
        master,
        buildset,
        [build],
        want_properties,
        want_steps,
        want_previous_build,
        want_logs,
        add_logs,
        want_logs_content,
    )


@deferred
async def getDetailsForBuilds(
    master: Any,
    buildset: Mapping[str, Any],
    builds: Iterable[dict[str, Any]],
    want_properties: bool = False,
    want_steps: bool = False,
    want_previous_build: bool = False,
    want_logs: bool = False,
    add_logs: bool | None = None,
    want_logs_content: bool | Sequence[str] = False,
) -> None:
    """Add the details that reports need to builds of one buildset; Deferred.

    Args:
        builds: dictionaries of the Data API. They get ``buildrequest``, ``buildset``, ``builder``, ``parentbuild``,
            ``parentbuilder``, ``url`` and ``properties``. Their own values are kept, also if the build has changed
            meanwhile.
        want_properties: has no effect, builds always have ``properties``.
        want_steps: also ``steps``.
        want_previous_build: also ``prev_build``.
        want_logs: steps with their ``logs``.
        want_logs_content: logs with their ``content``: True for all, or their names (``log`` or ``step.log``).
        add_logs: older name of want_logs_content.
    """
    content = want_logs_content or bool(add_logs)
    parent = parent_builder = None
    if buildset["parent_buildid"] is not None:
        parent = await master.data.get({}, ("builds", buildset["parent_buildid"]))
        if parent is not None:
            parent = with_times(parent)
            parent_builder = with_times(await master.data.get({}, ("builders", parent["builderid"])))
    for build in builds:
        given = with_times(build)
        build.clear()
        build.update(given)
        build["buildrequest"] = with_times(await master.data.get({}, ("buildrequests", build["buildrequestid"])))
        build["buildset"] = buildset
        build["builder"] = with_times(await master.data.get({}, ("builders", build["builderid"])))
        build["parentbuild"], build["parentbuilder"] = parent, parent_builder
        build["url"] = getURLForBuild(master, build["builderid"], build["number"])
        build["properties"] = await _properties(master, build)
        if want_previous_build:
            build["prev_build"] = await getPreviousBuild(master, build)
        if want_steps or want_logs or content:
            await _add_steps(master, build, bool(want_logs or content), content)


async def _properties(master: Any, build: Mapping[str, Any]) -> dict[str, tuple[Any, str]]:
    """The properties of a build; of one that has just begun, also those that it will get."""
    properties = _known_before(build)
    buildset = build["buildset"]
    stored = await master.data.get({}, ("buildsets", buildset["bsid"], "properties"))
    properties |= {name: (value, source) for name, (value, source) in stored.items()}
    if build.get("workerid") is not None:
        worker = await master.data.get({}, ("workers", build["workerid"]))
        if worker is not None:
            properties["workername"] = (worker["name"], "Worker")
    stored = await master.data.get({}, ("builds", build["buildid"], "properties"))
    return properties | {name: (value, source) for name, (value, source) in stored.items()}


def _known_before(build: Mapping[str, Any]) -> dict[str, tuple[Any, str]]:
    properties: dict[str, tuple[Any, str]] = {
        "buildername": (build["builder"]["name"], "Builder"),
        "builderid": (build["builder"]["builderid"], "Builder"),
    }
    if "number" in build:
        properties["buildnumber"] = (build["number"], "Build")
    stamps = build["buildset"]["sourcestamps"]
    if len(stamps) == 1:
        for name in ("branch", "revision", "repository", "project", "codebase"):
            properties[name] = (stamps[0][name], "Build")
    return properties


@deferred
async def get_details_for_buildrequest(master: Any, buildrequest: Mapping[str, Any], build: dict[str, Any]) -> None:
    """Fill ``build`` with the attributes that are known of a waiting request; Deferred."""
    buildset = with_times(await master.data.get({}, ("buildsets", buildrequest["buildsetid"])))
    build["buildrequest"] = with_times(buildrequest)
    build["buildset"] = buildset
    build["builder"] = with_times(await master.data.get({}, ("builders", buildrequest["builderid"])))
    build["builderid"] = buildrequest["builderid"]
    stored = await master.data.get({}, ("buildsets", buildset["bsid"], "properties"))
    build["properties"] = _known_before(build) | {name: (value, source) for name, (value, source) in stored.items()}
    build["url"] = getURLForBuildrequest(master, buildrequest["buildrequestid"])
    build["results"] = None
    build["complete"] = False


async def _add_steps(master: Any, build: dict[str, Any], want_logs: bool, content: bool | Sequence[str]) -> None:
    steps = await master.data.get({"order": ["number"]}, ("builds", build["buildid"], "steps"))
    build["steps"] = [with_times(step) for step in steps]
    if not want_logs:
        return
    for step in build["steps"]:
        step["logs"] = []
        for found in await master.data.get({"order": ["logid"]}, ("steps", step["stepid"], "logs")):
            log = with_times(found)
            log["stepname"] = step["name"]
            log["url"] = get_url_for_log(master, build["builderid"], build["number"], step["number"], log["slug"])
            log["url_raw"] = get_url_for_log_raw(master, log["logid"], "raw")
            log["url_raw_inline"] = get_url_for_log_raw(master, log["logid"], "raw_inline")
            if should_attach_log(content, log):
                log["content"] = await _content(master, log["logid"])
            step["logs"].append(log)


def should_attach_log(logs_config: bool | Sequence[str] | None, log: Mapping[str, Any]) -> bool:
    """Whether ``logs_config`` asks for the content of a log: it is True, or names it as ``log`` or ``step.log``."""
    if isinstance(logs_config, bool) or logs_config is None:
        return bool(logs_config)
    return log["name"] in logs_config or f"{log['stepname']}.{log['name']}" in logs_config


async def _content(master: Any, logid: int) -> dict[str, Any]:
    """The lines of a log, with the letters of their streams; a too long log is cut off, with a note."""
    parts: list[str] = []
    chars = line = 0
    while chars < MAX_LOG_CHARS:
        page = await master.data.get({"offset": line, "limit": _LINES}, ("logs", logid, "contents"))
        text = page["content"] if page else ""
        if not text:
            break
        parts.append(text[: MAX_LOG_CHARS - chars])
        chars += len(text)
        line += text.count("\n")
        if text.count("\n") < _LINES:
            break
    if chars >= MAX_LOG_CHARS:
        parts.append(f"\n(cut off: these are the first {MAX_LOG_CHARS} characters of the log)\n")
    return {"logid": logid, "firstline": 0, "content": "".join(parts)}


@deferred
async def getResponsibleUsersForSourceStamp(master: Any, sourcestampid: int) -> list[str]:
    """The authors of the changes of a source stamp and of its patch, sorted; Deferred."""
    stamp = await master.data.get({}, ("sourcestamps", sourcestampid))
    changes = await master.data.get({}, ("sourcestamps", sourcestampid, "changes"))
    users = {change["author"] for change in changes}
    if stamp is not None and stamp["patch"] is not None:
        users.add(stamp["patch"]["author"])
    return sorted(user for user in users if user)


@deferred
async def getResponsibleUsersForBuild(master: Any, buildid: int) -> list[str]:
    """The responsible users of a build: authors of changes and patches, and the property ``owner``; sorted; Deferred.

    The property ``owners`` is used only if there are no others.
    """
    build = await master.data.get({}, ("builds", buildid))
    request = await master.data.get({}, ("buildrequests", build["buildrequestid"]))
    return await _users(master, request["buildsetid"], ("builds", buildid, "properties"))


@deferred
async def get_responsible_users_for_buildset(master: Any, buildsetid: int) -> list[str]:
    """As `getResponsibleUsersForBuild`, for a buildset; Deferred."""
    return await _users(master, buildsetid, ("buildsets", buildsetid, "properties"))


async def _users(master: Any, bsid: int, properties_path: tuple[Any, ...]) -> list[str]:
    buildset = await master.data.get({}, ("buildsets", bsid))
    users: set[str] = set()
    for stamp in buildset["sourcestamps"]:
        users.update(await getResponsibleUsersForSourceStamp(master, stamp["ssid"]))
    given = await master.data.get({}, ("buildsets", bsid, "properties"))
    properties = {**given, **await master.data.get({}, properties_path)}
    owner = properties.get("owner", (None,))[0]
    if isinstance(owner, str) and owner:
        users.add(owner)
    if not users:
        # the build overwrites the list that the buildset gave it
        owners = given.get("owners", properties.get("owners", (None,)))[0]
        users.update(each for each in owners or () if isinstance(each, str) and each)
    return sorted(users)


def merge_reports_prop(reports: Iterable[Mapping[str, Any]], prop: str) -> Any:
    """The merged values of several reports: texts and lists are joined, dictionaries merged, None is skipped."""
    result: Any = None
    for report in reports:
        value = report.get(prop)
        if value is None:
            continue
        if result is None:
            result = value
        elif isinstance(result, dict) and isinstance(value, dict):
            result = {**value, **result}
        elif isinstance(result, str) and isinstance(value, str):
            result += value
        elif isinstance(result, list) and isinstance(value, list):
            result = [*result, *value]
    return result


def merge_reports_prop_take_first(reports: Iterable[Mapping[str, Any]], prop: str) -> Any:
    """The first value of several reports that is not None."""
    return next((report[prop] for report in reports if report.get(prop) is not None), None)
