"""Everyday use of the page, in a real browser: each page live, usable without a mouse or on a phone."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, Route, WebSocket, expect

from tests.e2e.test_page import Farm, Visitor, browser, rows

__all__ = ["browser"]

pytestmark = pytest.mark.e2e

AUDIT = Path(__file__).with_name("audit.js").read_text(encoding="utf-8")


@pytest.fixture
def farm() -> Iterator[Farm]:
    made = Farm()
    yield made
    made.close()


@pytest.fixture
def visitor(browser: Browser, farm: Farm) -> Iterator[Visitor]:
    made = Visitor(browser, farm, viewport={"width": 1280, "height": 900})
    errors: list[str] = []
    made.page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    yield made
    made.check()
    assert errors == []
    made.context.close()


def fill(farm: Farm) -> int:
    """Something of everything; gives a build that has a step with a log."""
    for results in (0, 2, 0, 4, 1):
        farm.end(build=farm.build(builder="linux", worker="w1"), results=results)
    change = farm.change(comments="A change\n\nwith a long text")
    build: int = farm.build_change(builder="linux", worker="w1", changes=[change])
    step = farm.step(build=build, name="compile")
    farm.log(step=step, text="hmake\noline \x1b[31mred\x1b[0m\neoops\n")
    farm.request(builder="windows")
    farm.project(name="game", builders=["linux", "windows"], description="Everything that the game is made of")
    return build


def test_rows_show_everything_at_once(farm: Farm, visitor: Visitor) -> None:
    """A build that begins while its builder's page is open shows its source and its owners when it has them."""
    page = visitor.open(f"#/builders/{farm.builders['linux']}")
    expect(page.get_by_text("Nothing has been built here yet.").first).to_be_visible()
    build = farm.build(builder="linux", worker="w1")
    row = rows(page, "Builds").first
    expect(row).to_contain_text("#1")
    asked = len(visitor.api_requests())
    farm.properties(build=build, branch="feature", revision="b" * 40, other="x")
    expect(row).to_contain_text("feature")
    expect(row).to_contain_text("bbbbbbbbb")
    farm.properties(build=build, got_revision="c" * 40)
    farm.properties(build=build, owners=["Ann <ann@example.org>", "Bob <bob@example.org>"], owner="Cay")
    farm.end(build=build)
    expect(row).to_contain_text("feature")
    expect(row).to_contain_text("Ann, Bob +1")
    expect(row).to_contain_text("ccccccccc")
    # How long its builder's last success took is asked when a build appears.
    assert all("results=0" in url for url in visitor.api_requests()[asked:])


def test_history_is_a_picture(farm: Farm, visitor: Visitor) -> None:
    """Durations and results are bars with names; arrow keys walk along them, Enter opens; a new build is a new bar."""
    for results in (0, 2, 0):
        farm.end(build=farm.build(builder="linux", worker="w1"), results=results)
    page = visitor.open(f"#/builders/{farm.builders['linux']}")
    picture = page.get_by_role("group", name=re.compile("^The last 3 builds: 2 success, 1 failure"))
    bars = picture.get_by_role("link")
    expect(bars).to_have_count(3)
    expect(bars.nth(1)).to_have_accessible_name(re.compile("^#2 failure, "))
    farm.build(builder="linux", worker="w1")
    expect(page.locator(".picture .bar.state-running")).to_have_count(1)
    page.locator(".picture .bar").last.focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".picture figcaption")).to_contain_text("#2 failure")
    page.get_by_role("button", name="Failed").click()
    expect(rows(page, "Builds")).to_have_count(1)
    expect(page.locator(".picture .bar")).to_have_count(4)
    page.locator(".picture .bar").nth(1).focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="linux #2")).to_be_visible()


def test_queue_says_why(farm: Farm, visitor: Visitor) -> None:
    """Each request shows why it waits, as the farm changes; it can get another priority and be cancelled."""
    page = visitor.open("#/pendingbuildrequests")
    running = farm.build(builder="linux", worker="w1")
    farm.build(builder="linux", worker="w2")
    first, second = farm.request(builder="windows"), farm.request(builder="linux")
    waiting = rows(page, "Waiting")
    expect(waiting).to_have_count(2)
    # a worker runs one build of a builder at a time, however much else it could take
    expect(waiting.last).to_contain_text("no worker is free: 2 run a build of this builder")
    expect(waiting.first).to_contain_text("no worker is free: 2 busy with other builders")
    farm.pause(worker="w2", reason="maintenance")
    expect(waiting.first).to_contain_text("no worker is free: 1 busy with other builders, 1 paused")
    farm.end(build=running)
    expect(waiting.first).to_contain_text("about to start")
    farm.disconnect(worker="w1")
    expect(waiting.first).to_contain_text("no worker takes builds: 1 offline, 1 paused")
    page.get_by_role("button", name=f"Priority 0 of request {second}: change").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Priority").fill("7")
    dialog.get_by_role("button", name="Set").click()
    expect(waiting.first).to_contain_text("linux")
    expect(waiting.first).to_contain_text("priority 7")
    page.get_by_label("Filter by builder").fill("wind")
    expect(waiting).to_have_count(1)
    page.get_by_role("button", name=f"Cancel request {first}").click()
    dialog.get_by_role("button", name="Cancel request").click()
    expect(page.get_by_text("Nothing waits for these builders.")).to_be_visible()
    page.get_by_label("Filter by builder").fill("nonsense")
    expect(page.get_by_text("No builder has “nonsense” in its name.")).to_be_visible()
    assert farm.pending() == [second]


def test_find_in_a_big_log(farm: Farm, visitor: Visitor) -> None:
    """Text is found anywhere in a long log, from the place that is in sight; lines are gone to by number."""
    build = farm.build(builder="linux", worker="w1")
    step = farm.step(build=build, name="test")
    numbers = range(1, 200_001)
    text = "".join(f"oline {number} {'NEEDLE' if number % 50_000 == 0 else 'hay'}\n" for number in numbers)
    log = farm.log(step=step, text=text)
    page = visitor.open(f"#/builders/{farm.builders['linux']}/builds/1/steps/0/logs/stdio?line=60000")
    expect(page.locator(".line.marked")).to_have_text("line 60000 hay")
    page.keyboard.press("f")
    page.keyboard.type("needle")
    expect(page.locator(".find .said")).to_have_text("2 of 4")
    expect(page.locator(".line.marked")).to_have_text("line 100000 NEEDLE")
    expect(page.locator(".line.marked mark")).to_have_text("NEEDLE")
    page.keyboard.press("Enter")
    expect(page.locator(".line.marked")).to_have_text("line 150000 NEEDLE")
    page.keyboard.press("Escape")
    page.keyboard.press("n")
    expect(page.locator(".line.marked")).to_have_text("line 200000 NEEDLE")
    farm.append(log=log, text="othe last needle\n")
    expect(page.locator(".log-bar")).to_contain_text("200,001 lines")
    page.keyboard.press("n")
    expect(page.locator(".line.marked")).to_have_text("the last needle")
    page.keyboard.press("N")
    expect(page.locator(".line.marked")).to_have_text("line 200000 NEEDLE")
    page.keyboard.press("l")
    page.keyboard.type("123456")
    page.keyboard.press("Enter")
    expect(page.locator(".line.marked")).to_have_text("line 123456 hay")
    page.get_by_label("Find in stdio").fill("nowhere at all")
    expect(page.locator(".find .said")).to_have_text("nothing found")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download stdio").click()
    assert download.value.suggested_filename == "linux_build_1_step_test_log_stdio"


def test_workers_are_controlled(farm: Farm, visitor: Visitor) -> None:
    """Pause, shut down and disconnect ask for a reason; the list follows, also quarantine, and can be narrowed."""
    page = visitor.open("#/workers")
    dialog = page.get_by_role("dialog")
    page.get_by_role("button", name="Pause w1").click()
    dialog.get_by_label("Reason").fill("new disk")
    dialog.get_by_role("button", name="Pause").click()
    expect(dialog).to_have_count(0)
    expect(rows(page, "Workers").first).to_contain_text("paused: new disk")
    page.get_by_role("button", name="Unpause w1").click()
    expect(rows(page, "Workers").first).to_contain_text("idle")
    farm.quarantine(worker="w1", seconds=100, reason="a build ended with an exception")
    expect(rows(page, "Workers").first).to_contain_text("quarantined: a build ended with an exception")
    farm.quarantine(worker="w1", seconds=-1, reason="a build ended with an exception")
    expect(rows(page, "Workers").first).to_contain_text("idle")
    page.get_by_role("button", name="Shut down w2").click()
    dialog.get_by_role("button", name="Shut down").click()
    expect(dialog).to_have_count(0)
    page.get_by_role("group", name="States").get_by_role("button", name="1 stopping").click()
    expect(rows(page, "Workers")).to_have_count(1)
    page.get_by_label("Filter by name").fill("w1")
    expect(page.get_by_text("No worker fits.")).to_be_visible()
    assert [told[0] for told in farm.told_workers()] == ["pause", "unpause", "stop"]
    assert farm.told_workers()[0][2] == "new disk"


def test_schedulers_masters_and_about(farm: Farm, visitor: Visitor) -> None:
    """Schedulers are switched off and on; masters show their builds; About has versions, the API and the counters of
    reports.
    """
    page = visitor.open("#/schedulers")
    switch = page.get_by_role("switch", name="Enable force")
    expect(switch).to_be_checked()
    switch.locator("xpath=..").click()
    expect(switch).not_to_be_checked()
    expect(page.locator(".dot.paused")).to_have_count(1)
    page.get_by_role("navigation", name="Pages").get_by_role("link", name="Masters").click()
    master = page.locator(".panel.master")
    expect(master).to_have_count(1)
    expect(master).to_contain_text("Builds running0")
    farm.build(builder="linux", worker="w1")
    expect(master).to_contain_text("Builds running1")
    farm.reports(name='Git"Hub', sent=12, given_up=3)
    page.get_by_role("link", name="About", exact=True).click()
    reporter = page.get_by_role("region", name="Reporters").get_by_role("row", name="Git")
    expect(reporter).to_have_text('Git"Hub0123')
    expect(page.get_by_role("region", name="Versions")).to_contain_text("Tenfold")
    expect(page.get_by_role("region", name="API")).to_contain_text(re.compile(r"\d+ paths"))
    expect(page.get_by_role("region", name="Configuration")).to_contain_text("buildbotURL")


def test_changes_are_searched(farm: Farm, visitor: Visitor) -> None:
    """The search asks the server, is part of the address, and holds for later changes, too."""
    farm.change(comments="fix the frobnicator")
    farm.change(comments="something else")
    page = visitor.open("#/changes")
    expect(rows(page, "Changes")).to_have_count(2)
    page.get_by_label("Search changes").fill("frob")
    expect(rows(page, "Changes")).to_have_count(1)
    expect(page).to_have_url(re.compile(r"text=frob"))
    farm.change(comments="no match")
    farm.change(comments="another frob")
    expect(rows(page, "Changes")).to_have_count(2)
    page.get_by_label("Search in").select_option("author")
    expect(page.get_by_text("No change has “frob” in its author.")).to_be_visible()


def test_a_build_in_all_its_parts(farm: Farm, visitor: Visitor) -> None:
    """The page of a build has people, changes, worker, buildset, and the builds that a step has triggered."""
    change = farm.change(comments="A change")
    build = farm.build_change(builder="linux", worker="w1", changes=[change])
    page = visitor.open(f"#/builders/{farm.builders['linux']}/builds/1")
    farm.step(build=build, name="trigger")
    child = farm.request(builder="windows")
    farm.trigger(build=build, brid=child)
    triggered = page.locator(".triggered .row")
    expect(triggered).to_contain_text("windows")
    expect(triggered).to_contain_text("waiting")
    farm.end(build=farm.start(brid=child, worker="w2"), results=2)
    expect(triggered).to_contain_text("#1")
    expect(triggered.locator(".icon")).to_have_attribute("aria-label", "failure")
    said_in = {"Changes": "A change", "People": "Joe", "Properties": "got_revision", "Worker": "w1.example"}
    for tab, said in said_in.items():
        page.get_by_role("tab", name=tab).click()
        expect(page.locator("main")).to_contain_text(said)
    page.get_by_role("tab", name="Worker").press("ArrowRight")
    expect(page.get_by_role("tab", name="Steps")).to_be_focused()
    page.get_by_role("region", name="Overview").get_by_role("link", name=re.compile(r"^\d+s")).click()
    page.get_by_role("region", name="Overview").get_by_role("link", name=re.compile(r"^\d+$")).click()
    expect(page.get_by_role("heading", name=re.compile("^Buildset"))).to_be_visible()
    expect(page.get_by_role("region", name="Requests")).to_contain_text("linux")


def addresses(farm: Farm) -> list[str]:
    """One of every page."""
    linux = farm.builders["linux"]
    return [
        *("#/", "#/builders", f"#/builders/{linux}", f"#/builders/{linux}/builds/6"),
        *(f"#/builders/{linux}/builds/6?tab={tab}" for tab in ("changes", "people", "properties", "worker")),
        *(f"#/builders/{linux}/builds/6/steps/0/logs/stdio", "#/pendingbuildrequests", "#/buildrequests/7"),
        *("#/buildsets/7", "#/changes", "#/changes/1", "#/workers", "#/workers/1"),
        *("#/schedulers", "#/masters", "#/about", "#/projects", "#/projects/1", "#/console"),
    ]


def settle(page: Page) -> None:
    expect(page.locator("main h1")).to_have_count(1)
    expect(page.locator("main .skeleton, main .line.coming")).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_accessible(browser: Browser, farm: Farm, scheme: Any) -> None:
    """On every page, in both lights: every control has a name, headings are in order, texts stand out."""
    fill(farm)
    visitor = Visitor(browser, farm, color_scheme=scheme, reduced_motion="reduce")
    page = visitor.open()
    found = {}
    for address in addresses(farm):
        page.goto(farm.url + address)
        settle(page)
        if problems := page.evaluate(AUDIT):
            found[address] = problems
    page.goto(f"{farm.url}#/builders/{farm.builders['linux']}")
    page.get_by_role("button", name="Force build").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    if problems := page.evaluate(AUDIT):
        found["force"] = problems
    assert found == {}
    visitor.check()
    visitor.context.close()


def test_narrow(browser: Browser, farm: Farm) -> None:
    """At 360 px no page is wider than the screen."""
    fill(farm)
    visitor = Visitor(browser, farm, viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    page = visitor.open()
    wide = {}
    for address in addresses(farm):
        page.goto(farm.url + address)
        settle(page)
        width = page.evaluate("document.documentElement.scrollWidth")
        if width > 360:
            wide[address] = width
    assert wide == {}
    visitor.check()
    visitor.context.close()


def test_instant_again(farm: Farm, visitor: Visitor) -> None:
    """A page that was visited before asks nothing at the next visit; a link under the pointer is fetched early."""
    fill(farm)
    page = visitor.open()
    expect(rows(page, "Ended")).to_have_count(5)
    with page.expect_response(re.compile("builders/.*/builds")):
        page.get_by_role("link", name=re.compile("linux #5")).hover()
        page.get_by_role("link", name=re.compile("linux #5")).click()
    expect(page.get_by_role("heading", name="linux #5")).to_be_visible()
    expect(page.get_by_role("link", name=re.compile("^Previous build"))).to_be_visible()
    page.keyboard.press("u")
    expect(page.locator(".picture .bar")).to_have_count(6)
    page.go_back()
    expect(page.get_by_role("heading", name="linux #5")).to_be_visible()
    asked = len(visitor.api_requests())
    page.go_forward()
    expect(page.locator(".picture .bar")).to_have_count(6)
    page.keyboard.press("g")
    page.keyboard.press("h")
    expect(rows(page, "Ended")).to_have_count(5)
    assert visitor.api_requests()[asked:] == []


def test_the_title_has_its_place(browser: Browser) -> None:
    """At any width the title is whole or not there at all, also after a login."""
    farm = Farm(users={"somebody.with.a.long.name": "pw"})
    visitor = Visitor(browser, farm, http_credentials={"username": "somebody.with.a.long.name", "password": "pw"})
    page = visitor.open()
    page.get_by_role("link", name="Log in").click()
    expect(page.get_by_text("somebody.with.a.long.name")).to_be_visible()
    for width in (1600, 1280, 1100, 1024, 900, 760, 700, 400):
        page.set_viewport_size({"width": width, "height": 800})
        shown, needed = page.evaluate("(b => [b.clientWidth, b.scrollWidth])(document.querySelector('.brand b'))")
        assert shown >= needed, f"{shown} of {needed} px of the title at {width} px"
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    visitor.context.close()
    farm.close()


def test_follows_only_what_it_shows(farm: Farm, visitor: Visitor) -> None:
    """The home page gets no events of builds' properties; a builder's page gets those of its running builds."""
    followed: set[str] = set()
    sockets: list[WebSocket] = []

    def sent(text: str | bytes) -> None:
        frame = json.loads(text)
        (followed.add if frame["cmd"] == "startConsuming" else followed.discard)(frame["path"])

    def opened(socket: WebSocket) -> None:
        sockets.append(socket)
        socket.on("framesent", sent)

    visitor.page.on("websocket", opened)
    ended, build = farm.build(builder="linux", worker="w1"), farm.build(builder="linux", worker="w2")
    farm.end(build=ended)
    page = visitor.open()
    expect(rows(page, "Running")).to_have_count(1)
    expect(rows(page, "Ended")).to_have_count(1)
    of_home = {"builders/*/*", "workers/*/*", "masters/*/*", "builds/*/*", "buildrequests/*/*"}
    assert followed == of_home

    linux = farm.builders["linux"]
    page.goto(f"{farm.url}#/builders/{linux}")
    expect(rows(page, "Builds")).to_have_count(2)
    own = {f"builders/{linux}/builds/*/*", f"builders/{linux}/buildrequests/*/*", f"builds/{build}/properties/*"}
    assert followed == of_home | own
    farm.properties(build=build, branch="feature")
    farm.end(build=build)
    quick = farm.build(builder="linux", worker="w1")
    farm.properties(build=quick, branch="quick")
    farm.end(build=quick)
    expect(rows(page, "Builds").first).to_contain_text("quick")
    expect(rows(page, "Builds").nth(1)).to_contain_text("feature")
    # All events of an ended build have come before the next bookmark.

    def nothing_left(_: Any = None) -> bool:
        return not any(pattern.endswith("/properties/*") for pattern in followed)

    if not nothing_left():
        sockets[0].wait_for_event("framesent", nothing_left)
    assert followed == of_home | own - {f"builds/{build}/properties/*"}


def test_console(farm: Farm, visitor: Visitor) -> None:
    """A change comes in, waits, is built and ends, each seen in its builder's cell; tags choose the columns."""
    first = farm.change(comments="the first one", revision="a" * 40)
    page = visitor.open("#/console")
    lines = page.locator(".console tbody tr")
    expect(lines).to_have_count(1)
    second = farm.change(comments="the second one", revision="b" * 40)
    expect(lines).to_have_count(2)
    expect(lines.first).to_contain_text("the second one")
    brid = farm.request_change(builder="linux", revision="b" * 40, changes=[first, second])

    def cell(line: int, name: str) -> Locator:
        return lines.nth(line).get_by_role("link", name=name, exact=True)

    expect(cell(0, f"linux, request {brid}: pending")).to_be_visible()
    build = farm.start(brid=brid, worker="w1")
    expect(cell(0, "linux #1: running")).to_be_visible()
    farm.end(build=build, results=2)
    expect(cell(0, "linux #1: failure")).to_be_visible()
    # The request names no revision; the build shows it as soon as it is known.
    windows = farm.build(builder="windows", worker="w2")
    farm.properties(build=windows, got_revision={"": "a" * 40})
    expect(cell(1, "windows #1: running")).to_be_visible()
    # Built again, the newest counts.
    again = farm.start(brid=farm.request_change(builder="linux", revision="b" * 40), worker="w1")
    farm.end(build=again)
    expect(cell(0, "linux #2: success")).to_be_visible()
    expect(lines.first.get_by_role("link")).to_have_count(2)

    headers = page.locator(".console thead a")
    expect(headers).to_have_text(["linux", "windows"])
    page.get_by_role("button", name="windows").click()
    expect(headers).to_have_text(["windows"])
    expect(page).to_have_url(re.compile(r"#/console\?tag=windows$"))
    page.get_by_role("button", name="windows").click()
    page.keyboard.press("Escape")
    page.locator("main").focus()
    page.keyboard.press("j")
    expect(lines.first.get_by_role("link", name="the second one")).to_be_focused()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    expect(cell(1, "windows #1: running")).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(cell(1, "windows #1: running")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="windows #1")).to_be_visible()


def test_console_of_nothing(farm: Farm, visitor: Visitor) -> None:
    """A new farm says so."""
    expect(visitor.open("#/console").get_by_text("No change has come in yet.")).to_be_visible()


def test_projects(farm: Farm, visitor: Visitor) -> None:
    """A project appears as soon as builders belong to it, with their builds, live; each has a page of its own."""
    page = visitor.open("#/projects")
    navigation = page.get_by_role("navigation", name="Pages")
    expect(page.get_by_text("No builder belongs to a project.")).to_be_visible()
    expect(navigation.get_by_role("link", name="Projects")).to_have_count(0)
    projectid = farm.project(name="game", builders=["linux", "windows"], description="All of the game")
    expect(navigation.get_by_role("link", name="Projects")).to_be_visible()
    game = page.get_by_role("region", name="game")
    expect(game.locator(".row")).to_have_count(2)
    expect(game).to_contain_text("All of the game")
    build = farm.build(builder="linux", worker="w1")
    expect(game.locator(".row").first).to_contain_text("1 running")
    farm.end(build=build, results=2)
    expect(game.locator(".row").first.locator(".icon")).to_have_attribute("aria-label", "last: failure")
    expect(game.locator(".tally")).to_have_text("failure1")
    page.get_by_label("Filter by name").fill("other")
    expect(page.get_by_text("No project fits.")).to_be_visible()
    page.get_by_label("Filter by name").fill("")
    page.get_by_role("link", name="game", exact=True).click()
    expect(page).to_have_url(re.compile(rf"#/projects/{projectid}$"))
    expect(page.get_by_role("heading", level=1)).to_have_text("game")
    builders = rows(page, "Builders")
    expect(builders).to_have_count(2)
    page.get_by_role("group", name="Tags").get_by_role("button", name="windows").click()
    expect(builders).to_have_count(1)
    page.get_by_role("group", name="Tags").get_by_role("button", name="windows").click()
    farm.project(name="game", builders=["linux"])
    expect(builders).to_have_count(1)
    page.get_by_role("link", name="linux", exact=True).click()
    page.get_by_role("link", name="game").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("game")
    page.keyboard.press("u")
    expect(page.get_by_role("heading", level=1)).to_have_text("Projects")
    page.goto(f"{farm.url}#/projects/99")
    expect(page.get_by_role("heading", level=1)).to_have_text("Not found")


def test_no_part_waits_for_data_of_another(farm: Farm, visitor: Visitor) -> None:
    """A build's steps and properties are asked for with it, a log's lines with the log: one round trip to the data."""
    build = farm.build(builder="linux", worker="w1")
    step = farm.step(build=build, name="test")
    farm.end_log(log=farm.log(step=step, text="".join(f"oline {number}\n" for number in range(1, 2001))))
    linux = farm.builders["linux"]
    page = visitor.open()
    held: list[Route] = []
    page.route(re.compile(rf"/builders/{linux}/builds/1(/steps/0/logs/stdio)?$"), lambda route: held.append(route))

    def answer() -> None:
        while not held:
            page.evaluate("new Promise(requestAnimationFrame)")
        held.pop().continue_()

    with (
        page.expect_request(re.compile("/builds/1/steps$")),
        page.expect_request(re.compile("/builds/1/properties$")),
    ):
        page.get_by_role("link", name="linux #1").press("Enter")
    answer()
    expect(page.locator(".step")).to_contain_text("test is running")
    farm.state(build=build, text="still live")
    expect(page.get_by_role("region", name="Overview")).to_contain_text("still live")
    farm.properties(build=build, branch="later")
    expect(page.get_by_role("region", name="Overview")).to_contain_text("later")
    farm.step(build=build, name="upload")
    expect(page.locator(".step")).to_have_count(2)

    fetched = len(visitor.requests)
    with page.expect_request(re.compile("logs/stdio/contents")):
        page.evaluate(f"location.hash = '#/builders/{linux}/builds/1/steps/0/logs/stdio?line=1400'")
    answer()
    expect(page.locator(".line.marked")).to_have_text("line 1400")
    asked = [url for url in visitor.requests[fetched:] if "contents" in url]
    assert [re.sub(r".*offset=(\d+)&.*", r"\1", url) for url in asked] == ["1250"], asked
    assert held == []
