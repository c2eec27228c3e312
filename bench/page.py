"""How long after the click the page shows its data, in Chromium, over the big farm: no page may take more than 100 ms.

Every visit is made twice from a page that has only shown the home page and has nothing left to do: the first time
nothing about the next page is known, the second time its state was kept.
The time ends with the frame in which everything that was asked for is drawn.
"""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zstandard

from bench import http_data, http_servers
from bench.http_data import FULL, QUICK

GOAL_MS = 100.0
#: lines of the log of over 100 MB
BIG_LOG_LINES = 1_600_000
_CHUNK_LINES = 1_800
_HOME = "#/"
_BIG_LOG = "#/builders/2/builds/1/steps/1/logs/stdio"


@dataclass(frozen=True)
class Visit:
    """A page to go to: its address, and what is there once its data is drawn."""

    name: str
    address: str
    shows: str


VISITS = (
    Visit("home", "#/", ".rows .row .icon"),
    Visit("builders", "#/builders", ".row.builder .history path"),
    Visit("builder", "#/builders/7", ".picture .bar"),
    Visit("build", "#/builders/7/builds/1900", ".steps .row"),
    Visit("build with a log", "#/builders/2/builds/1", ".steps .row"),
    Visit("log of 20,000 lines", "#/builders/2/builds/1/steps/0/logs/stdio", ".line .text:not(:empty)"),
    Visit("log of 100 MB", _BIG_LOG, ".line .text:not(:empty)"),
    Visit("log of 100 MB, line 1,500,000", f"{_BIG_LOG}?line=1500000", ".line.marked .text:not(:empty)"),
    Visit("console", "#/console", ".console td a .icon"),
    Visit("queue", "#/pendingbuildrequests", ".row.waiting"),
    Visit("request", "#/buildrequests/200100", ".overview"),
    Visit("changes", "#/changes", ".change"),
    Visit("change", "#/changes/99000", ".overview"),
    Visit("workers", "#/workers", ".workers .row"),
    Visit("worker", "#/workers/7", ".rows .row"),
    Visit("schedulers", "#/schedulers", "main .row"),
    Visit("masters", "#/masters", "main .row"),
    Visit("about", "#/about", "main .panel dd"),
)

#: resolves to milliseconds from the click to the frame after which the data is in sight
_GO = """([address, shows]) => new Promise((resolve, reject) => {
    const link = document.createElement("a");
    link.href = address;
    document.body.append(link);
    const begin = performance.now();
    link.click();
    link.remove();
    const look = () => {
        const main = document.querySelector("main");
        const there = location.hash === address && main.dataset.path === address && main.querySelector(shows)
            && !main.querySelector(".skeleton, .line.coming");
        if (there) resolve(performance.now() - begin);
        else if (performance.now() - begin > 10000) reject(new Error(`${address} does not show ${shows}`));
        else requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
})"""


@dataclass
class PageResult:
    """Milliseconds of each visit, and requests to the API that the first one made."""

    visit: Visit
    first_ms: list[float] = field(default_factory=list)
    again_ms: list[float] = field(default_factory=list)
    requests: int = 0

    @property
    def missed(self) -> bool:
        """Whether half of the visits took longer than the goal."""
        return statistics.median(self.first_ms) > GOAL_MS or statistics.median(self.again_ms) > GOAL_MS


def measure(backend: str, directory: Path, rounds: int, quick: bool) -> list[PageResult]:
    """Open every page ``rounds`` times. Raises NoServerError."""
    with _farm(backend, directory, quick) as url:
        return visit_all(url, rounds)


def visit_all(url: str, rounds: int) -> list[PageResult]:
    """The same at a server that is there already; raises what playwright raises."""
    from playwright.sync_api import sync_playwright

    results = [PageResult(visit) for visit in VISITS]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for _ in range(rounds):
            for result in results:
                _visit(browser, url, result)
        browser.close()
    return results


def _visit(browser: Any, url: str, result: PageResult) -> None:
    start = "#/changes" if result.visit.address == _HOME else _HOME
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(url + start)
    page.wait_for_selector(".connection.open")
    page.wait_for_selector("main:has(.row):not(:has(.skeleton))")
    page.evaluate("new Promise(requestIdleCallback)")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    visit = [result.visit.address, result.visit.shows]
    result.first_ms.append(page.evaluate(_GO, visit))
    result.requests = sum("/api/" in one for one in asked)
    page.evaluate(_GO, [start, "*"])
    result.again_ms.append(page.evaluate(_GO, visit))
    page.close()


def table(results: list[PageResult]) -> str:
    """Medians and worst cases, in Markdown."""
    lines = ["| page | requests | first visit, ms | worst | again, ms |", "| --- | --: | --: | --: | --: |"]
    for result in results:
        first, again = statistics.median(result.first_ms), statistics.median(result.again_ms)
        mark = " ✗" if result.missed else ""
        worst = max(result.first_ms)
        lines.append(f"| {result.visit.name}{mark} | {result.requests} | {first:.0f} | {worst:.0f} | {again:.0f} |")
    return "\n".join(lines)


@contextmanager
def _farm(backend: str, directory: Path, quick: bool) -> Iterator[str]:
    def fill(bulk: Any, size: http_data.Size) -> None:
        http_data.fill_tenfold(bulk, size)
        add_big_log(bulk)
        build_newest_changes(bulk, size)

    with http_servers.tenfold(backend, directory, QUICK if quick else FULL, fill) as server:
        yield f"http://127.0.0.1:{server.port}/"


def build_newest_changes(bulk: Any, size: http_data.Size) -> None:
    """Make the newest requests those of the newest changes, ten of each."""
    last = size.builds + size.pending
    ssid = f":changes - (:last - sourcestampsetid) {bulk.word('div')} 10"
    values = {"changes": size.changes, "last": last, "first": last - 1000}
    bulk.run(f"UPDATE sourcestampset_members SET ssid = {ssid} WHERE sourcestampsetid > :first", **values)


def add_big_log(bulk: Any) -> None:
    """Make the log of the second step of the first build one of over 100 MB."""
    compress = zstandard.ZstdCompressor(level=3).compress
    bulk.run("DELETE FROM logchunks WHERE logid = 2")
    bulk.run("UPDATE logs SET num_lines = :lines WHERE id = 2", lines=BIG_LOG_LINES)
    rows = []
    for first in range(0, BIG_LOG_LINES, _CHUNK_LINES):
        end = min(first + _CHUNK_LINES, BIG_LOG_LINES)
        text = "".join(map(http_data.line, range(first, end)))
        row = {"logid": 2, "first_line": first, "last_line": end - 1, "compressed": 1}
        rows.append({**row, "content": compress(text.encode())})
    bulk.rows("logchunks", rows)
