"""Arguments of the kinds that a configuration names: steps, schedulers, change sources, workers, reporters.

A kind declares each argument once, in its class body::

    class Lint(BuildStep):
        files = argument((), checks.list_of(checks.text), rendered=True, doc="the files to look at")
        strict = argument(False, checks.boolean, doc="warnings are failures")

`Declared.__init__` takes the arguments that a configuration gives, checks them and sets them as attributes. An
argument that is not given has the value of the class attribute, so a subclass changes a default with
``strict = True``. An attribute that ``__init__`` of a subclass has set before stays. Mistakes name class, argument and
value, and say what is allowed.

A declaration is a descriptor that gives the default; attributes of instances and of subclasses hide it as they hide
any class attribute.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, TypeVar, overload
from weakref import WeakKeyDictionary

from buildbot.config.checks import Check, CheckOf, anything, suggestion
from buildbot.config.errors import error
from buildbot.interfaces import holds_renderable

T = TypeVar("T")
D = TypeVar("D")


class Required:
    """The type of `REQUIRED`."""

    def __repr__(self) -> str:
        return "required"


#: the default of an argument that must be given
REQUIRED: Final = Required()


@dataclass(frozen=True, eq=False)
class Argument:
    """The declaration of one argument.

    Attributes:
        default: its value if it is not given; `REQUIRED` if it must be given.
        check: gives the value to keep, or raises ValueError with a text that follows the argument's name.
        rendered: whether the value may be or hold a renderable, which is rendered before the object works.
        renderable: the same, but the object itself decides when it is rendered.
        doc: its meaning, for the reference pages.
    """

    default: Any
    check: Check
    rendered: bool
    renderable: bool
    doc: str

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return None if self.default is REQUIRED else self.default

    def checked(self, value: Any) -> Any:
        """The value to keep; ValueError if it is not allowed. A renderable is checked when it is rendered."""
        if holds_renderable(value):
            if not (self.rendered or self.renderable):
                raise ValueError(f"must be known when the configuration is read, so it cannot be {value!r}")
            return value
        return self.check(value)


@overload
def argument(
    default: Required, check: CheckOf[T], *, doc: str, rendered: bool = False, renderable: bool = False
) -> T: ...
@overload
def argument(default: D, check: CheckOf[T], *, doc: str, rendered: bool = False, renderable: bool = False) -> D | T: ...
@overload
def argument(default: Any, *, doc: str, rendered: bool = False, renderable: bool = False) -> Any: ...
def argument(
    default: Any,
    check: Check = anything,
    *,
    doc: str,
    rendered: bool = False,
    renderable: bool = False,
) -> Any:
    """Declare an argument in the body of a class; see `Argument`. The default itself is not checked.

    For type checkers the attribute has the type of what ``check`` gives, or of the default; if it may be a renderable,
    that is its type once it is rendered.
    """
    return Argument(default, check, rendered, renderable, " ".join(doc.split()))


#: the declared arguments by class; each reading of a configuration brings new classes
_known: WeakKeyDictionary[type, dict[str, Argument]] = WeakKeyDictionary()


def arguments_of(kind: type) -> Mapping[str, Argument]:
    """The declared arguments of a class by name, its base classes' first."""
    found = _known.get(kind)
    if found is None:
        found = {}
        for base in reversed(kind.__mro__):
            found |= {name: each for name, each in vars(base).items() if isinstance(each, Argument)}
        _known[kind] = found
    return found


#: by class, as `_known`: each build makes its steps anew, and has them rendered
_undefaulted: WeakKeyDictionary[type, frozenset[str]] = WeakKeyDictionary()
_rendered: WeakKeyDictionary[type, tuple[str, ...]] = WeakKeyDictionary()


def _without_default(kind: type) -> frozenset[str]:
    """The arguments of a class that have no default, or another one than the declaration's."""
    found = _undefaulted.get(kind)
    if found is None:
        found = _undefaulted[kind] = frozenset(
            name
            for name, each in arguments_of(kind).items()
            if each.default is REQUIRED or inspect.getattr_static(kind, name) is not each
        )
    return found


def rendered_names(kind: type) -> Sequence[str]:
    """The attributes of a class that are rendered: declared so, or listed in a ``renderables`` of it or of a base."""
    found = _rendered.get(kind)
    if found is None:
        names = dict.fromkeys(name for name, each in arguments_of(kind).items() if each.rendered)
        for base in kind.__mro__:
            names |= dict.fromkeys(vars(base).get("renderables", ()))
        found = _rendered[kind] = tuple(names)
    return found


class Declared:
    """Base of the kinds whose arguments are declared."""

    #: the arguments that may be given by position, in this order
    positional: ClassVar[tuple[str, ...]] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        declared = arguments_of(type(self))
        given = self.by_name(args, kwargs)
        for unknown in sorted(given.keys() - declared.keys()):
            error(f"{self.__called(given)}: unknown argument {unknown!r}{suggestion(unknown, declared)}")
        others = _without_default(type(self))
        for name, each in declared.items():
            if name in given or name in others:
                self.__take(name, each, given)

    def by_name(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Arguments given by position and by name, all by name."""
        given = dict(zip(self.positional, args, strict=False))
        if len(args) > len(self.positional):
            allowed = ", ".join(self.positional) or "none"
            error(f"{type(self).__name__}: arguments by position: at most {allowed}; {len(args)} are given")
        for twice in sorted(given.keys() & kwargs.keys()):
            error(f"{self.__called(kwargs)}: argument {twice!r} is given twice")
        return {**given, **kwargs}

    def __take(self, name: str, declared: Argument, given: Mapping[str, Any]) -> None:
        if name in given:
            value = given[name]
        elif name in vars(self):
            return
        elif inspect.getattr_static(type(self), name) is not declared:
            value = getattr(type(self), name)  # a subclass's own default
        else:
            if declared.default is REQUIRED:
                error(f"{self.__called(given)}: argument {name!r} is missing ({declared.doc})")
            return
        self.__set(name, declared, value, self.__called(given))

    def __set(self, name: str, declared: Argument, value: Any, called: str) -> None:
        try:
            setattr(self, name, declared.checked(value))
        except ValueError as reason:
            error(f"{called}: {name} {reason}")

    def take_arguments(self, names: Iterable[str], given: Mapping[str, Any]) -> dict[str, Any]:
        """Check and set some arguments before ``__init__``; returns the others of ``given``."""
        declared, taken = arguments_of(type(self)), set(names)
        for name in [name for name in given if name in taken]:
            self.__set(name, declared[name], given[name], self.__called(given))
        return {name: value for name, value in given.items() if name not in taken}

    def set_rendered(self, name: str, value: Any) -> None:
        """Set an attribute to the value of a renderable.

        Raises:
            ValueError: a declared argument may not have this value; the message names both.
        """
        declared = arguments_of(type(self)).get(name)
        if declared is not None and value is not None:
            try:
                value = declared.check(value)
            except ValueError as reason:
                raise ValueError(f"{name} {reason}") from None
        setattr(self, name, value)

    def __called(self, given: Mapping[str, Any]) -> str:
        """The class and, where it has one, the name of this object, for messages."""
        name = given.get("name")
        return f"{type(self).__name__} {name!r}" if isinstance(name, str) else type(self).__name__


def check_arguments(described: Declared, given: Mapping[str, Any], name: str) -> None:
    """Report the mistakes in arguments, without setting any.

    Args:
        described: an object of the class that declares them.
        given: the arguments by name.
        name: its name in messages, besides its class.
    """
    declared = arguments_of(type(described))
    called = f"{type(described).__name__} {name!r}"
    for unknown in sorted(given.keys() - declared.keys()):
        error(f"{called}: unknown argument {unknown!r}{suggestion(unknown, declared)}")
    for key, each in declared.items():
        try:
            if key in given:
                each.checked(given[key])
            elif inspect.getattr_static(type(described), key) is not each:
                each.checked(getattr(type(described), key))  # a subclass's own default
            elif each.default is REQUIRED:
                error(f"{called}: argument {key!r} is missing ({each.doc})")
        except ValueError as reason:
            error(f"{called}: {key} {reason}")


def set_arguments(described: Declared, given: Mapping[str, Any], name: str, secrets: Collection[str] = ()) -> None:
    """Set arguments as attributes; one that is not given gets the default of the class.

    Args:
        described, given, name: as for `check_arguments`.
        secrets: the names of arguments whose values no message may show.

    Raises:
        ValueError: a rendered value is not allowed; the message names it.
    """
    for key, each in arguments_of(type(described)).items():
        if key not in given:
            vars(described).pop(key, None)
            continue
        try:
            value = each.checked(given[key])
        except ValueError as reason:
            said = "has a value that is not allowed" if key in secrets else str(reason)
            raise ValueError(f"{type(described).__name__} {name!r}: {key} {said}") from None
        setattr(described, key, value)


def documented(kind: type) -> Iterator[str]:
    """The arguments that a class itself declares, or has another default of, as lines of Markdown."""
    for name, each in arguments_of(kind).items():
        own = vars(kind).get(name, REQUIRED)
        if own is each:
            default = "required" if each.default is REQUIRED else f"default `{_shown(each.default)}`"
            renderable = ", may be a renderable" if each.rendered or each.renderable else ""
            yield f"- `{name}` ({default}{renderable}): {each.doc}"
        elif name in vars(kind):
            yield f"- `{name}`: default `{_shown(own)}`"


def _shown(default: Any) -> str:
    """A default as Python text."""
    if isinstance(default, Mapping):
        default = dict(default)
    if isinstance(default, type) or inspect.isfunction(default):
        return default.__name__
    return re.sub(r"<[\w.]*?(\w+) object at 0x[0-9a-f]+>", r"\1(…)", repr(default))


__all__ = [
    "REQUIRED",
    "Argument",
    "Declared",
    "argument",
    "arguments_of",
    "check_arguments",
    "documented",
    "rendered_names",
    "set_arguments",
]
