"""Lines of logs: appended lines are read back by any range, before and after the log is finished."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildbot.db import logs
from buildbot.test.fake.fakedb import make_master
from tests.support.building import run_build
from tests.support.reactor import run

line = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\x00"), max_size=40)
appended = st.lists(st.lists(line, min_size=1, max_size=8), max_size=8)


@settings(max_examples=60, deadline=None)
@given(appended, st.integers(1, 64), st.data())
def test_any_range(pieces: list[list[str]], chunk: int, data: st.DataObject) -> None:
    """Chunks of any size, joined or not, hold the lines that were appended, in their order."""
    lines = [line for piece in pieces for line in piece]
    first = data.draw(st.integers(0, len(lines) + 1))
    last = data.draw(st.integers(first, len(lines) + 3))
    expected = "".join(f"{line}\n" for line in lines[first : last + 1])

    async def check(master: Any) -> None:
        logid = (await run_build(master, lines="")).logid
        position = 0
        for piece in pieces:
            numbers = await master.data.update.appendLog(logid, "".join(f"{line}\n" for line in piece))
            assert numbers == (position, position + len(piece) - 1)
            position += len(piece)
        assert await master.db.logs.getLogLines(logid, first, last) == expected
        await master.data.update.finishLog(logid)
        assert await master.db.logs.getLogLines(logid, first, last) == expected
        assert (await master.db.logs.getLog(logid))["num_lines"] == len(lines)

    before, logs.MAX_CHUNK = logs.MAX_CHUNK, chunk
    master = make_master()
    try:
        run(check(master))
    finally:
        logs.MAX_CHUNK = before
        master.mq.stop()
        master.db.close()


LARGE = ("x" * 1_000_000 + "\n", "short\n" * 100_000, "🦊" * 200_000 + "\nend\n", "\n" * 5_000)


@pytest.mark.parametrize("text", LARGE, ids=["one line", "many lines", "emoji", "empty lines"])
async def test_large(master: Any, text: str) -> None:
    """Lines longer than a chunk, and more of them than one holds."""
    logid = (await run_build(master, lines="")).logid
    for _ in range(2):
        await master.data.update.appendLog(logid, text)
    count = 2 * text.count("\n")
    assert await master.db.logs.getLogLines(logid, 0, count) == text * 2
    await master.data.update.finishLog(logid)
    assert await master.db.logs.getLogLines(logid, 0, count) == text * 2
    pieces, position = [], 0
    while (piece := await master.db.logs.getLogPiece(logid, position)) is not None:
        pieces.append(piece[0])
        position = piece[1]
    assert "".join(pieces) == text * 2
    assert position == count


async def test_text_that_no_database_stores(master: Any) -> None:
    """U+0000 becomes U+FFFD; a lone surrogate is replaced too."""
    logid = (await run_build(master, lines="")).logid
    await master.data.update.appendLog(logid, "a\x00b\n\ud800\n")
    first, second = (await master.db.logs.getLogLines(logid, 0, 1)).splitlines()
    assert first == "a\ufffdb"
    assert second in ("?", "\ufffd")


@pytest.mark.parametrize(("content", "error"), [("no end", ValueError), ("", ValueError), (b"x\n", TypeError)])
async def test_refused(master: Any, content: Any, error: type[Exception]) -> None:
    """Whole lines only; nothing is appended to a finished log."""
    running = await run_build(master)
    with pytest.raises(error, match="content"):
        await master.data.update.appendLog(running.logid, content)
    await master.data.update.finishLog(running.logid)
    with pytest.raises(ValueError, match="logid"):
        await master.data.update.appendLog(running.logid, "x\n")
