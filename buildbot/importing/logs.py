"""Import of logs with their chunks, in groups that fit into memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from sqlalchemy import bindparam, func, select, update

from buildbot.importing import chunks, convert, upstream
from buildbot.importing.parts import LOGS, Rows, add_converted, by_parent
from buildbot.importing.source import DamagedSourceError, Page, Row, Source
from buildbot.importing.target import Step
from buildbot.resources import metadata

T = metadata.tables

#: the most bytes of compressed chunks in a group, and the number of chunks read at once of a larger log
GROUP_BYTES, GROUP_CHUNKS = 8_000_000, 64


class LogGroup(NamedTuple):
    """Logs that one step imports, with all chunks of logs whose ids are above ``after`` and up to ``last``."""

    rows: list[Row]
    after: int
    last: int
    #: bytes of their compressed chunks
    size: int


class LogReader:
    """Imports logs with their chunks."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def groups(self, page: Page) -> list[LogGroup]:
        """The logs of a page in groups of at most `GROUP_BYTES`; a larger log has a group of its own."""
        sizes = self._sizes(page)
        found = []
        group: list[Row] = []
        size, after = 0, page.after
        for row in page.rows:
            own = sizes.get(row[0], 0)
            if group and size + own > GROUP_BYTES:
                found.append(LogGroup(group, after, int(group[-1][0]), size))
                after, group, size = int(group[-1][0]), [], 0
            group.append(row)
            size += own
        return [*found, LogGroup(group, after, page.last, size)]

    def bring(self, step: Step, group: LogGroup) -> None:
        """Import a group."""
        if len(group.rows) == 1 and group.size >= GROUP_BYTES:
            self._bring_large(step, group.rows[0], again=False)
        else:
            self._bring_small(step, group)

    def _bring_small(self, step: Step, group: LogGroup) -> None:
        logs = Rows(LOGS.table, convert.LOGS, LOGS.source)
        content = Rows(T["logchunks"], chunks.COLUMNS, upstream.logchunks)
        statement = select(upstream.logchunks).where(
            upstream.logchunks.c.logid > bindparam("after"), upstream.logchunks.c.logid <= bindparam("upto")
        )
        ordered = statement.order_by(upstream.logchunks.c.logid, upstream.logchunks.c.first_line)
        read = self._source.ask(ordered, after=group.after, upto=group.last)
        own = by_parent(step, group.rows, read, upstream.logchunks)
        for row in group.rows:
            text = chunks.LogText(row[0])
            packed = [*text.add(own.get(row[0], ())), *text.flush()]
            self._report_log(step, row, text)
            if add_converted(step, logs, row, row[0], lambda row, text=text: convert.log(row, text.lines)):  # type: ignore[misc]
                for chunk in packed:
                    content.add(chunk, row[0])
        step.insert(logs.table, logs.columns, logs.rows, LOGS.name, logs.ids)
        step.insert(content.table, content.columns, content.rows, upstream.logchunks.name, content.ids)

    def bring_again(self, step: Step, row: Row) -> None:
        """Import a log again that was incomplete when it was read."""
        step.replace(T["logchunks"], T["logchunks"].c.logid, [row[0]])
        self._bring_large(step, row, again=True)

    def _bring_large(self, step: Step, row: Row, again: bool) -> None:
        """Import a log in parts of `GROUP_CHUNKS` chunks."""
        logs = Rows(LOGS.table, convert.LOGS, LOGS.source)
        if not add_converted(step, logs, row, row[0], lambda row: convert.log(row, row[5])):
            return
        write = step.change if again else step.insert
        write(logs.table, logs.columns, logs.rows, LOGS.name, logs.ids)
        text = chunks.LogText(row[0])
        column = upstream.logchunks.c
        statement = (
            select(upstream.logchunks)
            .where(column.logid == row[0], column.first_line >= bindparam("first"))
            .order_by(column.first_line)
            .limit(GROUP_CHUNKS)
        )
        first = 0
        while True:
            try:
                read = self._source.ask(statement, first=first)
            except DamagedSourceError:
                text.problems.append(f"from line {first} on the source database is damaged: it cannot read it")
                read = []
            self._insert_chunks(step, row[0], list(text.add(read)))
            if len(read) < GROUP_CHUNKS:
                break
            first = read[-1][1] + 1
        self._insert_chunks(step, row[0], list(text.flush()))
        self._report_log(step, row, text)
        if text.lines != row[5]:
            step.conn.execute(update(LOGS.table).where(LOGS.table.c.id == row[0]).values(num_lines=text.lines))

    @staticmethod
    def _insert_chunks(step: Step, logid: int, rows: list[tuple[Any, ...]]) -> None:
        step.insert(T["logchunks"], chunks.COLUMNS, rows, upstream.logchunks.name, [logid] * len(rows))

    @staticmethod
    def _report_log(step: Step, row: Row, text: chunks.LogText) -> None:
        problems = text.problems
        # an incomplete log has no final number, and a log whose chunks were deleted keeps its number
        if not problems and row[4] and row[6] != "d" and row[5] != text.lines and (text.lines or row[5]):
            problems = [f"num_lines is {row[5]}"]
        if problems:
            step.leave_out(LOGS.name, row[0], f"{'; '.join(problems)}; {text.lines} lines are imported")

    def _sizes(self, page: Page) -> Mapping[int, int]:
        column = upstream.logchunks.c
        statement = (
            select(column.logid, func.sum(func.length(column.content)))
            .where(column.logid > bindparam("after"), column.logid <= bindparam("upto"))
            .group_by(column.logid)
        )
        try:
            return {logid: int(size or 0) for logid, size in
                    self._source.ask(statement, after=page.after, upto=page.last)}  # fmt: skip
        except DamagedSourceError:
            return dict.fromkeys((row[0] for row in page.rows), GROUP_BYTES)  # each gets its own group
