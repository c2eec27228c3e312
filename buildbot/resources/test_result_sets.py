"""Test result sets: results of a step of one kind, such as the outcome or the duration of each test."""

from __future__ import annotations

from typing import TypedDict

from sqlalchemy import Column, ForeignKey, Index, Integer, Text, bindparam, select, text

from buildbot.resources.base import Field, Flag, Id, LinkTo, Path, Resource, id_column, table
from buildbot.resources.builders import builders

test_result_sets = table(
    "test_result_sets",
    id_column(),
    Column("builderid", Id, ForeignKey("builders.id"), nullable=False),
    Column("buildid", Id, ForeignKey("builds.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("stepid", Id, ForeignKey("steps.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("description", Text),
    Column("category", Text, nullable=False),
    Column("value_unit", Text, nullable=False),
    Column("tests_passed", Integer),
    Column("tests_failed", Integer),
    Column("complete", Flag, nullable=False, server_default=text("0"), index=True),
    Index("ix_test_result_sets_builderid_id", "builderid", "id"),
)


class TestResultSetDict(TypedDict):
    """A test result set, in the connector and in the Data API."""

    test_result_setid: int
    builderid: int
    buildid: int
    stepid: int
    description: str | None
    category: str
    value_unit: str
    tests_passed: int | None
    tests_failed: int | None
    complete: bool


TEST_RESULT_SET = Resource(
    "test_result_set",
    "test_result_sets",
    table=test_result_sets,
    key="test_result_setid",
    announced=False,
    build_by="buildid",
    doc="Results of a step of one kind.",
    entity=TestResultSetDict,
    growing=True,
    fields={
        "test_result_setid": Field(test_result_sets.c.id, "unique in the installation"),
        "builderid": Field(test_result_sets.c.builderid, "the builder of its build"),
        "buildid": Field(test_result_sets.c.buildid, "its build"),
        "stepid": Field(test_result_sets.c.stepid, "the step that measured"),
        "description": Field(test_result_sets.c.description, "for people"),
        "category": Field(test_result_sets.c.category, "the kind of the results: pass_fail, performance, …"),
        "value_unit": Field(test_result_sets.c.value_unit, "the unit of the values: boolean, s, message, …"),
        "tests_passed": Field(test_result_sets.c.tests_passed, "number of tests that passed, if known"),
        "tests_failed": Field(test_result_sets.c.tests_failed, "number of tests that failed, if known"),
        "complete": Field(test_result_sets.c.complete, "true once it takes no more results"),
    },
    paths=(
        Path("test_result_sets"),
        Path("test_result_sets/n:test_result_setid"),
        Path("builders/n:builderid/test_result_sets"),
        Path(
            "builders/s:buildername/test_result_sets",
            where=test_result_sets.c.builderid
            == select(builders.c.id).where(builders.c.name == bindparam("buildername")).scalar_subquery(),
        ),
        Path("builds/n:buildid/test_result_sets"),
        Path("steps/n:stepid/test_result_sets"),
    ),
    events=("test_result_sets/{test_result_setid}",),
    event_names=("new", "completed", "deleted"),
    links={
        "builder": LinkTo("builders/{builderid}"),
        "build": LinkTo("builds/{buildid}"),
        "step": LinkTo("steps/{stepid}"),
        "results": LinkTo("test_result_sets/{test_result_setid}/results"),
    },
    order=("test_result_setid",),
)
