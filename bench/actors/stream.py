"""What the three actors of the event stream are asked for. Also runs in upstream's virtual environment, so it imports
nothing of this project's package.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, ensureDeferred, gatherResults
from twisted.internet.task import LoopingCall

reactor: Any = _reactor

#: the key of events that are made for consumers, and their message: about that of a build
KEY = ("bench", "1", "update")
MESSAGE: dict[str, Any] = {
    "buildid": 1,
    "number": 1,
    "builderid": 1,
    "buildrequestid": 1,
    "workerid": 1,
    "masterid": 1,
    "started_at": 1_700_000_000,
    "complete": False,
    "complete_at": None,
    "locks_duration_s": 0,
    "results": None,
    "state_string": "building",
    "properties": {},
}
#: produced at the same time where each waits for its commit
_AT_ONCE = 100
_TICK_S = 0.01


class Jobs:
    """The commands; a subclass says how its implementation does them."""

    def __init__(self) -> None:
        self._stops: list[Callable[[], Any]] = []
        self.heard = 0

    async def consume(self, key: tuple[str | None, ...]) -> Callable[[], Any]:
        """Count events of a key in ``heard``; returns what ends that."""
        raise NotImplementedError

    def dispatch(self) -> None:
        """Hand one event to the consumers of this process."""
        raise NotImplementedError

    def produce(self, key: tuple[str, ...], message: Any) -> Awaitable[Any]:
        """Announce an event."""
        raise NotImplementedError

    def update(self, text: str) -> Awaitable[Any]:
        """Change the state of the build that clients follow."""
        raise NotImplementedError

    async def obey(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Do a command; what it answers."""
        commands: dict[str, Callable[..., Awaitable[dict[str, Any]]]] = {
            "consumers": self._consumers,
            "dispatch": self._dispatch,
            "produce": self._produce,
            "update": self._update,
            "offer": self.offer,
            "flood": self._flood,
        }
        return await commands[do](**arguments)

    def _hear(self, key: Any, message: Any) -> None:
        self.heard += 1

    async def _consumers(self, matching: int, others: int) -> dict[str, Any]:
        for stop in self._stops:
            await _awaited(stop())
        self._stops = [await self.consume(("bench", None, None)) for _ in range(matching)]
        self._stops += [await self.consume(("other", str(i), None)) for i in range(others)]
        return {}

    async def _dispatch(self, seconds: float) -> dict[str, Any]:
        count, begin = 0, time.perf_counter()
        while (now := time.perf_counter()) < begin + seconds:
            for _ in range(20):
                self.dispatch()
            count += 20
        return {"rate": count / (now - begin)}

    async def _produce(self, seconds: float) -> dict[str, Any]:
        count, begin = 0, time.perf_counter()

        async def again() -> None:
            nonlocal count
            while time.perf_counter() < begin + seconds:
                await _awaited(self.produce(KEY, MESSAGE))
                count += 1

        everybody: list[Deferred[None]] = [ensureDeferred(again()) for _ in range(_AT_ONCE)]
        await gatherResults(everybody, consumeErrors=True)
        return {"rate": count / (time.perf_counter() - begin)}

    async def _update(self, count: int) -> dict[str, Any]:
        begun = time.perf_counter()
        everybody: list[Deferred[Any]] = [
            ensureDeferred(_awaited(self.update(f"update {i} of {begun}"))) for i in range(count)
        ]
        await gatherResults(everybody, consumeErrors=True)
        return {"begun": begun}

    async def offer(self, rate: int, seconds: float) -> dict[str, Any]:
        """So many updates a second, whether or not those before are done."""
        begun, asked, everybody = time.perf_counter(), 0, []
        total = int(rate * seconds)

        def tick() -> None:
            nonlocal asked
            due = min(total, int((time.perf_counter() - begun) * rate))
            while asked < due:
                everybody.append(ensureDeferred(_awaited(self.update(f"update {asked}"))))
                asked += 1
            if asked == total:
                ticking.stop()

        ticking = LoopingCall(tick)
        await ticking.start(_TICK_S)
        await gatherResults(everybody, consumeErrors=True)
        return {"seconds": time.perf_counter() - begun}

    async def _flood(self, count: int, size: int) -> dict[str, Any]:
        for _ in range(count):
            await _awaited(self.produce(KEY, {"text": "x" * size}))
        return {}


def obeys(jobs: Jobs, lines: Any) -> Callable[..., None]:
    """A function that takes a command in the reactor and sends the answer."""

    def obey(**command: Any) -> None:
        done = ensureDeferred(jobs.obey(**command))
        done.addCallbacks(lines.reply, lambda failure: lines.fail(failure.value))

    return obey


async def _awaited(result: Any) -> Any:
    return await result if hasattr(result, "__await__") else result
