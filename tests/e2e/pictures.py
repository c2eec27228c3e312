"""Makes the pictures of the page in docs/screenshots: ``.venv/bin/python -m tests.e2e.pictures``."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from playwright.sync_api import expect, sync_playwright

from tests.e2e.test_page import CHROMIUM, FLAGS, Farm

PICTURES = Path(__file__).parents[2] / "docs" / "screenshots"
#: seconds that a build usually takes, and its worker
BUILDERS = {
    "docs": (440, "linux-1"),
    "linux-arm64": (260, "linux-2"),
    "linux-x64": (100, "linux-1"),
    "macos": (370, "mac-1"),
    "release": (300, "mac-2"),
    "windows": (220, "win-1"),
}
WORKERS = ["linux-1", "linux-2", "mac-1", "mac-2", "win-1", "win-2"]
COMMENTS = [
    "Keep the line open while a log is sent",
    "Parser: tell the line of a wrong quote",
    "Speed up the first scan of a large tree",
    "Docs: how to move an installation",
    "Fix the build on arm64",
    "Tests wait on events, not on time",
    "Do not lose the cursor when a page is left",
    "Drop support for the old format",
]
ENDS = [0] * 14 + [2, 2, 1, 4]


def fill(farm: Farm) -> int:
    """A day of a small farm; gives a build that runs and has steps with logs."""
    chance = random.Random(5)
    farm.project(name="app", builders=["linux-arm64", "linux-x64", "macos", "windows"], description="The app itself")
    ago = 18 * 3600
    for number in range(14):
        farm.past(seconds=ago)
        revision = f"{chance.getrandbits(160):040x}"
        changeid = farm.change(comments=COMMENTS[number % len(COMMENTS)], revision=revision)
        for name, (usual_s, worker) in BUILDERS.items():
            if name == "release" and number % 3:
                continue
            farm.past(seconds=ago - chance.randrange(10, 600))
            brid = farm.request_change(builder=name, revision=revision, changes=[changeid])
            build = farm.start(brid=brid, worker=worker)
            farm.properties(build=build, branch="main", got_revision=revision)
            farm.past(seconds=ago - 600 - int(usual_s * chance.uniform(0.7, 1.3)))
            farm.end(build=build, results=chance.choice(ENDS))
        ago -= 4500
    farm.past(seconds=130)
    revision = f"{chance.getrandbits(160):040x}"
    changeid = farm.change(comments=COMMENTS[6], revision=revision)
    brid = farm.request_change(builder="linux-x64", revision=revision, changes=[changeid])
    running: int = farm.start(brid=brid, worker="linux-1")
    farm.properties(build=running, branch="main", got_revision=revision, owner="Ann <ann@example.org>")
    farm.start(brid=farm.request_change(builder="macos", revision=revision, changes=[changeid]), worker="mac-1")
    for name in ("windows", "linux-arm64", "docs"):
        farm.request_change(builder=name, revision=revision, changes=[changeid])
    for name in ("git", "configure"):
        farm.end_step(build=running, step=farm.step(build=running, name=name))
    farm.past(seconds=95)
    compiling = farm.step(build=running, name="compile")
    files = ["front", "parser", "tail", "stream", "clock", "match", "query", "pool", "rows", "store"]
    lines = "".join(f"occ -O2 -c src/{name}.c -o build/{name}.o\n" for name in files)
    warning = "esrc/query.c:118:9: \x1b[1;35mwarning:\x1b[0m unused variable `\x1b[1mrest\x1b[0m`\n"
    log = farm.log(step=compiling, text=f"hmake -j8 all\n{lines}{warning}o\x1b[32m[ 82%]\x1b[0m linking libstate.so\n")
    farm.end_log(log=log)
    farm.end_step(build=running, step=compiling)
    farm.past(seconds=40)
    testing = farm.step(build=running, name="test")
    farm.log(step=testing, text="hmake check\n" + "".join(f"otest_{name}: \x1b[32mok\x1b[0m\n" for name in files))
    farm.state(build=running, text="running tests")
    farm.past(seconds=0)
    farm.disconnect(worker="win-1")
    farm.pause(worker="linux-2", reason="new disk")
    return running


def main() -> None:
    """Make them."""
    farm = Farm(builders=list(BUILDERS), workers=WORKERS)
    running = fill(farm)
    builderid = farm.builders["linux-x64"]
    number = farm.get(path=["builds", running])["number"]
    build = f"#/builders/{builderid}/builds/{number}"
    wide: dict[str, Any] = {"viewport": {"width": 1280, "height": 800}}
    phone: dict[str, Any] = {"viewport": {"width": 360, "height": 740}, "device_scale_factor": 2, "is_mobile": True}
    pictures: list[tuple[str, str, Any, dict[str, Any]]] = [
        ("home-light", "#/", "light", wide),
        ("home-dark", "#/", "dark", wide),
        ("builders-light", "#/builders", "light", wide),
        ("builder-light", f"#/builders/{builderid}", "light", wide),
        ("build-dark", build, "dark", wide),
        ("log-dark", f"{build}/steps/2/logs/stdio", "dark", wide),
        ("queue-light", "#/pendingbuildrequests", "light", wide),
        ("console-light", "#/console", "light", wide),
        ("console-dark", "#/console", "dark", wide),
        ("projects-light", "#/projects", "light", wide),
        ("phone", "#/", "light", phone),
        ("phone-build", build, "dark", phone),
        ("phone-console", "#/console", "light", phone),
    ]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        for name, address, scheme, options in pictures:
            page = browser.new_page(color_scheme=scheme, reduced_motion="reduce", **options)
            page.goto(farm.url + address)
            expect(page.locator(".connection.open")).to_be_visible()
            expect(page.locator("main .skeleton, main .line.coming")).to_have_count(0)
            page.screenshot(path=PICTURES / f"{name}.png")
            page.close()
        browser.close()
    farm.close()


if __name__ == "__main__":
    main()
