"""Renderables: values in a configuration that become known when a build runs, and Python's operators for them.

A *renderable* is any object with ``getRenderingFor(props)``. `rendered` replaces renderables in lists, tuples and
dictionaries. The renderables of this package inherit `Renderable`: comparing or computing with one gives another
renderable. An operator that needs the value at once (``if``, ``not``, ``in``, ``str()``) is an error of the
configuration, because the value is not known before the build runs.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from zope.interface import implementer

from buildbot.config.errors import ConfigErrors, error
from buildbot.interfaces import IRenderable, PropertiesLike, is_renderable
from buildbot.util.deferreds import resolved

#: what follows the key of a ``%`` format: flags, width, precision, length, conversion
_FORMAT = re.compile(r"[-#0 +]*(?:\*|\d*)(?:\.(?:\*|\d*))?[hlL]?(.?)", re.DOTALL)


def substitutions(text: str) -> Iterator[tuple[str | None, str]]:
    """The formats in a text but ``%%``, as the ``%`` operator sees them: the key, and how the format is written.

    The key is None for a format without one, such as ``%s``. Parentheses in a key balance.
    """
    at = 0
    while (at := text.find("%", at)) >= 0:
        start, key = at, None
        at += 1
        if text.startswith("(", at):
            depth, at = 1, at + 1
            while depth:
                if at >= len(text):
                    raise ValueError("a parenthesis is not closed")
                depth += {"(": 1, ")": -1}.get(text[at], 0)
                at += 1
            key = text[start + 2 : at - 1]
        form = _FORMAT.match(text, at)
        assert form is not None  # every part of it may be empty
        at = form.end()
        if key is not None or form[1] != "%":
            yield key, text[start:at]


def same_description(left: object, right: object) -> bool:
    """Whether two values of a configuration are equal, with the renderables in them.

    ``==`` of a renderable gives a renderable, so it cannot serve.
    """
    if left is right:
        return True
    if isinstance(left, Renderable) or isinstance(right, Renderable):
        return type(left) is type(right) and same_description(vars(left), vars(right))
    if isinstance(left, (list, tuple)) and type(left) is type(right):
        return len(left) == len(right) and all(map(same_description, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same_description(item, right[key]) for key, item in left.items())
    try:
        return bool(left == right)
    except ConfigErrors:  # a user's object that holds renderables and compares them
        return False


async def rendered(value: object, props: PropertiesLike) -> Any:
    """``value`` with every renderable in it replaced; the value of a renderable is rendered, too."""
    if isinstance(value, (str, int, float, type(None))):
        return value
    if isinstance(value, list):
        return [await rendered(item, props) for item in value]
    if isinstance(value, tuple):
        return tuple([await rendered(item, props) for item in value])
    if isinstance(value, dict):
        return {await rendered(key, props): await rendered(item, props) for key, item in value.items()}
    if is_renderable(value):
        return await rendered(await resolved(value.getRenderingFor(props)), props)
    return value


def _operation(sign: str, function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Operation]:
    """A method for an operator that is applied when the operands are rendered."""

    def operate(self: Renderable, other: object) -> Operation:
        return Operation(sign, function, self, other)

    return operate


def _contains(item: Any, collection: Any) -> bool:
    return item in collection


@implementer(IRenderable)
class Renderable:
    """Base of the renderables of this package: gives them the operators.

    ``==``, ``!=``, ``<``, ``<=``, ``>``, ``>=``, ``+``, ``-``, ``*``, ``/``, ``//``, ``%`` and ``in_`` give a
    renderable, which may be used in further ones. The other operand may be a renderable as well. Every other
    operator, and every use that needs the value at once, raises `ConfigErrors`.
    """

    __eq__ = _operation("==", operator.eq)  # type: ignore[assignment]
    __ne__ = _operation("!=", operator.ne)  # type: ignore[assignment]
    __lt__ = _operation("<", operator.lt)
    __le__ = _operation("<=", operator.le)
    __gt__ = _operation(">", operator.gt)
    __ge__ = _operation(">=", operator.ge)
    __add__ = _operation("+", operator.add)
    __sub__ = _operation("-", operator.sub)
    __mul__ = _operation("*", operator.mul)
    __truediv__ = _operation("/", operator.truediv)
    __floordiv__ = _operation("//", operator.floordiv)
    __mod__ = _operation("%", operator.mod)

    def in_(self, collection: object) -> Operation:
        """Whether the value is in a collection, which may be or hold renderables; a renderable."""
        return Operation("in", _contains, self, collection)

    def getRenderingFor(self, props: Any) -> Any:
        """The value for these properties, or a Deferred or coroutine that gives it."""
        raise NotImplementedError(f"{type(self).__name__} has no getRenderingFor()")

    def __bool__(self) -> bool:
        raise _refusal(
            f"{self!r} is neither true nor false before a build runs, so if, and, or, not and in cannot ask it; "
            "give a comparison (==, .in_([…])) as the argument itself, or a function made with util.renderer"
        )

    def __str__(self) -> str:
        raise _refusal(
            f"{self!r} is not a text before a build runs, so str(), f-strings and % cannot use it; "
            "put it into a text with util.Interpolate"
        )

    def __format__(self, spec: str) -> str:
        return str(self)

    def __hash__(self) -> int:
        raise _refusal(
            f"{self!r} has no value before a build runs, so it cannot be looked for in a set or dictionary, "
            "nor be a key; use .in_([…]), or a function made with util.renderer"
        )

    # This is the error of iteration and of `x in p`, too. With `__iter__` it would pass for a collection.
    def __getitem__(self, key: object) -> NoReturn:
        raise _refusal(
            f"{self!r} has no items before a build runs, so [], in and for cannot use it; "
            "take them with util.Transform or a function made with util.renderer"
        )

    def __len__(self) -> int:
        raise _refusal(
            f"{self!r} has no length before a build runs; len({self!r}) can be had with util.Transform(len, …)"
        )


class Operation(Renderable):
    """An operator and its operands: computed when it is rendered."""

    def __init__(self, sign: str, function: Callable[[Any, Any], Any], left: object, right: object) -> None:
        self._sign, self._function = sign, function
        self._operands = (left, right)

    def __repr__(self) -> str:
        left, right = map(_operand, self._operands)
        return f"{left} {self._sign} {right}"

    async def getRenderingFor(self, props: PropertiesLike) -> Any:
        """The operator's result for the rendered operands. Raises TypeError where Python has none for them."""
        left, right = await rendered(self._operands, props)
        try:
            return self._function(left, right)
        except TypeError as problem:
            raise TypeError(f"{self!r}: {problem}") from None


def _operand(value: object) -> str:
    """An operand, as the text of an expression."""
    return f"({value!r})" if isinstance(value, Operation) else repr(value)


def _refusal(message: str) -> ConfigErrors:
    """An error with its place in the configuration."""
    try:
        error(message, always_raise=True)
    except ConfigErrors as refusal:
        return refusal
    raise AssertionError


def _refused(text: str) -> Callable[..., NoReturn]:
    """A method for an operator that renderables do not have; ``text`` shows it with ``{0}`` and ``{1}``."""

    def refuse(self: Renderable, *others: object) -> NoReturn:
        raise _refusal(
            f"{text.format(*map(_operand, (self, *others)))}: this operator does not work with values that are known "
            "only when a build runs; use util.Transform or a function made with util.renderer"
        )

    return refuse


for _name, _sign in {
    "and": "&",
    "or": "|",
    "xor": "^",
    "lshift": "<<",
    "rshift": ">>",
    "pow": "**",
    "matmul": "@",
}.items():
    setattr(Renderable, f"__{_name}__", _refused(f"{{0}} {_sign} {{1}}"))
    setattr(Renderable, f"__r{_name}__", _refused(f"{{1}} {_sign} {{0}}"))
for _name, _sign in {"add": "+", "sub": "-", "mul": "*", "truediv": "/", "floordiv": "//", "mod": "%"}.items():
    setattr(Renderable, f"__r{_name}__", _refused(f"{{1}} {_sign} {{0}}"))
for _name, _sign in {"neg": "-{0}", "pos": "+{0}", "invert": "~{0}", "abs": "abs({0})", "int": "int({0})"}.items():
    setattr(Renderable, f"__{_name}__", _refused(_sign))
for _name, _sign in {"float": "float({0})", "divmod": "divmod({0}, {1})", "rdivmod": "divmod({1}, {0})"}.items():
    setattr(Renderable, f"__{_name}__", _refused(_sign))
