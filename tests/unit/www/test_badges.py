"""Badges."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from buildbot.config.errors import ConfigErrors
from buildbot.config.master import MasterConfig
from buildbot.plugins import util
from buildbot.test.fake.fakedb import FakeMaster
from buildbot.util.results import FAILURE
from buildbot.www.badges import width_of
from tests.unit.www.farm import Farm
from tests.unit.www.test_login import ROLES, USERS, Client, serving

SVG = "{http://www.w3.org/2000/svg}"


async def badge(client: Client, path: str) -> tuple[ElementTree.Element, list[str], list[str | None]]:
    """A badge, its visible texts, and the colours of its two sides."""
    status, headers, body = await client.ask("GET", f"/plugins/badges/{path}")
    assert (status, headers["content-type"], headers["cache-control"]) == (
        200,
        "image/svg+xml; charset=utf-8",
        "no-cache",
    )
    root = ElementTree.fromstring(body)
    texts = [each.text or "" for each in root.iter(f"{SVG}text") if each.get("aria-hidden") is None]
    return (
        root,
        texts,
        [each.get("fill") for each in root.iter(f"{SVG}rect") if "url" not in (each.get("fill") or "url")],
    )


async def test_state(master: FakeMaster) -> None:
    """A badge says how the newest build of its builder ended, or that it runs; of other builders nothing is known."""
    farm = Farm(master)
    await farm.configure({"a b": []}, ["w"])
    async with serving(master, plugins={"badges": {}}) as client:
        assert (await badge(client, "a%20b.svg"))[1:] == (["Build Status", "unknown"], ["#555", "#9f9f9f"])
        build = await farm.build("a b", "w")
        assert (await badge(client, "a%20b.svg"))[1:] == (["Build Status", "running"], ["#555", "#007ec6"])
        await build.end()
        assert (await badge(client, "a%20b.svg"))[1:] == (["Build Status", "success"], ["#555", "#4c1"])
        await (await farm.build("a b", "w")).end(FAILURE)
        assert (await badge(client, "a%20b.svg"))[1:] == (["Build Status", "failure"], ["#555", "#e05d44"])
        assert (await badge(client, "nobody.svg"))[1] == ["Build Status", "unknown"]
        for missing in ("a%20b", "a%20b.gif", "scripts.js"):
            assert await client.get(f"/plugins/badges/{missing}") == 404
    async with serving(master) as client:
        assert await client.get("/plugins/badges/a%20b.svg") == 404


@pytest.mark.parametrize(
    ("style", "height"), [("plastic", "18"), ("flat", "20"), ("flat-square", "20"), ("badgeio", "20")]
)
async def test_styles(master: FakeMaster, style: str, height: str) -> None:
    """Each style is a picture with room for its texts; any content of these is text."""
    async with serving(master, plugins={"badges": {"left_pad": 2, "color_scheme": {"unknown": "blue"}}}) as client:
        root, texts, colours = await badge(client, f"x.svg?style={style}&left_text=%3Cb%3E%26&left_color=123456&t=1")
        assert (texts, colours) == (["<b>&", "unknown"], ["#123456", "blue"])
        assert root.get("height") == height
        assert float(root.get("width", "0")) == pytest.approx(width_of("<b>&", 11) + width_of("unknown", 11) + 14)


async def test_options_that_a_request_may_not_set(master: FakeMaster, tmp_path: Path) -> None:
    """A wrong parameter is a 400 that names it; templates are those of the two directories and no others."""
    (tmp_path / "secret.svg.j2").write_text("secret")
    master.basedir = tmp_path / "below"  # type: ignore[attr-defined]
    (tmp_path / "below" / "templates").mkdir(parents=True)
    async with serving(master, plugins={"badges": {}}) as client:
        for wrong, status in (
            ("left_color=red%22/%3E", 400), ("border_radius=x", 400), ("font_size=1e9", 400),
            ("left_text=" + "x" * 201, 400),
            ("style=../secret", 400), ("template_name=%7Bstyle.__class__%7D", 400), ("style=none", 404),
        ):  # fmt: skip
            got, _, body = await client.ask("GET", f"/plugins/badges/x.svg?{wrong}")
            assert got == status, wrong
            assert status == 404 or body.startswith(wrong.partition("=")[0].encode())


@pytest.mark.parametrize("directory", ["templates", "template"])
async def test_own_templates(master: FakeMaster, tmp_path: Path, directory: str) -> None:
    """Templates beside master.cfg get the options and both sides; one with a mistake says so in the log only."""
    (tmp_path / directory).mkdir()
    text = "{{ left.text }}|{{ right.width }}|{{ config.font_size }}"
    own = f'<svg xmlns="http://www.w3.org/2000/svg"><text>{text}</text></svg>'
    (tmp_path / directory / "mine.svg.j2").write_text(own)
    (tmp_path / directory / "bad.svg.j2").write_text("{{ nothing.at.all }}")
    master.basedir = tmp_path  # type: ignore[attr-defined]
    async with serving(master, plugins={"badges": {"style": "mine", "font_size": 22}}) as client:
        assert (await badge(client, "x.svg"))[1] == [f"Build Status|{width_of('unknown', 22)}|22"]
        status, _, body = await client.ask("GET", "/plugins/badges/x.svg?style=bad")
        assert status == 500 and b"nothing" not in body


async def test_png(master: FakeMaster) -> None:
    """A badge may be a PNG; without CairoSVG the answer names the package to install."""
    async with serving(master, plugins={"badges": {}}) as client:
        status, headers, body = await client.ask("GET", "/plugins/badges/x.png")
        if importlib.util.find_spec("cairosvg") is None:
            assert status == 501 and b"tenfold[badges]" in body
        else:
            assert (status, headers["content-type"], body[:4]) == (200, "image/png", b"\x89PNG")


async def test_rules(master: FakeMaster) -> None:
    """A badge is open to users who may read its builds."""
    await Farm(master).configure({"open": [], "secret": []}, ["w"])
    authz = util.Authz([util.ViewBuildsEndpointMatcher(builder="secret", role="insiders")], [ROLES])
    async with serving(master, plugins={"badges": {}}, auth=util.UserPasswordAuth(USERS), authz=authz) as client:
        assert await client.get("/plugins/badges/open.svg") == 200
        assert await client.get("/plugins/badges/secret.svg") == 403
        await client.login("ann", "pw2")
        assert await client.get("/plugins/badges/secret.svg") == 200


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"colour": "red"}, "['badges']['colour'] is unknown"),
        (
            {"left_color": "rgb(1)"},
            "['badges']['left_color'] must be a colour such as '#4c1' or 'green', not 'rgb(1)' (str)",
        ),
        ({"left_pad": -1}, "['badges']['left_pad'] must be a number from 0 to 100, not -1 (int)"),
        (
            {"color_scheme": {"sucess": "red"}},
            "['badges']['color_scheme'] ['sucess'] is unknown; did you mean 'success'?",
        ),
        ("flat", "['badges'] must be a dictionary, not 'flat' (str)"),
    ],
)
def test_mistakes(tmp_path: Path, options: Any, message: str) -> None:
    """A wrong option is a mistake of the configuration, with its name and the allowed values."""
    with pytest.raises(ConfigErrors) as caught:
        MasterConfig.from_values({"www": {"plugins": {"badges": options}}}, tmp_path)
    assert message in str(caught.value)
