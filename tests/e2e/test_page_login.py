"""Logging in on the page, with a real browser."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.e2e.test_page import Farm, Visitor, browser

__all__ = ["browser"]

pytestmark = pytest.mark.e2e


@pytest.fixture
def farm() -> Iterator[Farm]:
    made = Farm(users={"joe": "pw"})
    yield made
    made.close()


def test_login_and_logout(browser: Browser, farm: Farm) -> None:
    """Who is not logged in may look and sees why nothing else works; who is acts under his name; logout ends it."""
    visitor = Visitor(browser, farm, http_credentials={"username": "joe", "password": "pw"})
    build = farm.build(builder="linux", worker="w1")
    hash = f"#/builders/{farm.builders['linux']}/builds/1"
    page = visitor.open(hash)
    stop = page.get_by_role("button", name="Stop linux #1")
    expect(stop).to_be_disabled()
    expect(stop).to_have_attribute("title", "You may look but not change anything: log in as somebody who may")
    page.get_by_role("link", name="Log in").click()
    expect(page.get_by_text("joe", exact=True)).to_be_visible()
    expect(page).to_have_url(farm.url + hash)
    stop.click()
    page.get_by_role("button", name="Stop build").click()
    expect(page.get_by_text("Stopping linux #1")).to_be_visible()
    assert [stopped["build"] for stopped in farm.stops()] == [build]
    page.get_by_role("link", name="Log out").click()
    expect(page.get_by_role("link", name="Log in")).to_be_visible()
    expect(stop).to_be_disabled()
    assert visitor.complaints == []
    visitor.context.close()
