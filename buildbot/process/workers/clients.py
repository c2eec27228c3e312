"""Programs that log in over PB beside the workers, for example to send changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


class NameTakenError(Exception):
    """Another program logs in at this port under the same name."""


@dataclass(frozen=True)
class Client:
    """A program that may log in.

    Attributes:
        password: its password.
        make_perspective: makes the object whose methods ``perspective_NAME`` a connection may call.
    """

    password: str
    make_perspective: Callable[[], Any]


class Clients:
    """The programs that may log in at a port, by name. A worker of the same name has precedence."""

    def __init__(self) -> None:
        self._clients: dict[str, Client] = {}

    def add(self, name: str, client: Client) -> None:
        """Let a program log in; NameTakenError if one of this name does."""
        if name in self._clients:
            raise NameTakenError(f"there are two programs that log in as {name!r} at one port; give one another user")
        self._clients[name] = client

    def remove(self, name: str) -> None:
        """Let it log in no more; its present connections stay."""
        del self._clients[name]

    def password(self, name: str) -> str | None:
        """The password of a program; None if there is none of this name."""
        client = self._clients.get(name)
        return client.password if client is not None else None

    def perspective(self, name: str) -> Any:
        """The object that a new connection of a program may call; None if there is none of this name."""
        client = self._clients.get(name)
        return client.make_perspective() if client is not None else None

    def __bool__(self) -> bool:
        return bool(self._clients)
