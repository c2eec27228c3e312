"""The existing page and its views, unmodified packages, on this server in a real browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

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
    """A page, with its errors and the requests that the server refused."""

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
        # The page does not catch a failure of its request for properties.
        assert len(self.complaints) <= sum(url.endswith("/properties") for url in self.refused), self.complaints
        # 4.3 does not have these either: a style of the grid view, and a path that the queue's page asks for.
        known = re.compile(r"plugins/grid_view/styles.css|api/v2/buildrequests/\d+/properties")
        assert [url for url in self.refused if not known.fullmatch(url)] == []


@pytest.fixture
def visitor(browser: Browser, farm: Farm) -> Iterator[Visitor]:
    made = Visitor(browser, farm)
    yield made
    made.check()
    made.context.close()


def results_of(page: Page, result: str) -> Locator:
    """Links to builds, drawn in the colour of a result."""
    return page.locator(f"a .results_{result}[data-bb-test-id='build-link']")


def test_home_follows_builds(farm: Farm, visitor: Visitor) -> None:
    """Home shows running and ended builds, live, and no warning."""
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


def test_builders(farm: Farm, visitor: Visitor) -> None:
    """Each builder with its tags, its workers and its builds, whose colours follow their results."""
    page = visitor.open("#/builders")
    line = page.locator("tr", has=page.get_by_role("link", name="linux", exact=True))
    expect(line.locator(".bb-tag-filter-manager-tag")).to_have_text(["tag", "linux"])
    expect(line.locator(".worker_CONNECTED")).to_have_count(2)
    expect(line.locator("[data-bb-test-id='build-link']")).to_have_count(0)
    build = farm.build(builder="linux", worker="w1")
    expect(results_of(page, "PENDING")).to_have_text(re.compile(r"\(1\)"))
    farm.end(build=build, results=2)
    expect(line.locator(".results_FAILURE")).to_have_text(re.compile(r"\(1\)"))
    expect(results_of(page, "PENDING")).to_have_count(0)
    farm.disconnect(worker="w2")
    expect(line.locator(".worker_CONNECTED")).to_have_count(1)


def test_builder(farm: Farm, visitor: Visitor) -> None:
    """A builder's queue and its builds, live: a request comes, is built on a worker, and ends."""
    page = visitor.open(f"#/builders/{farm.builders['linux']}")
    expect(page.get_by_text("None", exact=True).first).to_be_visible()
    expect(page.get_by_role("button", name="Force build")).to_be_visible()
    brid = farm.request(builder="linux")
    request = page.locator(f"a[href='#/buildrequests/{brid}']")
    expect(request).to_be_visible()
    build = farm.start(brid=brid, worker="w1")
    farm.properties(build=build, workername="w1", owners=["Ann <ann@example.org>"])
    expect(request).to_have_count(0)
    line = page.locator("tr", has=results_of(page, "PENDING"))
    expect(line).to_contain_text("building")
    farm.end(build=build)
    line = page.locator("tr", has=results_of(page, "SUCCESS"))
    expect(line).to_contain_text("build successful")
    # It asks for properties with the list, and gets no event about them.
    visitor.open(f"#/builders/{farm.builders['linux']}")
    expect(line).to_contain_text("w1")
    expect(line).to_contain_text("Ann")


def test_pending(farm: Farm, visitor: Visitor) -> None:
    """The queue of all builders, as requests come and go; one can be cancelled."""
    page = visitor.open("#/pendingbuildrequests")
    lines = page.locator("tr.bb-pending-build-request-table-line")
    brid = farm.request(builder="windows")
    expect(lines).to_have_count(1)
    expect(lines).to_contain_text("windows")
    lines.locator(f"a[href='#/buildrequests/{brid}']").click()
    with page.expect_response(lambda answer: answer.request.method == "POST"):
        page.get_by_role("button", name="Cancel").click()
    assert farm.pending() == []
    page.evaluate("location.hash = '#/pendingbuildrequests'")
    expect(lines).to_have_count(0)
    kept = farm.request(builder="linux")
    expect(lines).to_have_count(1)
    farm.start(brid=kept, worker="w1")
    expect(lines).to_have_count(0)


def test_build(farm: Farm, visitor: Visitor) -> None:
    """A build's steps, the lines of their logs, its properties and changes appear as they happen."""
    changeid = farm.change(comments="Mend the roof")
    build = farm.build_change(builder="linux", worker="w1", changes=[changeid])
    page = visitor.open(f"#/builders/{farm.builders['linux']}/builds/1")
    expect(page.get_by_text("Build properties", exact=False).first).to_be_visible()
    expect(page.get_by_text("Worker: w1")).to_be_visible()
    step = farm.step(build=build, name="compile")
    expect(page.get_by_text("compile is running")).to_be_visible()
    log = farm.log(step=step, text="hmake all\n")
    farm.append(log=log, text="ogcc one.c\n")
    expect(page.get_by_text("gcc one.c").first).to_be_visible()
    farm.end_log(log=log)
    farm.end_step(build=build, step=step, results=2)
    farm.end(build=build, results=2)
    expect(page.get_by_text("FAILURE").first).to_be_visible()
    expect(page.get_by_role("button", name="Rebuild")).to_be_visible()
    page.get_by_text("Build Properties").click()
    expect(page.get_by_text("got_revision")).to_be_visible()
    page.get_by_role("tab", name="Changes").click()
    expect(page.get_by_text("Mend the roof").first).to_be_visible()


def test_log(farm: Farm, visitor: Visitor) -> None:
    """A log on its own page grows while it is looked at."""
    build = farm.build(builder="linux", worker="w1")
    step = farm.step(build=build, name="compile")
    log = farm.log(step=step, text="hmake all\n")
    page = visitor.open(f"#/builders/{farm.builders['linux']}/builds/1/steps/0/logs/stdio")
    expect(page.get_by_text("make all")).to_be_visible()
    for name in ("one", "two"):
        farm.append(log=log, text=f"ogcc {name}.c\n")
        expect(page.get_by_text(f"gcc {name}.c")).to_be_visible()
    farm.end_log(log=log)
    expect(page.get_by_role("link", name="Raw").or_(page.get_by_role("button", name="Raw"))).to_be_visible()


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
    given = farm.get(path=["buildsets", 1, "properties"])
    assert given["reason"][0] == "because"
    assert given["target"][0] == "debug"
    farm.start(brid=1, worker="w1")
    expect(page).to_have_url(re.compile(rf"#/builders/{builderid}/builds/1$"))


def test_stop_and_rebuild(farm: Farm, visitor: Visitor) -> None:
    """Stop reaches the master that runs the build; rebuild makes a request and follows it."""
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


def test_workers(farm: Farm, visitor: Visitor) -> None:
    """The workers with their builds, live; a pause goes from the dialog to the worker and shows."""
    page = visitor.open("#/workers")
    lines = page.locator("tbody tr")
    expect(lines).to_have_count(2)
    expect(lines.first).to_contain_text("w1.example")
    build = farm.build(builder="linux", worker="w1")
    expect(lines.first.locator(".results_PENDING")).to_have_text(re.compile(r"linux"))
    farm.end(build=build)
    expect(lines.first.locator(".results_SUCCESS[data-bb-test-id]")).to_have_text(re.compile(r"linux"))
    expect(lines.nth(1).locator("a[href='#/masters/1']")).to_have_count(1)
    farm.disconnect(worker="w2")
    expect(lines.nth(1).locator("a[href='#/masters/1']")).to_have_count(0)
    lines.first.locator("td").first.locator("svg").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("textbox").fill("new disk")
    with page.expect_response(lambda answer: answer.request.method == "POST"):
        dialog.get_by_role("button", name="Pause", exact=True).click()
    expect(dialog).to_have_count(0)
    assert farm.told_workers() == [["pause", 1, "new disk"]]


def test_changes(farm: Farm, visitor: Visitor) -> None:
    """Changes as they come, the newest on top."""
    page = visitor.open("#/changes")
    expect(page.get_by_text("0 changes")).to_be_visible()
    farm.change(comments="Mend the roof")
    expect(page.get_by_text("Mend the roof").first).to_be_visible()
    farm.change(comments="Paint the door", revision="2" * 40)
    expect(page.get_by_text("2 changes")).to_be_visible()
    expect(page.locator(".changedetails-heading").first).to_contain_text("Paint the door")


@pytest.mark.parametrize(("hash", "shown"), [("#/masters", "host:/basedir"), ("#/schedulers", "force")])
def test_masters_and_schedulers(farm: Farm, visitor: Visitor, hash: str, shown: str) -> None:
    """Each is listed."""
    expect(visitor.open(hash).get_by_text(shown).first).to_be_visible()


def test_console_view(farm: Farm, visitor: Visitor) -> None:
    """A row for a change; its cell follows the build of its builder."""
    changeid = farm.change(comments="Mend the roof")
    page = visitor.open("#/console")
    build = farm.build_change(builder="linux", worker="w1", changes=[changeid])
    line = page.locator("tbody tr", has_text="Mend the roof")
    expect(line.locator("td[title='linux'] .results_PENDING")).to_have_text(re.compile(r"\(1\)"))
    expect(line.locator("td[title='windows'] a")).to_have_count(0)
    farm.end(build=build, results=2)
    expect(line.locator("td[title='linux'] .results_FAILURE")).to_be_visible()


def test_grid_view(farm: Farm, visitor: Visitor) -> None:
    """A column for a change, a row for a builder that has built it; the cell follows the build."""
    changeid = farm.change(comments="Mend the roof")
    page = visitor.open("#/grid")
    build = farm.build_change(builder="linux", worker="w1", changes=[changeid])
    expect(page.locator("thead .change")).to_contain_text(["Mend the roof"])
    line = page.locator("tbody tr", has_text="linux")
    expect(line.locator(".results_PENDING")).to_have_text(re.compile(r"\(1\)"))
    farm.end(build=build)
    expect(line.locator(".results_SUCCESS")).to_be_visible()


def test_waterfall_view(farm: Farm, visitor: Visitor) -> None:
    """A bar for a build under its builder; it takes the colour of the result, and another appears beside it."""
    build = farm.build(builder="linux", worker="w1")
    page = visitor.open("#/waterfall")
    expect(page.locator(".builder .build .results_PENDING")).to_have_count(1)
    farm.end(build=build, results=2)
    expect(page.locator(".builder .build .results_FAILURE")).to_have_count(1)
    farm.build(builder="windows", worker="w2")
    expect(page.locator(".builder .build .results_PENDING")).to_have_count(1)
    expect(page.locator("a[*|href='#/builders/" + str(farm.builders["windows"]) + "/builds/1']").first).to_be_attached()
