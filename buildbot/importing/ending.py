"""The end of an import: values that depend on all rows, and the state of schedulers and pollers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import delete, func, select, update

from buildbot.importing import states, upstream
from buildbot.importing.parts import Rows
from buildbot.importing.source import Source
from buildbot.importing.target import Step
from buildbot.resources import clock, events, metadata
from buildbot.util import checks, jsontext

T = metadata.tables


class Ending:
    """Writes the end of an import.

    Args:
        source: the database that is imported.
        changes: the highest id of the changes that were read.
    """

    def __init__(self, source: Source, changes: int) -> None:
        self._source = source
        self._changes = changes

    def write(self, step: Step) -> None:
        """Write builders' last numbers, source stamp sets of patches, an empty log of events, objects and states."""
        conn = step.conn
        builders, builds = T["builders"], T["builds"]
        highest = select(func.max(builds.c.number)).where(builds.c.builderid == builders.c.id).scalar_subquery()
        conn.execute(update(builders).values(last_number=func.coalesce(highest, 0)))
        stamps, members = T["sourcestamps"], T["sourcestampset_members"]
        own = select(func.min(members.c.sourcestampsetid)).where(members.c.ssid == stamps.c.id).scalar_subquery()
        conn.execute(
            update(stamps)
            .where(stamps.c.patchid.is_not(None), stamps.c.sourcestampsetid.is_(None))
            .values(sourcestampsetid=own)
        )
        conn.execute(delete(events))
        conn.execute(update(clock).values(seq=clock.c.seq + 1))
        conn.execute(update(clock).values(trimmed=clock.c.seq))
        self._states(step, int(conn.scalar(select(clock.c.seq)) or 0))

    def _states(self, step: Step, moment: int) -> None:
        objects = self._source.all(upstream.objects)
        found = list(states.states(objects, self._source.all(upstream.object_state)))
        skipped = []
        kept: list[states.State] = []
        for each in found:
            if isinstance(each, states.State):
                kept.append(each)
            elif isinstance(each, states.Skipped):
                skipped.append([each.row, each.reason])
            else:
                step.leave_out(upstream.object_state.name, each.row, each.reason)
        step.note("skipped", skipped)
        schedulers = self._source.all(upstream.schedulers)
        kinds = states.kinds_of_schedulers(objects, [row[1] for row in schedulers])
        last = states.last_builds(found)
        newest = self._changes
        for _, name, enabled in schedulers:
            for kind in kinds.get(name, ()):
                at = last.get((name, kind))
                kept.append(states.feed(name, kind, moment, newest, enabled != 0, at))
        numbers = step.objects({(each.name, each.class_name) for each in kept})
        table = T["object_state"]
        rows = Rows(table, ("objectid", "name_hash", "name", "value_json"), upstream.object_state)
        for each in kept:
            if each.key is not None:
                row = (
                    numbers[each.name, each.class_name], checks.name_hash(each.key), each.key,
                    jsontext.dumps(each.value),
                )  # fmt: skip
                rows.add(row, f"{each.name!r} {each.key!r}")
        step.put(table, rows.columns, rows.rows, upstream.object_state.name, rows.ids)
        self._classifications(step, {row[0]: row[1] for row in schedulers}, kinds, numbers)

    def _classifications(
        self,
        step: Step,
        names: Mapping[int, str],
        kinds: Mapping[str, Sequence[str]],
        numbers: Mapping[tuple[str, str], int],
    ) -> None:
        """The changes that schedulers have classified and not built yet."""
        table = T["scheduler_changes"]
        step.conn.execute(delete(table))
        rows = Rows(table, ("objectid", "changeid", "important"), upstream.scheduler_changes)
        for schedulerid, changeid, important in self._source.all(upstream.scheduler_changes):
            name = names.get(schedulerid, "")
            if changeid is not None and changeid > self._changes:
                continue  # it is newer than this run
            if name not in kinds:
                step.leave_out(
                    upstream.scheduler_changes.name, f"{schedulerid} {changeid}",
                    f"schedulerid {schedulerid} does not exist, or its kind is unknown",
                )  # fmt: skip
                continue
            for kind in kinds[name]:
                rows.add((numbers[name, kind], changeid, int(bool(important))), f"{schedulerid} {changeid}")
        step.insert(table, rows.columns, rows.rows, upstream.scheduler_changes.name, rows.ids)
