"""The first files of browsers: both pages, their configuration, views."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from buildbot.test.fake.fakedb import FakeMaster
from tests.unit.www.test_login import serving

VIEWS: dict[str, Any] = {"console_view": {"x": 1}, "grid_view": {}, "waterfall_view": {}}


@pytest.fixture(autouse=True)
def packages() -> None:
    """The existing page's packages."""
    pytest.importorskip("buildbot_www", reason="the existing page's packages are not installed: script/setup dev")


async def test_index(master: FakeMaster) -> None:
    """The index has the configuration, which cannot end its script, and the page's colours."""
    theme = {"bb-sidebar-title-text-color": "#123456", "other": "red", "bb-sidebar-header-text-color": "red}</style>"}
    given = {"Home.max_recent_builds": 1, "Changes.changesFetchLimit": 7, "x": "</script><script>alert(1)"}
    www = {"ui": "buildbot-www", "plugins": VIEWS, "theme": theme, "ui_default_config": given}
    async with serving(master, **www) as client:
        status, headers, body = await client.ask("GET", "/")
        index = body.decode()
        assert (status, headers["cache-control"]) == (200, "private, no-cache")
        assert "PLACEHOLDER" not in index and index.count("</script>") == 4
        found = re.search(r"window.buildbotFrontendConfig = (.*);\n</script>", index)
        assert found
        config = json.loads(found[1])
        assert config == json.loads((await client.ask("GET", "/config"))[2])
        assert config["plugins"] == VIEWS
        assert config["ui_default_config"] == {name: given[name] for name in ("Changes.changesFetchLimit", "x")}
        style = re.search(r"<style>(.*?)</style>", index)
        assert style and "--bb-sidebar-title-text-color: #123456;" in style[1]
        assert "--other" not in style[1] and "red" not in style[1]


async def test_files(master: FakeMaster) -> None:
    """The page's files and those of the views that are switched on, and no others."""
    async with serving(master, ui="buildbot-www", plugins={"console_view": {}}) as client:
        index = (await client.ask("GET", "/"))[2].decode()
        script = re.search(r'src="\./(assets/[^"]+)"', index)
        assert script
        status, headers, _ = await client.ask("GET", f"/{script[1]}")
        assert (status, headers["content-type"]) == (200, "text/javascript; charset=utf-8")
        assert "immutable" in headers["cache-control"]
        for path in ("/icon.svg", "//icon.svg", "/browser-warning.js", "/plugins/console_view/scripts.js"):
            assert (path, await client.get(path)) == (path, 200)
        for path in (
            "/plugins", "/plugins/console_view", "/plugins/console_view/", "/plugins/base/index.html", "/config.js",
            "/plugins/grid_view/scripts.js", "/plugins/console_view/../__init__.py", "/assets/", "/page/main.js",
            "/plugins/console_view/%2e%2e/__init__.py", "/..%2f__init__.py",
        ):  # fmt: skip
            assert (path, await client.get(path)) == (path, 404)


async def test_own_page_is_the_default(master: FakeMaster) -> None:
    """Without ``ui`` it is our own page, also if an existing configuration names views."""
    async with serving(master, plugins={**VIEWS, "nope": {}}) as client:
        assert b'id="app"' in (await client.ask("GET", "/"))[2]
