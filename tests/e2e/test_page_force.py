"""The form that starts builds: each type of parameter, from its field to the build's property."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, FilePayload, Locator, expect

from tests.e2e.test_page import Farm, Visitor, browser

__all__ = ["browser"]

pytestmark = pytest.mark.e2e

ANN = "Ann <ann@example.org>"
DEFAULTS: dict[str, Any] = {
    "text": "some text",
    "lines": "one\ntwo",
    "number": 3,
    "on": True,
    "off": False,
    "one": "b",
    "free": "x",
    "some": ["a", "b"],
    "must": ["p"],
    "preset": "-",
    "fixed": "always",
    "hidden": "unseen",
    "secretly": "sent all the same",
    "file": "",
    "nest": {"inner": "in", "deep": 1},
    "reason": "force build",
    "owner": ANN,
}


@pytest.fixture(scope="module")
def farm() -> Iterator[Farm]:
    made = Farm()
    made.form()
    yield made
    made.close()


def uncheck(boxes: Locator, labels: str) -> None:
    """Take each of these back."""
    for label in labels:
        boxes.get_by_label(label).uncheck()


@pytest.fixture
def dialog(browser: Browser, farm: Farm) -> Iterator[Locator]:
    """The form, in which all that has to be filled in is filled in."""
    visitor = Visitor(browser, farm, viewport={"width": 1280, "height": 900})
    page = visitor.open(f"#/builders/{farm.builders['linux']}")
    page.get_by_role("button", name="Everything").click()
    found = page.get_by_role("dialog", name="everything on linux")
    found.get_by_label("Your name").fill(ANN)
    found.get_by_role("group", name="At least one").get_by_label("p").check()
    yield found
    visitor.check()
    visitor.context.close()


def start(dialog: Locator) -> None:
    dialog.get_by_role("button", name="Everything").click()


def built(farm: Farm, dialog: Locator) -> tuple[dict[str, Any], dict[str, Any]]:
    """Start it; the properties of the new buildset, and its source stamps by codebase."""
    start(dialog)
    expect(dialog).to_have_count(0)
    page = dialog.page
    expect(page).to_have_url(re.compile(r"#/buildrequests/\d+\?follow"))
    found = re.search(r"buildrequests/(\d+)", page.url)
    assert found is not None
    bsid = farm.get(path=["buildrequests", int(found[1])])["buildsetid"]
    properties = farm.get(path=["buildsets", bsid, "properties"])
    stamps = farm.get(path=["buildsets", bsid])["sourcestamps"]
    values = {name: value for name, (value, source) in properties.items() if source == "Force Build Form"}
    return values, {stamp["codebase"]: stamp for stamp in stamps}


def group(dialog: Locator, name: str) -> Locator:
    return dialog.get_by_role("group", name=name, exact=True)


def test_defaults(farm: Farm, dialog: Locator) -> None:
    """Every field shows its default, and an unchanged field gives the default."""
    shown = {"Text": "some text", "Lines": "one\ntwo", "Number": "3", "One of": "b", "Free": "x", "Preset": "-"}
    for label, value in shown.items():
        expect(dialog.get_by_label(label, exact=True)).to_have_value(value)
    expect(dialog.get_by_label("On", exact=True)).to_be_checked()
    expect(dialog.get_by_label("Off", exact=True)).not_to_be_checked()
    for label, checked in {"a": True, "b": True, "c": False}.items():
        expect(group(dialog, "Some of").get_by_label(label)).to_be_checked(checked=checked)
    expect(group(dialog, "Nested").get_by_label("Inner")).to_have_value("in")
    expect(group(dialog, "Nested").get_by_label("Deep")).to_have_value("1")
    expect(group(dialog, "The library").get_by_label("Branch")).to_have_value("main")
    expect(dialog.get_by_label("Fixed")).to_have_value("always")
    expect(dialog.get_by_label("Fixed")).not_to_be_editable()
    expect(dialog.get_by_label("hidden")).to_have_count(0)
    expect(dialog.get_by_label("secretly")).to_have_count(0)
    properties, stamps = built(farm, dialog)
    assert properties == DEFAULTS
    assert {name: stamp["branch"] for name, stamp in stamps.items()} == {"lib": "main", "app": ""}
    assert (stamps["lib"]["repository"], stamps["app"]["patch"]) == ("git://lib", None)


Fill = Callable[[Locator], Any]
CHANGES: list[tuple[str, Fill, Any]] = [
    ("text", lambda dialog: dialog.get_by_label("Text", exact=True).fill("other"), "other"),
    ("lines", lambda dialog: dialog.get_by_label("Lines").fill("a\n\nb"), "a\n\nb"),
    ("number", lambda dialog: dialog.get_by_label("Number").fill("-7"), -7),
    ("on", lambda dialog: dialog.get_by_label("On", exact=True).uncheck(), False),
    ("off", lambda dialog: dialog.get_by_label("Off", exact=True).check(), True),
    ("one", lambda dialog: dialog.get_by_label("One of").select_option("c"), "c"),
    ("free", lambda dialog: dialog.get_by_label("Free").fill("mine"), "mine"),
    ("some", lambda dialog: group(dialog, "Some of").get_by_label("c").check(), ["a", "b", "c"]),
    ("some", lambda dialog: uncheck(group(dialog, "Some of"), "ab"), []),
    ("must", lambda dialog: group(dialog, "At least one").get_by_label("q").check(), ["p", "q"]),
    (
        "file",
        lambda dialog: dialog.get_by_label("File", exact=True).set_input_files(
            {"name": "f", "mimeType": "text/plain", "buffer": "héllo".encode()}
        ),
        "héllo",
    ),
    ("nest", lambda dialog: group(dialog, "Nested").get_by_label("Deep").fill("5"), {"inner": "in", "deep": 5}),
    ("reason", lambda dialog: dialog.get_by_label("reason").fill("a try"), "a try"),
    ("owner", lambda dialog: dialog.get_by_label("Your name").fill("Bob <b@x.org>"), "Bob <b@x.org>"),
]


@pytest.mark.parametrize(("name", "fill", "value"), CHANGES)
def test_filled_in_values_arrive(farm: Farm, dialog: Locator, name: str, fill: Fill, value: Any) -> None:
    """Each type of field sets its property, and nothing else changes."""
    fill(dialog)
    properties, _ = built(farm, dialog)
    assert properties == {**DEFAULTS, name: value}


def test_any_property(farm: Farm, dialog: Locator) -> None:
    """A property whose name people choose."""
    group(dialog, "Any property").get_by_label("Name").fill("my.own")
    group(dialog, "Any property").get_by_label("Value").fill("thing")
    assert built(farm, dialog)[0] == {**DEFAULTS, "my.own": "thing"}


def test_codebases_and_patch(farm: Farm, dialog: Locator) -> None:
    """The build has the choice for each codebase, and the patch."""
    group(dialog, "The library").get_by_label("Branch").select_option("next")
    app = group(dialog, "The app")
    app.get_by_label("Branch").fill("feature")
    app.get_by_label("Revision").fill("abc")
    app.get_by_label("body").set_input_files({"name": "p", "mimeType": "text/plain", "buffer": b"--- a\n+++ b\n"})
    app.get_by_label("author").fill("Ann")
    _, stamps = built(farm, dialog)
    assert (stamps["lib"]["branch"], stamps["lib"]["patch"]) == ("next", None)
    assert [stamps["app"][name] for name in ("branch", "revision")] == ["feature", "abc"]
    patch = stamps["app"]["patch"]
    assert [patch[name] for name in ("body", "level", "author", "subdir")] == ["--- a\n+++ b\n", 1, "Ann", "."]


def test_one_choice_fills_in_others(farm: Farm, dialog: Locator) -> None:
    """Values that a choice brings along appear in their fields, and may be changed there."""
    dialog.get_by_label("Preset").select_option("big")
    expect(dialog.get_by_label("Number")).to_have_value("99")
    expect(group(dialog, "Some of").get_by_label("a")).not_to_be_checked()
    group(dialog, "Nested").get_by_label("Inner").fill("changed")
    dialog.get_by_label("Number").fill("98")
    expected = {"preset": "big", "number": 98, "some": ["c"], "nest": {"inner": "changed", "deep": 1}}
    assert built(farm, dialog)[0] == {**DEFAULTS, **expected}


def test_mistakes_are_shown_at_their_fields(farm: Farm, dialog: Locator) -> None:
    """All mistakes are shown at once, each at its field; the first one has the focus; nothing was started."""
    before = farm.pending()
    dialog.get_by_label("Your name").fill("no mail")
    dialog.get_by_label("Text", exact=True).fill("UPPER")
    dialog.get_by_label("Lines").fill("x" * 21)
    dialog.get_by_label("Number").fill("many")
    dialog.get_by_label("Free").fill("too long")
    group(dialog, "At least one").get_by_label("p").uncheck()
    too_big: FilePayload = {"name": "f", "mimeType": "text/plain", "buffer": b"x" * 11}
    dialog.get_by_label("File", exact=True).set_input_files(too_big)
    group(dialog, "Nested").get_by_label("Deep").fill("far down")
    group(dialog, "Any property").get_by_label("Name").fill("not a name")
    start(dialog)
    expect(dialog.get_by_role("alert")).to_have_text("Some fields need another look.")
    told = {
        "Your name": "please fill in email address",
        "Text": "does not match the pattern '[a-z ]+$'",
        "Lines": "longer than 20 characters",
        "Number": "is not a whole number",
        "Free": "longer than 5 characters",
        "File": "longer than 10 characters",
    }
    fields = {dialog.get_by_label(re.compile(rf"^{label}( \*)?$")): text for label, text in told.items()}
    fields[group(dialog, "Nested").get_by_label("Deep")] = "is not a whole number"
    fields[group(dialog, "Any property").get_by_label("Name")] = "bad property name='not a name'"
    for field, text in fields.items():
        expect(field).to_have_attribute("aria-invalid", "true")
        expect(field).to_have_accessible_description(re.compile(re.escape(text)))
    expect(group(dialog, "At least one")).to_have_accessible_description("'At least one' needs to be specified")
    expect(dialog.get_by_label("One of")).not_to_have_attribute("aria-invalid", "true")
    expect(dialog.get_by_label("Your name")).to_be_focused()
    assert farm.pending() == before
    # Mended, it starts.
    dialog.get_by_label("Your name").fill(ANN)
    dialog.get_by_label("Text", exact=True).fill("lower")
    dialog.get_by_label("Lines").fill("")
    dialog.get_by_label("Number").fill("1")
    dialog.get_by_label("Free").fill("short")
    group(dialog, "At least one").get_by_label("p").check()
    dialog.get_by_label("File", exact=True).set_input_files([])
    group(dialog, "Nested").get_by_label("Deep").fill("2")
    group(dialog, "Any property").get_by_label("Name").fill("")
    properties, _ = built(farm, dialog)
    mended = {"text": "lower", "lines": "", "number": 1, "free": "short", "nest": {"inner": "in", "deep": 2}}
    assert properties == {**DEFAULTS, **mended}


def test_required_is_asked_for_before_sending(dialog: Locator) -> None:
    """The browser itself asks for a text that has to be there."""
    dialog.get_by_label("Your name").fill("")
    start(dialog)
    expect(dialog.get_by_label("Your name")).to_be_focused()
    assert dialog.get_by_label("Your name").evaluate("field => field.validity.valueMissing") is True
    expect(dialog.get_by_role("alert")).to_have_count(0)


def test_a_user_who_is_logged_in_is_not_asked_for_a_name(browser: Browser) -> None:
    """The server takes the name from the login; the user owns the build."""
    farm = Farm(users={"joe": "pw"})
    farm.form()
    visitor = Visitor(browser, farm, http_credentials={"username": "joe", "password": "pw"})
    page = visitor.open(f"#/builders/{farm.builders['linux']}")
    page.get_by_role("link", name="Log in").click()
    expect(page.get_by_text("joe", exact=True)).to_be_visible()
    page.get_by_role("button", name="Everything").click()
    dialog = page.get_by_role("dialog")
    group(dialog, "At least one").get_by_label("p").check()
    expect(dialog.get_by_label("Your name")).to_have_count(0)
    assert built(farm, dialog)[0] == {**DEFAULTS, "owner": "joe"}
    assert visitor.complaints == []
    visitor.context.close()
    farm.close()
