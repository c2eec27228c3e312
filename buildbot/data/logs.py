"""Updates of logs. Each fails with ``NotClaimedError`` if this master no longer holds the build's request."""

from __future__ import annotations

from sqlalchemy.engine import Connection
from twisted.internet.defer import Deferred

from buildbot.data.base import Events, Transacts
from buildbot.resources.logs import LOG


class LogUpdates(Transacts):
    """``newLog``, ``appendLog``, ``finishLog``."""

    def newLog(self, stepid: int, name: str, type: str) -> Deferred[int]:
        """Add a log to a step. Event: ``logs/N/new``.

        Args:
            name: its slug is made of it, unique in the step by ``_2``, ``_3``, …
            type: ``s`` stdio, ``t`` text, ``h`` HTML.

        Returns:
            Deferred with the logid.
        """
        return self.transact(self._thdNewLog, stepid, name, type)

    def _thdNewLog(self, conn: Connection, events: Events, stepid: int, name: str, log_type: str) -> int:
        logid = self._db.logs.thdAdd(conn, stepid, name, log_type)
        events.announce(LOG, "new", logid)
        return logid

    def appendLog(self, logid: int, content: str) -> Deferred[tuple[int, int]]:
        r"""Append whole lines to a log. Event: ``logs/N/append`` with the new ``num_lines``.

        Args:
            content: text ending in a newline; U+0000, which no database stores, becomes U+FFFD, as do lone surrogates.

        Returns:
            Deferred with the numbers of the first and the last line appended.
        """
        return self.transact(self._thdAppendLog, logid, content)

    def _thdAppendLog(self, conn: Connection, events: Events, logid: int, content: str) -> tuple[int, int]:
        if not isinstance(content, str):
            raise TypeError(f"content must be text, not {type(content).__name__}")
        lines = self._db.logs.thdAppend(conn, logid, _storable(content))
        events.announce(LOG, "append", logid)
        return lines

    def finishLog(self, logid: int) -> Deferred[None]:
        """Nothing more will come. Event: ``logs/N/finished``."""
        return self.transact(self._thdFinishLog, logid)

    def _thdFinishLog(self, conn: Connection, events: Events, logid: int) -> None:
        self._db.logs.thdFinish(conn, logid)
        events.announce(LOG, "finished", logid)


def _storable(content: str) -> str:
    if "\x00" in content:
        content = content.replace("\x00", "\ufffd")
    if not content.isascii():
        content = content.encode("utf-8", "replace").decode() if _has_surrogates(content) else content
    return content


def _has_surrogates(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False
