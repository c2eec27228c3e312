"""Jinja2 templates of messages, in a sandbox without access to the master and with limits of time and size."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

from jinja2 import Template
from jinja2.exceptions import SecurityError, TemplateSyntaxError
from jinja2.sandbox import SandboxedEnvironment

#: seconds that a template may run for
MAX_S = 2.0
#: the most characters of a message
MAX_CHARS = 1_000_000
_MAX_EXPONENT = 1000

_deadline: ContextVar[float] = ContextVar("deadline", default=float("inf"))


class TooMuchError(SecurityError):
    """A template exceeds a limit of time or size."""


def _in_time() -> None:
    if time.monotonic() > _deadline.get():
        raise TooMuchError(f"the template takes longer than {MAX_S:g} s")


class _Bounded(SandboxedEnvironment):
    """A sandbox that checks the limits while a template runs."""

    intercepted_binops = frozenset(["*", "**"])

    def call(__self, __context: Any, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        """Call something."""
        _in_time()
        return super().call(__context, __obj, *args, **kwargs)

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Get an attribute."""
        _in_time()
        return super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Get an item."""
        _in_time()
        return super().getitem(obj, argument)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Multiply, or raise to a power."""
        _in_time()
        if operator == "**":
            if isinstance(right, int | float) and abs(right) > _MAX_EXPONENT:
                raise TooMuchError(f"an exponent may be {_MAX_EXPONENT} at most")
        else:
            for many, each in ((left, right), (right, left)):
                if isinstance(many, int) and hasattr(each, "__len__") and many * len(each) > MAX_CHARS:
                    raise TooMuchError(f"a text or list may have {MAX_CHARS} elements at most")
        return super().call_binop(context, operator, left, right)


_environment = _Bounded()


@lru_cache(maxsize=200)
def compiled(source: str) -> Template:
    """A compiled template; ValueError has the mistake and its line."""
    try:
        return _environment.from_string(source)
    except TemplateSyntaxError as problem:
        raise ValueError(f"is no template: {problem.message} (line {problem.lineno})") from None


def filled(template: Template, context: Mapping[str, Any]) -> str:
    """The text of a template with these variables.

    Raises:
        TooMuchError: a limit of time or size is exceeded.
        SecurityError: it uses an attribute that the sandbox forbids.
        UndefinedError and others: Jinja2's errors for mistakes in the template.
    """
    token = _deadline.set(time.monotonic() + MAX_S)
    try:
        parts, chars = [], 0
        for part in template.generate(context):
            _in_time()
            chars += len(part)
            if chars > MAX_CHARS:
                raise TooMuchError(f"the message has more than {MAX_CHARS} characters")
            parts.append(part)
        return "".join(parts)
    finally:
        _deadline.reset(token)
