"""Mistakes in a configuration: collected while master.cfg runs, reported all at once, each with its place.

Classes used in a master.cfg (steps, schedulers, workers, a user's own) call `error()` about a wrong argument. While a
file is being loaded it stores the message and returns, so that one run of ``buildbot checkconfig`` shows every mistake;
otherwise it raises. The place is found on the call stack: the innermost frame of configuration code, which is the
master.cfg itself or a module beside it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

_PACKAGE = Path(__file__).parent.parent


class ConfigErrors(Exception):
    """One or more mistakes in the configuration.

    Attributes:
        errors: the messages, in the order they were found; each names its place where that is known.
    """

    def __init__(self, errors: Iterable[str] = ()) -> None:
        self.errors: list[str] = list(errors)
        super().__init__(self.errors)

    def addError(self, message: str) -> None:
        """Add a mistake; an equal message is added only once."""
        if message not in self.errors:
            self.errors.append(message)

    def merge(self, other: ConfigErrors) -> None:
        """Add the mistakes of ``other``."""
        for message in other.errors:
            self.addError(message)

    def __bool__(self) -> bool:
        return bool(self.errors)

    def __str__(self) -> str:
        return "\n".join(self.errors)


@dataclass
class Loading:
    """A configuration file that is being run: its mistakes, and its files."""

    configfile: Path
    errors: ConfigErrors = field(default_factory=ConfigErrors)

    def __post_init__(self) -> None:
        self._name = self.configfile.parent.name

    def place(self, filename: str, line: int) -> str:
        """``filename:line``, relative to the directory of the configuration."""
        path = Path(filename)
        if path.is_relative_to(self.configfile.parent):
            path = path.relative_to(self.configfile.parent)
        return f"{path}:{line}"

    def is_own(self, filename: str) -> bool:
        """Whether ``filename`` belongs to the configuration: the file itself, or a module beside it."""
        if filename == str(self.configfile):
            return True
        if self._name not in filename:  # each imported module is asked for, a thousand, and paths take their time
            return False
        path = Path(filename)
        if path.is_relative_to(_PACKAGE) or "site-packages" in path.parts:
            return False
        return path.is_relative_to(self.configfile.parent)


_loading: ContextVar[Loading | None] = ContextVar("loading", default=None)


@contextmanager
def loading(configfile: Path) -> Iterator[Loading]:
    """Collect the messages of `error()` until the block ends. Blocks may be nested; the innermost one collects."""
    state = Loading(configfile)
    token = _loading.set(state)
    try:
        yield state
    finally:
        _loading.reset(token)


def location() -> str | None:
    """The line of the configuration that is running now, as ``master.cfg:12``; None outside a configuration."""
    state = _loading.get()
    if state is None:
        return None
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if state.is_own(frame.f_code.co_filename):
            return state.place(frame.f_code.co_filename, frame.f_lineno)
        frame = frame.f_back
    return None


def error(message: str, always_raise: bool = False) -> None:
    """Report a mistake in the configuration.

    Args:
        message: the mistake, and the right value; the place is put before it.
        always_raise: raise even while a file is loaded, if the caller cannot go on.

    Raises:
        ConfigErrors: outside of loading a configuration, or with ``always_raise``.
    """
    state = _loading.get()
    place = location()
    text = f"{place}: {message}" if place else message
    if state is None or always_raise:
        raise ConfigErrors([text])
    state.errors.addError(text)
