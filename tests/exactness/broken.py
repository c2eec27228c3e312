"""Mistakes that a log and a claim can make, made on purpose in the processes of the proof, to show that it notices.

Each is a patch of the running program; the product has no switch for any of them.

- ``early-numbers``: an event gets its number in a transaction of its own, before the one that it belongs to commits,
  as a sequence or an AUTO_INCREMENT column gives them out. (Not on SQLite: it has one writer at a time.)
- ``early-dispatch``: this master's subscribers hear of events before the commit.
- ``no-fencing``: writes do not ask whether this master still holds the claim, the scheduler, the change source, nor
  whether the build has ended.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from copy import copy
from operator import and_
from typing import Any

from sqlalchemy import Insert
from sqlalchemy.sql.elements import BooleanClauseList
from sqlalchemy.sql.visitors import iterate

from buildbot.db import buildrequests, builds, logs, steps
from buildbot.db.claimed_by_one import ClaimedByOne
from buildbot.db.dialects.context import context_of, dialect_of
from buildbot.db.engine.statements import Statement
from buildbot.mq.log import EventLog
from buildbot.resources.events import clock

#: the longest time in seconds between the step that should be last and the commit
_LINGER_S = 0.05


def early_numbers(master: Any) -> None:
    """Numbers are taken, and visible to other transactions, before the commit of their events."""
    engine = master.db.pool.engine
    append = EventLog.append

    def append_early(self: EventLog, conn: Any, entry: Any) -> Any:
        dialect: Any = dialect_of(conn)
        with engine.begin() as other:
            last = dialect.count_up(other, clock.c.seq, 1, len(entry.events))
        time.sleep(random.uniform(0, _LINGER_S))  # the other writer may overtake us here
        with _dialect(conn, _Lingering(dialect, last)):
            return append(self, conn, entry)

    EventLog.append = append_early  # type: ignore[method-assign]


@contextmanager
def _dialect(conn: Any, dialect: Any) -> Iterator[None]:
    state = context_of(conn)
    before, state.dialect = state.dialect, dialect
    try:
        yield
    finally:
        state.dialect = before


class _Lingering:
    """A dialect that commits in a message of its own, after the events; it may have taken their numbers already."""

    def __init__(self, dialect: Any, last: int | None = None) -> None:
        self._dialect = dialect
        self._last = last

    def commit_with_events(self, conn: Any, entry: Any) -> None:
        """It takes several round trips here."""

    def count_up(self, conn: Any, column: Any, key: int, by: int) -> int:
        """The numbers taken before, if the column is the clock's."""
        taken = self._last is not None and column is clock.c.seq
        return self._last if taken else self._dialect.count_up(conn, column, key, by)  # type: ignore[return-value]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._dialect, name)


def early_dispatch(master: Any) -> None:
    """Subscribers of this master hear of a group of events while its transaction is still open."""
    append = EventLog.append
    pool = master.db.pool

    def append_and_tell(self: EventLog, conn: Any, entry: Any) -> Any:
        with _dialect(conn, _Lingering(dialect_of(conn))):
            committed = append(self, conn, entry)
        if pool.on_commit is not None:
            pool.reactor.callFromThread(pool.on_commit, committed)
            time.sleep(random.uniform(0, _LINGER_S))
        return committed

    EventLog.append = append_and_tell  # type: ignore[method-assign]


def no_fencing(master: Any) -> None:
    """A master that was declared dead goes on writing about its builds."""
    modules: list[Any] = [builds, steps, logs]
    asking = [
        (module, name)
        for module in modules
        for name, found in vars(module).items()
        if isinstance(found, Statement) and _asks_for_owner(found.core)
    ]
    assert asking, "no statement asks for the owner"
    for module, name in [*asking, (buildrequests, "_complete")]:
        setattr(module, name, _without_owner(getattr(module, name)))
    ClaimedByOne.hold = lambda *arguments: None  # type: ignore[method-assign]


def _without_owner(statement: Statement) -> Statement:
    core: Any = statement.core
    if isinstance(core, Insert):
        patched = core._generate()
        patched.select = _unasked(core.select)
    else:
        patched = _unasked(core)
    changed = copy(statement)
    changed.core, changed._compiled = patched, {}
    return changed


def _unasked(core: Any) -> Any:
    """A statement without the conditions that ask for the owner, and whether the build has ended."""
    patched = core._generate()
    patched._where_criteria = tuple(
        clause
        for clause in _conjuncts(core._where_criteria)
        if not _asks_for_owner(clause) and not _mentions(clause, {"complete_at"})
    )
    return patched


def _conjuncts(clauses: Iterable[Any]) -> Iterator[Any]:
    for clause in clauses:
        if isinstance(clause, BooleanClauseList) and clause.operator is and_:
            yield from _conjuncts(clause.clauses)
        else:
            yield clause


def _asks_for_owner(clause: Any) -> bool:
    return clause is not None and _mentions(clause, {"owner", "owner_epoch"})


def _mentions(clause: Any, keys: set[str]) -> bool:
    return any(getattr(element, "key", None) in keys for element in iterate(clause))


VARIANTS: dict[str, Callable[[Any], None]] = {
    "early-numbers": early_numbers,
    "early-dispatch": early_dispatch,
    "no-fencing": no_fencing,
}
