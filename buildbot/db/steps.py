"""Steps connector: what a build does, one after the other. Its operations serve the Data layer."""

from __future__ import annotations

from typing import Any

from sqlalchemy import bindparam, func, insert, select, update
from sqlalchemy.engine import Connection

from buildbot.db.base import DBConnectorComponent
from buildbot.db.builds import HELD
from buildbot.db.exceptions import NotClaimedError
from buildbot.db.pool import transaction_of
from buildbot.db.statements import Insert, Statement
from buildbot.resources.buildrequests import buildrequests
from buildbot.resources.builds import builds
from buildbot.resources.steps import steps
from buildbot.util import checks, jsontext

_hold = Statement(
    select(steps.c.buildid, steps.c.urls)
    .join(builds, builds.c.id == steps.c.buildid)
    .join(buildrequests, buildrequests.c.id == builds.c.buildrequestid)
    .where(steps.c.id == bindparam("stepid"), HELD)
    .with_for_update(read=True)
)
_last = Statement(select(func.max(steps.c.number)).where(steps.c.buildid == bindparam("buildid")))
_name_taken = Statement(
    select(steps.c.id).where(steps.c.buildid == bindparam("buildid"), steps.c.name_hash == bindparam("hash"))
)
_add = Insert(
    insert(steps).values(
        number=bindparam("number"),
        name=bindparam("name"),
        name_hash=bindparam("hash"),
        buildid=bindparam("buildid"),
        state_string="pending",
        urls="[]",
        hidden=bindparam("hidden"),
    )
)
_this = steps.c.id == bindparam("stepid")
_start = Statement(
    update(steps).where(_this).values(started_at=bindparam("at"), locks_acquired_at=bindparam("locks_at"))
)
_set_state = Statement(update(steps).where(_this).values(state_string=bindparam("state")))
_set_urls = Statement(update(steps).where(_this).values(urls=bindparam("new_urls")))
_finish = Statement(
    update(steps)
    .where(_this)
    .values(complete_at=bindparam("at"), results=bindparam("outcome"), hidden=bindparam("now_hidden"))
)
_unfinished = Statement(
    select(steps.c.id)
    .where(steps.c.buildid == bindparam("buildid"), steps.c.complete_at.is_(None))
    .order_by(steps.c.id)
)


class StepsConnectorComponent(DBConnectorComponent):
    """What builds do; at ``master.db.steps``."""

    def thdHold(self, conn: Connection, stepid: int) -> list[dict[str, str]]:
        """Make sure that this master has claimed the step's build until this transaction ends; the step's URLs.

        Raises NotClaimedError if not.
        """
        owner = {"owner": self.db.masterid, "owner_epoch": self.db.epoch}
        row = _hold.first(conn, stepid=checks.identifier(stepid, "stepid"), **owner)
        if row is None:
            raise NotClaimedError(f"the build of step {stepid} is not claimed by this master")
        return jsontext.loads(row[1])  # type: ignore[no-any-return]

    def thdAdd(self, conn: Connection, buildid: int, name: str, hidden: bool) -> dict[str, Any]:
        """Add the next step of a build: ``stepid``, ``number``, and ``name``, made unique by ``_1``, ``_2``, …"""
        wanted = unique = checks.text(name, "name")
        suffix = 0
        while _name_taken.first(conn, buildid=buildid, hash=checks.name_hash(unique)) is not None:
            suffix += 1
            unique = f"{wanted}_{suffix}"
        last = _last.scalar(conn, buildid=buildid)
        number = 0 if last is None else last + 1
        stepid = _add.id(
            conn,
            number=number,
            name=unique,
            hash=checks.name_hash(unique),
            buildid=buildid,
            hidden=int(checks.boolean(hidden, "hidden")),
        )
        return {"stepid": stepid, "number": number, "name": unique}

    def thdStart(self, conn: Connection, stepid: int, locks_acquired: bool) -> None:
        """Begin a step now; if it has its locks, they were acquired now too."""
        now = transaction_of(conn).now
        _start.run(conn, stepid=stepid, at=now, locks_at=now if locks_acquired else None)

    def thdSetState(self, conn: Connection, stepid: int, state: str) -> None:
        """Say what a step is doing."""
        _set_state.run(conn, stepid=stepid, state=checks.text(state, "state_string"))

    def thdAddURL(self, conn: Connection, stepid: int, urls: list[dict[str, str]], name: str, url: str) -> None:
        """Add a link to those that a step has; one with the same name is replaced."""
        kept = [known for known in urls if known["name"] != checks.text(name, "name")]
        new_urls = jsontext.dumps([*kept, {"name": name, "url": checks.text(url, "url")}])
        _set_urls.run(conn, stepid=stepid, new_urls=new_urls)

    def thdFinish(self, conn: Connection, stepid: int, results: int, hidden: bool) -> None:
        """End a step now."""
        _finish.run(
            conn,
            stepid=stepid,
            at=transaction_of(conn).now,
            outcome=checks.integer(results, "results"),
            now_hidden=int(checks.boolean(hidden, "hidden")),
        )

    def thdUnfinished(self, conn: Connection, buildid: int) -> list[int]:
        """Ids of a build's steps that have not ended."""
        return [row[0] for row in _unfinished.all(conn, buildid=buildid)]
