"""P4Source: finds new changes in a Perforce depot.

The position of the source is the number of the last change that was looked at. It moves in the transaction that adds
what this change is, so each change is told once. The first poll writes the newest number and makes no changes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

from twisted.logger import Logger

from buildbot.changes.base import PollError, PollingChangeSource
from buildbot.changes.commits import to_text
from buildbot.changes.programs import Program, ProgramError
from buildbot.config import checks
from buildbot.config.arguments import argument
from buildbot.config.errors import error

_log = Logger()
_LISTED = re.compile(r"Change (\d+) on ")
_HEADER = re.compile(r"Change (\d+) by ([^@]+)@\S+ on (\d+/\d+/\d+ \d+:\d+:\d+)")
_FILE = re.compile(r"\.\.\. (.+)#\d+ [a-z/]+\s*\Z")


def _timezone(value: Any) -> str:
    try:
        ZoneInfo(checks.name(value))
    except (KeyError, ValueError, OSError):
        raise ValueError(f"is not a time zone that this machine knows: {value!r}") from None
    return str(value)


class P4Source(PollingChangeSource):
    """Polls a Perforce depot, or a path in it, and tells the master about each change and branch."""

    state_class = "P4Source"
    positional: ClassVar[tuple[str, ...]] = ()
    p4port = argument(None, checks.optional(checks.name), doc="the server: `host:1666`; None: p4's default")
    p4user = argument(None, checks.optional(checks.name), doc="the user; None: p4's default")
    p4passwd = argument(None, checks.optional(checks.text), renderable=True, doc="the password")
    p4base = argument("//", checks.name, doc="the path in the depot to poll: `//depot/project/`")
    p4bin = argument("p4", checks.name, doc="the p4 program")
    split_file = argument(
        None,
        checks.optional(checks.function),
        doc="""`f(path)` tells the branch from the file in a path below `p4base`: `(branch, file)`; a branch of None is
        the trunk, a file of None does not count. None: everything is trunk""",
    )
    histmax = argument(
        None, checks.optional(checks.whole_number(1)), doc="of more changes than this the oldest are passed over"
    )
    encoding = argument("utf8", checks.encoding, doc="of p4's output that is not UTF-8")
    project = argument(None, checks.optional(checks.text), doc="of the changes")
    use_tickets = argument(False, checks.flag, doc="log in once, for a ticket, with the password")
    ticket_login_interval = argument(86400, checks.positive, doc="seconds after which to log in again")
    server_tz = argument(
        None, checks.optional(_timezone), doc="the time zone of the server (`Europe/Berlin`); None: UTC"
    )
    revlink = argument(None, checks.optional(checks.function), doc="`f(branch, revision)` gives the link of a change")
    resolvewho = argument(None, checks.optional(checks.function), doc="`f(user)` gives the author of a change")
    name: Any = argument(
        None, checks.optional(checks.name), doc="unique among change sources; None: `P4Source:PORT:BASE`"
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.name is None:
            self.name = f"P4Source:{self.p4port}:{self.p4base}"
        if self.use_tickets and self.p4passwd is None:
            error(f"P4Source {self.name}: use_tickets needs a p4passwd")
        self.__zone: tzinfo = UTC if self.server_tz is None else ZoneInfo(self.server_tz)
        self.__p4: Program | None = None
        self.__login_at: float | None = None

    async def stop_work(self) -> None:
        """Stop polling; a poll under way ends after the change that it is adding now."""
        self.stopping = True
        if self.__p4 is not None:
            self.__p4.stop()
        await super().stop_work()

    async def poll(self) -> None:
        """Look for new changes once."""
        try:
            await self.__poll()
        except ProgramError as problem:
            raise PollError(f"depot {self.p4base} cannot be read: {problem}") from None

    async def __poll(self) -> None:
        await self.__begin()
        last: int | None = await self.get_position()
        if last is None:
            newest = _LISTED.findall(await self.__run("changes", "-m", "1", f"{self.p4base}..."))
            await self.advance([], int(newest[0]) if newest else 0)
            return
        limit = [] if self.histmax is None else ["-m", str(self.histmax)]
        listed = await self.__run("changes", *limit, f"{self.p4base}...@{last + 1},#head")
        numbers = sorted(map(int, _LISTED.findall(listed)))
        if self.histmax is not None and len(numbers) == self.histmax:
            _log.warn("{part!r}: {count} changes; older ones are passed over", part=self, count=self.histmax)
        for number in numbers:
            if self.stopping:
                return
            await self.advance(list(self.__changes(await self.__run("describe", "-s", str(number)))), number)

    async def __begin(self) -> None:
        """Get p4 ready, logged in if there are tickets."""
        password = await self.render(self.p4passwd)
        environment = dict(os.environ)
        if password is not None and not self.use_tickets:
            environment["P4PASSWD"] = password  # arguments are there for every account to read
        self.__p4 = Program(self.master.reactor, self.p4bin, self.master.basedir, environment)
        now = self.master.reactor.seconds()
        if self.use_tickets and (self.__login_at is None or now - self.__login_at > self.ticket_login_interval):
            await self.__run("login", stdin=f"{password}\n".encode())
            self.__login_at = now

    async def __run(self, *words: str, stdin: bytes = b"") -> str:
        assert self.__p4 is not None
        server = ["-p", self.p4port] if self.p4port else []
        user = ["-u", self.p4user] if self.p4user else []
        return to_text(await self.__p4.run(*server, *user, *words, what=words[0], stdin=stdin), self.encoding)

    def __changes(self, described: str) -> Iterator[dict[str, Any]]:
        """The changes in the output of ``p4 describe``, one for each branch."""
        header = _HEADER.match(described)
        if header is None:
            raise PollError(f"p4 describe says what cannot be read: {described[:200]!r}")
        number, user, moment = header.groups()
        lines = described.splitlines()[1:]
        comments = [line.removeprefix("\t") for line in lines[: _index(lines, "Affected files ...")]]
        when = datetime.strptime(moment, "%Y/%m/%d %H:%M:%S").replace(tzinfo=self.__zone)
        branches: dict[str | None, list[str]] = {}
        for line in lines:
            file = _FILE.match(line)
            if file is not None and file[1].startswith(self.p4base):
                branch, path = (self.split_file or _trunk)(file[1][len(self.p4base) :])
                if path:
                    branches.setdefault(branch, []).append(path)
        for branch, files in branches.items():
            yield {
                "author": self.resolvewho(user) if self.resolvewho is not None else user,
                "comments": "\n".join(comments).strip("\n"),
                "files": files,
                "branch": branch,
                "revision": number,
                "when_timestamp": int(when.timestamp()),
                "repository": "",
                "project": self.project or "",
                "revlink": self.revlink(branch, number) if self.revlink is not None else "",
            }


def _trunk(path: str) -> tuple[str | None, str]:
    return None, path


def _index(lines: list[str], line: str) -> int:
    return lines.index(line) if line in lines else len(lines)
