"""Figures of builds: what is captured, what is sent, and that it arrives."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from buildbot.config.errors import ConfigErrors
from buildbot.process.properties import Secret
from buildbot.process.secrets import SecretDetails
from buildbot.statistics.capture import (
    Capture,
    CaptureBuildDuration,
    CaptureBuildDurationAllBuilders,
    CaptureBuildEndTime,
    CaptureBuildEndTimeAllBuilders,
    CaptureBuildStartTime,
    CaptureBuildStartTimeAllBuilders,
    CaptureData,
    CaptureDataAllBuilders,
    CaptureProperty,
    CapturePropertyAllBuilders,
)
from buildbot.statistics.stats_service import StatsService
from buildbot.statistics.storage_backends.base import Point, StatsStorageBase
from buildbot.statistics.storage_backends.influxdb_client import InfluxStorageService, line
from buildbot.test.reporters import HttpRecorder, ReporterHarness


class Memory(StatsStorageBase):
    """A store that keeps its values, and fails as the test says."""

    def __init__(self, *captures: Any) -> None:
        self.captures = captures
        self.stored: list[tuple[str, Any, Any]] = []
        self.problems: list[Exception] = []

    def thd_postStatsValue(self, post_data: Any, series_name: str, context: Any = None) -> None:
        if self.problems:
            raise self.problems.pop(0)
        self.stored.append((series_name, post_data, context))


class Direct(Memory):
    """The same store, without a thread."""

    async def post(self, service: Any, points: Any) -> None:
        for point in points:
            self.thd_postStatsValue(point.fields, point.series)


def influx(*captures: Any, **kwargs: Any) -> InfluxStorageService:
    given = {"url": "figures", "port": 8086, "user": "ci", "password": "pw", "db": "builds", **kwargs}
    return InfluxStorageService(captures=list(captures), **given)


async def started(*stores: Any, **kwargs: Any) -> ReporterHarness:
    farm = ReporterHarness(StatsService(list(stores)), **kwargs)
    await farm.start()
    return farm


async def built(farm: ReporterHarness) -> int:
    """A build that has a property when it ends; its id."""
    buildid = await farm.begin(await farm.request())
    await farm.master.data.update.setBuildProperties(buildid, {"scheduler": ("all", "Scheduler")})
    await farm.end(buildid)
    return buildid


async def test_influxdb() -> None:
    """One request for each build has a line for each series, with builder and number as tags and the end of the
    build as time."""
    server = HttpRecorder(lambda request: (204, b""))
    farm = await started(
        influx(CaptureBuildDuration("b one"), CaptureProperty("b one", "scheduler"), CaptureBuildDuration("b two")),
        server=server,
    )
    buildid = await built(farm)
    await farm.build(builder="other")
    await farm.idle()
    (request,) = server.requests
    assert (request["method"], request["url"]) == ("POST", "http://figures:8086/write?db=builds&precision=ms")
    assert request["headers"]["authorization"] == "Basic Y2k6cHc="
    build = await farm.master.data.get({}, ("builds", buildid))
    end_ms, took = build["complete_at"] * 1000, float(build["complete_at"] - build["started_at"])
    tags = "build_number=1,builder_name=b\\ one"
    assert request["body"].decode().splitlines() == [
        f"b\\ one-build-times,{tags} duration={took} {end_ms}",
        f'b\\ one-scheduler,{tags} name="scheduler",value="all" {end_ms}',
    ]
    await farm.stop()


async def test_password_is_a_secret() -> None:
    """The password may be a secret; an address may say that it is https. Without a user there is no login."""

    class Secrets:
        async def get(self, name: str) -> SecretDetails:
            return SecretDetails("test", name, "hidden")

    server = HttpRecorder(lambda request: (204, b""))
    capture = CaptureBuildEndTimeAllBuilders()
    stores = [influx(capture, url="https://figures", password=Secret("x")), influx(capture, user=None, name="open")]
    farm = ReporterHarness(StatsService(stores), server=server)
    farm.master.namedServices["secrets"] = Secrets()
    await farm.start()
    await farm.build()
    await farm.idle()
    assert [each["headers"].get("authorization") for each in server.requests] == ["Basic Y2k6aGlkZGVu", None]
    assert server.requests[0]["url"].startswith("https://figures:8086/")
    await farm.stop()


def test_lines() -> None:
    """Special characters of a line are escaped; values have InfluxDB's types."""
    point = Point('a,b c=d"', {"k,= ": 'x"\\y\nz', "t": True, "i": -3, "f": 0.5}, {"n": "a\nb\\", "e": ""}, 1.5)
    assert line(point) == (
        'a\\,b\\ c=d",e=\\ ,n=a\\ b\\\\  k\\,\\=\\ ="x\\"\\\\y\nz",t=true,i=-3i,f=0.5 1500'.replace("\\\\  k", "\\  k")
    )


async def test_captures() -> None:
    """The series and fields of each capture, of one builder and of all."""
    store = Memory(
        CaptureBuildStartTime("b one"),
        CaptureBuildStartTimeAllBuilders(lambda time: time.year > 2000),
        CaptureBuildEndTime("b one", lambda time: str(type(time))),
        CaptureBuildEndTime("b two"),
        CaptureBuildDurationAllBuilders("hours", lambda start, end: (end - start).total_seconds() >= 0),
        CapturePropertyAllBuilders("sch.*", regex=True, callback=lambda known, name: f"{name}={known[name][0]}"),
        CaptureProperty("b one", "none"),
        CaptureProperty("b one", "schedule"),
    )
    farm = await started(store)
    buildid = await built(farm)
    await farm.idle()
    context = {"builder_name": "b one", "build_number": "1"}
    build = await farm.master.data.get({}, ("builds", buildid))
    began = store.stored[0][1]["start-time"]
    assert datetime.fromisoformat(began).timestamp() == build["started_at"] and began.endswith("+00:00")
    times = "b one-build-times"
    assert store.stored[1:] == [
        (times, {"start-time": True}, context),
        (times, {"end-time": "<class 'datetime.datetime'>"}, context),
        (times, {"duration": True}, context),
        ("b one-scheduler", {"name": "scheduler", "value": "scheduler=all"}, context),
    ]
    await farm.stop()


async def test_own_figures() -> None:
    """``yieldMetricsValue`` stores figures of a build under a name, also while it runs."""
    store = Memory(
        CaptureData("size", "b one"),
        CaptureDataAllBuilders("size", lambda data: {"kilo": data["bytes"] / 1000}),
        CaptureData("size", "b two"),
        CaptureData("other", "b one"),
    )
    farm = await started(store)
    buildid = await farm.begin(await farm.request())
    service = farm.manager.named["StatsService"]
    await service.yieldMetricsValue("size", {"bytes": 1500, "none": None}, buildid)
    await farm.idle()
    context = {"builder_name": "b one", "build_number": "1"}
    assert store.stored == [("b one-size", {"bytes": 1500}, context), ("b one-size", {"kilo": 1.5}, context)]
    with pytest.raises(ValueError, match="StatsService: there is no build with the id 99"):
        await service.yieldMetricsValue("size", {}, 99)
    with pytest.raises(ValueError, match=r"StatsService: 'bytes' is no figure: \[1\] \(list\)"):
        await service.yieldMetricsValue("size", {"bytes": [1]}, buildid)
    await farm.stop()


async def test_callbacks_that_fail() -> None:
    """They are logged by name; other captures are not affected."""
    store = Memory(
        CaptureBuildDuration("b one", callback=lambda start, end: 1 / 0),
        CaptureDataAllBuilders("size", lambda data: 5),
        CaptureBuildDuration("b one", callback=lambda start, end: 1),
    )
    farm = await started(store)
    with capturedLogs() as logs:
        buildid = await farm.build()
        await farm.manager.named["StatsService"].yieldMetricsValue("size", {}, buildid)
        await farm.idle()
    said = [str(each["problem"]) for each in logs if "problem" in each]
    assert said == [
        "CaptureBuildDuration: its callback failed: ZeroDivisionError: division by zero",
        "CaptureDataAllBuilders: its callback gave 5, not a dictionary",
    ]
    assert [fields for _, fields, _ in store.stored] == [{"duration": 1}]
    await farm.stop()


async def test_out_of_reach() -> None:
    """Figures that cannot be stored now are stored later, and only once in stores that have them."""
    clock = Clock()
    answers = [(503, b"busy"), (404, b"no such database"), (204, b"")]
    server = HttpRecorder(lambda request: answers.pop(0))
    memory = Direct(CaptureBuildDurationAllBuilders())
    farm = ReporterHarness(
        StatsService([influx(CaptureBuildDurationAllBuilders()), memory]), server=server, reactor=clock
    )
    await farm.start()
    await farm.build()
    for _ in range(100):
        clock.pump([0.1] * 10)
        if not answers and not farm.waiting():
            break
    assert [each["body"] for each in server.requests] == [server.requests[0]["body"]] * 3
    assert len(memory.stored) == 1
    await farm.stop()


async def test_not_taken() -> None:
    """A point that the server refuses is given up and logged with its message; the next one is sent."""
    answers = [(400, b"field type conflict"), (204, b"")]
    server = HttpRecorder(lambda request: answers.pop(0))
    farm = await started(influx(CaptureBuildDurationAllBuilders()), server=server)
    with capturedLogs() as logs:
        await farm.build()
        await farm.build()
        await farm.idle()
    assert any("answers 400: field type conflict" in str(each.get("problem")) for each in logs)
    assert len(server.requests) == 2
    await farm.stop()


async def test_reconfiguration() -> None:
    """New captures apply to later builds; a service without captures reads no events."""
    first, second = Memory(CaptureBuildDurationAllBuilders()), Memory(CaptureDataAllBuilders("x"))
    farm = await started(first)
    await farm.manager.configure([StatsService([second])])
    buildid = await farm.build()
    await farm.manager.named["StatsService"].yieldMetricsValue("x", {"a": 1}, buildid)
    await farm.idle()
    assert first.stored == [] and len(second.stored) == 1
    await farm.manager.configure([StatsService([Memory()])])
    assert farm.waiting() == 0
    await farm.stop()


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: StatsService(), "StatsService 'StatsService': argument 'storage_backends' is missing"),
        (lambda: StatsService([1]), "element 1 must be a store such as InfluxStorageService(…), not 1 (int)"),
        (
            lambda: influx(1),
            "captures element 1 must be a capture such as CaptureBuildDuration('builder'), not 1 (int)",
        ),
        (lambda: influx(url="ftp://x"), "InfluxStorageService 'x'"),
        (lambda: influx(url="http://x/path"), "url must be a server, or http:// or https:// and a server"),
        (
            lambda: CaptureBuildDuration("b", "days"),
            "report_in must be one of 'seconds', 'minutes', 'hours', not 'days'",
        ),
        (lambda: CaptureProperty("b", "(", regex=True), "property_name is no regular expression"),
        (lambda: CaptureData("d"), "CaptureData: argument 'builder_name' is missing (the name of the builder)"),
        (lambda: CaptureBuildStartTime("b", 1), "callback must be a function, not 1 (int)"),
    ],
)
def test_mistakes(make: Callable[[], Any], complaint: str) -> None:
    """Mistakes are reported when the configuration is read."""
    with pytest.raises(ConfigErrors) as caught:
        make()
    assert complaint.replace(" 'x'", "") in "; ".join(caught.value.errors)


async def test_subclasses_must_define_their_methods() -> None:
    """A capture must define `figures`, and a store `thd_postStatsValue`."""
    with pytest.raises(NotImplementedError, match=r"Capture must define figures\(\)"):
        await Capture().figures(None, {})
    with pytest.raises(NotImplementedError, match=r"StatsStorageBase must define thd_postStatsValue\(\)"):
        StatsStorageBase().thd_postStatsValue({}, "s")
