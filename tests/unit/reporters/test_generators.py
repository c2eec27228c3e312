"""Which events generators report, and the content of reports."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from buildbot.config import ConfigErrors
from buildbot.reporters.base import ReporterBase
from buildbot.reporters.generators.build import BuildStartEndStatusGenerator, BuildStatusGenerator
from buildbot.reporters.generators.buildrequest import BuildRequestGenerator
from buildbot.reporters.generators.buildset import BuildSetCombinedStatusGenerator, BuildSetStatusGenerator
from buildbot.reporters.generators.utils import BuildStatusGeneratorMixin, merged_info
from buildbot.reporters.generators.worker import WorkerMissingGenerator
from buildbot.reporters.message import (
    MessageFormatter,
    MessageFormatterEmpty,
    MessageFormatterFunction,
    MessageFormatterRenderable,
)
from buildbot.test.reporters import STAMP, ReporterHarness
from buildbot.util.results import CANCELLED, EXCEPTION, FAILURE, RETRY, SUCCESS, WARNINGS


class Keeper(ReporterBase):
    """A reporter that keeps its reports."""

    name = "keeper"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.kept: list[list[dict[str, Any]]] = []
        super().__init__(*args, **kwargs)

    def sendMessage(self, reports: list[dict[str, Any]]) -> None:
        self.kept.append(reports)


async def running(*generators: Any) -> tuple[ReporterHarness, Keeper]:
    """A harness with one reporter."""
    keeper = Keeper(generators=list(generators))
    farm = ReporterHarness(keeper)
    await farm.start()
    return farm, keeper


EMPTY = MessageFormatterEmpty()


@pytest.mark.parametrize(("mode", "reported"), [
    # builds end SUCCESS, SUCCESS, WARNINGS, FAILURE, FAILURE, EXCEPTION, FAILURE, CANCELLED, RETRY, CANCELLED, SUCCESS
    ("change", [3, 4, 6, 7, 8, 9, 11]),
    ("failing", [4, 5, 7]),
    ("passing", [1, 2, 11]),
    ("problem", [4, 7]),
    (["warnings"], [3]),
    ("warnings", [3, 4, 5, 7]),
    ("exception", [6]),
    ("cancelled", [8, 10]),
    ("all", [1, 2, 3, 4, 5, 6, 7, 8, 10, 11]),
    (("failing", "passing", "warnings"), [1, 2, 3, 4, 5, 7, 11]),
    ({"passing"}, [1, 2, 11]),
])  # fmt: skip
async def test_modes(mode: Any, reported: list[int]) -> None:
    """Each mode has its results; a build with RETRY is not the previous build."""
    farm, keeper = await running(BuildStatusGenerator(mode=mode, message_formatter=EMPTY))
    for results in (
        SUCCESS,
        SUCCESS,
        WARNINGS,
        FAILURE,
        FAILURE,
        EXCEPTION,
        FAILURE,
        CANCELLED,
        RETRY,
        CANCELLED,
        SUCCESS,
    ):
        await farm.build(results)
    await farm.idle()
    found = [report["builds"][0]["number"] for (report,) in keeper.kept]
    assert found == reported
    await farm.stop()


@pytest.mark.parametrize(("filters", "passes"), [
    ({"builders": ["b one", "x"]}, True),
    ({"builders": ["x"]}, False),
    ({"tags": ["fast", "x"]}, True),
    ({"tags": ["x"]}, False),
    ({"schedulers": ["all"]}, True),
    ({"schedulers": ["x"]}, False),
    ({"branches": ["main"]}, True),
    ({"branches": [None]}, False),
    ({"builders": ["b one"], "branches": ["x"]}, False),
])  # fmt: skip
@pytest.mark.parametrize("kind", [BuildStatusGenerator, BuildStartEndStatusGenerator, BuildRequestGenerator,
                                  BuildSetStatusGenerator])  # fmt: skip
async def test_filters(kind: Any, filters: dict[str, Any], passes: bool) -> None:
    """All given filters must match, for each kind of report."""
    farm, keeper = await running(kind(**filters))
    await farm.master.data.update.setBuilders(
        [{"name": "b one", "description": None, "description_format": None, "tags": ["fast"], "projectid": None}]
    )
    await farm.build()
    await farm.idle()
    expected = {BuildStartEndStatusGenerator: 2}.get(kind, 1)
    assert len(keeper.kept) == (expected if passes else 0)
    await farm.stop()


async def test_a_report() -> None:
    """The keys of a report; times are datetime objects."""
    farm, keeper = await running(BuildStatusGenerator(message_formatter=MessageFormatter()))
    change = await farm.master.data.update.addChange(
        author="Zoe <zoe@example.org>", files=["a"], comments="c", revision="1a2b3c", branch="main",
        repository=STAMP["repository"], project=STAMP["project"],
    )  # fmt: skip
    stamps = [{**STAMP, "changeids": [change]}]
    await farm.build(WARNINGS, text="warnings", stamps=stamps, properties={"owner": ("Ann", "Force")})
    await farm.idle()
    ((report,),) = keeper.kept
    (build,) = report["builds"]
    assert report["users"] == ["Ann", "Zoe <zoe@example.org>"]
    assert (report["type"], report["results"], report["extra_info"]) == ("plain", WARNINGS, None)
    assert report["buildset"] is build["buildset"] and report["patches"] == report["logs"] == []
    assert isinstance(build["started_at"], dt.datetime) and isinstance(build["complete_at"], dt.datetime)
    assert build["properties"]["buildername"] == ("b one", "Builder")
    assert build["properties"]["owner"] == ("Ann", "Force") and build["properties"]["workername"][0] == "w"
    assert build["url"] == "https://ci/#/builders/1/builds/1" and build["builder"]["name"] == "b one"
    assert build["parentbuild"] is None and build["parentbuilder"] is None
    assert build["buildrequest"]["buildrequestid"] == 1 and build["steps"] == []
    await farm.stop()


async def test_owners() -> None:
    """The property is used if there are no other responsible users."""
    farm, keeper = await running(BuildStatusGenerator(message_formatter=EMPTY))
    await farm.build(properties={"owners": (["x", "y"], "S")})
    await farm.build(properties={"owners": (["x", "y"], "S"), "owner": ("z", "S")})
    await farm.idle()
    assert [report["users"] for (report,) in keeper.kept] == [["x", "y"], ["z"]]
    await farm.stop()


async def test_logs_and_patches() -> None:
    """A report has the content of the wanted logs, by name, and patches."""
    patch = {"patch_body": "+x", "patch_level": 1, "patch_author": "Pat", "patch_comment": "c", "patch_subdir": ""}
    formatter = MessageFormatter(template="{{ build['steps'][0]['logs'][0]['url'] }}", want_logs_content=["stdio"])
    farm, keeper = await running(BuildStatusGenerator(add_patch=True, message_formatter=formatter))
    buildid = await farm.begin(await farm.request(stamps=[{**STAMP, **patch}]))
    update = farm.master.data.update
    step = await update.newStep(buildid, "make all")
    for name in ("stdio", "other"):
        logid = await update.newLog(step["stepid"], name, "s")
        await update.appendLog(logid, "oone\netwo\n")
        await update.finishLog(logid)
    await update.finishStep(step["stepid"], SUCCESS)
    await farm.end(buildid)
    await farm.idle()
    ((report,),) = keeper.kept
    assert report["body"] == "https://ci/#/builders/1/builds/1/steps/0/logs/stdio"
    (log,) = report["logs"]
    assert (log["name"], log["stepname"], log["buildername"]) == ("stdio", "make all", "b one")
    assert log["content"]["content"] == "oone\netwo\n"
    assert log["url_raw"] == "https://ci/api/v2/logs/1/raw"
    (found,) = report["patches"]
    assert (found["author"], found["body"]) == ("Pat", "+x") and "Pat" in report["users"]
    await farm.stop()


async def test_beginnings() -> None:
    """With ``report_new`` beginnings are reported, with the state of that time."""
    formatter = MessageFormatterFunction(lambda context: context["build"]["results"], "json")
    farm, keeper = await running(BuildStatusGenerator("failing", report_new=True, message_formatter=formatter))
    await farm.build(FAILURE)
    await farm.build(SUCCESS)
    await farm.idle()
    assert [report["body"] for (report,) in keeper.kept] == [None, FAILURE, None]
    await farm.stop()


async def test_requests() -> None:
    """Waiting requests, and requests that are cancelled before they are built, are reported."""
    farm, keeper = await running(BuildRequestGenerator())
    brid = await farm.request()
    await farm.master.data.control("cancel", {"reason": "no"}, ("buildrequests", brid))
    await farm.begin(await farm.request())
    await farm.idle()
    reports = [report for (report,) in keeper.kept]
    assert [(each["results"], each["body"], each["users"]) for each in reports] == [
        (None, "Build pending.", []), (CANCELLED, "Build pending.", []), (None, "Build pending.", []),
    ]  # fmt: skip
    assert reports[0]["builds"][0]["url"] == "https://ci/#/buildrequests/1"
    assert "buildid" not in reports[0]["builds"][0]
    await farm.stop()


async def test_requests_in_words() -> None:
    """The default formatter formats a waiting request, too."""
    farm, keeper = await running(BuildRequestGenerator(formatter=MessageFormatter()))
    await farm.request()
    await farm.idle()
    ((report,),) = keeper.kept
    assert report["subject"] == "☝ Buildbot (Widget CI): b one - build pending (main)"
    assert "https://ci/#/buildrequests/1" in report["body"]
    await farm.stop()


async def buildset(farm: ReporterHarness, *results: int) -> None:
    """A buildset of several builders."""
    names = [f"b{number}" for number in range(len(results))]
    for name in names:
        await farm.master.data.update.findBuilderId(name)
    _, brids = await farm.master.data.update.addBuildset(
        sourcestamps=[STAMP], builderNames=names, reason="r", properties={"scheduler": ("all", "S")}
    )
    for name, result in zip(names, results, strict=True):
        await farm.end(await farm.begin(brids[name]), result, f"text of {name}")


async def test_buildsets() -> None:
    """There is one report of the builds that pass the mode, and none if no build does."""
    said = MessageFormatter(
        template="{{ buildername }} {{ is_buildset }} {{ projects }};", subject="s {{ buildername }}"
    )
    farm, keeper = await running(BuildSetStatusGenerator("failing", message_formatter=said))
    await buildset(farm, FAILURE, SUCCESS, FAILURE)
    await buildset(farm, SUCCESS)
    await farm.idle()
    ((report,),) = keeper.kept
    assert report["body"] == "b0 True acme/widget;b2 True acme/widget;" and report["subject"] == "s b0"
    assert [build["number"] for build in report["builds"]] == [1, 1] and report["results"] == FAILURE
    await farm.stop()


async def test_the_subject_of_a_buildset() -> None:
    """The subject has the project, unless another subject is given."""
    farm, keeper = await running(BuildSetStatusGenerator(), BuildSetStatusGenerator(subject="mine"))
    await buildset(farm, SUCCESS)
    await farm.idle()
    assert [report["subject"] for report in keeper.kept[0]] == [
        "☺ Buildbot (Widget CI): acme/widget - text of b0 (main)", "mine",
    ]  # fmt: skip
    await farm.stop()


async def test_combined() -> None:
    """All buildsets are reported as a whole, also those without builds."""
    farm, keeper = await running(BuildSetCombinedStatusGenerator(MessageFormatter()))
    await buildset(farm, FAILURE, SUCCESS)
    brid = await farm.request()
    await farm.master.data.control("cancel", {"reason": "no"}, ("buildrequests", brid))
    await farm.idle()
    (whole,), (cancelled,) = keeper.kept
    assert whole["subject"] == "☠ Buildbot (Widget CI): acme/widget - failure"
    assert "- b0: text of b0" in whole["body"] and "- b1: text of b1" in whole["body"]
    assert cancelled["results"] == CANCELLED and cancelled["builds"] == []
    await farm.stop()


async def test_missing_workers() -> None:
    """The named workers, or all, are reported; the event has the users to notify."""
    farm, keeper = await running(WorkerMissingGenerator(["w"]))
    workerid = await farm.master.data.update.findWorkerId("w")
    for name in ("w", "x"):
        message = {"workerid": workerid, "name": name, "notify": ["a@example.org"], "last_connection": "Sat Nov 28"}
        await farm.master.mq.produce(("workers", str(workerid), "missing"), message)
    await farm.idle()
    ((report,),) = keeper.kept
    assert (report["worker"], report["users"]) == ("w", ["a@example.org"])
    assert report["subject"] == "Buildbot Widget CI worker w missing"
    assert "w went away" in report["body"] and "Sat Nov 28" in report["body"]
    await farm.stop()


class Own(BuildStatusGeneratorMixin):
    """A user's generator, as written for Buildbot."""

    wanted_event_keys = [("builds", None, "finished")]

    def __init__(self) -> None:
        super().__init__(("failing",), None, None, None, None, None, None, False)
        self.formatter = MessageFormatterRenderable("own")

    async def generate(self, master: Any, reporter: Any, key: Any, build: dict[str, Any]) -> Any:
        from buildbot.reporters.utils import getDetailsForBuild

        await getDetailsForBuild(master, build, want_properties=True, want_steps=True)
        if not self.is_message_needed_by_results(build):
            return None
        return await self.build_message(self.formatter, master, reporter, build)


async def test_a_generator_of_ones_own() -> None:
    """The mixin has the methods that a user's generator calls."""
    farm, keeper = await running(Own())
    await farm.build(SUCCESS)
    await farm.build(FAILURE)
    await farm.idle()
    assert [report["body"] for (report,) in keeper.kept] == ["own"]
    await farm.stop()


@pytest.mark.parametrize(("kind", "arguments", "said"), [
    (BuildStatusGenerator, {"mode": "failin"}, "mode must be one of 'change', .*did you mean 'failing'"),
    (BuildStatusGenerator, {"mode": ["all"]}, "mode has 'all'.*write it alone"),
    (BuildStatusGenerator, {"mode": 3}, "mode must be a list"),
    (BuildStatusGenerator, {"builders": "b"}, "builders must be a list"),
    (BuildStatusGenerator, {"message_formatter": "x"}, "message_formatter must be a formatter"),
    (BuildStatusGenerator, {"tagz": ["b"]}, "unknown argument 'tagz'; did you mean 'tags'"),
    (BuildSetCombinedStatusGenerator, {}, "argument 'message_formatter' is missing"),
    (WorkerMissingGenerator, {"workers": "w"}, "workers must be 'all' or a list of names"),
])  # fmt: skip
def test_mistakes(kind: Any, arguments: dict[str, Any], said: str) -> None:
    """Mistakes are reported when the configuration is read."""
    with pytest.raises(ConfigErrors, match=said):
        kind(**arguments)


def test_tags_and_builders() -> None:
    """tags and builders exclude each other; the error comes from the reporter with the generator."""
    with pytest.raises(ConfigErrors, match="give tags or builders, not both"):
        Keeper(generators=[BuildStatusGenerator(tags=["a"], builders=["b"])])


def test_merging() -> None:
    """In merged dictionaries of dictionaries the first value of a key wins."""
    assert merged_info([None, {"a": {"x": 1}}, {"a": {"x": 2, "y": 3}, "b": {}}]) == {"a": {"x": 1, "y": 3}, "b": {}}
    assert merged_info([None]) is None


def test_equal_arguments() -> None:
    """Generators and formatters with equal arguments are equal, so that their reporter is not restarted."""
    assert BuildStatusGenerator("all", message_formatter=MessageFormatter(subject="x")) == BuildStatusGenerator(
        "all", message_formatter=MessageFormatter(subject="x")
    )
    assert MessageFormatter(subject="x") != MessageFormatter(subject="y")
