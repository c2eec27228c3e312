"""The caches of masters: how late they show another master's writes, also if the writer died at once."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

from sqlalchemy.exc import DBAPIError

from tests.exactness.processes import sleep
from tests.exactness.records import Records
from tests.exactness.settings import Settings

#: a look comes soon after the one before, or this process stood still
STEADY_S = 0.5
_LOOK_S = 0.1


class Caches:
    """Each master writes to a user of its own and reads those of the others by the cached ``getUser``.

    Args:
        master: an open state layer.
        names: of all masters.
    """

    def __init__(self, master: Any, names: list[str], settings: Settings, records: Records) -> None:
        self._users = master.db.users
        self._names = names
        self._settings = settings
        self._records = records
        self._last = settings.path / f"{records.name}.last"

    async def write(self) -> None:
        """Write numbers that rise, until the run settles; die after one if the farm asks for that."""
        uid = await self._uid(self._records.name)
        number = self._number(await self._users.getUser(uid, no_cache=True))
        while self._settings.phase == "run":
            try:
                text = f"{self._records.name} {number + 1}"
                await self._users.updateUser(uid=uid, attr_type="number", attr_data=text)
            except DBAPIError:
                await sleep(0.2)
                continue
            number += 1
            dies = self._last.exists()
            self._records.write("wrote", name=self._records.name, number=number, at=time.time(), last=dies)
            if dies:
                os.kill(os.getpid(), signal.SIGKILL)
            await sleep(0.2)

    async def read(self) -> None:
        """Look at the others' numbers, until the run ends; write down when each was seen first."""
        uids = {name: await self._uid(name) for name in self._names if name != self._records.name}
        seen: dict[str, int] = {}
        steady = before = time.time()
        while self._settings.phase != "end":
            begun = time.time()
            if begun - before > STEADY_S:
                steady = begun
            for name, uid in uids.items():
                try:
                    number = self._number(await self._users.getUser(uid))
                except DBAPIError:
                    steady = time.time()
                    continue
                if number != seen.get(name):
                    # up to the look before, it had not been seen
                    self._records.write("saw", name=name, number=number, before=before, steady=steady)
                    seen[name] = number
            before = begun
            await sleep(_LOOK_S)

    async def _uid(self, name: str) -> int:
        while True:
            try:
                found = await self._users.findUserByAttr(identifier=name, attr_type="exactness", attr_data=name)
                return int(found)
            except DBAPIError:
                await sleep(0.2)

    @staticmethod
    def _number(user: Any) -> int:
        return int(user.get("number", "- 0").split()[1])
