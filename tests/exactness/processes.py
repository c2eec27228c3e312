"""Functions of the main functions of all processes."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import (
    FilteringLogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    globalLogPublisher,
    textFileLogObserver,
)

from tests.exactness.records import Records
from tests.exactness.settings import Settings

reactor: Any = _reactor


def sleep(seconds: float) -> Deferred[None]:
    """Let others do something for a while: the chance that a test like this is about."""
    return deferLater(reactor, seconds, lambda: None)


def enter(main: Callable[[Settings, Records, random.Random], Awaitable[None]]) -> None:
    """Run a process of the farm: its name and the settings are its arguments."""
    name, text = sys.argv[1:]
    settings = Settings.from_text(text)
    records = Records(settings.path, name)
    told = LogLevelFilterPredicate(defaultLogLevel=LogLevel.warn)
    globalLogPublisher.addObserver(FilteringLogObserver(textFileLogObserver(sys.stderr), [told]))
    outcome: list[BaseException] = []

    async def whole() -> None:
        try:
            await main(settings, records, random.Random(f"{settings.seed} {name}"))
        except BaseException as error:
            outcome.append(error)
            raise
        finally:
            records.flush()
            reactor.stop()

    parent = os.getppid()

    def look() -> None:
        if os.getppid() != parent:
            os._exit(1)  # no process is left that would end this one

    def start() -> None:
        LoopingCall(look).start(0.5)
        ensureDeferred(whole()).addErrback(lambda failure: failure.printTraceback(sys.stderr))

    reactor.callWhenRunning(start)
    reactor.run()
    sys.exit(1 if outcome else 0)
