"""Workers as a master.cfg describes them."""

from __future__ import annotations

import re
from typing import Any, ClassVar

from buildbot.config import checks
from buildbot.config.arguments import REQUIRED, Declared, argument

_NAME = re.compile(r"[^\W\d][\w.-]{0,49}\Z")


class WorkerProperties(dict[str, Any]):
    """Properties that a worker gives to its builds, by name; functions of the configuration ask them as they ask
    those of a build. Renderables in them are rendered with each build.
    """

    def getProperty(self, name: str, default: Any = None) -> Any:
        """The value of a property; ``default`` if there is none."""
        return self.get(name, default)

    def hasProperty(self, name: str) -> bool:
        """Whether there is a property of this name, whatever its value."""
        return name in self

    def setProperty(self, name: str, value: Any, source: str = "Worker") -> None:
        """Give builds that begin from now on another value. The source is ``Worker`` always."""
        self[name] = value


def _name(value: Any) -> str:
    if not isinstance(value, str) or not _NAME.match(value):
        raise ValueError(
            f"must be a letter, then letters, digits, '_', '-' and '.', at most 50 in all, not {checks.kind(value)}"
        )
    return value


class AbstractWorker(Declared):
    """A worker that may connect: its name, its password, and how it is treated."""

    positional: ClassVar[tuple[str, ...]] = ("name", "password")
    name = argument(
        REQUIRED,
        _name,
        doc="what the worker calls itself; a letter, then letters, digits, `_`, `-` and `.`, at most 50",
    )
    password = argument(REQUIRED, checks.name, doc="what it proves to know at login")
    max_builds = argument(
        None,
        checks.optional(checks.whole_number(1)),
        doc="how many builds it runs at once; None: one for each of its builders",
    )
    properties = argument(None, checks.optional(checks.mapping), renderable=True, doc="set on each build that it runs")
    defaultProperties = argument(
        None,
        checks.optional(checks.mapping),
        renderable=True,
        doc="the same, where the build has no such property yet",
    )
    keepalive_interval = argument(
        None,
        checks.optional(checks.positive),
        doc="seconds between the questions by which a dead connection is noticed; None: 120",
    )
    missing_timeout = argument(
        3600,
        checks.optional(checks.number()),
        doc="seconds after which a worker that went away is reported in the log; 0 or None: never",
    )
    notify_on_missing = argument(
        None,
        checks.optional(
            checks.either(checks.text, checks.list_of(checks.text), otherwise="an address or a list of addresses")
        ),
        doc="who should hear of it; named in that report (no mail is sent)",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.workername = self.name
        self.password = self.password or ""
        self.properties = WorkerProperties(self.properties or {})
        self.defaultProperties = WorkerProperties(self.defaultProperties or {})
        self.keepalive_interval = self.keepalive_interval or 120
        self.missing_timeout = self.missing_timeout or 0
        told = self.notify_on_missing
        self.notify_on_missing = [told] if isinstance(told, str) else list(told or ())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"


class Worker(AbstractWorker):
    """A `buildbot-worker` agent on any machine, which connects to the master."""
