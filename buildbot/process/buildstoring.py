"""The writes of a build: in batches, with texts and properties without secrets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.logger import Logger

from buildbot.data.updates import UpdateBatch
from buildbot.db.exceptions import NotClaimedError, is_unavailable
from buildbot.process.buildcontract import RunningBuild
from buildbot.process.loglines import storable

_log = Logger()

#: properties by name, each with its source
_Properties = Mapping[str, tuple[Any, str]]


async def stored_together(whose: object, batch: UpdateBatch) -> bool:
    """Store a batch of a build or step; False if a call was refused, so that all must be repeated one by one.

    Raises NotClaimedError, and the errors of a database that is away.
    """
    try:
        await batch.send()
    except NotClaimedError:
        raise
    except Exception as problem:
        if is_unavailable(problem):
            raise
        _log.debug("{whose}: stored by single calls, because of {problem}", whose=whose, problem=problem)
        return False
    return True


def kept(build: RunningBuild, text: str) -> str:
    """``text`` without secrets, and without characters that databases refuse."""
    return storable(build.properties.redactor.clean(text))


async def set_state(build: RunningBuild, text: str) -> None:
    """Show a text as the build's state."""
    await build.master.data.update.setBuildStateString(build.buildid, kept(build, text))


class StoredProperties:
    """The properties of a build in the database: only new and changed ones are stored."""

    def __init__(self, build: RunningBuild) -> None:
        self._build = build
        self._stored: _Properties = {}

    async def save(self) -> None:
        """Store them."""
        changed, now = self._changed()
        if changed:
            build = self._build
            await build.master.data.update.setBuildProperties(build.buildid, self._without_secrets(changed))
            self._stored = now

    def gather(self, batch: UpdateBatch) -> None:
        """Add them to a batch."""
        changed, now = self._changed()
        if changed:
            given = self._without_secrets(changed)
            batch.setBuildProperties(self._build.buildid, given).addCallback(self._were_stored, now)

    def _were_stored(self, _: object, now: _Properties) -> None:
        self._stored = now

    def _changed(self) -> tuple[_Properties, _Properties]:
        """The new and changed properties, and all properties."""
        now = self._build.properties.asDict()
        return {name: value for name, value in now.items() if self._stored.get(name) != value}, now

    def _without_secrets(self, properties: _Properties) -> dict[str, tuple[Any, str]]:
        """Properties without secrets, to be stored; steps use the values themselves."""
        redactor = self._build.properties.redactor
        return {
            redactor.clean(name): (redactor.clean_value(value), redactor.clean(source))
            for name, (value, source) in properties.items()
        }
