"""Updates of logs. Each fails with ``NotClaimedError`` if this master no longer holds the build's request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy.engine import Connection
from twisted.internet.defer import Deferred

from buildbot.data import options
from buildbot.data.base import Events, Transacts
from buildbot.data.endpoint import Endpoint, EndpointKind, Variables, clock_of
from buildbot.data.heard import Heard, heard_at
from buildbot.db.connector import DBConnector
from buildbot.db.engine.query import Page, Query, fetch
from buildbot.resources.base import Kind, Path
from buildbot.resources.logs import LOG
from buildbot.util import checks


class LogUpdates(Transacts):
    """``newLog``, ``newCompleteLog``, ``appendLog``, ``finishLog``."""

    def newLog(self, stepid: int, name: str, type: str) -> Deferred[int]:
        """Add a log to a step. Event: ``logs/N/new``.

        Args:
            name: its slug is made from this, and made unique in the step by ``_2``, ``_3``, …
            type: ``s`` stdio, ``t`` text, ``h`` HTML.

        Returns:
            Deferred with the logid.
        """
        return self.transact(self._thdNewLog, stepid, name, type)

    def _thdNewLog(self, conn: Connection, events: Events, stepid: int, name: str, log_type: str) -> int:
        logid = self._db.logs.thdAdd(conn, stepid, name, log_type)
        events.announce(LOG, "new", logid)
        return logid

    def newCompleteLog(self, stepid: int, name: str, type: str, content: str) -> Deferred[int]:
        """Add a log that is complete. Events: ``logs/N/new``, ``logs/N/append`` if it has lines, ``logs/N/finished``.

        Args:
            name, type: as for ``newLog``.
            content: as for ``appendLog``; may be empty.

        Returns:
            Deferred with the logid.
        """
        return self.transact(self._thdNewCompleteLog, stepid, name, type, content)

    def _thdNewCompleteLog(
        self, conn: Connection, events: Events, stepid: int, name: str, log_type: str, content: str
    ) -> int:
        logid = self._db.logs.thdAdd(conn, stepid, name, log_type, _storable(content))
        events.announce(LOG, "new", logid, changes={"num_lines": 0, "complete": False})
        self._announce_end(events, logid, bool(content))
        return logid

    @staticmethod
    def _announce_end(events: Events, logid: int, has_more: bool) -> None:
        if has_more:
            events.announce(LOG, "append", logid, changes={"complete": False})
        events.announce(LOG, "finished", logid)

    def appendLog(self, logid: int, content: str) -> Deferred[tuple[int, int]]:
        r"""Append whole lines to a log. Event: ``logs/N/append`` with the new ``num_lines``.

        Args:
            content: text ending in a newline; U+0000, which no database stores, becomes U+FFFD, as do lone surrogates.

        Returns:
            Deferred with the numbers of the first and the last line appended.
        """
        return self.transact(self._thdAppendLog, logid, content)

    def _thdAppendLog(self, conn: Connection, events: Events, logid: int, content: str) -> tuple[int, int]:
        lines = self._db.logs.thdAppend(conn, logid, _storable(content))
        events.announce(LOG, "append", logid)
        return lines

    def finishLog(self, logid: int, content: str = "") -> Deferred[None]:
        """End a log: it takes no more lines. Events: ``logs/N/append`` if there is ``content``, ``logs/N/finished``.

        Args:
            content: the last lines, as for ``appendLog``.
        """
        return self.transact(self._thdFinishLog, logid, content)

    def _thdFinishLog(self, conn: Connection, events: Events, logid: int, content: str) -> None:
        self._db.logs.thdFinish(conn, logid, _storable(content))
        self._announce_end(events, logid, bool(content))


def _storable(content: str) -> str:
    if not isinstance(content, str):
        raise TypeError(f"content must be text, not {type(content).__name__}")
    if "\x00" in content:
        content = content.replace("\x00", "\ufffd")
    if not content.isascii() and _has_surrogates(content):
        content = content.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return content


def _has_surrogates(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


_LOGCHUNK: dict[str, Kind] = {"logid": "int", "firstline": "int", "content": "str"}


class LogLinesEndpoint(Endpoint):
    """Lines of a log: ``offset`` and ``limit`` count lines."""

    announced = LOG.announced
    of_builds = True

    def __init__(self, db: DBConnector, path: Path, last: str, kind: EndpointKind) -> None:
        super().__init__(db, Path(f"{path.pattern}/{last}", where=path.where, single=True), "logchunks", "logchunk")
        self._log_path = path
        self.kind = kind

    @property
    def heard(self) -> Heard | None:
        """As ``Endpoint.heard``: the events of the log."""
        return heard_at(LOG, self._log_path)

    @property
    def fields(self) -> dict[str, Kind]:
        """As ``Endpoint.fields``."""
        return _LOGCHUNK

    def check(self, given: Mapping[str, Any] | None) -> Query:
        """Takes limit and offset, in lines."""
        given = dict(given or {})
        query = options.checked({k: given.pop(k) for k in ("limit", "offset") if k in given}, LOG, True)
        super().check(given)
        return query

    def read(self, conn: Connection, variables: Variables, query: Query) -> dict[str, Any] | None:
        """As ``Endpoint.read``: ``logid``, ``firstline``, ``content``.

        Raw kinds give the log itself, with the names of its ``step``, ``builder`` and ``worker`` and the build's
        ``number``.
        """
        return self._found(conn, query, self._fetch(conn, variables))[0]

    def read_at_once(self, conn: Connection, variables: Variables, query: Query) -> tuple[Any, int] | None:
        """As ``Endpoint.read_at_once``. Log and lines are of the same moment if the clock is still the same, on
        databases where every write moves it.
        """
        if self.kind != "lines" or not self._db.dialect.remote:
            return None
        page = self._fetch(conn, variables)
        found, clock = self._found(conn, query, page)
        return None if clock is None or clock != page.clock else (found, clock)

    def read_with_clock(
        self, conn: Connection, variables: Variables, query: Query
    ) -> tuple[dict[str, Any] | None, int]:
        """As ``Endpoint.read_with_clock``."""
        page = self._fetch(conn, variables)
        return self._found(conn, query, page)[0], clock_of(conn, page)

    def _fetch(self, conn: Connection, variables: Variables) -> Page:
        return fetch(conn, LOG, self._log_path, variables, Query(limit=1))

    def _found(self, conn: Connection, query: Query, page: Page) -> tuple[dict[str, Any] | None, int | None]:
        """The lines of the log, and the clock when they were read; None for the clock if there are no lines."""
        if not page.entities:
            return None, None
        log = page.entities[0]
        if self.kind != "lines":
            names = self._db.logs.thdGetOrigin(conn, log["logid"]) or (None,) * 4
            return {**log, **dict(zip(("step", "number", "builder", "worker"), names, strict=True))}, None
        first = query.offset
        if query.limit is None:
            if first and first >= log["num_lines"]:
                return None, None
            last = log["num_lines"] - 1
        else:
            if query.limit == 0:
                return None, None
            last = min(first + query.limit - 1, checks.MAX_INT)
        content, clock = self._db.logs.thdGetLogLinesAt(conn, log["logid"], first, last)
        return {"logid": log["logid"], "firstline": first, "content": content}, clock


class LogChunksEndpoint(Endpoint):
    """Chunks are found by their logs: the list at ``/logchunks`` is always empty, but clients know the path."""

    announced = LOG.announced
    of_builds = True

    def __init__(self, db: DBConnector) -> None:
        super().__init__(db, Path("logchunks", single=True), "logchunks", "logchunk")

    @property
    def fields(self) -> dict[str, Kind]:
        """As ``Endpoint.fields``."""
        return _LOGCHUNK

    def read(self, conn: Connection, variables: Variables, query: Query) -> None:
        """As ``Endpoint.read``."""
        return
