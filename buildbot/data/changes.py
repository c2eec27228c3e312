"""Updates of changes and change sources."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any

from sqlalchemy.engine import Connection
from twisted.internet.defer import Deferred, maybeDeferred

from buildbot.data.base import Events, Transacts
from buildbot.db.exceptions import ChangeSourceAlreadyClaimedError
from buildbot.resources.changes import CHANGE
from buildbot.resources.changesources import CHANGESOURCE
from buildbot.util import checks
from buildbot.util.deferreds import deferred

#: the attributes of a change that none are given for
_BARE: dict[str, Any] = {
    "author": None, "committer": None, "files": [], "comments": "", "revision": None, "branch": None, "category": None,
    "revlink": "", "when_timestamp": None, "repository": "", "project": "", "codebase": None, "properties": {},
}  # fmt: skip
#: characters that not every database stores
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
#: times from 1970 to 9999; git takes any number for one
_LAST_SECOND = 253_402_300_799


def storable(change: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of ``addChange`` for a change from outside, made storable: a commit may have any text.

    Comments and lists of files that are too long are cut. Characters that no database stores become U+FFFD. A time that
    is none is left out.
    """
    kept = {name: _readable(value) for name, value in change.items()}
    if isinstance(kept.get("comments"), str):
        kept["comments"] = kept["comments"][: checks.MAX_COMMENTS]
    for name in ("author", "committer", "category", "revlink"):
        if isinstance(kept.get(name), str):
            kept[name] = kept[name][: checks.MAX_NAME]
    if isinstance(kept.get("files"), list):
        ends = accumulate(map(len, kept["files"][: checks.MAX_FILES]))
        kept["files"] = kept["files"][: sum(end <= checks.MAX_TEXT for end in ends)]
    moment = kept.get("when_timestamp")
    if isinstance(moment, int) and not 0 <= moment <= _LAST_SECOND:
        kept["when_timestamp"] = None
    return kept


def _readable(value: Any) -> Any:
    if isinstance(value, str):
        return _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", value)
    if isinstance(value, list | tuple):
        return [_readable(each) for each in value]
    if isinstance(value, dict):
        return {_readable(name): _readable(each) for name, each in value.items()}
    return value


class ChangeUpdates(Transacts):
    """``addChange``, ``addChanges``, ``findChangeSourceId``, ``setChangeSourceMaster``.

    Attributes:
        codebase_generator: ``c['codebaseGenerator']``: the function for changes without a codebase.
        revlink: ``c['revlink']``: the function for changes without a link.
    """

    codebase_generator: Callable[[dict[str, Any]], str] | None = None
    revlink: Callable[[str | None, str], str | None] | None = None

    def described(self, change: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of ``addChange``, with the codebase and the link that the configuration's functions give.

        The functions are called here, not in the transaction, which may run in a thread and more than once.

        Raises:
            TypeError: a function gives something other than text.
            Exception: raised by a function.
        """
        described = dict(change)
        if described.get("codebase") is None:
            described["codebase"] = self.codebase_of(described)
        if self.revlink is not None and not described.get("revlink"):
            link = self.revlink(described.get("revision"), described.get("repository", ""))
            if link is not None and not isinstance(link, str):
                raise TypeError(f"c['revlink'] must give a text or None, not {link!r}")
            described["revlink"] = link or ""
        return described

    def codebase_of(self, change: Mapping[str, Any]) -> str:
        """The codebase of a change that names none; raises as `described`."""
        if self.codebase_generator is None:
            return ""
        codebase = self.codebase_generator(_BARE | dict(change) | {"changeid": None})
        if not isinstance(codebase, str):
            raise TypeError(f"c['codebaseGenerator'] must give a text, not {codebase!r}")
        return codebase

    def addChange(self, **change: Any) -> Deferred[int]:
        """Add a change. Event: ``changes/N/new``.

        Args:
            change: the keywords of the connector's ``addChange``. A property may be a plain value, which gets
            the source ``Change``; ``when_timestamp`` may be integer Unix seconds.

        Returns:
            Deferred with the changeid.
        """
        return maybeDeferred(lambda: self.transact(self.thdAddChange, **self.described(change)))

    def addChanges(self, changes: Sequence[Mapping[str, Any]], delivery: str | None = None) -> Deferred[list[int]]:
        """Add several changes, all or none. Event: ``changes/N/new`` for each.

        Args:
            changes: for each the arguments of ``addChange``.
            delivery: name of the delivery that brought them; if it is known, nothing is added.

        Returns:
            Deferred with the changeids, none for a delivery that is known.
        """
        return self.addDelivery({delivery or "": changes}, delivery)

    def addDelivery(
        self, lines: Mapping[str, Sequence[Mapping[str, Any]]], delivery: str | None = None
    ) -> Deferred[list[int]]:
        """Add the changes that a change hook was given, all or none. Event: ``changes/N/new`` for each change.

        Args:
            lines: the changes by their line, which is a branch of a repository: for each change the arguments of
                ``addChange``. No changes: nothing to build, as when a branch is deleted.
            delivery: name of the delivery. A line whose last delivery has the same name gets no changes.

        Returns:
            Deferred with the changeids; none for lines whose last delivery this was.
        """
        return maybeDeferred(
            lambda: self.transact(
                self._thdAddDelivery,
                {line: [self.described(change) for change in changes] for line, changes in lines.items()},
                delivery,
            )
        )

    def _thdAddDelivery(
        self, conn: Connection, events: Events, lines: Mapping[str, Sequence[Mapping[str, Any]]], delivery: str | None
    ) -> list[int]:
        added = []
        # in one order, so that two deliveries never wait for each other
        for line in sorted(lines):
            if delivery is None or self._db.deliveries.thdTake(conn, line, delivery):
                added += [self.thdAddChange(conn, events, **change) for change in lines[line]]
        return added

    def thdAddChange(self, conn: Connection, events: Events, /, **change: Any) -> int:
        """As ``addChange``, in a transaction that does more."""
        changeid = self._db.changes.thdAddChange(conn, **_completed(change))
        events.announce(CHANGE, "new", changeid)
        return changeid

    def findChangeSourceId(self, name: str) -> Deferred[int]:
        """The id of the change source with this name, which is added if it is new.

        Event if so: ``changesources/N/updated``.
        """
        return self.transact(self._thdFindChangeSourceId, name)

    def _thdFindChangeSourceId(self, conn: Connection, events: Events, name: str) -> int:
        return self._db.changesources.thdFindChangeSourceId(conn, name)

    @deferred
    async def setChangeSourceMaster(self, changesourceid: int, masterid: int | None) -> bool:
        """Set the master that runs a change source; None: no master. Event: ``changesources/N/updated``.

        Returns:
            Deferred with false if another active master runs it.
        """
        try:
            await self.transact(self._thdSetChangeSourceMaster, changesourceid, masterid)
        except ChangeSourceAlreadyClaimedError:
            return False
        return True

    def _thdSetChangeSourceMaster(
        self, conn: Connection, events: Events, changesourceid: int, masterid: int | None
    ) -> None:
        until_now = self._db.changesources.thdMoveToMaster(conn, changesourceid, masterid)
        asides = None if until_now is None else {changesourceid: {"master": {"masterid": until_now}}}
        events.announce(CHANGESOURCE, "updated", changesourceid, asides=asides)


def _completed(change: Mapping[str, Any]) -> dict[str, Any]:
    completed = dict(change)
    moment = completed.get("when_timestamp")
    if isinstance(moment, int) and not isinstance(moment, bool):
        try:
            completed["when_timestamp"] = dt.datetime.fromtimestamp(moment, dt.UTC)
        except (OverflowError, OSError, ValueError):
            raise ValueError(f"when_timestamp: {moment} is no time") from None
    properties = completed.get("properties")
    if isinstance(properties, Mapping):
        completed["properties"] = {name: _pair(value) for name, value in properties.items()}
    return completed


def _pair(value: Any) -> tuple[Any, str]:
    if isinstance(value, tuple | list) and len(value) == 2 and value[1] == "Change":
        return value[0], "Change"
    return value, "Change"
