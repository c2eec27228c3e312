"""The tables that grow: their sizes of pages, and the conversion of their rows with the rows that belong to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import Any

from sqlalchemy import Table, TableClause, bindparam, select

from buildbot.importing import convert, upstream
from buildbot.importing.report import missing
from buildbot.importing.source import Row, Source
from buildbot.importing.target import Step
from buildbot.resources import metadata
from buildbot.util import checks, jsontext

T = metadata.tables

#: the most changes of one source stamp that a buildset gets; only source stamps without revision have more
_MAX_CHANGES = 100

#: gives the rows of a child table, by its column with the parent's id
Children = Callable[[TableClause, str], list[Row]]


@dataclass
class Rows:
    """Rows for one table of the target.

    Attributes:
        table, columns: the target's table, and the columns of the rows.
        source: the table that the rows come from.
        parent: the column by which they are replaced when their parents are read again; None: they never change.
        follows: whether they are deleted, by a foreign key, with rows that are replaced.
        rows: their values.
        ids: for each row, what finds it in the source.
    """

    table: Table
    columns: Sequence[str]
    source: TableClause
    parent: str | None = None
    follows: bool = False
    rows: list[tuple[Any, ...]] = field(default_factory=list)
    ids: list[Any] = field(default_factory=list)

    def add(self, row: tuple[Any, ...], identifier: Any) -> None:
        """Add a row."""
        self.rows.append(row)
        self.ids.append(identifier)


@dataclass(frozen=True)
class Part:
    """A table that grows.

    Attributes:
        source, table: Buildbot's and Tenfold's.
        size: the number of rows that one step reads.
        weight: the relative cost of a row with its children, for the progress.
        unfinished: whether a row may still change.
        children: the child tables, each with its column for the parent's id.
    """

    source: TableClause
    table: Table
    size: int
    weight: float
    unfinished: Callable[[Row], bool] = lambda row: False
    children: tuple[tuple[TableClause, str], ...] = ()

    @property
    def name(self) -> str:
        """The name of the source's table."""
        return self.source.name


def _incomplete(column: str, source: TableClause) -> Callable[[Row], bool]:
    place = [each.name for each in source.columns].index(column)
    return lambda row: not row[place]


COMMITS = Part(upstream.codebase_commits, T["commits"], 5000, 1)
PATCHES = Part(upstream.patches, T["patches"], 200, 2)
SOURCESTAMPS = Part(upstream.sourcestamps, T["sourcestamps"], 5000, 1)
CHANGES = Part(
    upstream.changes, T["changes"], 2000, 3,
    children=tuple(
        (table, "changeid") for table in (upstream.change_files, upstream.change_properties, upstream.change_users)
    ),
)  # fmt: skip
BUILDSETS = Part(
    upstream.buildsets, T["buildsets"], 2000, 4, _incomplete("complete", upstream.buildsets),
    ((upstream.buildset_properties, "buildsetid"), (upstream.buildset_sourcestamps, "buildsetid")),
)  # fmt: skip
BUILDREQUESTS = Part(
    upstream.buildrequests, T["buildrequests"], 5000, 2, _incomplete("complete", upstream.buildrequests),
    ((upstream.buildrequest_claims, "brid"),),
)  # fmt: skip
BUILDS = Part(
    upstream.builds, T["builds"], 1000, 10, _incomplete("complete_at", upstream.builds),
    ((upstream.build_properties, "buildid"), (upstream.build_data, "buildid")),
)  # fmt: skip
STEPS = Part(upstream.steps, T["steps"], 5000, 1, _incomplete("complete_at", upstream.steps))
LOGS = Part(
    upstream.logs, T["logs"], 1000, 4, _incomplete("complete", upstream.logs), ((upstream.logchunks, "logid"),)
)  # fmt: skip
TEST_RESULT_SETS = Part(
    upstream.test_result_sets, T["test_result_sets"], 5000, 1, _incomplete("complete", upstream.test_result_sets)
)
TEST_RESULTS = Part(upstream.test_results, T["test_results"], 5000, 1)

#: in the order of references: a table comes after those that it refers to
PARTS = (
    COMMITS, PATCHES, SOURCESTAMPS, CHANGES, BUILDSETS, BUILDREQUESTS, BUILDS, STEPS, LOGS, TEST_RESULT_SETS,
    TEST_RESULTS,
)  # fmt: skip


def add_converted(
    step: Step, rows: Rows, row: Row, identifier: Any, converted: Callable[[Row], tuple[Any, ...]]
) -> bool:
    """Add the converted row; whether it can be stored. One that cannot is left out."""
    try:
        rows.add(converted(row), identifier)
    except (TypeError, ValueError) as error:
        step.leave_out(rows.source.name, identifier, str(error))
        return False
    return True


def by_parent(step: Step, rows: Sequence[Row], children: Sequence[Row], source: TableClause) -> dict[Any, list[Row]]:
    """Child rows by the id of their parent; rows without a parent are left out."""
    parents = {row[0] for row in rows}
    found = {parent: list(own) for parent, own in groupby(children, itemgetter(0))}
    for parent in found.keys() - parents:
        step.leave_out(source.name, parent, missing(next(iter(source.columns)).name, parent))
    return found


class Converter:
    """Converts the rows of growing tables.

    Args:
        source: the database that is imported.
        changes: the highest id of the changes that are read.
        now: gives the Unix seconds at which running builds and steps end.
    """

    def __init__(self, source: Source, changes: int, now: Callable[[], int]) -> None:
        self._source = source
        self._changes_bound = changes
        self._now = now

    def converted(self, step: Step, part: Part, rows: Sequence[Row], children: Children) -> list[Rows]:
        """The rows for the target's tables, in the order in which they can be inserted."""
        if part is BUILDS:
            return self._builds(step, rows, children)
        if part is BUILDSETS:
            return self._buildsets(step, rows, children)
        if part is BUILDREQUESTS:
            return self._buildrequests(step, rows, children)
        if part is CHANGES:
            return self._changes(step, rows, children)
        if part is TEST_RESULTS:
            return self._test_results(step, rows)
        now = self._now()
        columns, converted = {
            COMMITS.name: (convert.COMMITS, convert.commit),
            PATCHES.name: (convert.PATCHES, convert.patch),
            SOURCESTAMPS.name: (convert.SOURCESTAMPS, convert.sourcestamp),
            STEPS.name: (convert.STEPS, lambda row: convert.step(row, now)),
            TEST_RESULT_SETS.name: (convert.TEST_RESULT_SETS, convert.test_result_set),
        }[part.name]
        found = Rows(part.table, columns, part.source)
        for row in rows:
            add_converted(step, found, row, row[0], converted)
        return [found]

    def _changes(self, step: Step, rows: Sequence[Row], children: Children) -> list[Rows]:
        files = by_parent(step, rows, children(upstream.change_files, "changeid"), upstream.change_files)
        properties = self._pairs(
            step, rows, children(upstream.change_properties, "changeid"), upstream.change_properties
        )
        found = Rows(CHANGES.table, convert.CHANGES, CHANGES.source)

        def converted(row: Row) -> tuple[Any, ...]:
            own = [name for _, name in files.get(row[0], ())]
            return convert.change(row, own, properties.get(row[0], {}))

        for row in rows:
            add_converted(step, found, row, row[0], converted)
        users = Rows(T["change_users"], ("changeid", "uid"), upstream.change_users)
        for changeid, uid in children(upstream.change_users, "changeid"):
            users.add((changeid, uid), f"{changeid} {uid}")
        return [found, users]

    def _buildsets(self, step: Step, rows: Sequence[Row], children: Children) -> list[Rows]:
        properties = self._pairs(
            step, rows, children(upstream.buildset_properties, "buildsetid"), upstream.buildset_properties
        )
        sets = Rows(T["sourcestampsets"], ("id",), BUILDSETS.source)
        found = Rows(BUILDSETS.table, convert.BUILDSETS, BUILDSETS.source)
        for row in rows:
            if add_converted(step, found, row, row[0], lambda row: convert.buildset(row, properties.get(row[0], {}))):
                sets.add((row[0],), row[0])
        members = Rows(
            T["sourcestampset_members"], ("sourcestampsetid", "ssid"), upstream.buildset_sourcestamps
        )  # fmt: skip
        for setid, ssid in children(upstream.buildset_sourcestamps, "buildsetid"):
            members.add((setid, ssid), f"{setid} {ssid}")
        led = Rows(
            T["sourcestampset_changes"], ("sourcestampsetid", "ssid", "changeid"), upstream.buildset_sourcestamps
        )
        changes = self._changes_of({ssid for _, ssid in members.rows})
        for setid, ssid in members.rows:
            for changeid in changes.get(ssid, ()):
                led.add((setid, ssid, changeid), f"{setid} {ssid}")
        return [sets, found, members, led]

    def _changes_of(self, ssids: set[int]) -> dict[int, list[int]]:
        """The ids of the imported changes of source stamps, by source stamp; at most `_MAX_CHANGES` of each."""
        found: dict[int, list[int]] = {}
        columns = upstream.changes.c
        wanted = sorted(ssids)
        for start in range(0, len(wanted), 500):
            statement = select(columns.sourcestampid, columns.changeid).where(
                columns.sourcestampid.in_(bindparam("them", expanding=True)), columns.changeid <= bindparam("upto")
            )
            rows = self._source.ask(
                statement.order_by(columns.changeid), them=wanted[start : start + 500], upto=self._changes_bound
            )
            for ssid, changeid in rows:
                found.setdefault(ssid, []).append(changeid)
        return {ssid: changeids[-_MAX_CHANGES:] for ssid, changeids in found.items()}

    def _buildrequests(self, step: Step, rows: Sequence[Row], children: Children) -> list[Rows]:
        claims = {claim[0]: claim for claim in children(upstream.buildrequest_claims, "brid")}
        found = Rows(BUILDREQUESTS.table, convert.BUILDREQUESTS, BUILDREQUESTS.source)
        for row in rows:
            add_converted(step, found, row, row[0], lambda row: convert.buildrequest(row, claims.pop(row[0], None)))
        for brid in claims:
            step.leave_out("buildrequest_claims", brid, missing("brid", brid))
        return [found]

    def _builds(self, step: Step, rows: Sequence[Row], children: Children) -> list[Rows]:
        now = self._now()
        found = Rows(BUILDS.table, convert.BUILDS, BUILDS.source)
        for row in rows:
            add_converted(step, found, row, row[0], lambda row: convert.build(row, now))
        properties = Rows(T["build_properties"], convert.BUILD_PROPERTIES, upstream.build_properties, parent="buildid")
        for row in children(upstream.build_properties, "buildid"):
            add_converted(step, properties, row, f"{row[0]} {row[1]!r}", convert.build_property)
        data = Rows(T["build_data"], convert.BUILD_DATA, upstream.build_data, parent="buildid")
        values = Rows(T["build_data_values"], convert.BUILD_DATA_VALUES, upstream.build_data, follows=True)
        for row in children(upstream.build_data, "buildid"):
            try:
                described, value = convert.build_data(row)
            except (TypeError, ValueError) as error:
                step.leave_out("build_data", row[0], str(error))
                continue
            data.add(described, row[0])
            values.add(value, row[0])
        return [found, properties, data, values]

    def _test_results(self, step: Step, rows: Sequence[Row]) -> list[Rows]:
        names = self._named(step, T["test_names"], upstream.test_names, {row[3] for row in rows})
        paths = self._named(step, T["test_code_paths"], upstream.test_code_paths, {row[4] for row in rows})
        found = Rows(TEST_RESULTS.table, convert.TEST_RESULTS, TEST_RESULTS.source)

        def converted(row: Row) -> tuple[Any, ...]:
            for what, number, known in (("test_nameid", row[3], names), ("test_code_pathid", row[4], paths)):
                if number is not None and number not in known:
                    raise ValueError(missing(what, number))
            return convert.test_result(row, names.get(row[3]), paths.get(row[4]))

        for row in rows:
            add_converted(step, found, row, row[0], converted)
        return [found]

    def _named(self, step: Step, table: Table, source: TableClause, ids: set[Any]) -> dict[Any, int]:
        """The target's ids of names, by the source's ids. In the target a name has one id for all builders."""
        ids.discard(None)
        names: dict[Any, str] = {}
        for number, name in self._source.of(source, source.c.id, sorted(ids)):
            try:
                names[number] = checks.text(name, "name")
            except (TypeError, ValueError) as error:
                step.leave_out(source.name, number, str(error))
        found = step.named(table, sorted(set(names.values())))
        return {number: found[name] for number, name in names.items()}

    def _pairs(
        self, step: Step, rows: Sequence[Row], children: Sequence[Row], source: TableClause
    ) -> dict[Any, dict[str, Any]]:
        """Properties, ``{name: [value, source]}``, by the id of their parent."""
        found: dict[Any, dict[str, Any]] = {}
        for parent, own in by_parent(step, rows, children, source).items():
            pairs = found[parent] = {}
            for _, name, value in own:
                try:
                    pair = upstream.pair(value, "property_value")
                    jsontext.dumps(pair)
                    pairs[checks.text(name, "property_name")] = pair
                except (TypeError, ValueError) as error:
                    step.leave_out(source.name, f"{parent} {name!r}", str(error))
        return found
