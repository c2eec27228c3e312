"""Parameters of users' own, choices that are not fixed, and mistakes in arguments of parameters."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.logger import capturedLogs

from buildbot.config.errors import ConfigErrors
from buildbot.data.exceptions import ControlParamsError
from buildbot.plugins import util
from buildbot.schedulers import forcesched
from buildbot.schedulers.forcesched import (
    BaseParameter,
    ChoiceStringParameter,
    FixedParameter,
    ForceScheduler,
    InheritBuildParameter,
    NestedParameter,
    PatchParameter,
    StringParameter,
    ValidationError,
    WorkerChoiceParameter,
)
from buildbot.test.schedulers import SchedulerHarness
from buildbot.util.results import SUCCESS


@pytest.fixture(name="farm")
def make_farm(master: Any) -> SchedulerHarness:
    return SchedulerHarness(master)


async def form(farm: SchedulerHarness, *parameters: BaseParameter) -> Any:
    await farm.master.data.update.findBuilderId("b")
    return await farm.start(ForceScheduler("force", ["b"], properties=list(parameters)))


async def forced(farm: SchedulerHarness, scheduler: Any, **submitted: Any) -> dict[str, Any]:
    """The properties of the build."""
    bsid, _ = await scheduler.force({"owner": "jo", "builderNames": "b", **submitted})
    found = await farm.master.data.get({}, ("buildsets", bsid, "properties"))
    return {name: value for name, (value, _) in found.items() if name not in ("owner", "reason", "scheduler")}


class Upper(StringParameter):
    """Has its own defaults, and a value that it makes itself."""

    size = 33
    label = "Loud:"
    default = "x"
    times: int

    def parse_from_arg(self, s: str) -> str:
        if s == "bad":
            raise ValidationError("not this one")
        return s.upper() * self.times


class Hidden(FixedParameter):
    def __init__(self, name: str, secretly: Any, **kwargs: Any) -> None:
        super().__init__(name, default=secretly, **kwargs)


class Both(BaseParameter):
    """Sets two properties."""

    type = "text"

    async def updateFromKwargs(self, properties: Any, kwargs: Any, master: Any = None, **unused: Any) -> None:
        value = self.getFromKwargs(kwargs)
        if value == "bad":
            raise ValidationError("neither of them")
        assert unused["sourcestamps"][""]["branch"] == "" and unused["changes"] == []
        properties.update({f"{self.name}_one": value, f"{self.name}_two": master.name})

    def getSpec(self) -> dict[str, Any]:
        return super().getSpec() | {"mine": 1}


async def test_own_parameters(farm: SchedulerHarness) -> None:
    """Class attributes are defaults, further arguments are attributes, and methods are called as in Buildbot."""
    scheduler = await form(farm, Upper("loud", times=2), Hidden("h", 5), Both("both"))
    specs = {each["name"]: each for each in scheduler.describe()["all_fields"]}
    assert (specs["loud"]["size"], specs["loud"]["label"], specs["both"]["mine"]) == (33, "Loud:", 1)
    assert await forced(farm, scheduler, loud="a", both="v") == {
        "loud": "AA", "h": 5, "both_one": "v", "both_two": farm.master.name,
    }  # fmt: skip
    assert (await forced(farm, scheduler))["loud"] == "x"
    with pytest.raises(ControlParamsError) as caught:
        await forced(farm, scheduler, loud="bad", both="bad")
    assert caught.value.messages == {"loud": "not this one", "both": "neither of them"}
    await farm.stop()


async def test_choices_that_are_not_fixed(farm: SchedulerHarness) -> None:
    """They are asked for when the form is made and when it is submitted; a function that fails leaves them."""
    known = ["one"]
    asked: list[Any] = []

    class Known(ChoiceStringParameter):
        async def getChoices(self, master: Any, scheduler: Any, buildername: str | None) -> Any:
            asked.append((scheduler.name, buildername))
            return known[:]

    class Fails(ChoiceStringParameter):
        def getChoices(self, master: Any, scheduler: Any, buildername: str | None) -> Any:
            return 1 // 0

    with capturedLogs() as logs:
        fields = [Known("k"), Fails("f", choices=["a"], default="a")]
        scheduler = await form(farm, NestedParameter("", fields=fields))
        assert [each["choices"] for each in scheduler.describe()["all_fields"][-1]["fields"]] == [["one"], ["a"]]
        known.append("two")
        assert await forced(farm, scheduler, k="two") == {"k": "two", "f": "a"}
        with pytest.raises(ControlParamsError):
            await forced(farm, scheduler, k="three")
    assert asked == [("force", None), ("force", "b"), ("force", "b")]
    assert len([each for each in logs if "log_failure" in each]) == 3
    await farm.stop()


async def test_the_worker_to_build_on(farm: SchedulerHarness) -> None:
    """Those that are configured for the builder; none is a choice, too."""
    update = farm.master.data.update
    b, other = await update.findBuilderId("b"), await update.findBuilderId("other")
    await update.setWorkers({"w2": [b], "w1": [b, other], "elsewhere": [other]})
    scheduler = await form(farm, WorkerChoiceParameter())
    (choice,) = scheduler.describe()["all_fields"][2:]
    assert (choice["name"], choice["label"], choice["choices"]) == ("workername", "Worker", ["", "w1", "w2"])
    assert await forced(farm, scheduler, workername="w2") == {"workername": "w2"}
    assert await forced(farm, scheduler) == {"workername": ""}
    await farm.stop()


async def test_an_earlier_build(farm: SchedulerHarness) -> None:
    """The properties of its form are taken over, unless this form sets them."""
    update = farm.master.data.update
    properties = {"a": ("old", "Force Build Form"), "b": ("old", "Force Build Form"), "c": ("x", "Build")}
    _, brids = await update.addBuildset(sourcestamps=[{"codebase": ""}], builderNames=["b"])
    await update.claimBuildRequests([brids["b"]])
    buildid = await update.newBuild(brids["b"])
    await update.setBuildProperties(buildid, properties)
    await update.endBuild(buildid, brids["b"], SUCCESS)
    inherit = InheritBuildParameter(compatible_builds=lambda master, builder: ["b/1", "b/2"])
    scheduler = await form(farm, StringParameter("a"), inherit)
    assert await forced(farm, scheduler, a="new", inherit="b/1") == {"a": "new", "b": "old"}
    with pytest.raises(ControlParamsError) as caught:
        await forced(farm, scheduler, inherit="b/2")
    assert caught.value.messages == {"inherit": "inherit: there is no build 'b/2'"}
    await farm.stop()


def test_a_patch_of_other_fields() -> None:
    """Each field of a patch may be replaced."""
    patch = PatchParameter(body=StringParameter("body"), author=StringParameter("author", "Who:"))
    assert [(each.name, each.type) for each in patch.fields][:2] == [("body", "text"), ("level", "int")]
    assert patch.fields[2].label == "Who:" and patch.fields[2].fullName == "patch_author"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: StringParameter("a", requierd=True), "StringParameter 'a': unknown argument 'requierd'; did you mean"),
        (lambda: StringParameter(), "StringParameter: argument 'name' is missing"),
        (lambda: StringParameter("a", size="big"), "StringParameter 'a': size must be"),
        (lambda: StringParameter("a", maxsize=-1), "maxsize must be"),
        (lambda: ChoiceStringParameter("a", choices="abc"), "choices must be a list"),
        (lambda: NestedParameter("a", fields=["x"]), "fields element 1 must be a parameter"),
        (lambda: InheritBuildParameter(compatible_builds=3), "compatible_builds must be a function"),
        (lambda: util.CodebaseParameter("", branch=3), "branch must be a parameter, a text or None"),
    ],
)
def test_mistakes(make: Any, said: str) -> None:
    """A mistake names class, argument, value and the allowed values."""
    with pytest.raises(ConfigErrors) as caught:
        make()
    assert said in str(caught.value)


def test_names() -> None:
    """The plugin names are those of `buildbot.schedulers.forcesched`."""
    for name in forcesched.__all__:
        if name.endswith(("Parameter", "ParameterGroup")):
            assert getattr(util, name) is getattr(forcesched, name)
    assert issubclass(util.ParameterGroup, util.NestedParameter)
