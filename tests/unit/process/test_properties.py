"""Properties, and values that are filled in from them."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed

from buildbot.config.errors import ConfigErrors
from buildbot.process.properties import Interpolate, Properties, Property, Transform, renderer


class FakeBuild:
    """The part of a build that renderables use."""

    def getSourceStamp(self, codebase: str = "") -> dict[str, Any] | None:
        stamp = {"branch": "main", "revision": None, "repository": "/r", "project": "p", "codebase": codebase}
        return stamp if codebase in ("", "lib") else None

    def getWorkerInfo(self) -> dict[str, Any]:
        return {"name": "w1", "admin": "Jo"}


@pytest.fixture
def props() -> Properties:
    properties = Properties(name="x", empty="", zero=0, flag=True, none=None)
    properties.build = FakeBuild()
    return properties


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain 100%%", "plain 100%"),
        ("%(prop:name)s", "x"),
        ("%(prop:missing)s|%(prop:none)s|%(prop:zero)s", "||0"),
        ("%(prop:zero)03d", "000"),
        ("%(prop:missing:-other)s %(prop:empty:-other)s", "other "),
        ("%(prop:missing:~other)s %(prop:empty:~other)s %(prop:name:~other)s", "other other x"),
        ("%(prop:name:+there)s%(prop:missing:+there)s", "there"),
        ("%(prop:empty:?|yes|no)s %(prop:missing:?:yes:no)s", "yes no"),
        ("%(prop:empty:#?|yes|no)s %(prop:flag:#?|yes|no)s", "no yes"),
        ("%(prop:missing:-%(prop:name)s-%(prop:zero)s)s", "x-0"),
        ("%(prop:flag:#?|(%(prop:name)s)|none)s", "(x)"),
        ("%(src::branch)s %(src:lib:codebase)s %(src::revision:~HEAD)s", "main lib HEAD"),
        ("%(src:other:branch:-none)s%(src:other:branch)s", "none"),
        ("%(worker:name)s %(worker:admin)s%(worker:nothing)s", "w1 Jo"),
        ("%(kw:a)s %(kw:a:+and)s %(kw:b:~c)s", "x and c"),
        ("%(kw:none)s|%(kw:absent)s|%(kw:absent:-d)s|%(kw:none:-d)s", "||d|"),
        ("%(prop:empty:?|yes|no|more)s", "yes"),
        ("50%% of %(prop:missing:-5%%)s", "50% of 5%"),
    ],
)
async def test_interpolate(props: Properties, text: str, expected: str) -> None:
    """Every form of substitution that users' configurations hold."""
    keywords = {"a": Property("name"), "b": "", "none": None} if "kw:" in text else {}
    assert await props.render(Interpolate(text, **keywords)) == expected


async def test_interpolate_positional(props: Properties) -> None:
    """Positional arguments fill ``%s``."""
    assert await props.render(Interpolate("%s=%s", "a", Property("name"))) == "a=x"


@pytest.mark.parametrize(
    ("text", "arguments", "complaint"),
    [
        ("%s", {"x": 1}, "nothing is given for '%s'"),
        ("%s %s", ("a",), "not enough arguments"),
        ("%s", ("a", "b"), "not all arguments converted"),
        ("%(prop:name)s", ("a",), "format requires a mapping"),
    ],
)
def test_interpolate_arguments(text: str, arguments: Any, complaint: str) -> None:
    """The formats and the arguments go together, or it is an error of the configuration."""
    with pytest.raises(ConfigErrors) as caught:
        Interpolate(text, **arguments) if isinstance(arguments, dict) else Interpolate(text, *arguments)
    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("%(name)s", "needs a selector"),
        ("%(secrets:x)s", "unknown selector 'secrets'"),
        ("%(prop:a:=b)s", "unknown form ':=b'"),
        ("%(src:branch)s", "needs a codebase and one of"),
        ("%s", "nothing is given for '%s'"),
        ("rm -rf %r", "nothing is given for '%r'"),
        ("%(prop:x)s %5.2s", "nothing is given for '%5.2s'"),
        ("100% sure", "nothing is given for '% s'"),
        ("100%", "nothing is given for '%'"),
        ("%(prop:x:-%a)s", "nothing is given for '%a'"),
        ("%*d", "nothing is given for '%*d'"),
        ("%(prop:x:?|one)s", "needs two values"),
        ("%(prop:x", "a parenthesis is not closed"),
        ("%(prop:x)", "incomplete format"),
        ("%(prop:a!b)s", "bad name 'a!b'"),
        ("%(prop:x:-%(bad)s)s", "needs a selector"),
    ],
)
def test_interpolate_mistakes(text: str, complaint: str) -> None:
    """A wrong text is an error of the configuration, not of the build."""
    with pytest.raises(ConfigErrors) as caught:
        Interpolate(text)
    assert complaint in str(caught.value)


async def test_property_defaults(props: Properties) -> None:
    """``defaultWhenFalse`` decides whether an empty value counts as one."""
    rendered = await props.render(
        [
            Property("name"),
            Property("missing"),
            Property("missing", default=Property("name")),
            Property("empty", default="d"),
            Property("empty", default="d", defaultWhenFalse=False),
            Property("zero"),
        ]
    )
    assert rendered == ["x", None, "x", "d", "", 0]


async def test_render_nested(props: Properties) -> None:
    """Lists, tuples and dictionaries are rendered through and through, and the originals stay as they are."""
    original: dict[Any, Any] = {
        "a": [Property("name"), ("b", Property("zero"))],
        "d": {1: None},
    }
    assert await props.render(original) == {"a": ["x", ("b", 0)], "d": {1: None}}
    assert isinstance(original["a"][0], Property)


async def test_renderer(props: Properties) -> None:
    """A function of the properties; it may be a coroutine or return a Deferred or another renderable."""

    @renderer
    def plain(props: Properties) -> str:
        return f"<{props.getProperty('name')}>"

    @renderer
    async def slow(props: Properties, suffix: str, *, more: str) -> Any:
        return Interpolate(f"%(prop:name)s{suffix}{more}")

    @renderer
    def deferred(props: Properties) -> Deferred[str]:
        return succeed("fired")

    values = [plain, slow.withArgs(Property("zero"), more=Property("flag")), deferred]
    assert await props.render(values) == ["<x>", "x0True", "fired"]


async def test_transform(props: Properties) -> None:
    """A function of rendered arguments."""
    assert await props.render(Transform(str.upper, Property("name"))) == "X"
    assert await props.render(Transform(lambda a, b: a + b, "a", b=Property("name"))) == "ax"
    with pytest.raises(ConfigErrors):
        Transform("no function")


async def test_users_renderable(props: Properties) -> None:
    """Any object with getRenderingFor is a renderable."""

    class Own:
        def getRenderingFor(self, props: Properties) -> Any:
            return [props.getProperty("name"), props.getBuild() is not None]

    assert await props.render(Own()) == ["x", True]


def test_properties() -> None:
    """Values with sources; only JSON is taken."""
    properties = Properties(a=1)
    properties.setProperty("b", [1, {"c": None}], "Test")
    other = Properties()
    other.updateFromProperties(properties)
    assert other.asDict() == {"a": (1, "TEST"), "b": ([1, {"c": None}], "Test")}
    assert "a" in other and other["a"] == 1 and other.getPropertySource("b") == "Test"
    for wrong in (object(), float("nan"), {1, 2}):
        with pytest.raises(TypeError, match="property 'x' is not a JSON value"):
            other.setProperty("x", wrong, "Test")
