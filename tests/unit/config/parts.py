"""The least that a master.cfg needs: things of a worker's, scheduler's, change source's, factory's shape."""

from __future__ import annotations

from typing import Any

from buildbot.config import error


class Worker:
    """Of a worker's shape."""

    def __init__(self, name: str, password: str | None) -> None:
        if password == "":
            error(f"worker {name!r} needs a password")
        self.name = name
        self.password = password


class Scheduler:
    """Of a scheduler's shape."""

    def __init__(self, name: str, builderNames: list[str]) -> None:
        self.name = name
        self.builderNames = builderNames


class ChangeSource:
    """Of a change source's shape."""

    def __init__(self, name: str) -> None:
        self.name = name


class Factory:
    """Of a factory's shape."""

    def addStep(self, step: Any) -> None:
        """Takes anything."""
