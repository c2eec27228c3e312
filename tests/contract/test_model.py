"""The model."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import MetaData, Table
from sqlalchemy.engine import Connection

from buildbot.db.model import Model
from buildbot.resources import metadata


async def test_tables(state: Any) -> None:
    """The buildrequests table can be referred to as master.db.model.buildrequests, with columns in its ``c``."""
    assert isinstance(state.db.model.buildrequests, Table)
    assert state.db.model.buildrequests.c.priority.table is state.db.model.buildrequests
    for name, table in metadata.tables.items():
        assert getattr(state.db.model, name) is table
    with pytest.raises(AttributeError, match="nothing_like_it"):
        _ = state.db.model.nothing_like_it


async def test_metadata(state: Any) -> None:
    """The model object also has a ``metadata`` attribute containing a MetaData instance, not bound to an engine."""
    assert isinstance(state.db.model.metadata, MetaData)


async def test_queries(state: Any) -> None:
    """Queries can be constructed using tables from the model, and executed with the connection object."""

    def thd(conn: Connection) -> list[str]:
        q = state.db.model.masters.select().where(state.db.model.masters.c.id == state.masterid)
        return [row.name for row in conn.execute(q)]

    assert await state.db.pool.do(thd) == [state.name]


async def test_is_current(state: Any) -> None:
    """Returns true if the current database's version is current."""
    assert await state.db.model.is_current() is True


async def test_upgrade_of_current(state: Any) -> None:
    """Upgrades the database to the most recent schema version: one that has it stays as it is."""
    said: list[str] = []
    assert await state.db.model.upgrade(said.append) is None
    assert said == []
    assert await state.db.model.is_current() is True


async def test_connector(state: Any) -> None:
    """``db`` is a reference to the DBConnector: self.db.pool, self.db.model, in unusual cases self.db.master."""
    for component in vars(state.db).values():
        if component.__class__.__name__.endswith("ConnectorComponent"):
            assert component.db is state.db
    assert state.db.master is state


def test_class_variables() -> None:
    """The tables are class variables of Model; what is no table is an AttributeError."""
    assert Model.buildrequests is metadata.tables["buildrequests"]
    assert set(metadata.tables) <= set(dir(Model))
    with pytest.raises(AttributeError, match="nothing"):
        _ = Model.nothing
