"""The vocabulary: one file per noun, pure data."""

from __future__ import annotations

from collections.abc import Sequence

from buildbot.resources.base import DeclarationError, Resource, metadata
from buildbot.resources.branches import BRANCH
from buildbot.resources.build_data import BUILD_DATA
from buildbot.resources.builders import BUILDER
from buildbot.resources.buildrequests import BUILDREQUEST
from buildbot.resources.builds import BUILD
from buildbot.resources.buildsets import BUILDSET
from buildbot.resources.changes import CHANGE
from buildbot.resources.changesources import CHANGESOURCE
from buildbot.resources.codebases import CODEBASE
from buildbot.resources.commits import COMMIT
from buildbot.resources.deliveries import deliveries
from buildbot.resources.events import clock, events
from buildbot.resources.heard import condition_of, variables_in
from buildbot.resources.logs import LOG
from buildbot.resources.masters import MASTER
from buildbot.resources.projects import PROJECT
from buildbot.resources.schedulers import FORCESCHEDULER, SCHEDULER
from buildbot.resources.sessions import sessions
from buildbot.resources.sourcestamps import SOURCESTAMP
from buildbot.resources.state import object_state, objects
from buildbot.resources.steps import STEP
from buildbot.resources.test_result_sets import TEST_RESULT_SET
from buildbot.resources.test_results import TEST_RESULT
from buildbot.resources.users import users
from buildbot.resources.workers import WORKER

#: every noun, in the order in which the root of the API lists them
RESOURCES: tuple[Resource, ...] = (
    BUILDER,
    BUILD,
    BUILDREQUEST,
    CODEBASE,
    WORKER,
    BUILDSET,
    CHANGE,
    CHANGESOURCE,
    MASTER,
    SOURCESTAMP,
    SCHEDULER,
    FORCESCHEDULER,
    PROJECT,
    STEP,
    LOG,
    BRANCH,
    COMMIT,
    BUILD_DATA,
    TEST_RESULT_SET,
    TEST_RESULT,
)

#: every noun by its plural
BY_PLURAL: dict[str, Resource] = {resource.plural: resource for resource in RESOURCES}


def _check_heard() -> None:
    """Check that each path declares the events that subscriptions to it get; a mistake is an error at import."""
    for resource in RESOURCES:
        for path in resource.paths if resource.events else ():
            condition = condition_of(resource, path, BY_PLURAL)
            if condition is None or (path.hears is None and not set(path.variables) <= set(variables_in(condition))):
                raise DeclarationError(f"{resource.name}: it declares no events for {path.pattern!r}")


_check_heard()


def check_builds(resources: Sequence[Resource]) -> None:
    """Check that nouns which belong to builds declare it; otherwise rules about builds would not protect them."""
    leads = {
        each.key: f"a {each.name}"
        for each in resources
        if each.build_by is not None and getattr(each.fields[each.key], "expr", None) is each.id_column
    }
    for each in resources:
        if each.build_by is not None and (each.build_by not in each.fields or each.build_by not in leads):
            raise DeclarationError(f"{each.name}: {each.build_by!r} is no field of it that leads to a build")
        found = [name for name in each.fields if name in leads]
        if each.build_by is None and found:
            raise DeclarationError(f"{each.name}: {found[0]!r} is the key of {leads[found[0]]}; build_by must say so")


check_builds(RESOURCES)

#: words in the paths of builds and of nouns that belong to builds
WORDS_OF_BUILDS: frozenset[str] = frozenset(
    next(part for part in reversed(path.parts) if ":" not in part)
    for each in RESOURCES
    if each.build_by is not None
    for path in each.paths
)

__all__ = [
    "BY_PLURAL",
    "RESOURCES",
    "WORDS_OF_BUILDS",
    "Resource",
    "check_builds",
    "clock",
    "deliveries",
    "events",
    "metadata",
    "object_state",
    "objects",
    "sessions",
    "users",
]
