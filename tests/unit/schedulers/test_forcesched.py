"""ForceScheduler: a submitted form is built; all its mistakes are reported at once."""

from __future__ import annotations

from typing import Any

import pytest

from buildbot.data.exceptions import ControlParamsError, InvalidControlError
from buildbot.schedulers.forcesched import ForceScheduler
from buildbot.schedulers.groups import AnyPropertyParameter, CodebaseParameter, NestedParameter, PatchParameter
from buildbot.schedulers.parameters import (
    ChoiceStringParameter,
    FixedParameter,
    IntParameter,
    StringParameter,
    UserNameParameter,
)
from buildbot.test.running import Running
from buildbot.util.checks import MAX_COMMENTS, MAX_NAME, MAX_REASON


async def started(master: Any, **arguments: Any) -> ForceScheduler:
    scheduler = ForceScheduler("force", ["b1", "b2"], **arguments)
    await scheduler.run_in(Running(master))  # type: ignore[arg-type]
    return scheduler


async def properties_of(master: Any, bsid: int) -> Any:
    return await master.data.get({}, ("buildsets", bsid, "properties"))


async def test_the_form_is_shown_while_the_scheduler_runs(master: Any) -> None:
    scheduler = await started(master)
    (shown,) = await master.data.get({}, ("forceschedulers",))
    expected = scheduler.describe() | {"enabled": True}
    assert {key: shown[key] for key in expected} == expected
    assert shown["button_name"] == shown["label"] == "force"
    await scheduler.stop_running()
    assert await master.data.get({}, ("forceschedulers",)) == []


async def test_everything_submitted_is_built(master: Any) -> None:
    """The page's own submission: property source, reason, owner, nested groups as objects."""
    nested = NestedParameter("nest", fields=[StringParameter("inner"), FixedParameter("fx", default="fv")])
    scheduler = await started(master, properties=[IntParameter("num"), nested, AnyPropertyParameter("any")])
    bsid, brids = await scheduler.force(
        {
            "owner": "ann@example.org", "username": "", "reason": "because", "priority": 7,
            "branch": "main", "revision": "", "repository": "repo", "project": "",
            "num": "3", "nest_inner": "iv", "nest_fx": "ignored", "any_name": "extra", "any_value": "1",
        }
    )  # fmt: skip
    source = "Force Build Form"
    assert await properties_of(master, bsid) == {
        "num": [3, source],
        "nest": [{"inner": "iv", "fx": "fv"}, source],
        "extra": ["1", source],
        "reason": ["because", source],
        "owner": ["ann@example.org", source],
        "scheduler": ["force", "Scheduler"],
    }
    buildset = await master.data.get({}, ("buildsets", bsid))
    assert buildset["reason"] == "A build was forced by 'ann@example.org': because"
    (stamp,) = buildset["sourcestamps"]
    assert (stamp["branch"], stamp["revision"], stamp["repository"], stamp["codebase"]) == ("main", "", "repo", "")
    requests = await master.data.get({}, ("buildrequests",))
    assert {str(each["builderid"]): each["buildrequestid"] for each in requests} == brids
    assert {each["priority"] for each in requests} == {7}


async def test_builders_may_be_chosen(master: Any) -> None:
    scheduler = await started(master)
    second = await master.data.update.findBuilderId("b2")
    other = await master.data.update.findBuilderId("other")
    for args in ({"builderid": second}, {"builderid": str(second)}, {"builderNames": ["b2", "other"]}):
        _, brids = await scheduler.force(args)
        assert list(brids) == [str(second)]
    assert len((await scheduler.force({}))[1]) == 2
    for wrong in ({"builderid": other}, {"builderid": 99}, {"builderid": "x"}, {"builderNames": ["other"]}):
        with pytest.raises(InvalidControlError):
            await scheduler.force(wrong)


async def test_a_user_who_is_logged_in_needs_no_name(master: Any) -> None:
    """A user name that is required is asked of anonymous visitors only."""
    scheduler = await started(master, username=UserNameParameter(required=True))
    bsid, _ = await scheduler.force({"owner": "ann@example.org"})
    assert (await properties_of(master, bsid))["owner"][0] == "ann@example.org"
    with pytest.raises(ControlParamsError):
        await scheduler.force({"owner": "anonymous"})


async def test_the_form_names_the_owner_of_an_anonymous_visitor(master: Any) -> None:
    scheduler = await started(master)
    bsid, _ = await scheduler.force({"owner": "anonymous", "username": "Ann <ann@example.org>"})
    assert (await properties_of(master, bsid))["owner"][0] == "Ann <ann@example.org>"
    bsid, _ = await scheduler.force({"owner": "anonymous"})
    assert (await properties_of(master, bsid))["owner"][0] == ""


async def test_all_mistakes_are_told_at_once_and_nothing_is_done(master: Any) -> None:
    scheduler = await started(
        master,
        reason=StringParameter("reason", label="reason:", required=True),
        properties=[IntParameter("num"), ChoiceStringParameter("choice", choices=["a", "b", "c"])],
    )
    with pytest.raises(ControlParamsError) as caught:
        await scheduler.force({"reason": "", "num": "x", "choice": "zzz", "username": "ann"})
    assert caught.value.messages == {
        "reason": "'reason:' needs to be specified",
        "num": "num: 'x' is not a whole number",
        "choice": "'zzz' does not belong to list of available choices '['a', 'b', 'c']'",
        "username": "username: please fill in email address in the form 'User <email@email.com>'",
    }
    assert await master.data.get({}, ("buildsets",)) == []


TOO_MUCH = "is not between -2147483647 and 2147483647"


@pytest.mark.parametrize(
    ("args", "messages"),
    [
        ({"priority": 2147483648}, {"priority": f"priority: 2147483648 {TOO_MUCH}"}),
        ({"priority": "-2147483649"}, {"priority": f"priority: -2147483649 {TOO_MUCH}"}),
        ({"priority": 10**20}, {"priority": f"priority: {10**20} {TOO_MUCH}"}),
        ({"priority": "high"}, {"priority": "priority: 'high' is not a whole number"}),
        ({"reason": "a\0b"}, {"reason": "reason: text with U+0000 cannot be stored"}),
        ({"reason": "\ud800"}, {"reason": "reason: text with a lone surrogate cannot be stored"}),
        ({"project": "\0"}, {"project": "Project: text with U+0000 cannot be stored"}),
        ({"branch": ["\ud800"]}, {"branch": "Branch: text with a lone surrogate cannot be stored"}),
        ({"revision": {"a": 1}}, {"revision": "Revision: not a text"}),
        ({"username": "\0 <a@b>"}, {"username": "Your name: text with U+0000 cannot be stored"}),
        ({"owner": "a\0"}, {"owner": "owner: not a text that can be stored"}),
        ({"owner": {"a": 1}}, {"owner": "owner: not a text that can be stored"}),
        ({"patch_body": {"a": 1}}, {"patch_body": "body: not a text"}),
        ({"patch_body": "x", "patch_level": 10**20}, {"patch_level": f"'{10**20}' is not between 0 and 2147483647"}),
        ({"reason": "r" * MAX_REASON}, {"reason": f"the reason of the build is longer than {MAX_REASON} characters"}),
        ({"branch": "b" * (MAX_NAME + 1)}, {"branch": f"branch: longer than {MAX_NAME} characters"}),
        (
            {"patch_body": "x", "patch_comment": "b" * (MAX_COMMENTS + 1)},
            {"patch_comment": f"patch_comment: longer than {MAX_COMMENTS} characters"},
        ),
        ({"patch_body": "x", "patch_level": -1}, {"patch_level": "'-1' is not between 0 and 2147483647"}),
        ({"patch_body": "x", "patch_level": "one"}, {"patch_level": "level: 'one' is not a whole number"}),
        ({"patch_body": "x", "patch_subdir": "\0"}, {"patch_subdir": "subdir: text with U+0000 cannot be stored"}),
        ({"any_name": "n", "any_value": "\0"}, {"any_value": "Value: text with U+0000 cannot be stored"}),
    ],
)
async def test_a_value_that_cannot_be_stored_is_a_mistake_at_its_field(
    master: Any, args: dict[str, Any], messages: dict[str, str]
) -> None:
    """A wrong submitted value is refused before it reaches the database."""
    codebases = [CodebaseParameter("", patch=PatchParameter())]
    scheduler = await started(master, codebases=codebases, properties=[AnyPropertyParameter("any")])
    with pytest.raises(ControlParamsError) as caught:
        await scheduler.force(args)
    assert caught.value.messages == messages
    assert await master.data.get({}, ("buildsets",)) == []


@pytest.mark.parametrize(
    ("parameter", "args", "priority"),
    [
        (None, {}, 0),
        (None, {"priority": ""}, 0),
        (None, {"priority": None}, 0),
        (FixedParameter("urgency", default=5), {"urgency": 7}, 5),
        (FixedParameter("urgency", default="6"), {}, 6),
        (ChoiceStringParameter("priority", choices=["1", "2"], default="1"), {"priority": "2"}, 2),
        (ChoiceStringParameter("priority", choices=["1", "2"], default="1"), {"priority": ""}, 1),
        (IntParameter("priority", default=-3), {"priority": 2147483647}, 2147483647),
    ],
)
async def test_priority(master: Any, parameter: Any, args: dict[str, Any], priority: int) -> None:
    """The priority is a number, from any kind of parameter."""
    await (await started(master, priority=parameter)).force(args)
    requests = await master.data.get({}, ("buildrequests",))
    assert {each["priority"] for each in requests} == {priority}


async def test_a_property_may_be_called_like_a_field_of_a_codebase(master: Any) -> None:
    """The submitted value is both: the branch to build, and the property."""
    scheduler = await started(master, properties=[StringParameter("branch"), IntParameter("lib_revision")])
    bsid, _ = await scheduler.force({"branch": "rel", "lib_revision": 3})
    assert (await properties_of(master, bsid))["branch"] == ["rel", "Force Build Form"]
    (stamp,) = (await master.data.get({}, ("buildsets", bsid)))["sourcestamps"]
    assert stamp["branch"] == "rel"
