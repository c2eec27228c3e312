"""Test results: the values of a test result set. Names and paths, equal in every build, are stored once."""

from __future__ import annotations

from typing import TypedDict

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, Text, select

from buildbot.resources.base import Field, Hash, Id, LinkTo, Path, Resource, id_column, table

test_names = table(
    "test_names",
    id_column(),
    Column("name", Text, nullable=False),
    Column("name_hash", Hash, nullable=False, unique=True),
)

#: ``name`` is the path of a file in which tests are
test_code_paths = table(
    "test_code_paths",
    id_column(),
    Column("name", Text, nullable=False),
    Column("name_hash", Hash, nullable=False, unique=True),
)

test_results = table(
    "test_results",
    id_column(),
    # by far the most rows of all tables. Only the set is indexed and a foreign key; the rows that the other ids refer
    # to are never removed
    Column("builderid", Id, nullable=False),
    Column("test_result_setid", Id, ForeignKey("test_result_sets.id", ondelete="CASCADE"), nullable=False),
    Column("test_nameid", Id),
    Column("test_code_pathid", Id),
    Column("line", Integer),
    Column("duration_ns", BigInteger),
    Column("value", Text, nullable=False),
    Index("ix_test_results_test_result_setid_id", "test_result_setid", "id"),
)


class TestResultDict(TypedDict):
    """A test result, in the connector and in the Data API."""

    test_resultid: int
    builderid: int
    test_result_setid: int
    test_name: str | None
    test_code_path: str | None
    line: int | None
    duration_ns: int | None
    value: str


TEST_RESULT = Resource(
    "test_result",
    "test_results",
    table=test_results,
    key="test_resultid",
    announced=False,
    build_by="test_result_setid",
    doc="One result of a test or another measurement.",
    entity=TestResultDict,
    growing=True,
    fields={
        "test_resultid": Field(test_results.c.id, "unique in the installation"),
        "builderid": Field(test_results.c.builderid, "the builder of its build"),
        "test_result_setid": Field(test_results.c.test_result_setid, "its set"),
        "test_name": Field(
            select(test_names.c.name)
            .where(test_names.c.id == test_results.c.test_nameid)
            .correlate(test_results)
            .scalar_subquery(),
            "name of the test, if it has one",
        ),
        "test_code_path": Field(
            select(test_code_paths.c.name)
            .where(test_code_paths.c.id == test_results.c.test_code_pathid)
            .correlate(test_results)
            .scalar_subquery(),
            "the file that the test or the finding is in",
        ),
        "line": Field(test_results.c.line, "the line in that file"),
        "duration_ns": Field(test_results.c.duration_ns, "how long the test took, in nanoseconds"),
        "value": Field(test_results.c.value, "in the unit of the set"),
    },
    paths=(Path("test_result_sets/n:test_result_setid/results"),),
    links={"test_result_set": LinkTo("test_result_sets/{test_result_setid}")},
    order=("test_resultid",),
)
