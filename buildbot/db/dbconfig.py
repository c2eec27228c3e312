"""Values in the database that a ``master.cfg`` may read and set while it is loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from sqlalchemy import inspect
from sqlalchemy.engine import Connection

from buildbot.config.database_url import DEFAULT
from buildbot.db.connector import DBConnector
from buildbot.resources.state import object_state

T = TypeVar("T")

_REQUIRED: Any = object()


class DbConfig:
    """JSON values by name, in the database of a master. Each call has a connection of its own, and blocks.

    Args:
        BuildmasterConfig: the configuration, in which the database is already set.
        basedir: the master's directory.
        name: of a set of values.
    """

    def __init__(self, BuildmasterConfig: Mapping[str, Any], basedir: str, name: str = "config") -> None:
        from twisted.internet import reactor

        url = BuildmasterConfig.get("db_url")
        if url is None:
            url = BuildmasterConfig.get("db", {}).get("db_url", DEFAULT)
        if not isinstance(url, str):
            raise TypeError(
                "DbConfig needs a db_url that is a text: secrets are not known while the configuration is read"
            )
        self.__db = DBConnector(None, url, reactor, str(basedir))
        self.__name = name

    def get(self, name: str, default: Any = _REQUIRED) -> Any:
        """A value; ``default`` if there is none, or no database yet.

        Raises:
            KeyError: there is none, and no default was given.
        """

        def read(conn: Connection) -> Any:
            if not inspect(conn).has_table(object_state.name):
                raise KeyError(name)
            state = self.__db.state
            return state.thdGetState(conn, state.thdGetObjectId(conn, self.__name, "DbConfig"), name)

        try:
            return self.__with_connection(read)
        except KeyError:
            if default is _REQUIRED:
                raise
            return default

    def set(self, name: str, value: Any) -> None:
        """Set a value.

        Raises:
            TypeError: it is no JSON value.
        """
        state = self.__db.state
        self.__with_connection(
            lambda conn: state.thdSetState(conn, state.thdGetObjectId(conn, self.__name, "DbConfig"), name, value)
        )

    def __with_connection(self, work: Callable[[Connection], T]) -> T:
        engine = self.__db.dialect.create_engine()
        try:
            with engine.connect() as conn:
                result = work(conn)
                conn.connection.commit()  # statements go to the driver directly, so SQLAlchemy knows of no transaction
                return result
        finally:
            engine.dispose()
