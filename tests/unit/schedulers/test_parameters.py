"""Parameters of force schedulers: descriptions and values."""

from __future__ import annotations

from typing import Any

import pytest

from buildbot.config.errors import ConfigErrors
from buildbot.schedulers.forcesched import ForceScheduler
from buildbot.schedulers.groups import AnyPropertyParameter, CodebaseParameter, NestedParameter, PatchParameter
from buildbot.schedulers.parameters import (
    BaseParameter,
    BooleanParameter,
    ChoiceStringParameter,
    FileParameter,
    FixedParameter,
    IntParameter,
    StringParameter,
    TextParameter,
    UserNameParameter,
)

COMMON = {
    "name", "fullName", "label", "tablabel", "type", "default", "required", "multiple", "regex", "hide", "maxsize",
    "autopopulate", "tooltip",
}  # fmt: skip
EXTRA = {
    "text": {"size"},
    "textarea": {"size", "cols", "rows"},
    "int": {"size"},
    "username": {"size", "need_email"},
    "bool": set(),
    "list": {"choices", "strict"},
    "fixed": set(),
    "file": set(),
    "nested": {"layout", "columns", "fields"},
}


def flat(fields: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [each for field in fields for each in [field, *flat(field.get("fields", []))]]


def form(*properties: BaseParameter, **arguments: Any) -> ForceScheduler:
    return ForceScheduler("force", ["b"], properties=list(properties), **arguments)


def test_fields_are_described_as_the_page_expects() -> None:
    """First the group of username, reason and priority, then one group per codebase, then the properties."""
    scheduler = form(
        BooleanParameter("flag"),
        IntParameter("num", default=3),
        ChoiceStringParameter("choice", choices=["a", "b"], default="b"),
        TextParameter("text"),
        FixedParameter("fx", default="fv"),
        FileParameter("fil"),
        NestedParameter("nest", fields=[StringParameter("inner"), FixedParameter("fx")]),
        codebases=["cb1", CodebaseParameter("cb2", branch=None, patch=PatchParameter())],
    )
    fields = scheduler.describe()["all_fields"]
    for each in flat(fields):
        assert set(each) == COMMON | EXTRA[each["type"]]
    assert (fields[0]["name"], fields[0]["fullName"], fields[0]["type"]) == ("", None, "nested")
    assert [each["name"] for each in fields[0]["fields"]] == ["username", "reason", "priority"]
    assert [each["fullName"] for each in fields[1]["fields"]] == [
        "cb1_branch", "cb1_project", "cb1_repository", "cb1_revision",
    ]  # fmt: skip
    assert fields[2]["fields"][0]["type"] == "fixed"
    assert fields[2]["fields"][4]["fields"][0]["fullName"] == "cb2_patch_body"
    assert [each["name"] for each in fields[3:]] == ["flag", "num", "choice", "text", "fx", "fil", "nest"]
    assert [each["fullName"] for each in fields[-1]["fields"]] == ["nest_inner", "nest_fx"]
    by_name = {each["fullName"]: each for each in flat(fields)}
    assert by_name["fx"]["hide"] is True
    assert by_name["fil"]["maxsize"] == 10485760


def test_the_codebase_without_a_name_has_plain_field_names() -> None:
    group = form().describe()["all_fields"][1]
    assert group["fullName"] is None
    assert [each["fullName"] for each in group["fields"]] == ["branch", "project", "repository", "revision"]


@pytest.mark.parametrize(
    ("parameter", "given", "value"),
    [
        (StringParameter("p", default="d"), [], "d"),
        (StringParameter("p", default="d"), [""], ""),
        (StringParameter("p"), [5], "5"),
        (IntParameter("p"), ["12"], 12),
        (IntParameter("p"), [12], 12),
        (IntParameter("p", default=4), [], 4),
        (IntParameter("p", default=3), [""], 3),
        (IntParameter("p", default=3), ["  "], 3),
        (IntParameter("p", default=3), [None], 3),
        (IntParameter("p", required=True), [], 0),
        (IntParameter("p"), [" -7 "], -7),
        (IntParameter("p"), [7.0], 7),
        (IntParameter("p"), [10**20], 10**20),
        (StringParameter("p", default="d"), [None], "d"),
        (ChoiceStringParameter("p", choices=["a", "b"], default="b"), [""], "b"),
        (ChoiceStringParameter("p", choices=["a", "b"], default="b"), [None], "b"),
        (ChoiceStringParameter("p", choices=["", "b"], default="b"), [""], ""),
        (FileParameter("p"), [None], ""),
        (UserNameParameter("p"), [None], ""),
        (BooleanParameter("p"), [True], True),
        (BooleanParameter("p"), ["true"], False),
        (BooleanParameter("p"), [1], True),
        (BooleanParameter("p"), [2], False),
        (BooleanParameter("p", default=True), [], True),
        (BooleanParameter("p", default=True), [None], True),
        (BooleanParameter("p", default=True), [False], False),
        (BooleanParameter("p", default=True), [0], False),
        (IntParameter("p", default=3, multiple=True), [""], 3),
        (IntParameter("p", default=3, multiple=True), [None, "7", " "], [7]),
        (ChoiceStringParameter("p", choices=["a"], default="a", multiple=True), [None], "a"),
        (FixedParameter("p", default="f"), ["x"], "f"),
        (ChoiceStringParameter("p", choices=["a", "b"], multiple=True), ["a", "b"], ["a", "b"]),
        (ChoiceStringParameter("p", choices=["a"], strict=False), ["z"], "z"),
        (UserNameParameter("p"), [""], ""),
        (UserNameParameter("p"), ["Ann <ann@example.org>"], "Ann <ann@example.org>"),
        (UserNameParameter("p", need_email=False), ["ann"], "ann"),
        (NestedParameter("n", fields=[StringParameter("p")]), [], {"p": ""}),
    ],
)
def test_values(parameter: BaseParameter, given: list[Any], value: Any) -> None:
    messages: dict[str, str] = {}
    assert parameter.collect({"p": given} if given else {}, messages) == value
    assert messages == {}


@pytest.mark.parametrize(
    ("name", "good"),
    [
        ("Ann <ann@example.org>", True),
        (" Ann Roe <a@b> \n", True),
        ("Ann <a@b> <c@d>", True),
        ("<ann@example.org>", False),
        ("Ann <ann>", False),
        ("Ann <@b>", False),
        ("Ann <a@>", False),
        ("Ann <a @b>", False),
        ("Ann <a@b> x", False),
        ("Ann a@b>", False),
        ("x" * 6_000_000, False),
        ("<@" * 1_000_000 + " >", False),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "",
)
def test_names_with_addresses(name: str, good: bool) -> None:
    """A name and an address; an invalid one is refused quickly, at any length."""
    messages: dict[str, str] = {}
    UserNameParameter("p").collect({"p": [name]}, messages)
    assert (messages == {}) is good


def test_level_of_any_kind() -> None:
    """A field of the patch may be a parameter of another kind; its value is checked."""
    parameter = CodebaseParameter(
        "", patch=PatchParameter(level=StringParameter("level"), author=IntParameter("author"))
    )
    messages: dict[str, str] = {}
    stamp = parameter.sourcestamp({"patch_body": ["x"], "patch_level": ["2"], "patch_author": ["7"]}, messages)
    assert (stamp["patch_level"], messages) == (2, {"patch_author": "patch_author: not a text"})
    messages.clear()
    parameter.sourcestamp({"patch_body": ["x"], "patch_level": ["two"]}, messages)
    assert messages["patch_level"] == "level: 'two' is not a whole number"


def test_all_choices_taken_away() -> None:
    """A submitted empty list counts; the default is for a field that was not submitted."""
    choices: dict[str, Any] = {"choices": ["a", "b"], "default": ["a"], "multiple": True}
    messages: dict[str, str] = {}
    assert ChoiceStringParameter("p", **choices).collect({"p": []}, messages) == []
    assert ChoiceStringParameter("p", **choices).collect({}, messages) == ["a"]
    assert messages == {}
    ChoiceStringParameter("p", required=True, **choices).collect({"p": []}, messages)
    assert messages == {"p": "'p' needs to be specified"}


@pytest.mark.parametrize(
    ("parameter", "given", "message"),
    [
        (StringParameter("p", label="p:", required=True), [""], "'p:' needs to be specified"),
        (StringParameter("p", label="p:", required=True), [], "'p:' needs to be specified"),
        (IntParameter("p"), ["x"], "p: 'x' is not a whole number"),
        (IntParameter("p"), [1.5], "p: '1.5' is not a whole number"),
        (IntParameter("p"), ["1_0"], "p: '1_0' is not a whole number"),
        (IntParameter("p"), ["٣"], "p: '٣' is not a whole number"),
        (IntParameter("p"), [True], "p: true is not a whole number"),
        (IntParameter("p"), [{"a": None}], 'p: {"a": null} is not a whole number'),
        (IntParameter("p"), ["9" * 5000], f"p: '{'9' * 59}… has more than 1000 digits"),
        (IntParameter("p", required=True), [""], "'p' needs to be specified"),
        (IntParameter("p", required=True), [None], "'p' needs to be specified"),
        (StringParameter("p", required=True), [None], "'p' needs to be specified"),
        (StringParameter("p"), ["a\0"], "p: text with U+0000 cannot be stored"),
        (TextParameter("p"), ["\ud800"], "p: text with a lone surrogate cannot be stored"),
        (FileParameter("p"), [{}], "p: not a text"),
        (FileParameter("p"), ["\0"], "p: text with U+0000 cannot be stored"),
        (UserNameParameter("p", need_email=False), ["\0"], "Your name: text with U+0000 cannot be stored"),
        (ChoiceStringParameter("p", strict=False), ["\0"], "p: text with U+0000 cannot be stored"),
        (ChoiceStringParameter("p", strict=False), [{}], "p: not a text"),
        (ChoiceStringParameter("p", strict=False, multiple=True), ["a", "\0"], "p: text with U+0000 cannot be stored"),
        (
            ChoiceStringParameter("p", choices=["a", "b", "c"]),
            ["zzz"],
            "'zzz' does not belong to list of available choices '['a', 'b', 'c']'",
        ),
        (UserNameParameter("p"), ["ann"], "p: please fill in email address in the form 'User <email@email.com>'"),
        (StringParameter("p", regex="[a-z]+$"), ["A"], "p: does not match the pattern '[a-z]+$'"),
        (StringParameter("p", maxsize=2), ["abc"], "p: longer than 2 characters"),
        (StringParameter("p"), [{}], "p: not a text"),
    ],
)
def test_values_that_are_refused(parameter: BaseParameter, given: list[Any], message: str) -> None:
    messages: dict[str, str] = {}
    parameter.collect({"p": given} if given else {}, messages)
    assert messages == {"p": message}


def test_any_property() -> None:
    parameter = AnyPropertyParameter("any")
    messages: dict[str, str] = {}
    assert parameter.collect({"any_name": ["x"], "any_value": ["1"]}, messages) == {"x": "1"}
    assert parameter.collect({"any_name": [""], "any_value": [""]}, messages) == {}
    assert messages == {}
    parameter.collect({"any_name": ["a b"], "any_value": ["1"]}, messages)
    assert messages == {"any_name": "bad property name='a b'"}


def test_source_stamps() -> None:
    """An empty field is an empty text, as in 4.3; a patch is added if there is one."""
    parameter = CodebaseParameter("cb", project="proj", patch=PatchParameter())
    submitted = {"cb_branch": [""], "cb_revision": ["r1"], "cb_repository": ["url"], "cb_project": ["ignored"]}
    stamp = {"codebase": "cb", "branch": "", "revision": "r1", "repository": "url", "project": "proj"}
    assert parameter.sourcestamp(submitted, {}) == stamp
    patched = parameter.sourcestamp(submitted | {"cb_patch_body": ["--- a"], "cb_patch_level": ["0"]}, {})
    assert patched["patch_body"] == "--- a"
    assert patched["patch_level"] == 0
    assert patched["patch_subdir"] == "."


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: form(StringParameter("reason")), "two parameters named 'reason'"),
        (lambda: form(reasonString="%(x)s"), "reasonString"),
        (lambda: form(codebases=[]), "codebases"),
        (lambda: ForceScheduler("f", ["b"], properties=["x"]), "properties element 1 must be a parameter"),
        (lambda: StringParameter("x", regex="("), "no pattern"),
        (lambda: form(StringParameter("x", default=object())), "cannot be shown"),
        (lambda: NestedParameter("x", layout="diagonal"), "layout"),
    ],
)
def test_mistakes_are_named(make: Any, message: str) -> None:
    with pytest.raises(ConfigErrors, match=message):
        make()
