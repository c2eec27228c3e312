"""The import of a Buildbot database. It can be repeated: each run imports the rows that are new.

**Reading.** Growing tables are read by id, from the end of the last run up to the highest id at the beginning of this
one. Rows that are unfinished when they are read (a running build, a waiting request) are remembered, and the next run
reads them again. Small tables are read whole each time. So the duration of a later run depends on the new rows only.

**A killed run** leaves a consistent database: each step writes its rows and its position in one transaction.

**The end** of each run sets the builders' last numbers and the positions of schedulers and pollers, and increases the
clock by one, with an empty log of events: a client that followed the database before learns that its position is too
old, and fetches its data again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from operator import itemgetter
from typing import Any

from sqlalchemy import Table, TableClause, delete, func, or_, select

from buildbot.importing import convert, upstream
from buildbot.importing.ending import Ending
from buildbot.importing.logs import LogGroup, LogReader
from buildbot.importing.parts import BUILDS, CHANGES, COMMITS, LOGS, PARTS, Converter, Part, Rows
from buildbot.importing.report import ImportRefusedError, Progress, Report, missing
from buildbot.importing.source import Page, Row, Source
from buildbot.importing.target import Step, Target
from buildbot.resources import clock, metadata
from buildbot.util.clock import now as time_now

T = metadata.tables


class Import:
    """One run of an import.

    Args:
        source, target: the databases, both opened.
        progress: reports the progress.
        now: gives the Unix seconds at which running builds and steps end.
        most: the most rows, without their children, that one transaction imports.
    """

    def __init__(
        self,
        source: Source,
        target: Target,
        progress: Progress,
        now: Callable[[], int] = time_now,
        most: int = 5000,
    ) -> None:
        self._source = source
        self._target = target
        self._progress = progress
        self._now = now
        self._most = most
        self._bounds: dict[str, int] = {}
        self._masters: dict[str, str] = {}
        self._logs = LogReader(source)
        self._converter: Converter

    def run(self) -> Report:
        """Import the new rows.

        Raises:
            ImportRefusedError: this source cannot be imported into this target; the message says why.
        """
        self._check()
        target = self._target
        target.begin()
        parts = [part for part in PARTS if part is not COMMITS or self._source.has_codebases()]
        self._bounds = self._source.bounds([part.source for part in reversed(parts)])
        newest = self._bounds[CHANGES.name]
        self._converter = Converter(self._source, newest, self._now)
        self._progress.expect(sum(part.weight * (self._bounds[part.name] - self._position(part)) for part in parts))
        target.wait_for_disk(False)
        target.step(self._small_tables)
        for part in parts:
            self._refresh(part)
            self._scan(part)
            target.step(partial(self._report_orphans, part))
        target.wait_for_disk(True)
        target.step(partial(self._finish, newest))
        target.after_all()
        target.report.left_out = target.left_out()
        target.report.notes = self._notes()
        target.report.seconds = self._progress.seconds
        return target.report

    def _finish(self, newest_change: int, step: Step) -> None:
        if self._source.has_codebases():
            self._put(step, T["branches"], convert.BRANCHES, upstream.codebase_branches, convert.branch)
        Ending(self._source, newest_change).write(step)
        for table in metadata.sorted_tables:
            if "id" in table.columns and table is not clock:
                last = int(step.conn.scalar(select(func.max(table.c.id))) or 0)
                self._target.dialect.skip_ids(step.conn, table, last)

    def _notes(self) -> list[str]:
        skipped = self._target.notes.get("skipped", [])
        return [
            f"Not imported on purpose: {', '.join(upstream.LINKS)} (the new master writes its own).",
            *(f"Not imported on purpose: object_state {row} ({reason})." for row, reason in skipped),
        ]

    # checks

    def _check(self) -> None:
        used_by = self._target.used_by()
        earlier = self._target.notes.get("source")
        if used_by is not None:
            since = "since it was imported" if earlier else "before"
            raise ImportRefusedError(
                f"the master {used_by!r} has run on this database {since}; an import needs one on which none has"
            )
        masters = {str(row[0]): row[1] for row in self._source.all(upstream.masters) if isinstance(row[1], str)}
        if earlier is None:
            held = self._target.occupied()
            if held is not None:
                raise ImportRefusedError(f"the database is not empty, it has: {held}. An import needs an empty one")
        elif any(masters.get(number) not in (name, None) for number, name in earlier.items()) or (
            earlier and not set(earlier) & set(masters)
        ):
            raise ImportRefusedError(
                f"the database was filled from another one, whose masters are {', '.join(earlier.values())};"
                f" {self._source.name} is not that one"
            )
        self._masters = masters

    # small tables, whole

    def _small_tables(self, step: Step) -> None:
        step.note("source", self._masters)
        source = self._source
        self._remove_registered(step)
        self._put(step, T["masters"], convert.MASTERS, upstream.masters, convert.master)
        self._put(step, T["workers"], convert.WORKERS, upstream.workers, convert.worker)
        self._put(step, T["projects"], convert.PROJECTS, upstream.projects, convert.project)
        tags: dict[int, str] = {row[0]: row[1] for row in source.all(upstream.tags)}
        tagged: dict[int, list[str]] = {}
        for number, builderid, tagid in source.all(upstream.builders_tags):
            if tagid in tags:
                tagged.setdefault(builderid, []).append(tags[tagid])
            else:
                step.leave_out("builders_tags", number, missing("tagid", tagid))
        self._put(
            step, T["builders"], convert.BUILDERS, upstream.builders,
            lambda row: convert.builder(row, tagged.get(row[0], ())),
        )  # fmt: skip
        self._put(step, T["schedulers"], convert.SCHEDULERS, upstream.schedulers, convert.scheduler)
        self._put(step, T["changesources"], convert.CHANGESOURCES, upstream.changesources, convert.changesource)
        self._put(step, T["users"], convert.USERS, upstream.users, convert.user)
        self._put(
            step, T["users_info"], convert.USERS_INFO, upstream.users_info, convert.user_attribute,
            lambda row: f"{row[0]} {row[1]!r}",
        )  # fmt: skip
        if source.has_codebases():
            self._put(step, T["codebases"], convert.CODEBASES, upstream.codebases, convert.codebase)

    def _remove_registered(self, step: Step) -> None:
        """Remove masters that never ran, which commands have registered, so that their ids are free."""
        masters = T["masters"]
        used = or_(
            select(T["builds"].c.masterid).where(T["builds"].c.masterid == masters.c.id).exists(),
            select(T["buildrequests"].c.id).where(T["buildrequests"].c.claimed_by_masterid == masters.c.id).exists(),
        )
        for number, name in step.conn.execute(select(masters.c.id, masters.c.name).where(~used)).all():
            if self._masters.get(str(number)) != name:
                step.conn.execute(delete(masters).where(masters.c.id == number))

    def _put(
        self,
        step: Step,
        table: Table,
        columns: Sequence[str],
        source: TableClause,
        converted: Callable[[Row], tuple[Any, ...]],
        identify: Callable[[Row], Any] = itemgetter(0),
    ) -> None:
        rows = Rows(table, columns, source)
        for row in self._source.all(source):
            try:
                rows.add(converted(row), identify(row))
            except (TypeError, ValueError) as error:
                problem = self._rescue(rows, row, identify(row), converted)
                step.leave_out(source.name, identify(row), f"{error}; {problem or 'its readable values are imported'}")
        step.put(table, columns, rows.rows, source.name, rows.ids)

    @staticmethod
    def _rescue(rows: Rows, row: Row, identifier: Any, converted: Callable[[Row], tuple[Any, ...]]) -> str | None:
        """Import a row with its readable values: without a builder or worker, its builds would be lost.

        Returns:
            None; or, if that is not possible either, the reason.
        """
        attempts = [converted, convert.worker_without_info] if rows.source is upstream.workers else [converted]
        problem = ""
        for attempt in attempts:
            try:
                rows.add(attempt(convert.readable(row)), identifier)
            except (TypeError, ValueError) as error:
                problem = str(error)
            else:
                return None
        return problem

    # tables that grow

    def _position(self, part: Part) -> int:
        return int(self._target.notes.get(f"position {part.name}", 0))

    def _unfinished(self, part: Part) -> list[int]:
        return list(self._target.notes.get(f"unfinished {part.name}", []))

    def _scan(self, part: Part) -> None:
        bound = self._bounds[part.name]
        while (position := self._position(part)) < bound:
            page = self._source.page(part.source, position, bound, min(part.size, self._most))
            if part is LOGS:
                self._bring_logs(page)
            else:
                self._target.step(partial(self._bring_page, part, page))
            self._progress.step(part.weight * (self._position(part) - position), part.name, self._target.report.total)

    def _bring_page(self, part: Part, page: Page, step: Step) -> None:
        def children(table: TableClause, column: str) -> list[Row]:
            found = self._source.children(table, table.c[column], page.after, page.last)
            self._report_unreadable(step, found, table)
            return found.rows

        for rows in self._converter.converted(step, part, page.rows, children):
            step.insert(rows.table, rows.columns, rows.rows, rows.source.name, rows.ids)
        self._note_page(step, part, page.rows, page.last)
        self._report_unreadable(step, page, part.source)

    def _note_page(self, step: Step, part: Part, rows: Sequence[Row], last: int) -> None:
        step.note(f"position {part.name}", last)
        unfinished = [row[0] for row in rows if part.unfinished(row)]
        if unfinished:
            step.note(f"unfinished {part.name}", self._unfinished(part) + unfinished)

    @staticmethod
    def _report_unreadable(step: Step, page: Page, table: TableClause) -> None:
        for first, last in page.unreadable:
            row = f"{first}" if first == last else f"{first} to {last}"
            step.leave_out(table.name, row, "the source database is damaged and cannot read them")

    def _report_orphans(self, part: Part, step: Step) -> None:
        """Report children of rows that do not exist."""
        for table, column in part.children:
            for row in self._source.orphans(table, table.c[column], part.source, self._bounds[part.name]):
                parent = row[[each.name for each in table.columns].index(column)]
                step.leave_out(table.name, f"{row[0]}", missing(column, parent))

    def _refresh(self, part: Part) -> None:
        """Import again the rows that were unfinished when they were read."""
        size = 50 if part in (LOGS, BUILDS) else 500
        remaining = self._unfinished(part)
        for start in range(0, len(remaining), size):
            ids = remaining[start : start + size]
            self._target.step(partial(self._bring_again, part, ids))
            self._progress.step(0, part.name, self._target.report.total)

    def _bring_again(self, part: Part, ids: list[int], step: Step) -> None:
        rows = self._source.of(part.source, next(iter(part.source.columns)), ids)
        if part is LOGS:
            for row in rows:
                self._logs.bring_again(step, row)
        else:
            self._bring_rows_again(part, rows, step)
        # a row that the source no longer has stays unchanged in the target
        over = {row[0] for row in rows if not part.unfinished(row)} | (set(ids) - {row[0] for row in rows})
        step.note(f"unfinished {part.name}", [each for each in self._unfinished(part) if each not in over])

    def _bring_rows_again(self, part: Part, rows: Sequence[Row], step: Step) -> None:
        ids = [row[0] for row in rows]

        def children(table: TableClause, column: str) -> list[Row]:
            return self._source.of(table, table.c[column], ids)

        for found in self._converter.converted(step, part, rows, children):
            if found.table is part.table:
                step.change(found.table, found.columns, found.rows, found.source.name, found.ids)
            elif found.parent is not None or found.follows:
                if found.parent is not None:
                    step.replace(found.table, found.table.c[found.parent], ids)
                step.insert(found.table, found.columns, found.rows, found.source.name, found.ids)

    def _bring_logs(self, page: Page) -> None:
        for group in self._logs.groups(page):
            self._target.step(partial(self._bring_log_group, page, group))

    def _bring_log_group(self, page: Page, group: LogGroup, step: Step) -> None:
        self._logs.bring(step, group)
        self._note_page(step, LOGS, group.rows, group.last)
        if group.last == page.last:
            self._report_unreadable(step, page, LOGS.source)
