"""The edge of REST and JSON-RPC: a Data API that keeps the questions, and fails on request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed

from buildbot.data.base import ResourceList
from buildbot.data.exceptions import (
    ControlParamsError,
    InvalidControlError,
    InvalidOptionError,
    InvalidPathError,
    UnknownActionError,
)
from buildbot.db.logsearch import Found
from buildbot.resources import BY_PLURAL

#: plural → (key, fields with their kinds, growing)
NOUNS: dict[str, tuple[str, dict[str, str], bool]] = {
    "masters": ("masterid", {"masterid": "int", "name": "str", "active": "bool", "last_active": "time"}, False),
    "builders": (
        "builderid",
        {"builderid": "int", "name": "str", "masterids": "int", "tags": "str", "description": "str"},
        False,
    ),
    "builds": (
        "buildid",
        {
            "buildid": "int",
            "number": "int",
            "builderid": "int",
            "workerid": "int",
            "complete": "bool",
            "started_at": "time",
            "results": "int",
            "state_string": "str",
            "properties": "json",
        },
        True,
    ),
    "steps": ("stepid", {"stepid": "int", "number": "int", "name": "str", "buildid": "int"}, True),
    "logs": (
        "logid",
        {
            "logid": "int",
            "name": "str",
            "slug": "str",
            "stepid": "int",
            "type": "str",
            "num_lines": "int",
            "complete": "bool",
        },
        True,
    ),
    "workers": ("workerid", {"workerid": "int", "name": "str"}, False),
    "forceschedulers": ("name", {"name": "str"}, False),
}


@dataclass
class Endpoint:
    """The Data API's answer about a path."""

    plural: str
    is_collection: bool
    kind: str
    growing: bool
    compared: dict[str, str]

    @property
    def announced(self) -> bool:
        """As the real nouns of these names declare it."""
        return BY_PLURAL[self.plural].announced if self.plural in BY_PLURAL else self.plural == "logchunks"


@dataclass
class FakeData:
    """Rows by noun; ``asked`` keeps the calls."""

    rows: dict[str, list[dict[str, Any]]]
    clock: int = 41
    commits: int = 7
    part_lines: int = 2000
    texts: dict[int, str] = field(default_factory=dict)
    asked: list[tuple[str, Any, tuple[Any, ...]]] = field(default_factory=list)
    broken: Exception | None = None

    def locks(self) -> list[dict[str, Any]]:
        return []

    def endpoint(self, path: tuple[str, ...]) -> Endpoint:
        parts = tuple(str(part) for part in path)
        if len(parts) >= 3 and parts[-1] in ("raw", "raw_inline", "contents"):
            kind = {"contents": "lines"}.get(parts[-1], parts[-1])
            return Endpoint("logchunks", False, kind, False, {"logid": "int", "firstline": "int", "content": "str"})
        plural = parts[-1] if len(parts) % 2 else parts[-2]
        if plural not in NOUNS or "" in parts:
            raise InvalidPathError(f"Invalid path: {'/'.join(parts)}")
        _, fields, growing = NOUNS[plural]
        single = len(parts) % 2 == 0
        return Endpoint(plural, not single, "single" if single else "collection", growing, fields)

    def write(self, logid: int, text: str) -> None:
        """Give a log this text."""
        self.texts[logid] = text
        next(log for log in self.rows["logs"] if log["logid"] == logid)["num_lines"] = text.count("\n")

    def data_version(self) -> int:
        return self.commits

    async def version(self) -> tuple[int, int]:
        return self.commits, self.clock

    def read(self, options: dict[str, Any], path: tuple[Any, ...], finish: Callable[[Any, int], Any]) -> Deferred[Any]:
        self.asked.append(("read", options, path))
        if self.broken is not None:
            return fail(self.broken)
        try:
            return succeed(finish(self._find(options, path), self.clock))
        except Exception as error:
            return fail(error)

    def log_bytes(self, logid: int, first_line: int, stripped: bool) -> Deferred[tuple[bytes, int] | None]:
        lines = self.texts[logid].splitlines(keepends=True)[first_line : first_line + self.part_lines]
        text = "".join(line[stripped:] for line in lines)
        return succeed((text.encode(), first_line + len(lines)) if lines else None)

    def log_sizes(self, logid: int, stripped: bool) -> Deferred[list[tuple[int, int]]]:
        lines = self.texts[logid].splitlines(keepends=True)
        sizes = []
        for first in range(0, len(lines), self.part_lines):
            part = [line[stripped:] for line in lines[first : first + self.part_lines]]
            sizes.append((first, len("".join(part).encode())))
        return succeed(sizes)

    def log_search(
        self, logid: int, first_line: int, prefixed: bool, needle: bytes, most: int
    ) -> Deferred[Found | None]:
        return fail(NotImplementedError("search is tested on real logs"))

    def control(self, action: str, args: dict[str, Any], path: tuple[Any, ...]) -> Deferred[Any]:
        self.asked.append((action, args, path))
        if self.broken is not None:
            return fail(self.broken)
        try:
            self.endpoint(path)
        except InvalidPathError as error:
            return fail(error)
        if action == "force" and args.get("reason") == "":
            return fail(ControlParamsError({"reason": "'reason:' needs to be specified"}))
        if action not in ("stop", "force", "rebuild"):
            return fail(UnknownActionError(f"action: {action} is not supported"))
        if "surprise" in args:
            return fail(InvalidControlError(f"{action}: unknown argument 'surprise'"))
        return succeed(None if action == "stop" else [7, {"1": 70}])

    def _find(self, options: dict[str, Any], path: tuple[Any, ...]) -> Any:
        endpoint = self.endpoint(path)
        if endpoint.kind == "lines":
            lines = self.texts.get(int(path[1]), "").splitlines(keepends=True)
            first = options.get("offset", 0)
            chosen = lines[first : first + options["limit"]] if "limit" in options else lines[first:]
            return {"logid": int(path[1]), "firstline": first, "content": "".join(chosen)}
        if endpoint.kind in ("raw", "raw_inline"):
            log = self._find({}, path[:-1])
            builder = self.rows["builders"][0]["name"]
            origin = {"step": "compile it", "number": 1, "builder": builder, "worker": "w1"}
            return None if log is None else {**log, **origin}
        key = NOUNS[endpoint.plural][0]
        rows = self.rows.get(endpoint.plural, [])
        if not endpoint.is_collection:
            return next((row for row in rows if str(row[key]) == str(path[-1])), None)
        for name in options.get("filters", {}):
            if name == "masterid__gt":
                raise InvalidOptionError(f"cannot filter with {name}")
        page = rows[options.get("offset", 0) :]
        return ResourceList(page[: options.get("limit", len(page))], len(rows), endpoint.plural)


def make_data() -> FakeData:
    """A small farm: one builder, three builds, two logs."""
    builds: list[dict[str, Any]] = [
        {
            "buildid": number,
            "number": number,
            "builderid": 1,
            "workerid": 1,
            "complete": number < 3,
            "started_at": 1000 * number,
            "results": 0 if number < 3 else None,
            "state_string": "grün",
            "properties": {},
        }
        for number in (1, 2, 3)
    ]
    log = {"stepid": 4, "complete": False}
    rows: dict[str, list[dict[str, Any]]] = {
        "masters": [{"masterid": 1, "name": "m", "active": True, "last_active": 5}],
        "builders": [{"builderid": 1, "name": "linux", "masterids": [1], "tags": ["fast"], "description": None}],
        "builds": builds,
        "steps": [{"stepid": 4, "number": 0, "name": "compile it", "buildid": 1}],
        "logs": [
            {**log, "logid": 9, "name": "stdio", "slug": "stdio", "type": "s", "num_lines": 3, "complete": True},
            {**log, "logid": 10, "name": "page.html", "slug": "page_html", "type": "h", "num_lines": 1},
        ],
        "workers": [{"workerid": 1, "name": "w1"}],
        "forceschedulers": [{"name": "force"}],
    }
    return FakeData(rows, texts={9: "hstart\noout\x1b[1m\neerr\n", 10: "<b>hi</b>\n"})
