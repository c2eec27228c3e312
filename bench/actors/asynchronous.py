"""What the two actors that run on Twisted have in common. Also runs in upstream's virtual environment, so it imports
nothing of this project's package.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Awaitable, Callable
from threading import Thread
from typing import Any, Protocol

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, DeferredQueue, ensureDeferred, gatherResults

from bench.actors.lines import Lines

reactor: Any = _reactor
Operation = Callable[[], Awaitable[Any]]


class Implementation(Protocol):
    """What is measured."""

    #: pending requests that operations may use up
    ids: list[int]
    #: a call of each item
    operations: dict[str, Operation]

    async def open(self) -> None:
        """Start."""

    async def idle(self) -> float:
        """Wait until nothing of what was asked for is left to do; when that was, by ``time.perf_counter``."""

    def statements(self) -> int | None:
        """SQL statements executed so far, or None where nobody counts."""


def serve(implementation: Implementation) -> None:
    """Answer commands until the other side closes."""
    lines = Lines()
    queue: DeferredQueue[dict[str, Any] | None] = DeferredQueue()

    def read() -> None:
        for command in lines.commands():
            reactor.callFromThread(queue.put, command)
        reactor.callFromThread(queue.put, None)

    async def run() -> None:
        try:
            await implementation.open()
            lines.reply({"pid": os.getpid()})
        except BaseException as error:
            lines.fail(error)
            raise
        Thread(target=read, name="commands", daemon=True).start()
        while (command := await queue.get()) is not None:
            try:
                lines.reply(await _obey(implementation, **command))
            except Exception as error:
                lines.fail(error)

    def stop(result: Any) -> None:
        os._exit(0 if result is None else 1)  # threads of database drivers may not be waited for

    reactor.callWhenRunning(lambda: ensureDeferred(run()).addBoth(stop))
    reactor.run()


async def _obey(implementation: Implementation, do: str, **arguments: Any) -> dict[str, Any]:
    if do == "give":
        first, count = arguments["ids"]
        implementation.ids.extend(range(first, first + count))
        return {}
    if do == "forget":
        implementation.ids.clear()
        return {}
    operation = implementation.operations[arguments["item"]]
    if do == "count":
        counts = []
        for _ in range(arguments["calls"]):
            before = implementation.statements()
            await operation()
            after = implementation.statements()
            if before is None or after is None:
                return {"statements": None}
            counts.append(after - before)
        # the look at the log now and then is nobody's call
        return {"statements": statistics.median(counts)}
    return await _run(implementation, operation, **arguments)


async def _run(
    implementation: Implementation, operation: Operation, item: str, callers: int, seconds: float, limit: int | None
) -> dict[str, Any]:
    started = 0

    async def call_again() -> None:
        nonlocal started
        while time.perf_counter() < end and (limit is None or started < limit):
            started += 1
            await operation()

    cpu = time.process_time()
    begin = time.perf_counter()
    end = begin + seconds
    if callers == 1:
        await call_again()
    else:
        everybody: list[Deferred[None]] = [ensureDeferred(call_again()) for _ in range(callers)]
        await gatherResults(everybody, consumeErrors=True)
    done = time.perf_counter()
    idle = await implementation.idle()
    return {
        "calls": started,
        "seconds": max(idle, done) - begin,
        "cpu_seconds": time.process_time() - cpu,
    }
