"""GerritChangeFilter: events of Gerrit by kind and branch."""

from __future__ import annotations

import re
from typing import Any

import pytest

from buildbot.changes.changes import Change
from buildbot.config.errors import ConfigErrors
from buildbot.plugins import util
from buildbot.process.properties import Properties


def event(kind: str, branch: str, of_change: str | None = None) -> Change:
    """A change as the change source of Gerrit makes it."""
    properties = Properties(**{"event.type": kind})
    if of_change is not None:
        properties.setProperty("event.change.branch", of_change, "Change")
    return Change(number=1, branch=branch, project="p", properties=properties)


@pytest.mark.parametrize(
    ("criteria", "passes"),
    [
        ({}, [True, True]),
        ({"eventtype": "patchset-created"}, [True, False]),
        ({"eventtype": ["patchset-created", "ref-updated"]}, [True, True]),
        ({"eventtype_re": re.compile("ref-")}, [False, True]),
        ({"eventtype_fn": lambda kind: kind.endswith("updated")}, [False, True]),
        ({"branch": "main"}, [True, True]),
        ({"branch": "refs/changes/1"}, [False, False]),
        ({"branch_re": "ma.n"}, [True, True]),
        ({"branch_fn": lambda branch: branch == "main", "eventtype": "ref-updated"}, [False, True]),
        ({"project": "other"}, [False, False]),
    ],
)
def test_events_that_pass(criteria: dict[str, Any], passes: list[bool]) -> None:
    """The filter's branch is the target branch of a change; for other events their own branch."""
    events = [event("patchset-created", "refs/changes/1", "main"), event("ref-updated", "main")]
    made = util.GerritChangeFilter(**criteria)
    assert [made.filter_change(each) for each in events] == passes


@pytest.mark.parametrize(
    ("criteria", "said"),
    [
        ({"eventtype_fn": "x"}, "eventtype_fn must be a function, not 'x'"),
        ({"branch_re": "("}, r"branch_re='\(' is no pattern"),
        ({"brunch": "main"}, "unknown argument 'brunch'"),
    ],
)
def test_mistakes(criteria: dict[str, Any], said: str) -> None:
    """They are named."""
    with pytest.raises(ConfigErrors, match=said):
        util.GerritChangeFilter(**criteria)
