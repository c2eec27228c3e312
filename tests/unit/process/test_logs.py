"""Logs: stored in order, soon, and in few writes."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from buildbot.process.defaults import NO_LIMITS, LogLimits
from buildbot.process.loglines import storable
from buildbot.process.logs import Log
from buildbot.process.logwriter import BATCH_CHARS, FIRST_S, INTERVAL_S, MAX_BACKLOG_CHARS


class Store:
    """Update methods whose appends end when the test says so."""

    def __init__(self) -> None:
        self.appended: list[str] = []
        self.opened: list[tuple[int, str, str]] = []
        self.finished: list[int] = []
        self.held: list[Deferred[None]] | None = None

    async def newLog(self, stepid: int, name: str, type: str) -> int:
        self.opened.append((stepid, name, type))
        return 7

    async def appendLog(self, logid: int, text: str) -> None:
        assert logid == 7
        self.appended.append(text)
        if self.held is not None:
            self.held.append(Deferred())
            await self.held[-1]

    async def finishLog(self, logid: int, text: str) -> None:
        if text:
            await self.appendLog(logid, text)
        self.finished.append(logid)

    async def newCompleteLog(self, stepid: int, name: str, type: str, text: str) -> int:
        logid = await self.newLog(stepid, name, type)
        await self.finishLog(logid, text)
        return logid


class Logs:
    def __init__(self, type: str = "s", limits: LogLimits = NO_LIMITS) -> None:
        self.store = Store()
        self.clock = Clock()
        self.errors: list[Failure] = []
        self.held: list[bool] = []
        self.log = Log(self.store, self.clock, 3, "stdio", type, self.errors.append, self.held.append, limits)


async def test_lines_are_written_in_batches() -> None:
    """The first lines are written very soon, later ones after the interval, together."""
    logs = Logs()
    await logs.log.addStdout("a\n")
    assert logs.store.appended == []
    logs.clock.advance(FIRST_S)
    assert logs.store.appended == ["oa\n"]
    await logs.log.addStderr("b\n")
    await logs.log.addHeader("c\nd\n")
    assert logs.store.appended == ["oa\n"]
    logs.clock.advance(INTERVAL_S)
    assert logs.store.appended == ["oa\n", "eb\nhc\nhd\n"]
    logs.clock.advance(INTERVAL_S)
    await logs.log.addStdout("e\n")
    await logs.log.finish()
    assert logs.store.appended[2:] == ["oe\n"]
    assert logs.store.finished == [7] and logs.clock.getDelayedCalls() == []


async def test_much_output_does_not_wait() -> None:
    """A full batch goes out before the interval is over."""
    logs = Logs()
    logs.log.write("o", "a\n")
    logs.log.write("o", "x" * BATCH_CHARS + "\n")
    logs.log.write("o", "y" * BATCH_CHARS + "\n")
    assert [len(text) for text in logs.store.appended] == [3 + BATCH_CHARS + 2, BATCH_CHARS + 2]
    await logs.log.finish()


async def test_one_write_at_a_time_in_order() -> None:
    """While a write is under way others gather; the end of the log waits for all of them."""
    logs = Logs()
    logs.store.held = []
    logs.log.write("o", "1\n")
    logs.clock.advance(FIRST_S)
    logs.log.write("o", "2\n")
    finishing = ensureDeferred(logs.log.finish())
    logs.clock.advance(INTERVAL_S * 5)
    assert logs.store.appended == ["o1\n"]
    logs.store.held[0].callback(None)
    assert logs.store.appended == ["o1\n", "o2\n"] and not finishing.called
    logs.store.held[1].callback(None)
    await finishing
    assert logs.store.finished == [7] and logs.clock.getDelayedCalls() == []


async def test_too_much_for_the_database() -> None:
    """When too much waits, the source of the log is held back until it is written."""
    logs = Logs()
    logs.store.held = []
    logs.log.write("o", "1\n")
    for _ in range(3):
        logs.log.write("o", "x" * (MAX_BACKLOG_CHARS // 2) + "\n")
    assert logs.held == [True]
    logs.store.held[0].callback(None)
    assert logs.held == [True]
    logs.store.held[1].callback(None)
    await logs.log.finish()
    assert logs.held == [True, False]


async def test_too_much_at_the_end() -> None:
    """A source that is paused when its log ends is resumed, also without a write in between."""
    logs = Logs()
    logs.store.held = []
    logs.log.write("o", "1\n")
    logs.clock.advance(FIRST_S)
    logs.log.write("o", "x" * (MAX_BACKLOG_CHARS + 1) + "\n")
    finishing = ensureDeferred(logs.log.finish())
    assert logs.held == [True]
    logs.store.held[0].callback(None)
    assert len(logs.store.appended) == 2 and len(logs.store.appended[1]) > MAX_BACKLOG_CHARS
    logs.store.held[1].callback(None)
    await finishing
    assert logs.held == [True, False] and logs.store.finished == [7]


async def test_streams_keep_their_unfinished_lines() -> None:
    """Pieces of lines of several streams do not mix; the last one is completed at the end."""
    logs = Logs()
    seen: list[tuple[str | None, str | None]] = []
    logs.log.subscribe(lambda stream, text: seen.append((stream, text)))
    for stream, text in (("o", "a"), ("e", "x\ny"), ("o", "b\nc\n"), ("e", "z"), ("o", "")):
        logs.log.write(stream, text)
    await logs.log.finish()
    assert "".join(logs.store.appended) == "ex\noab\noc\neyz\n"
    assert seen == [("e", "x\n"), ("o", "ab\nc\n"), ("e", "yz\n"), (None, None)]


@pytest.mark.parametrize("texts", [["x" * 25], ["x"] * 25, ["xx", "x" * 21, "xx\ny"], ["x" * 9, "x" * 16 + "\n"]])
async def test_long_lines_are_cut(monkeypatch: pytest.MonkeyPatch, texts: list[str]) -> None:
    """A line that grows too long goes on in the next one, however it comes; nothing of it is lost or kept back."""
    monkeypatch.setattr("buildbot.process.loglines.MAX_LINE_CHARS", 10)
    logs = Logs()
    for text in texts:
        logs.log.write("o", text)
    await logs.log.finish()
    expected = ["o" + "x" * 10, "o" + "x" * 10, "o" + "x" * 5, *(["oy"] if texts[-1].endswith("y") else [])]
    assert "".join(logs.store.appended).splitlines() == expected


def test_endless_line_takes_linear_time() -> None:
    """Output without an end of line is not joined again and again: each character is copied a few times only."""
    logs = Logs()
    copied = 0

    class Counting(str):
        def __add__(self, other: str) -> str:
            nonlocal copied
            copied += len(self) + len(other)
            return str(self) + other

    for _ in range(1000):
        logs.log.write("o", Counting("x" * 10_000))
    assert copied == 0 and sum(map(len, logs.store.appended)) <= 10_000_100


async def test_finish_that_fails_fails_for_all() -> None:
    """Each call of ``finish`` fails if the log could not be written, also the second one."""
    logs = Logs()

    async def broken(logid: int, text: str) -> None:
        raise ZeroDivisionError

    logs.store.appendLog = broken  # type: ignore[method-assign]
    logs.log.write("o", "x\n")
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            await logs.log.finish()


async def test_text_logs_have_no_prefix() -> None:
    """Only stdio logs say which stream a line is of."""
    logs = Logs("t")
    await logs.log.addContent("a\nb")
    await logs.log.finish()
    assert "".join(logs.store.appended) == "a\nb\n"


async def test_opened_when_needed() -> None:
    """A log that nothing was written to does not exist, unless it was opened."""
    logs = Logs()
    await logs.log.finish()
    assert logs.store.opened == [] and logs.store.finished == []
    logs = Logs()
    await logs.log.open()
    await logs.log.finish()
    assert logs.store.opened == [(3, "stdio", "s")] and logs.store.finished == [7]


async def test_opened_once() -> None:
    """A log that is opened, and written to meanwhile, is made once."""
    logs = Logs()
    new_log, making = logs.store.newLog, list[Deferred[None]]()

    async def slow(stepid: int, name: str, type: str) -> int:
        making.append(Deferred())
        await making[-1]
        return await new_log(stepid, name, type)

    logs.store.newLog = slow  # type: ignore[method-assign]
    opening = ensureDeferred(logs.log.open())
    logs.log.write("o", "a\n")
    logs.clock.advance(FIRST_S)
    assert len(making) == 1
    making[0].callback(None)
    await opening
    await logs.log.finish()
    assert len(logs.store.opened) == 1 and logs.store.appended == ["oa\n"]


async def test_a_failed_write_ends_it() -> None:
    """The first failure is reported once, no text is written after it, and finishing ends the log and raises it."""
    logs = Logs()

    async def fails(logid: int, text: str) -> None:
        raise OSError("disk")

    logs.store.appendLog = fails  # type: ignore[method-assign]
    logs.log.write("o", "a\n")
    logs.clock.advance(FIRST_S)
    logs.log.write("o", "b\n")
    assert [type(error.value) for error in logs.errors] == [OSError]
    with pytest.raises(OSError, match="disk"):
        await logs.log.finish()
    assert logs.store.finished == [7] and len(logs.errors) == 1 and logs.clock.getDelayedCalls() == []


@pytest.mark.parametrize(
    ("text", "stored"), [("a\0b", "a\ufffdb"), ("x\ud800y", "x\ufffdy"), ("grün 🙂", "grün 🙂"), ("\ud83d\ude42", "🙂")]
)
def test_storable(text: str, stored: Any) -> None:
    """NUL and lone surrogates, which no database keeps, are replaced."""
    assert storable(text) == stored


@pytest.mark.parametrize(
    ("type", "tail", "kept"),
    [
        ("s", 0, ["oone", "etwo", "hOutput exceeded 9 bytes, remaining output has been truncated", "hexit code 3"]),
        (
            "s",
            10,
            [
                "oone", "etwo", "hOutput exceeded 9 bytes, remaining output has been truncated", "hexit code 3",
                "hFinal 9 bytes follow below:", "efour", "ofin",
            ],
        ),
        (
            "t",
            4,
            [
                "one", "two", "Output exceeded 9 bytes, remaining output has been truncated",
                "Final 4 bytes follow below:", "fin",
            ],
        ),
    ],
)  # fmt: skip
async def test_limits(type: str, tail: int, kept: list[str]) -> None:
    """Lines beyond the limit are dropped, except the last ones; headers stay, and observers get all lines."""
    logs = Logs(type, LogLimits(9, tail))
    heard: list[str] = []
    logs.log.subscribe(lambda stream, text: heard.append(text or ""))
    logs.log.write("o", "one\n")
    logs.log.write("e", "two\nthrée\n")
    if type == "s":
        logs.log.write("h", "exit code 3\n")
    logs.log.write("e", "four\n")
    logs.log.write("o", "fin")
    await logs.log.finish()
    assert "".join(logs.store.appended).splitlines() == kept
    assert "".join(heard).replace("exit code 3\n", "") == "one\ntwo\nthrée\nfour\nfin\n"


async def test_within_the_limit() -> None:
    """A log of exactly the allowed length is stored whole."""
    logs = Logs("s", LogLimits(8, 4))
    logs.log.write("o", "one\ntwo\n")
    await logs.log.finish()
    assert "".join(logs.store.appended) == "oone\notwo\n"
