"""Machines of a configuration."""

from __future__ import annotations

from typing import Any, ClassVar

from buildbot.config import checks
from buildbot.config.arguments import REQUIRED, argument
from buildbot.process.service import DeclaredService


class Machine(DeclaredService):
    """A machine that is always on. Workers may name it; that has no effect."""

    positional: ClassVar[tuple[str, ...]] = ("name",)
    name = argument(REQUIRED, checks.name, doc="the name for `machine_name` of workers; unique among machines")

    def __init__(self, name: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(name, *args, **{**kwargs, "name": name})
