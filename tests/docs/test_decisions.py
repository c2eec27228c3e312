"""docs/decisions: each page says what was chosen, and what it rests on."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DECISIONS = ROOT / "docs" / "decisions"
PAGES = sorted(DECISIONS.glob("0*.md"))
PARTS = ("Chosen", "Looked at", "Rests on", "Would change our mind")


def part(text: str, name: str) -> str:
    """The text of a part, which is a paragraph that begins with its bold name, or a section."""
    begins = {each: re.search(rf"(?m)^(?:\*\*{each}\.\*\*|## {each}$)", text) for each in PARTS}
    missing = [each for each, found in begins.items() if found is None]
    assert not missing, f"these parts are missing: {missing}"
    starts = {each: found.start() for each, found in begins.items() if found is not None}
    assert list(starts.values()) == sorted(starts.values()), "the parts are in another order"
    following = [start for start in starts.values() if start > starts[name]]
    return text[starts[name] : min(following, default=len(text))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_page(page: Path) -> None:
    """A page has its number, the four parts in order, and rests on figures with the day of the measurement."""
    text = page.read_text()
    assert text.startswith(f"# {int(page.name[:4])}. ")
    rests_on = part(text, "Rests on")
    day = r"\d{1,2} [A-Z][a-z]+ 20\d\d"
    assert re.search(day, rests_on), "it rests on figures without a day"
    assert re.search(r"\d", re.sub(day, "", rests_on)), "it rests on no figures"
    assert len(part(text, "Would change our mind").split()) > 8


def test_index() -> None:
    """README.md lists all pages, in order, under their titles."""
    listed = re.findall(r"(?m)^\| (\d+) \| \[(.+)\]\((.+)\) \|$", (DECISIONS / "README.md").read_text())
    titles = [page.read_text().splitlines()[0] for page in PAGES]
    assert [f"# {number}. {title}" for number, title, _ in listed] == titles
    assert [name for _, _, name in listed] == [page.name for page in PAGES]
