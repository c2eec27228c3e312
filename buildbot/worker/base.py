"""Workers as a master.cfg describes them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from buildbot.config.errors import error

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


class AbstractWorker:
    """A worker that may connect: its name, its password, and how it is treated.

    Args:
        name: what the worker calls itself; a letter, then letters, digits, ``_``, ``-`` and ``.``, at most 50.
        password: what it proves to know at login.
        max_builds: how many builds it runs at once; None: one for each of its builders.
        properties: set on each build that it runs.
        defaultProperties: the same, where the build has no such property yet.
        keepalive_interval: seconds between the questions by which a dead connection is noticed; None: 120.
        missing_timeout: seconds after which a worker that went away is reported in the log; 0 or None: never.
        notify_on_missing: who should hear of it; named in that report (no mail is sent).
    """

    def __init__(
        self,
        name: str,
        password: str | None,
        max_builds: int | None = None,
        properties: Mapping[str, Any] | None = None,
        defaultProperties: Mapping[str, Any] | None = None,
        keepalive_interval: float | None = None,
        missing_timeout: float | None = 3600,
        notify_on_missing: str | Sequence[str] | None = None,
    ) -> None:
        if not isinstance(name, str) or not _NAME.match(name):
            error(f"worker name {name!r} must be a letter, then letters, digits, '_', '-' and '.', at most 50 in all")
        if not isinstance(password, str) or not password:
            error(f"worker {name!r} needs a password, a text that is not empty")
        if max_builds is not None and (type(max_builds) is not int or max_builds < 1):
            error(f"worker {name!r}: max_builds must be None or a whole number from 1, not {max_builds!r}")
        if keepalive_interval is not None and not (_is_number(keepalive_interval) and keepalive_interval > 0):
            error(f"worker {name!r}: keepalive_interval must be seconds above 0, not {keepalive_interval!r}")
        if missing_timeout is not None and not (_is_number(missing_timeout) and missing_timeout >= 0):
            error(f"worker {name!r}: missing_timeout must be seconds, not {missing_timeout!r}")
        self.name = name
        self.workername = name
        self.password = password or ""
        self.max_builds = max_builds
        self.properties = _properties(name, "properties", properties)
        self.defaultProperties = _properties(name, "defaultProperties", defaultProperties)
        self.keepalive_interval = keepalive_interval or 120
        self.missing_timeout = missing_timeout or 0
        listed = [notify_on_missing] if isinstance(notify_on_missing, str) else notify_on_missing
        if listed is not None and not (isinstance(listed, Sequence) and all(isinstance(each, str) for each in listed)):
            error(f"worker {name!r}: notify_on_missing must be an address, a list of them or None, not {listed!r}")
            listed = None
        self.notify_on_missing = list(listed or ())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"


class Worker(AbstractWorker):
    """A `buildbot-worker` agent on any machine, which connects to the master."""


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _properties(worker: object, argument: str, given: object) -> WorkerProperties:
    if given is None:
        return WorkerProperties()
    if not isinstance(given, Mapping) or not all(isinstance(each, str) for each in given):
        error(f"worker {worker!r}: {argument} must be a dictionary with strings as keys, not {given!r}")
        return WorkerProperties()
    return WorkerProperties(given)
