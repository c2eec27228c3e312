"""Text is found in logs wherever it stands, on every database."""

from __future__ import annotations

from typing import Any

from tests.support.building import run_build


async def test_log_search(state: Any) -> None:
    """Every line with the text is found once, in parts of any size; the letters of streams are no text."""
    lines = "".join(f"{'oeh'[number % 3]}{number} GRÜN Needle{number % 7} needle\n" for number in range(100_000))
    running = await run_build(state, lines=lines)
    await state.data.update.appendLog(running.logid, "oo\neo\nolast \x1b[31mNee\x1b[0mdle3\n")

    async def search(needle: bytes, most: int = 10**6, line: int = 0) -> list[int]:
        numbers = []
        while (found := await state.data.log_search(running.logid, line, True, needle, most)) is not None:
            numbers += [number for number, _ in found.lines]
            line = found.next
        return numbers

    expected = [*range(3, 100_000, 7), 100_002]
    assert await search(b"needle3") == expected
    assert await search(b"needle3", most=1000) == expected
    assert await search(b"needle3", line=50_000) == [number for number in expected if number >= 50_000]
    assert await search("99998 grÜn".encode()) == [99_998]
    assert await search(b"o") == [100_000, 100_001]
    assert await search(b"o9") == []
    assert (await state.data.log_search(running.logid, 100_002, True, b"last", 5)).lines == [(100_002, "last Needle3")]
