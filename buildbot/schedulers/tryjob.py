"""Jobs of ``buildbot try``, as clients write them into a job directory."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

#: the largest job that is read, in bytes
MAX_JOB_BYTES = 16_777_216


class BadJobError(Exception):
    """It is no job, or cannot be built; the text says why."""


@dataclass(frozen=True)
class TryJob:
    """A try job: a patch or revision, and the builders that build it.

    Attributes:
        jobid: as the client calls it; None over PB.
        branch, revision: what the patch is for; None: the newest, the default branch.
        patch: the patch; empty for none.
        level: how many directories are stripped from the names in it.
        repository, project: where that is.
        builders: names of the builders that are asked for; none: all.
        who, comment: of the person.
        properties: of the builds.
    """

    branch: str | None
    revision: str | None
    patch: str
    level: int
    repository: str = ""
    project: str = ""
    builders: Sequence[str] = ()
    who: str = ""
    comment: str = ""
    properties: Mapping[str, Any] = field(default_factory=dict)
    jobid: str | None = None


def read_job(data: bytes) -> TryJob:
    """The job in a file: netstrings, of which the first is the version.

    Raises:
        BadJobError: it is none.
    """
    if len(data) > MAX_JOB_BYTES:
        raise BadJobError(f"it has {len(data)} bytes, more than {MAX_JOB_BYTES}")
    version, *parts = netstrings(data) or [b""]
    known: dict[bytes, Callable[[list[bytes]], TryJob]] = {
        b"1": lambda parts: _from_parts(parts, ()),
        b"2": lambda parts: _from_parts(parts, ("repository", "project")),
        b"3": lambda parts: _from_parts(parts, ("repository", "project", "who")),
        b"4": lambda parts: _from_parts(parts, ("repository", "project", "who", "comment")),
        b"5": _from_json,
        b"6": _from_json,
    }
    if version not in known:
        raise BadJobError(f"unknown version {version[:20]!r}")
    return known[version](parts)


def netstrings(data: bytes) -> list[bytes]:
    """The netstrings (``length:bytes,``) in some bytes. Raises BadJobError if that is not all there is."""
    return list(_netstrings(data))


def _netstrings(data: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        length, colon, _ = data[at : at + 12].partition(b":")
        start = at + len(length) + 1
        if not colon or not length.isdigit():
            raise BadJobError(f"at byte {at} there is no netstring")
        at = start + int(length) + 1
        if data[at - 1 : at] != b",":
            raise BadJobError("a netstring is not complete")
        yield data[start : at - 1]


def _from_parts(parts: list[bytes], names: tuple[str, ...]) -> TryJob:
    fixed = 5 + len(names)
    if len(parts) < fixed:
        raise BadJobError(f"it has {len(parts)} parts, {fixed} are needed")
    jobid, branch, revision, level, patch, *further = [text(part, "a part") for part in parts]
    told = dict(zip(names, further, strict=False))
    return TryJob(
        branch or None,
        revision or None,
        patch,
        number(level),
        repository=told.get("repository", ""),
        project=told.get("project", ""),
        builders=further[len(names) :],
        who=told.get("who", ""),
        comment=told.get("comment", ""),
        jobid=jobid,
    )


def _from_json(parts: list[bytes]) -> TryJob:
    if len(parts) != 1:
        raise BadJobError("it must have one part, a JSON object")
    try:
        told = json.loads(parts[0])
    except ValueError as problem:
        raise BadJobError(f"it is no JSON: {problem}") from None
    if not isinstance(told, dict):
        raise BadJobError("it must be a JSON object")
    patch = told.get("patch_body")
    if told.get("patch_body_base64") is not None:
        try:
            patch = base64.b64decode(told["patch_body_base64"], validate=True)
        except (binascii.Error, TypeError, ValueError) as problem:
            raise BadJobError(f"patch_body_base64: {problem}") from None
    properties = told.get("properties") or {}
    if not isinstance(properties, dict):
        raise BadJobError("properties must be an object")
    return TryJob(
        text(told.get("branch"), "branch") or None,
        text(told.get("baserev"), "baserev") or None,
        text(patch, "the patch"),
        number(told.get("patch_level") or 0),
        repository=text(told.get("repository"), "repository"),
        project=text(told.get("project"), "project"),
        builders=names(told.get("builderNames")),
        who=text(told.get("who"), "who"),
        comment=text(told.get("comment"), "comment"),
        properties=properties,
        jobid=text(told.get("jobid"), "jobid") or None,
    )


def names(value: Any) -> list[str]:
    """Names of builders; nothing for none."""
    if value is None:
        return []
    if not isinstance(value, list | tuple):
        raise BadJobError("builderNames must be a list")
    return [text(each, "the name of a builder") for each in value]


def text(value: Any, what: str) -> str:
    """A text, or bytes as one; empty for nothing. Raises BadJobError."""
    if value is None:
        return ""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise BadJobError(f"{what} is not UTF-8, so it cannot be stored") from None
    if not isinstance(value, str):
        raise BadJobError(f"{what} must be a text, not {type(value).__name__}")
    return value


def number(value: Any) -> int:
    """The level of a patch. Raises BadJobError."""
    try:
        return int(value)
    except (TypeError, ValueError):
        raise BadJobError(f"the level of the patch must be a number, not {str(value)[:20]!r}") from None
