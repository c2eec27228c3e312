"""A dashboard, an application of Flask, inside both pages in a real browser."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.e2e.test_existing_page import Visitor as ExistingVisitor
from tests.e2e.test_page import Farm, Visitor, browser

__all__ = ["browser"]

pytestmark = pytest.mark.e2e


@pytest.fixture
def farm() -> Iterator[Farm]:
    made = Farm(dashboard=True)
    yield made
    made.close()


def test_our_page(browser: Browser, farm: Farm) -> None:
    """It stands in the navigation, has its own styles, its links lead to our pages, and its scripts do not run."""
    visitor = Visitor(browser, farm, viewport={"width": 1280, "height": 900})
    page = visitor.open("#/")
    page.get_by_role("navigation", name="Pages").get_by_role("link", name="Our page").click()
    expect(page.get_by_role("heading", name="Our page")).to_be_visible()
    mine = page.locator(".dashboard ul")
    expect(mine).to_have_css("color", "rgb(1, 2, 3)")
    expect(mine).to_have_css("margin-left", "7px")
    expect(page).to_have_title(re.compile("Our page"))
    page.locator(".dashboard").get_by_role("link", name="windows").click()
    expect(page.get_by_role("heading", name="windows")).to_be_visible()
    visitor.check()
    visitor.context.close()


def test_existing_page(browser: Browser) -> None:
    """The existing page with the package of its dashboards shows the same application."""
    pytest.importorskip("buildbot_www", reason="the existing page's packages are not installed: script/setup dev")
    farm = Farm(ui="buildbot-www", dashboard=True)
    visitor = ExistingVisitor(browser, farm)
    page = visitor.open("#/ours")
    expect(page.locator("ul.own").get_by_role("link", name="linux")).to_be_visible()
    expect(page.get_by_text("Our page").first).to_be_visible()
    assert visitor.complaints == []
    assert [url for url in visitor.refused if url != "plugins/wsgi_dashboards/styles.css"] == []
    visitor.context.close()
    farm.close()
