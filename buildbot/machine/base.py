"""A machine as a configuration describes it."""

from __future__ import annotations

from typing import Any, ClassVar

from buildbot.config import checks
from buildbot.config.arguments import REQUIRED, argument
from buildbot.process.service import DeclaredService


class Machine(DeclaredService):
    """A machine that is always on: workers may name it, and nothing follows from that."""

    positional: ClassVar[tuple[str, ...]] = ("name",)
    name = argument(REQUIRED, checks.name, doc="what `machine_name` of workers says; unique among machines")

    def __init__(self, name: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(name, *args, **{**kwargs, "name": name})
