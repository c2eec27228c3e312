"""The base of steps that run one program."""

from __future__ import annotations

from typing import Any

from buildbot.process.shellmixin import ShellMixin
from buildbot.process.step import BuildStep


class ProgramStep(ShellMixin, BuildStep):
    """A step that makes the command of its program itself, so that ``command`` is no argument."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        given = self.by_name(args, kwargs)
        super().__init__(**self.setupShellMixin(given, prohibitArgs=["command"]))
