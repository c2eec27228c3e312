"""A master with one scheduler at a time, and time that a test moves."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock

from buildbot.test.running import Running, until


class SchedulerHarness:
    """A master with one scheduler at a time, and time that a test moves: ``harness.clock.advance(60)``."""

    def __init__(self, master: Any) -> None:
        self.clock = Clock()
        self.master = Running(master, reactor=self.clock)
        self.scheduler: Any = None

    async def start(self, scheduler: Any) -> Any:
        self.scheduler = scheduler
        await scheduler.run_in(self.master)
        return scheduler

    async def stop(self) -> None:
        await self.scheduler.stop_running()

    async def restart(self, scheduler: Any) -> Any:
        await self.stop()
        return await self.start(scheduler)

    async def crash(self, scheduler: Any) -> None:
        """Start another scheduler over what the database holds; the old one does nothing any more."""
        self.scheduler.note = _nothing
        await self.scheduler.stop_running()
        await self.start(scheduler)

    async def change(self, **attributes: Any) -> int:
        values = {"author": "a <a@b>", "comments": "c", "files": ["f"], "revision": "r", "branch": "main"} | attributes
        return int(await self.master.data.update.addChange(**values))

    async def buildsets(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = await self.master.data.get({"order": ["bsid"]}, ("buildsets",))
        return found

    async def built(self) -> list[list[int]]:
        """The changes of each buildset."""
        return [
            sorted(
                [
                    changeid
                    for stamp in await self.master.db.sourcestamps.getSourceStamps(
                        (await self.master.db.buildsets.getBuildset(each["bsid"]))["sourcestampsetid"]
                    )
                    for changeid in stamp["changeids"]
                ]
            )
            for each in await self.buildsets()
        ]

    async def has_count(self, count: int) -> None:
        """Wait until there are that many buildsets."""

        async def there() -> bool:
            return len(await self.buildsets()) == count

        await until(there)

    async def has_built(self, *changes: list[int]) -> None:
        """Wait until there are that many buildsets; they must be of these changes, in this order."""
        wanted = list(changes)

        async def enough() -> bool:
            return len(await self.buildsets()) >= len(wanted)

        await until(enough)
        assert await self.built() == wanted

    async def is_waiting(self, *changeids: int) -> None:
        """Wait until these changes are what waits."""

        async def there() -> bool:
            return set(await self.waiting()) == set(changeids)

        await until(there)

    async def waiting(self) -> dict[int, bool]:
        found: dict[int, bool] = await self.master.db.schedulers.getChangeClassifications(self.scheduler.objectid)
        return found


async def _nothing() -> None:
    return None
