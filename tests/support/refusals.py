"""That a call is refused with the right error, and changes nothing."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.engine import Connection

from buildbot.resources import clock, events, metadata


def thd_contents(conn: Connection) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table, but for the clock and the marks by which a commit is known to have happened."""
    found = {
        table.name: sorted(map(tuple, conn.execute(select(table))), key=repr)
        for table in metadata.sorted_tables
        if table is not clock and table is not events
    }
    announced = select(events).where(events.c.routing_keys != "").order_by(events.c.seq)
    return {**found, "events": list(map(tuple, conn.execute(announced)))}


@asynccontextmanager
async def unchanged(state: Any) -> AsyncIterator[None]:
    """The block leaves the database as it is: no row, no event."""
    before = await state.db.pool.snapshot(thd_contents)
    yield
    assert await state.db.pool.snapshot(thd_contents) == before


async def refuses(
    state: Any, method: Callable[..., Any], values: Iterable[tuple[Any, type[Exception]]], argument: str, **others: Any
) -> None:
    """The method, called with each wrong value of an argument, raises the error that goes with it, named after it."""
    async with unchanged(state):
        for value, error in values:
            with pytest.raises(error, match=re.escape(argument)):
                await method(**{**others, argument: value})
