"""Less common renderables, further methods of properties, and the interfaces that users declare."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import succeed
from zope.interface import implementer

from buildbot import interfaces
from buildbot.config.errors import ConfigErrors
from buildbot.plugins import util
from buildbot.process import properties
from buildbot.process.buildstep import BuildStep
from buildbot.process.properties import Interpolate, Properties, Property, renderer
from buildbot.process.renderables import FlattenList, URLForBuild, WithProperties
from buildbot.steps.master import SetProperty
from buildbot.test.steps import StepHarness
from buildbot.util.results import SUCCESS


class FakeBuild:
    """The part of a build that renderables use."""

    number = 7

    def getSourceStamp(self, codebase: str = "") -> dict[str, Any] | None:
        return {"branch": "main"} if not codebase else None

    def getAllSourceStamps(self) -> list[Any]:
        return [self.getSourceStamp()]

    def allChanges(self) -> list[Any]:
        return [{"changeid": 1}]

    def allFiles(self) -> list[str]:
        return ["a.c"]

    def getWorkerInfo(self) -> dict[str, Any]:
        return {}

    def getUrl(self) -> str:
        return "http://ci/#/builders/1/builds/7"


@pytest.fixture
def props() -> Properties:
    made = Properties(name="x", empty="", zero=0, none=None, items=["a", ["b"]])
    made.build = FakeBuild()
    return made


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (WithProperties("%s-%s|%s", "name", "zero", "none"), "x-0|"),
        (WithProperties("%(name)s %(none)s 100%%"), "x  100%"),
        (WithProperties("%(missing:-other)s %(empty:-other)s"), "other "),
        (WithProperties("%(missing:~other)s %(empty:~other)s %(name:~other)s"), "other other x"),
        (WithProperties("%(empty:+there)s%(missing:+there)s"), "there"),
        (
            WithProperties("%(n)s of %(later)s", n=lambda build: build.number, later=lambda build: succeed("l")),
            "7 of l",
        ),
        (FlattenList([Property("items"), ["c", ("d", [])], "e"]), ["a", "b", "c", "d", "e"]),
        (FlattenList([["a", ("b", "c")]], types=list), ["a", ("b", "c")]),
        (FlattenList(Property("items")), ["a", "b"]),
        ([URLForBuild], ["http://ci/#/builders/1/builds/7"]),
        (Interpolate("%(kw:url)s/steps", url=URLForBuild), "http://ci/#/builders/1/builds/7/steps"),
        (WithProperties("%s", "name") == "x", True),
    ],
)
async def test_rendered(props: Properties, value: Any, expected: Any) -> None:
    """Each form gives what users' configurations expect of it."""
    assert await props.render(value) == expected


async def test_what_is_missing(props: Properties) -> None:
    """A missing property is an error where the text has nothing for it."""
    for value in (WithProperties("%s", "missing"), WithProperties("%(missing)s")):
        with pytest.raises(KeyError, match="missing"):
            await props.render(value)
    with pytest.raises(ValueError, match="in a build only"):
        await Properties().render(URLForBuild)


def test_mistakes() -> None:
    """A mistake is reported when the renderable is made."""
    mistakes: list[tuple[Any, str]] = [
        (lambda: WithProperties("rm -rf %s"), "nothing is given for '%s'"),
        (lambda: WithProperties("%(name)s %s"), "nothing is given for '%s'"),
        (lambda: WithProperties("100%"), "nothing is given for '%'"),
        (lambda: WithProperties("%s %s", "a"), "not enough arguments"),
        (lambda: WithProperties("%s", "a", "b"), "not all arguments converted"),
        (lambda: WithProperties("%(a"), "a parenthesis is not closed"),
        (lambda: WithProperties("%(a)"), "incomplete format"),
        (lambda: Interpolate(5), "the format must be a text, not 5 (int)"),  # type: ignore[arg-type]
    ]
    for make, problem in mistakes:
        with pytest.raises(ConfigErrors) as caught:
            make()
        assert problem in str(caught.value)
    with pytest.raises(ConfigErrors, match="either names of properties or functions, not both"):
        WithProperties("%s", "a", b=lambda build: 1)
    with pytest.raises(ConfigErrors, match="a must be a function of the build"):
        WithProperties("%(a)s", a=1)


async def test_what_answers_get_property() -> None:
    """Any object with getProperty and hasProperty will do as properties."""

    class Answers:
        def getProperty(self, name: str, default: Any = None) -> Any:
            return {"a": "b"}.get(name, default)

        def hasProperty(self, name: str) -> bool:
            return name == "a"

    assert await Interpolate("%(prop:a)s%(prop:x:-y)s%(src::branch)s").getRenderingFor(Answers()) == "by"  # type: ignore[arg-type]
    assert Property("x", default="d", defaultWhenFalse=False).getRenderingFor(Answers()) == "d"  # type: ignore[arg-type]


def test_runtime_properties() -> None:
    """Runtime properties can be left out; one that is set again without ``runtime`` counts again."""
    one = Properties()
    one.setProperty("a", 1, "s")
    one.setProperty("b", 2, "s", runtime=True)
    one.update({"c": 3, "d": Property("later")}, "s", runtime=True)
    other = Properties()
    other.updateFromPropertiesNoRuntime(one)
    assert other.asDict() == {"a": (1, "s")}
    one.setProperty("b", 4, "s")
    other.updateFromPropertiesNoRuntime(one)
    assert other.getProperty("b") == 4
    third = Properties()
    third.updateFromProperties(one)
    again = Properties()
    again.updateFromPropertiesNoRuntime(third)
    assert sorted(again.asDict()) == ["a", "b"]
    with pytest.raises(TypeError, match="must be a text, not 3"):
        one.setProperty(3, 1, "s")  # type: ignore[arg-type]
    assert Properties.fromDict({"a": (1, "s")}).asList() == [("a", 1, "s")]


def test_what_is_the_builds(props: Properties) -> None:
    """Properties of a build know its changes, files and source stamps; others have none, unless they are set."""
    assert (props.changes, props.files, props.sourcestamps) == ([{"changeid": 1}], ["a.c"], [{"branch": "main"}])
    assert props.getSourceStamp() == {"branch": "main"} and props.getProperties() is props
    alone = Properties()
    assert (alone.changes, alone.files, alone.getSourceStamp("x")) == ([], [], None)
    with pytest.raises(AttributeError, match="no attribute 'other'"):
        _ = alone.other


async def test_in_a_build() -> None:
    """The address of a build's page is that of the configuration, and source stamps have attributes."""
    stamp = renderer(lambda props: props.sourcestamps[0].branch)
    farm = StepHarness(SetProperty("url", URLForBuild), SetProperty("branch_of", stamp))
    build = await farm.run(branch="main")
    assert build["results"] == SUCCESS
    assert build["properties"]["url"][0] == "http://localhost:8080/#/builders/1/builds/1"
    assert build["properties"]["branch_of"][0] == "main"
    await farm.stop()


async def test_interfaces(props: Properties) -> None:
    """Users' classes may declare the interfaces, and ask for them."""

    @implementer(interfaces.IRenderable)
    class Mine:
        def getRenderingFor(self, props: Any) -> str:
            return "mine"

    assert await props.render([Mine()]) == ["mine"]
    assert interfaces.IRenderable.providedBy(Mine()) and interfaces.IRenderable.providedBy(Property("x"))
    assert interfaces.IProperties.providedBy(props)
    assert interfaces.IBuildStep.providedBy(BuildStep())


def test_names() -> None:
    """The plugin names and those of `buildbot.process.properties` are the same objects."""
    for name in ("WithProperties", "FlattenList", "URLForBuild", "Interpolate", "Property", "Transform", "renderer"):
        assert getattr(util, name) is getattr(properties, name)
