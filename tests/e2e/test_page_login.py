"""Logging in on the page, with a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

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
    """Without a login a visitor may read, and sees why controls are off. A user acts under their name until the
    logout.
    """
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


RULES = [
    ["ForceBuildEndpointMatcher", {"builder": "linux", "role": "authenticated"}],
    ["ForceBuildEndpointMatcher", {"role": "nobody"}],
    ["StopBuildEndpointMatcher", {"role": "owner"}],
    ["RebuildBuildEndpointMatcher", {"role": "anyone"}],
    ["EnableSchedulerEndpointMatcher", {"role": "nobody"}],
]
LOG_IN, NO_ROLE = "Log in as somebody who may do this", "You do not have the role that may do this"


def test_each_button_has_its_own_right(browser: Browser) -> None:
    """A button works if the rules allow it to this visitor for this builder and build; others show the reason."""
    farm = Farm(users={"joe": "pw"}, rules=RULES)
    visitor = Visitor(browser, farm, http_credentials={"username": "joe", "password": "pw"})
    builds = {name: farm.build(builder=name, worker="w1") for name in ("linux", "windows")}
    farm.properties(build=builds["linux"], owner="joe")
    farm.properties(build=builds["windows"], owner="ann")
    page = visitor.open()

    def button(hash: str, name: str) -> Any:
        page.goto(farm.url + hash)
        return page.get_by_role("button", name=name)

    def refused(found: Any, why: str) -> None:
        expect(found).to_be_disabled()
        expect(found).to_have_attribute("title", why)

    at = {name: f"#/builders/{builderid}" for name, builderid in farm.builders.items()}
    for name in at:
        refused(button(at[name], "Force build"), LOG_IN)
        expect(button(f"{at[name]}/builds/1", f"Rebuild {name} #1")).to_be_enabled()
        refused(page.get_by_role("button", name=f"Stop {name} #1"), LOG_IN)

    page.get_by_role("link", name="Log in").click()
    expect(page.get_by_text("joe", exact=True)).to_be_visible()
    expect(button(at["linux"], "Force build")).to_be_enabled()
    refused(button(at["windows"], "Force build"), NO_ROLE)
    expect(button(f"{at['linux']}/builds/1", "Stop linux #1")).to_be_enabled()
    refused(button(f"{at['windows']}/builds/1", "Stop windows #1"), NO_ROLE)
    # A builder's rows know whose its builds are, and its requests' pages whose they are.
    expect(button(at["linux"], "Stop linux #1")).to_have_attribute("title", "Stop this build")
    refused(button(at["windows"], "Stop windows #1"), NO_ROLE)
    own, other, nobody = (farm.request(builder="windows", owner=owner) for owner in ("joe", "ann", None))
    expect(button(f"#/buildrequests/{own}", f"Cancel request {own}")).to_have_attribute("title", "Cancel this request")
    expect(page.get_by_text("Owner").locator("..")).to_contain_text("joe")
    for brid in (other, nobody):
        refused(button(f"#/buildrequests/{brid}", f"Cancel request {brid}"), NO_ROLE)
        bsid = farm.get(path=["buildrequests", brid])["buildsetid"]
        refused(button(f"#/buildsets/{bsid}", f"Cancel request {brid}"), NO_ROLE)
    # The row does not have the owner: the visitor may try, and gets the refusal.
    unsure = button("#/", "Stop windows #1")
    expect(unsure).to_have_attribute("title", "Stop this build, if it is yours")
    unsure.click()
    page.get_by_role("button", name="Stop build").click()
    expect(page.locator(".toast.error")).to_have_text("you need to have role 'owner'")
    assert farm.stops() == []
    # Its form forces all builders at once, windows among them.
    refused(button("#/schedulers", "Force build"), NO_ROLE)
    refused(page.get_by_role("switch", name="Enable force"), NO_ROLE)
    expect(button("#/workers", "Pause w1")).to_be_enabled()
    page.goto(f"{farm.url}#/about")
    expect(page.get_by_role("region", name="You")).to_contain_text("workers: pause")
    expect(page.get_by_role("region", name="You")).not_to_contain_text("schedulers: enable")
    assert visitor.complaints == []
    visitor.context.close()
    farm.close()
