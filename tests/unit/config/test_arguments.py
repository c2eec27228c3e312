"""Arguments of kinds are declared once: defaults, checks, renderables and documentation follow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, assert_type

import pytest

from buildbot.config import ConfigErrors, checks
from buildbot.config.arguments import (
    REQUIRED,
    Declared,
    argument,
    arguments_of,
    documented,
    rendered_names,
)
from buildbot.config.errors import loading


class Soon:
    """A renderable."""

    def getRenderingFor(self, props: Any) -> Any:
        """Never asked."""


class Thing(Declared):
    """A kind."""

    positional = ("name", "size")

    name = argument(REQUIRED, checks.text, doc="what it is called")
    size = argument(3, checks.whole_number(1), doc="how large it is")
    colours = argument((), checks.list_of(checks.text), rendered=True, doc="its colours, the\n first the most")


class Mixin:
    """Adds an argument to a kind."""

    speed: Any = argument(None, checks.optional(checks.number()), doc="how fast it is")


class Special(Mixin, Thing):
    """A user's subclass, with a default of its own."""

    size = 5
    renderables = ("extra",)

    def __init__(self, extra: Any = None, **kwargs: Any) -> None:
        self.colours = ["grey"]
        super().__init__(**kwargs)
        self.extra = extra


def said(make: Callable[[], Any]) -> list[str]:
    """The mistakes that are reported while something is made in a configuration."""
    with loading(Path("/nowhere/master.cfg")) as state:
        make()
    return state.errors.errors


def test_defaults() -> None:
    """An argument that is not given has its default, on the class and on the object."""
    thing = Thing("a")
    assert (thing.name, thing.size, thing.colours) == ("a", 3, ())
    assert Thing.size == 3
    assert Thing.name is None


def test_given() -> None:
    """Arguments are given by position or by name, and kept as their check gives them back."""
    thing = Thing("a", 7, colours=("red", "blue"))
    assert (thing.name, thing.size, thing.colours) == ("a", 7, ["red", "blue"])


def test_subclass() -> None:
    """A subclass's class attributes are defaults, and values that its ``__init__`` has set before stay."""
    special = Special(name="a", extra=1)
    assert (special.size, special.colours, special.extra, special.speed) == (5, ["grey"], 1, None)
    special.size = 9  # an attribute like any other
    assert Special(name="b", size=6, speed=1.5).speed == 1.5


def test_types() -> None:
    """Type checkers know an attribute by its check and its default; mypy reads this test."""
    thing = Thing(name="a", colours=["red"])
    assert assert_type(thing.name, str) == "a"
    assert assert_type(thing.size, int) == 3
    assert assert_type(thing.colours, tuple[()] | list[str]) == ["red"]


def test_renderables() -> None:
    """Declared arguments and those of ``renderables`` are rendered; a renderable may stand in a list."""
    assert list(rendered_names(Special)) == ["colours", "extra"]
    soon = Soon()
    assert Thing("a", colours=["red", soon]).colours == ["red", soon]
    waiting: object = Thing("a", colours=soon).colours
    assert waiting is soon


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Thing(), "Thing: argument 'name' is missing (what it is called)"),
        (lambda: Thing(name=3), "Thing: name must be a string, not 3 (int)"),
        (lambda: Thing("a", 0), "Thing 'a': size must be at least 1, not 0"),
        (lambda: Thing("a", sise=1), "Thing 'a': unknown argument 'sise'; did you mean 'size'?"),
        (lambda: Thing("a", name="b"), "Thing 'b': argument 'name' is given twice"),
        (
            lambda: Thing("a", 2, 3),
            "Thing: arguments by position: at most name, size; 3 are given",
        ),
        (
            lambda: Mixed(1),
            "Mixed: arguments by position: at most none; 1 are given",
        ),
        (lambda: Thing("a", colours=["red", 1]), "Thing 'a': colours element 2 must be a string, not 1 (int)"),
        (lambda: Wrong("a"), "Wrong 'a': size must be a whole number, not 'large' (str)"),
    ],
)
def test_mistake(make: Callable[[], Any], message: str) -> None:
    """A mistake names class, object, argument, value and the allowed values."""
    assert said(make) == [message]
    with pytest.raises(ConfigErrors):
        make()


def test_not_rendered() -> None:
    """A renderable where the value is needed at once is a mistake."""
    (message,) = said(lambda: Thing("a", size=Soon()))
    assert message.startswith("Thing 'a': size must be known when the configuration is read, so it cannot be <")


def test_all_at_once() -> None:
    """All mistakes of one object are reported."""
    assert len(said(lambda: Thing(size=0, colours=3, other=1))) == 4


def test_documented() -> None:
    """The reference pages follow from the declarations."""
    assert list(arguments_of(Special)) == ["name", "size", "colours", "speed"]
    assert list(documented(Thing)) == [
        "- `name` (required): what it is called",
        "- `size` (default `3`): how large it is",
        "- `colours` (default `()`, may be a renderable): its colours, the first the most",
    ]


class Mixed(Declared):
    """Takes nothing by position."""


class Wrong(Thing):
    """A user's subclass with a default that is not allowed."""

    size = "large"  # type: ignore[assignment]  # users' files are not checked
