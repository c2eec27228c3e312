"""Arguments of all steps that run programs on the worker: the environment, and the time without output."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from buildbot.config import checks
from buildbot.config.arguments import argument
from buildbot.process.step import BuildStep


def _environment(value: Any) -> Any:
    checked = checks.mapping(value)
    for name, each in checked.items():
        if isinstance(each, bool) or not isinstance(each, (str, int, float, list, tuple, type(None))):
            raise ValueError(f"[{name!r}] must be a text, a list of texts or None, not {checks.kind(each)}")
        if isinstance(each, (list, tuple)):
            checked[name] = checks.list_of(checks.text)(each)
        elif isinstance(each, (int, float)):
            checked[name] = str(each)  # agents take only texts
    return checked


class EnvironmentMixin:
    """For steps that run programs on the worker: the arguments about how the programs run."""

    env: Mapping[str, Any] | None = argument(
        MappingProxyType({}),
        checks.optional(_environment),
        rendered=True,
        doc="environment variables; a list is joined with the system's path separator, None removes a variable",
    )
    timeout = argument(
        20 * 60, checks.optional(checks.number()), rendered=True, doc="seconds without output before it is killed"
    )
    logEnviron = argument(True, checks.flag, rendered=True, doc="whether the log begins with the environment")

    async def command_environment(self, env: Mapping[str, Any] | None) -> dict[str, Any]:
        """The environment variables of a command: the builder's, overwritten by ``env``."""
        if not isinstance(self, BuildStep):
            raise TypeError("EnvironmentMixin is for subclasses of BuildStep")
        checked: dict[str, Any] = _environment({**await self.render(dict(self.build.env)), **(env or {})})
        return checked
