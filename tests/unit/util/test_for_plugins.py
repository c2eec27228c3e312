"""The functions of `buildbot.util` that plugins use."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.task import Clock

from buildbot.util import ComparableMixin, asyncSleep, bytes2unicode, unicode2bytes
from buildbot.util.misc import deferredLocked
from buildbot.util.runprocess import TIMED_OUT, run_process
from buildbot.util.twisted import async_to_deferred
from tests.support.reactor import reactor


def test_text() -> None:
    """Bytes and text are converted to each other; other values stay."""
    assert (bytes2unicode(b"\xc3\xa4"), bytes2unicode("a"), bytes2unicode(None)) == ("ä", "a", None)
    assert (unicode2bytes("ä"), unicode2bytes(b"a"), unicode2bytes(5)) == (b"\xc3\xa4", b"a", 5)
    assert bytes2unicode(b"\xe4", "latin-1") == "ä"
    assert bytes2unicode(b"\xe4", errors="replace") == "\N{REPLACEMENT CHARACTER}"
    with pytest.raises(UnicodeDecodeError):
        bytes2unicode(b"\xe4")


def test_comparing() -> None:
    """Objects of a class are equal if the attributes are that it and its bases name; those of another class never."""

    class Pair(ComparableMixin):
        compare_attrs = ("a",)

        def __init__(self, a: int, b: int = 0, c: int = 0) -> None:
            self.a, self.b, self.c = a, b, c

    class Triple(Pair):
        compare_attrs = ("b",)

    assert Pair(1, 2) == Pair(1, 3) and hash(Pair(1)) == hash(Pair(1)) and Pair(1) != Pair(2)
    assert Triple(1, 2, 3) == Triple(1, 2, 4) and Triple(1, 2) != Triple(1, 3) and Triple(1, 2) != Triple(2, 2)
    assert Pair(1) != Triple(1) and Pair(1) != 1


def test_sleep() -> None:
    """It lasts as long as it was asked for."""
    clock = Clock()
    slept = asyncSleep(5, clock)
    clock.advance(4)
    assert not slept.called
    clock.advance(1)
    assert slept.called


def test_coroutines() -> None:
    """A coroutine function becomes one that gives a Deferred; it begins at the call."""
    begun = []

    @async_to_deferred
    async def function(value: int) -> int:
        begun.append(value)
        return value + 1

    result = function(1)
    assert isinstance(result, Deferred) and begun == [1] and result.result == 2


class Counter:
    """Counts the calls inside of a method."""

    def __init__(self) -> None:
        self.lock = DeferredLock()
        self.inside: list[Deferred[None]] = []

    @deferredLocked("lock")
    def enter(self) -> Deferred[None]:
        self.inside.append(Deferred())
        return self.inside[-1]


def test_locked() -> None:
    """A method that is locked runs once at a time, whether it ends well or not."""
    counter = Counter()
    first, second = counter.enter(), counter.enter()
    assert len(counter.inside) == 1
    counter.inside[0].errback(ValueError())
    first.addErrback(lambda failure: failure.trap(ValueError))
    assert len(counter.inside) == 2
    counter.inside[1].callback(None)
    assert second.called

    lock, held = DeferredLock(), Deferred[None]()
    waiting = [deferredLocked(lock)(lambda: held)(), deferredLocked(lock)(lambda: "second")()]
    assert not waiting[1].called
    held.callback(None)
    assert waiting[1].result == "second"


async def _python(code: str, **options: Any) -> Any:
    return await run_process(reactor, [sys.executable, "-c", code], **options)


async def test_programs() -> None:
    """A program's exit code, with the requested output; its input, environment and directory."""
    both = "import sys; print(sys.stdin.read()); print('e', file=sys.stderr); sys.exit(3)"
    assert await _python(both, initial_stdin="in") == (3, b"in\n", b"e\n")
    assert await _python(both, collect_stderr=False) == (3, b"\n")
    assert await _python(both, collect_stdout=False, collect_stderr=False) == 3
    place = "import os; print(os.environ['A'], os.getcwd())"
    assert await _python(place, env={"A": "b"}, workdir="/", collect_stderr=False) == (0, b"b /\n")
    assert (await _python("import sys; print('e', file=sys.stderr)", stderr_is_error=True))[0] == 1
    assert (await _python("import os; os.kill(os.getpid(), 9)"))[0] == -9


@pytest.mark.parametrize("limit", ["io_timeout", "runtime_timeout"])
async def test_programs_that_take_too_long(limit: str) -> None:
    """They are ended, also those that do not want to."""
    stubborn = "import signal, time; signal.signal(15, signal.SIG_IGN); print('on', flush=True); time.sleep(100)"
    options: dict[str, Any] = {limit: 1.0, "sigterm_timeout": 0.1, "collect_stderr": False}
    assert await _python(stubborn, **options) == (TIMED_OUT, b"on\n")
