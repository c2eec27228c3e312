"""The existing page and its views, unmodified packages, on this server in a real browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.test_page import Farm, browser

__all__ = ["browser"]

pytestmark = pytest.mark.e2e

VIEWS: dict[str, Any] = {"console_view": {}, "grid_view": {}, "waterfall_view": {}}


@pytest.fixture
def farm() -> Iterator[Farm]:
    pytest.importorskip("buildbot_www", reason="the existing page's packages are not installed: script/setup dev")
    made = Farm(ui="buildbot-www", plugins=VIEWS)
    yield made
    made.close()


class Visitor:
    """A page, with what it complained about and what the server refused it."""

    def __init__(self, browser: Browser, farm: Farm) -> None:
        self.farm = farm
        self.context = browser.new_context(viewport={"width": 1280, "height": 900})
        self.page: Page = self.context.new_page()
        self.complaints: list[str] = []
        self.refused: list[str] = []
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("response", self._answered)

    def _answered(self, response: Any) -> None:
        if response.url.startswith(self.farm.url) and response.status >= 400:
            self.refused.append(response.url.removeprefix(self.farm.url))

    def open(self, hash: str) -> Page:
        self.page.goto("about:blank")
        self.page.goto(self.farm.url + hash)
        return self.page

    def check(self) -> None:
        assert self.complaints == []
        # What 4.3 has not either: a style that the grid view has none of, and a path that the queue's page asks for.
        known = re.compile(r"plugins/grid_view/styles.css|api/v2/buildrequests/\d+/properties")
        assert [url for url in self.refused if not known.fullmatch(url)] == []


@pytest.fixture
def visitor(browser: Browser, farm: Farm) -> Iterator[Visitor]:
    made = Visitor(browser, farm)
    yield made
    made.check()
    made.context.close()


def test_home_follows_builds(farm: Farm, visitor: Visitor) -> None:
    """Home shows what runs and what has ended, live, and nothing to warn of."""
    first = farm.build(builder="linux", worker="w1")
    farm.end(build=first)
    page = visitor.open("#/")
    expect(page.get_by_text("Test CI").first).to_be_visible()
    expect(page.get_by_text("0 builds running currently")).to_be_visible()
    expect(page.get_by_text("1 recent builds")).to_be_visible()
    second = farm.build(builder="windows", worker="w2")
    expect(page.get_by_text("1 build running currently")).to_be_visible()
    farm.end(build=second, results=2)
    expect(page.get_by_text("0 builds running currently")).to_be_visible()
    expect(page.get_by_text("2 recent builds")).to_be_visible()
    expect(page.get_by_text("misconfigured")).to_have_count(0)


def test_builders_and_builder(farm: Farm, visitor: Visitor) -> None:
    """The list of builders, and a builder whose builds and queue change live."""
    page = visitor.open("#/builders")
    expect(page.get_by_role("link", name="linux", exact=True)).to_be_visible()
    page.get_by_role("link", name="linux", exact=True).click()
    build = farm.build(builder="linux", worker="w1")
    expect(page.get_by_text("(1)").first).to_be_visible()
    expect(page.get_by_text("building")).to_be_visible()
    farm.end(build=build)
    expect(page.get_by_text("build successful")).to_be_visible()


def test_build_and_log(farm: Farm, visitor: Visitor) -> None:
    """Steps and the lines of a log appear as they happen, on the build's page and on the log's."""
    build = farm.build(builder="linux", worker="w1")
    builderid = farm.builders["linux"]
    page = visitor.open(f"#/builders/{builderid}/builds/1")
    expect(page.get_by_text("Build properties", exact=False).first).to_be_visible()
    step = farm.step(build=build, name="compile")
    expect(page.get_by_text("compile").first).to_be_visible()
    log = farm.log(step=step, text="hmake all\n")
    farm.append(log=log, text="ogcc one.c\n")
    farm.end_log(log=log)
    farm.end_step(build=build, step=step, results=2)
    farm.end(build=build, results=2)
    expect(page.get_by_text("FAILURE").first).to_be_visible()
    expect(page.get_by_text("gcc one.c").first).to_be_visible()
    page = visitor.open(f"#/builders/{builderid}/builds/1/steps/0/logs/stdio")
    expect(page.get_by_text("gcc one.c").first).to_be_visible()


def test_force(farm: Farm, visitor: Visitor) -> None:
    """The form is drawn, refused while a field is missing, and then goes to the build that it made."""
    builderid = farm.builders["linux"]
    page = visitor.open(f"#/builders/{builderid}/force/force")
    start = page.get_by_role("button", name="Start Build")
    start.click()
    expect(page.get_by_text("'Reason' needs to be specified").first).to_be_visible()
    visitor.refused.remove("api/v2/forceschedulers/force")
    page.locator("label:has-text('Reason') ~ * input, label:has-text('Reason') input").first.fill("because")
    start.click()
    expect(page).to_have_url(re.compile(r"#/buildrequests/1\?redirect_to_build=true"))
    farm.start(brid=1, worker="w1")
    expect(page).to_have_url(re.compile(rf"#/builders/{builderid}/builds/1$"))


def test_stop_and_rebuild(farm: Farm, visitor: Visitor) -> None:
    """Stop reaches whoever runs the build; rebuild makes a request and follows it."""
    build = farm.build(builder="linux", worker="w1")
    builderid = farm.builders["linux"]
    page = visitor.open(f"#/builders/{builderid}/builds/1")
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("button", name=re.compile("Stopping"))).to_be_visible()
    farm.end(build=build, results=6)
    assert [stop["build"] for stop in farm.stops()] == [build]
    page.get_by_role("button", name="Rebuild").click()
    expect(page).to_have_url(re.compile(r"#/buildrequests/2\?redirect_to_build=true"))
    assert farm.pending() == [2]


def test_workers_and_changes(farm: Farm, visitor: Visitor) -> None:
    """The workers with their state, a pause, and changes as they come."""
    page = visitor.open("#/workers")
    expect(page.get_by_role("link", name="w1", exact=True)).to_be_visible()
    expect(page.get_by_role("link", name="w2", exact=True)).to_be_visible()
    page = visitor.open("#/changes")
    expect(page.get_by_text("0 changes")).to_be_visible()
    farm.change(comments="Mend the roof")
    expect(page.get_by_text("Mend the roof").first).to_be_visible()
    for hash, text in (("#/masters", "host:/basedir"), ("#/schedulers", "force")):
        page = visitor.open(hash)
        expect(page.get_by_text(text).first).to_be_visible()


@pytest.mark.parametrize(
    ("hash", "shown"), [("#/console", "Mend the roof"), ("#/grid", "linux"), ("#/waterfall", "linux")]
)
def test_views(farm: Farm, visitor: Visitor, hash: str, shown: str) -> None:
    """Console, grid and waterfall load as views of the page, and draw what there is."""
    farm.change(comments="Mend the roof")
    farm.end(build=farm.build_change(builder="linux", worker="w1"))
    page = visitor.open(hash)
    expect(page.get_by_text(shown).first).to_be_visible()
