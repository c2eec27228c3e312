"""Coroutine tests run on the real reactor; fixtures come from tests/support."""

from __future__ import annotations

import gc
import inspect
import signal
from collections import Counter
from typing import Any

import pytest

from tests.support.reactor import reactor, run

pytest_plugins = ["tests.support.fixtures"]


def pytest_configure() -> None:
    """Leave the garbage alone until all tests are known: there is hardly any, and much to look through.

    What a shell starts in the background ignores Ctrl-C, and so would the processes that tests end by it.
    """
    gc.disable()
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """What is imported and known by now stays, and is looked through no more: a search for garbage took 0.7 s."""
    gc.enable()
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    """End the reactor's threads, which would keep the process alive."""
    pool = reactor.threadpool
    if pool is not None:
        pool.stop()


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say why tests were skipped, a line for each reason: a missing server skips hundreds."""
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = Counter(" ".join(str(report.longrepr[2]).removeprefix("Skipped: ").split()) for report in skipped)
    if reasons:
        terminalreporter.section("skipped")
        for reason, count in reasons.most_common():
            terminalreporter.write_line(f"{count} skipped: {reason}")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run ``async def test_…`` to its end on the reactor."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    arguments: dict[str, Any] = {name: pyfuncitem.funcargs[name] for name in names}
    run(pyfuncitem.obj(**arguments))
    return True
