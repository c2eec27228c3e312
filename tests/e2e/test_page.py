"""The page in a real browser: live without reload, exact across lost connections, and pleasant to use."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Route, expect, sync_playwright

from tests.support.forking import ForkServer

pytestmark = pytest.mark.e2e

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


_FARMS = ForkServer("tests.e2e.page_farm")


class Farm:
    """The server process; ``farm.build(…)`` runs the command ``build`` there."""

    def __init__(
        self, builders: Sequence[str] = ("linux", "windows"), workers: Sequence[str] = ("w1", "w2"), **www: Any
    ) -> None:
        self._process = _FARMS.fork()
        self._lines = self._process.makefile("rw", encoding="utf-8")
        self.builders: dict[str, int] = self.configure(builders=list(builders), workers=list(workers))
        self.url = f"http://127.0.0.1:{self.listen(**www)}/"

    def __getattr__(self, command: str) -> Any:
        def run(**arguments: Any) -> Any:
            self._lines.write(json.dumps([command, arguments]) + "\n")
            self._lines.flush()
            answer = json.loads(self._lines.readline())
            assert "error" not in answer, answer
            return answer["result"]

        return run

    def close(self) -> None:
        """End the process."""
        self._process.shutdown(socket.SHUT_WR)
        self._lines.read()
        self._lines.close()
        self._process.close()


@pytest.fixture
def farm() -> Iterator[Farm]:
    made = Farm()
    yield made
    made.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not os.path.exists(CHROMIUM):
        pytest.skip("no browser to test with: chromium is not installed")
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield found
        found.close()


class Visitor:
    """A page, its requests and its errors."""

    def __init__(self, browser: Browser, farm: Farm, **options: Any) -> None:
        self.farm = farm
        self.context = browser.new_context(**options)
        self.page: Page = self.context.new_page()
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url.removeprefix(farm.url)))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", self._console)

    def _console(self, message: ConsoleMessage) -> None:
        """No page writes to the console; the browser itself writes about the network that tests cut."""
        if not message.text.startswith(("Failed to load resource", "WebSocket connection to")):
            self.complaints.append(f"{message.type}: {message.text}")

    def open(self, hash: str = "#/") -> Page:
        self.page.goto(self.farm.url + hash)
        expect(self.page.locator(".connection.open")).to_be_visible()
        # Lost by a reload.
        self.page.evaluate("window.notReloaded = true")
        return self.page

    def api_requests(self) -> list[str]:
        return [url for url in self.requests if url.startswith("api/")]

    def check(self) -> None:
        assert self.page.evaluate("window.notReloaded") is True, "the page was reloaded"
        assert self.complaints == []


@pytest.fixture
def visitor(browser: Browser, farm: Farm) -> Iterator[Visitor]:
    made = Visitor(browser, farm, viewport={"width": 1280, "height": 900})
    yield made
    made.check()
    made.context.close()


def rows(page: Page, panel: str) -> Any:
    return page.get_by_role("region", name=panel, exact=True).locator(".row")


def test_home_follows_a_build(farm: Farm, visitor: Visitor) -> None:
    """A request waits, its build runs, shows its state, and ends: all seen without reload or another request."""
    page = visitor.open()
    expect(page.get_by_text("The queue is empty.")).to_be_visible()
    expect(page).to_have_title("Test CI")
    asked = len(visitor.api_requests())

    brid = farm.request(builder="linux")
    expect(rows(page, "Waiting")).to_have_count(1)
    expect(page.locator(".badge")).to_have_text("1")
    build = farm.start(brid=brid, worker="w1")
    running = rows(page, "Running")
    expect(running).to_have_count(1)
    expect(running).to_contain_text("linux #1")
    expect(running).to_contain_text("w1")
    expect(rows(page, "Waiting")).to_have_count(0)
    farm.state(build=build, text="linking")
    expect(running).to_contain_text("linking")
    farm.end(build=build, results=2)
    expect(running).to_have_count(0)
    expect(rows(page, "Ended")).to_contain_text("linux #1")
    expect(rows(page, "Ended").locator(".icon")).to_have_attribute("aria-label", "failure")
    farm.disconnect(worker="w2")
    expect(page.locator(".worker-tile.offline")).to_have_text("w2")

    # One request is due: how long the builder's last success took, asked when its build appeared.
    later = visitor.api_requests()[asked:]
    assert len(later) <= 1 and all("results=0" in url for url in later), later


def test_a_long_build_that_ended_is_shown(farm: Farm, visitor: Visitor) -> None:
    """Home shows the builds that ended last, also one that began before many others."""
    long = farm.build(builder="linux", worker="w1")
    for _ in range(90):
        farm.end(build=farm.build(builder="windows", worker="w2"))
    last = max(build["complete_at"] or 0 for build in farm.get(path=["builds"]))
    page = visitor.page
    page.wait_for_function("last => Date.now() / 1000 > last + 1", arg=last)  # times are whole seconds
    farm.end(build=long, results=2)
    visitor.open()
    expect(rows(page, "Ended")).to_have_count(25)
    expect(rows(page, "Ended").first).to_contain_text("linux #1")


def test_a_builder_that_builds_seldom(farm: Farm, visitor: Visitor) -> None:
    """The list of builders shows its builds though those of others fill the newest ones of all."""
    farm.end(build=farm.build(builder="linux", worker="w1"), results=2)
    build = farm.get(path=["builds", farm.build(builder="windows", worker="w2")])

    def only_others(route: Route) -> None:
        answer = route.fetch().json()
        others = [{**build, "buildid": 10_000 + number, "number": number} for number in range(600)]
        route.fulfill(json={**answer, "builds": others})

    visitor.page.route("**/builds?order=-buildid&limit=600*", only_others)
    visitor.open("#/builders")
    row = visitor.page.locator(".row.builder", has_text="linux")
    expect(row.locator(".time")).to_contain_text("ago")
    expect(row.get_by_label("last: failure")).to_be_visible()


def test_build_page_is_live(farm: Farm, visitor: Visitor) -> None:
    """Steps, log lines with their colours, properties and the result appear as they happen."""
    build = farm.build(builder="linux", worker="w1")
    page = visitor.open(f"#/builders/{farm.builders['linux']}/builds/1")
    expect(page.get_by_role("heading", name="linux #1")).to_be_visible()
    expect(page.get_by_text("The first step has not begun.")).to_be_visible()

    step = farm.step(build=build, name="compile")
    expect(page.locator(".step")).to_contain_text("compile is running")
    log = farm.log(step=step, text="hmake all\no\x1b[32mgreen\x1b[0m and \x1b[1;31mred\x1b[0m\neoops\n")
    lines = page.locator(".line")
    expect(lines).to_have_count(3)
    expect(lines.nth(0)).to_have_class(re.compile("head"))
    expect(lines.nth(1)).to_have_text("green and red")
    expect(lines.nth(1).locator(".a-f2")).to_have_text("green")
    expect(lines.nth(1).locator(".a-f1.a-bold")).to_have_text("red")
    expect(lines.nth(2)).to_have_class(re.compile("err"))
    farm.append(log=log, text="o<b>not markup</b>\n")
    expect(lines.nth(3)).to_have_text("<b>not markup</b>")

    farm.properties(build=build, branch="main", secret_number=42)
    expect(page.get_by_role("region", name="Overview")).to_contain_text("main")
    page.get_by_role("tab", name="Properties").click()
    expect(page.locator("table.properties")).to_contain_text("secret_number")
    page.get_by_role("tab", name="Steps").click()

    farm.end_step(build=build, step=step)
    farm.end(build=build)
    expect(page.locator(".build-head .chip")).to_have_text("success")
    expect(page.get_by_role("button", name="Stop linux #1")).to_have_count(0)
    expect(page).to_have_title("✓ linux #1 · Test CI")


def test_big_log_is_drawn_in_part(farm: Farm, visitor: Visitor) -> None:
    """Of a log of 100,000 lines only the visible ones are fetched and drawn; every line can be reached."""
    build = farm.build(builder="linux", worker="w1")
    step = farm.step(build=build, name="test")
    farm.end_log(log=farm.log(step=step, text="".join(f"oline {number}\n" for number in range(1, 100_001))))
    farm.end_step(build=build, step=step)
    farm.end(build=build)
    page = visitor.open(f"#/builders/{farm.builders['linux']}/builds/1/steps/0/logs/stdio")
    expect(page.locator(".line").nth(10)).to_have_text("line 11")
    assert page.locator(".line").count() < 150
    page.get_by_role("button", name="End").click()
    expect(page.get_by_text("line 100000", exact=True)).to_be_visible()
    page.goto(f"{farm.url}#/builders/{farm.builders['linux']}/builds/1/steps/0/logs/stdio?line=54321")
    expect(page.locator(".line.marked")).to_have_text("line 54321")
    fetched = [url for url in visitor.requests if "/contents" in url]
    assert len(fetched) < 12, fetched


def test_why_a_step_ended_in_an_exception(farm: Farm, visitor: Visitor) -> None:
    """The page opens the log of the exception if a step ended with one, else the log of the command."""
    build = farm.build(builder="linux", worker="w1")
    for name, results in (("good", 2), ("bad", 4)):
        step = farm.step(build=build, name=name)
        farm.end_log(log=farm.log(step=step, text=f"oprinted by {name}\n"))
        farm.end_log(log=farm.log(step=step, text=f"ValueError in {name}\n", kind="t", name="err.text"))
        farm.end_step(build=build, step=step, results=results)
    farm.end(build=build, results=4)
    page = visitor.open(f"#/builders/{farm.builders['linux']}/builds/1")
    expect(page.get_by_text("ValueError in bad", exact=True)).to_be_visible()
    expect(page.get_by_text("printed by good", exact=True)).to_be_visible()
    expect(page.get_by_text("printed by bad", exact=True)).to_have_count(0)


def test_html_logs_have_no_rights(farm: Farm, visitor: Visitor) -> None:
    """A build's HTML is shown in a frame in which nothing runs."""
    build = farm.build(builder="linux", worker="w1")
    step = farm.step(build=build, name="report")
    farm.log(step=step, text="<h1>Report</h1><script>parent.hacked = true; document.title = 'x'</script>\n", kind="h")
    page = visitor.open(f"#/builders/{farm.builders['linux']}/builds/1")
    expect(page.frame_locator("iframe.html-log").get_by_role("heading")).to_have_text("Report")
    assert page.evaluate("window.hacked") is None
    # the browser's message that it did not run the script
    assert all(each.startswith("error: Blocked script execution in") for each in visitor.complaints)
    visitor.complaints.clear()


def test_reconnects_without_a_gap(farm: Farm, visitor: Visitor) -> None:
    """Events of a time without connection appear after it, from the stream alone: nothing is fetched again."""
    first = farm.build(builder="linux", worker="w1")
    page = visitor.open()
    expect(rows(page, "Running")).to_have_count(1)
    asked = len(visitor.api_requests())

    farm.go_away()
    expect(page.locator(".connection.waiting")).to_be_visible()
    farm.end(build=first)
    second = farm.build(builder="windows", worker="w2")
    farm.state(build=second, text="still there")
    farm.request(builder="linux")
    farm.listen()

    expect(page.locator(".connection.open")).to_be_visible()
    expect(rows(page, "Running")).to_have_count(1)
    expect(rows(page, "Running")).to_contain_text("windows #1")
    expect(rows(page, "Running")).to_contain_text("still there")
    expect(rows(page, "Ended")).to_contain_text("linux #1")
    expect(rows(page, "Waiting")).to_have_count(1)
    later = visitor.api_requests()[asked:]
    assert all("results=0" in url for url in later), later


def test_fetches_again_when_events_are_gone(farm: Farm, visitor: Visitor) -> None:
    """If the log of events was trimmed while the line was cut, the page fetches again by itself."""
    first = farm.build(builder="linux", worker="w1")
    page = visitor.open()
    expect(rows(page, "Running")).to_have_count(1)
    farm.go_away()
    expect(page.locator(".connection.waiting")).to_be_visible()
    farm.end(build=first)
    farm.forget_events()
    farm.request(builder="linux")
    farm.listen()
    expect(page.locator(".connection.open")).to_be_visible()
    expect(rows(page, "Running")).to_have_count(0)
    expect(rows(page, "Ended")).to_contain_text("linux #1")
    expect(rows(page, "Waiting")).to_have_count(1)


def test_events_between_snapshot_and_subscription(farm: Farm, visitor: Visitor) -> None:
    """An event that happens after the snapshot was made, before its reply arrives, is not lost."""
    page = visitor.page
    build = farm.build(builder="linux", worker="w1")

    def hold(route: Route) -> None:
        response = route.fetch()
        farm.state(build=build, text="changed meanwhile")
        route.fulfill(response=response)

    page.route(re.compile(r"builds\?complete=false"), hold)
    visitor.open()
    expect(rows(page, "Running")).to_contain_text("changed meanwhile")


def test_force(farm: Farm, visitor: Visitor) -> None:
    """The form is drawn from the scheduler; a mistake is shown at its field; the page goes on to the build."""
    builder = farm.builders["linux"]
    page = visitor.open(f"#/builders/{builder}")
    page.get_by_role("button", name="Force build").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_label("Reason")).to_have_attribute("required", "")
    dialog.get_by_label("Reason").fill("because I can")
    dialog.get_by_label("priority").fill("many")
    dialog.get_by_role("button", name="Force build").click()
    expect(dialog.get_by_role("alert")).to_contain_text("Some fields need another look")
    expect(dialog.get_by_label("priority")).to_have_attribute("aria-invalid", "true")
    dialog.get_by_label("priority").fill("3")
    dialog.get_by_label("target").select_option("release")
    dialog.get_by_role("button", name="Force build").click()
    expect(page).to_have_url(re.compile(r"#/buildrequests/1\?follow"))
    expect(page.get_by_role("region", name="Overview")).to_contain_text("because I can")
    farm.start(brid=farm.pending()[0], worker="w1")
    expect(page).to_have_url(re.compile(rf"#/builders/{builder}/builds/1$"))
    expect(page.get_by_role("region", name="Overview")).to_contain_text("because I can")
    assert farm.get(path=["buildsets", 1, "properties"])["target"] == ["release", "Force Build Form"]
    assert farm.get(path=["buildrequests", 1])["priority"] == 3


def test_stop_rebuild_cancel(farm: Farm, visitor: Visitor) -> None:
    """Stop and cancel ask first; rebuild goes to the new request, and from there to its build."""
    builder = farm.builders["linux"]
    build = farm.build(builder="linux", worker="w1")
    page = visitor.open(f"#/builders/{builder}/builds/1")
    page.get_by_role("button", name="Stop linux #1").click()
    dialog = page.get_by_role("dialog", name="Stop linux #1?")
    dialog.get_by_role("button", name="Keep").click()
    expect(dialog).to_have_count(0)
    assert farm.stops() == []
    page.get_by_role("button", name="Stop linux #1").click()
    dialog.get_by_label("Reason").fill("too slow")
    dialog.get_by_role("button", name="Stop build").click()
    expect(page.locator(".toast")).to_have_text("Stopping linux #1")
    assert farm.stops() == [{"build": build, "reason": "too slow"}]
    farm.end(build=build, results=6)
    expect(page.locator(".build-head .chip")).to_have_text("cancelled")

    page.get_by_role("button", name="Rebuild linux #1").click()
    expect(page).to_have_url(re.compile(r"#/buildrequests/2"))
    expect(page.locator(".page-head .chip")).to_have_text("pending")
    page.get_by_role("button", name="Cancel request 2").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel request").click()
    expect(page.locator(".page-head .chip")).to_have_text("cancelled")
    assert farm.pending() == []


def test_storm(farm: Farm, visitor: Visitor) -> None:
    """While the line is cut again and again, builds start and end: in the end the page shows what the API says."""
    page = visitor.open()
    going: list[int] = []
    for turn in range(60):
        going.append(farm.build(builder=("linux", "windows")[turn % 2], worker="w1"))
        farm.state(build=going[-1], text=f"turn {turn}")
        if turn % 3:
            farm.end(build=going.pop(0), results=turn % 2 * 2)
        farm.request(builder="linux")
        if turn % 10 == 5:
            farm.go_away()
            farm.listen()
    expect(rows(page, "Running")).to_have_count(len(going))
    expect(page.locator(".badge")).to_have_text("60")
    shown = page.evaluate("""async () => {
        const at = (file) => document.querySelector("script[type=module]").src.replace("main.js", file);
        const { query } = await import(at("store.js"));
        const questions = await import(at("queries.js"));
        const held = (question) => query(question).list.map((one) => JSON.stringify(one, Object.keys(one).sort()));
        return [held(questions.runningBuilds), held(questions.endedBuilds), held(questions.waiting)];
    }""")
    running, ended, waiting = ([json.loads(one) for one in held] for held in shown)
    builds = farm.get(path=["builds"])
    requests = farm.get(path=["buildrequests"])

    def by_id(found: list[dict[str, Any]], key: str) -> dict[int, dict[str, Any]]:
        """Resources by id, without the links that only Python callers get."""
        return {one[key]: {name: value for name, value in one.items() if name in shape} for one in found}

    shape = set(running[0])
    assert by_id(running, "buildid") == by_id([one for one in builds if not one["complete"]], "buildid")
    assert by_id(ended, "buildid") == by_id([one for one in builds if one["complete"]], "buildid")
    shape = set(waiting[0])
    assert by_id(waiting, "buildrequestid") == by_id([one for one in requests if not one["claimed"]], "buildrequestid")


def test_ansi(visitor: Visitor) -> None:
    """Colours and styles become classes; other control sequences and characters leave no trace."""
    page = visitor.open()
    lines = [
        "plain",
        "\x1b[31mred\x1b[0m not",
        "\x1b[1;94mbold blue\x1b[22m thin",
        "\x1b[38;5;196mcube",
        "\x1b[48;2;1;2;3mtrue",
        "10%\r50%\r100%\r",
        "a\x1b[2Kb\x1b]0;title\x07c\x1b[?25ld",
        "bell\x07",
        "\x1b[mreset",
    ]
    look = """async (lines) => {
        const at = document.querySelector("script[type=module]").src.replace("main.js", "ansi.js");
        const { parseLine, attributesOf } = await import(at);
        return lines.map((line) => parseLine(line).runs.map(({ text, style }) => [
            text, attributesOf(style).class, Object.values(attributesOf(style).style).join(),
        ]));
    }"""
    runs = page.evaluate(look, lines)
    assert runs == [
        [["plain", "", ""]],
        [["red", "a-f1", ""], [" not", "", ""]],
        [["bold blue", "a-bold a-f12", ""], [" thin", "a-f12", ""]],
        [["cube", "", "rgb(255 0 0)"]],
        [["true", "", "rgb(1 2 3)"]],
        [["100%", "", ""]],
        [["a", "", ""], ["b", "", ""], ["c", "", ""], ["d", "", ""]],
        [["bell", "", ""]],
        [["reset", "", ""]],
    ]


def test_changes_arrive(farm: Farm, visitor: Visitor) -> None:
    """A new change stands on top; its text is text."""
    farm.change(comments="first")
    page = visitor.open("#/changes")
    expect(rows(page, "Changes")).to_have_count(1)
    farm.change(comments="<img src=x onerror=alert(1)> second\n\nmore")
    expect(rows(page, "Changes").first).to_contain_text("<img src=x onerror=alert(1)> second")
    page.get_by_role("button", name="Details").first.click()
    expect(page.locator(".comments")).to_contain_text("more")


def test_revisions_have_links(farm: Farm, visitor: Visitor) -> None:
    """A revision links to its web view wherever a change or a source stamp is shown; no other address is a link."""
    shown = farm.change(comments="shown", revision="2" * 40, revlink="https://x.org/2")
    farm.change(comments="bad", revision="3" * 40, revlink="javascript:alert(1)")
    request = farm.request_change(builder="linux", revision="2" * 40)
    for where in ("#/changes", f"#/changes/{shown}", f"#/buildrequests/{request}"):
        page = visitor.open(where)
        expect(page.locator("a[href='https://x.org/2'] code")).to_contain_text("2222222")
        expect(page.locator("a[href^=javascript]")).to_have_count(0)


def test_keyboard(farm: Farm, visitor: Visitor) -> None:
    """Everything is reached without a mouse: search, pages, rows, builds."""
    for _ in range(2):
        farm.end(build=farm.build(builder="linux", worker="w1"))
    page = visitor.open()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.keyboard.press("/")
    page.keyboard.type("wind")
    expect(page.get_by_role("option").first).to_contain_text("windows")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(rf"#/builders/{farm.builders['windows']}$"))
    page.keyboard.press("g")
    page.keyboard.press("h")
    expect(page).to_have_url(re.compile(r"#/$"))
    expect(rows(page, "Ended")).to_have_count(2)
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"/builds/2$"))
    expect(page.get_by_role("link", name=re.compile("^Previous build"))).to_be_visible()
    page.keyboard.press("[")
    expect(page).to_have_url(re.compile(r"/builds/1$"))
    expect(page.get_by_role("heading", name="linux #1")).to_be_visible()
    page.keyboard.press("u")
    expect(page).to_have_url(re.compile(rf"#/builders/{farm.builders['linux']}$"))


def test_every_page(farm: Farm, visitor: Visitor) -> None:
    """Every page of the navigation opens, shows its title, and logs no error."""
    farm.build(builder="linux", worker="w1")
    visitor.open()
    for title in ("Builders", "Queue", "Changes", "Console", "Workers", "Schedulers"):
        visitor.page.get_by_role("navigation", name="Pages").get_by_role("link", name=title).click()
        expect(visitor.page.get_by_role("heading", level=1)).to_have_text(title)
        expect(visitor.page.locator(".note.error")).to_have_count(0)
    visitor.page.goto(f"{farm.url}#/builders/99")
    expect(visitor.page.get_by_role("heading", level=1)).to_have_text("Not found")
    visitor.page.goto(f"{farm.url}#/nowhere/at/all")
    expect(visitor.page.get_by_role("heading", level=1)).to_have_text("Not found")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark(browser: Browser, farm: Farm, scheme: str) -> None:
    """The page follows the system's scheme; the switch wins over it and is remembered."""
    visitor = Visitor(browser, farm, color_scheme=scheme)
    page = visitor.open()

    def is_dark() -> bool:
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(map(int, re.findall(r"\d+", colour)[:3])) < 300

    assert is_dark() == (scheme == "dark")
    button = page.get_by_role("button", name=re.compile("^Theme"))
    button.click()
    expect(button).to_have_accessible_name("Theme: light. Change")
    assert not is_dark()
    button.click()
    assert is_dark()
    visitor.open()
    assert is_dark()
    visitor.check()
    visitor.context.close()


def test_phone(browser: Browser, farm: Farm, tmp_path: Path) -> None:
    """On a phone nothing is wider than the screen, and the navigation is at hand."""
    build = farm.build(builder="linux", worker="w1")
    step = farm.step(build=build, name="a step with quite a long name that goes on and on")
    farm.log(step=step, text="o" + "wide " * 200 + "\n")
    farm.request(builder="windows")
    farm.change(comments="A change with a long first line that has to be broken somewhere in the middle of it")
    visitor = Visitor(browser, farm, viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    page = visitor.open()
    builder = farm.builders["linux"]
    pages = ["#/", "#/builders", f"#/builders/{builder}", f"#/builders/{builder}/builds/1", "#/changes", "#/workers"]
    for number, hash in enumerate([*pages, "#/pendingbuildrequests", "#/schedulers"]):
        page.goto(farm.url + hash)
        expect(page.locator("main .skeleton")).to_have_count(0)
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= 360, f"{hash} is {width} px wide"
        page.screenshot(path=tmp_path / f"{number}.png")
    box = page.get_by_role("navigation", name="Pages").bounding_box()
    assert box is not None and box["y"] > 600
    visitor.context.close()
    assert visitor.complaints == []
