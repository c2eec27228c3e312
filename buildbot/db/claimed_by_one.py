"""Schedulers and change sources: at most one active master runs each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Table, bindparam, delete, insert, select
from sqlalchemy.engine import Connection

from buildbot.db.dialects.expressions import IdIn
from buildbot.db.engine.statements import Row, Statement
from buildbot.db.exceptions import NotClaimedError
from buildbot.resources.masters import masters
from buildbot.util import checks


class ClaimedByOne:
    """Reads and sets the masters of the schedulers or change sources of a table."""

    def __init__(self, things: Table, links: Table, what: str, refused: type[Exception]) -> None:
        key = links.c[what]
        self._what = what
        self._refused = refused
        columns = (*things.columns, links.c.masterid, masters.c.active.label("master_active"))
        joined = things.outerjoin(links, key == things.c.id).outerjoin(masters, masters.c.id == links.c.masterid)
        self._columns = [column.name for column in columns]
        self._base = select(*columns).select_from(joined)
        self._get = Statement(self._base.where(things.c.id == bindparam("thing")))
        self._things = things
        self._links = links
        self._holder = Statement(
            select(links.c.masterid, masters.c.active)
            .join(masters, masters.c.id == links.c.masterid)
            .where(key == bindparam("thing"))
        )
        self._hold = Statement(
            select(links.c.masterid)
            .join(masters, masters.c.id == links.c.masterid)
            .where(
                key == bindparam("thing"),
                links.c.masterid == bindparam("owner"),
                masters.c.epoch == bindparam("owner_epoch"),
            )
            # the row is locked, so that neither the write nor a declaration of death misses the other; check-ins do not
            # wait
            .with_for_update(read=True, key_share=True)
        )
        self._lock = Statement(select(things.c.id).where(things.c.id == bindparam("thing")).with_for_update())
        self._of_master = Statement(select(key).where(links.c.masterid == bindparam("masterid")).order_by(key))
        self._lock_some = Statement(
            select(things.c.id).where(IdIn(things.c.id)).order_by(things.c.id).with_for_update(key_share=True)
        )
        self._unlink = Statement(delete(links).where(key == bindparam("thing")))
        self._known_master = Statement(select(masters.c.id).where(masters.c.id == bindparam("masterid")))
        self._link = Statement(insert(links).values({what: bindparam("thing"), "masterid": bindparam("masterid")}))
        self._filtered: dict[tuple[bool | None, bool], Statement] = {}

    def set_master(self, conn: Connection, thing: int, masterid: int | None) -> int | None:
        """Set or unset the master of a row; refused while another active master runs it. Returns its master until now.

        Raises KeyError if there is no such row, ValueError if there is no such master.
        """
        checks.identifier(thing, self._what)
        if masterid is not None:
            checks.identifier(masterid, "masterid")
        if self._lock.first(conn, thing=thing) is None:
            raise KeyError(f"{self._what}: there is no {thing}")
        holder = self._holder.first(conn, thing=thing)
        until_now: int | None = None if holder is None else holder[0]
        if masterid is None:
            self._unlink.run(conn, thing=thing)
            return until_now
        if holder is not None:
            if holder[0] == masterid:
                return until_now
            if holder[1]:
                raise self._refused(f"{self._what} {thing} is run by master {holder[0]}")
        if self._known_master.first(conn, masterid=masterid) is None:
            raise ValueError(f"masterid: there is no master {masterid}")
        self._unlink.run(conn, thing=thing)
        self._link.run(conn, thing=thing, masterid=masterid)
        return until_now

    def lock_of_master(self, conn: Connection, masterid: int) -> list[int]:
        """The rows that a master runs, by id; locked, so that no other transaction announces them meanwhile."""
        ids = [row[0] for row in self._of_master.all(conn, masterid=masterid)]
        if ids:
            self._lock_some.all(conn, ids=ids)
        return ids

    def hold(self, conn: Connection, thing: int, masterid: int, epoch: int) -> None:
        """Make sure that a master, at its epoch, runs a row until this transaction ends.

        Raises NotClaimedError if it does not: it was declared dead, or another master runs the row now.
        """
        if self._hold.first(conn, thing=thing, owner=masterid, owner_epoch=epoch) is None:
            raise NotClaimedError(f"{self._what} {thing} is not run by this master")

    def get(self, conn: Connection, thing: int, convert: Callable[[dict[str, Any]], Any]) -> Any:
        """One row, converted, or None."""
        row = self._get.first(conn, thing=checks.identifier(thing, self._what))
        return None if row is None else convert(self._named(row))

    def get_all(
        self, conn: Connection, active: bool | None, masterid: int | None, convert: Callable[[dict[str, Any]], Any]
    ) -> list[Any]:
        """All rows, by id; ``active``: the rows that an active master runs, or the others."""
        checks.one_of(active, (None, True, False), "active")
        parameters = {} if masterid is None else {"masterid": checks.identifier(masterid, "masterid")}
        key = (active, masterid is not None)
        statement = self._filtered.get(key)
        if statement is None:
            statement = self._filtered[key] = Statement(self._select(*key))
        return [convert(self._named(row)) for row in statement.all(conn, **parameters)]

    def _select(self, active: bool | None, of_master: bool) -> Any:
        statement = self._base.order_by(self._things.c.id)
        if active is not None:
            active_master = masters.c.active == 1
            statement = statement.where(active_master if active else ~active_master | masters.c.active.is_(None))
        if of_master:
            statement = statement.where(self._links.c.masterid == bindparam("masterid"))
        return statement

    def _named(self, row: Row) -> dict[str, Any]:
        return dict(zip(self._columns, row, strict=True))
