"""The cost of answers that are known already, counted in calls of Python functions."""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol

from buildbot.test.fake.fakedb import FakeMaster
from buildbot.www.http.connection import Connection
from buildbot.www.settings import Settings
from tests.support.reactor import reactor
from tests.unit.www.clients import until
from tests.unit.www.test_front import Client
from tests.unit.www.test_site import parse, serving

#: calls of Python functions from the bytes of a request to the bytes of its answer, Twisted's included
MOST_CALLS = 85


async def test_calls(master: FakeMaster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer from memory, and one that says that nothing has changed, take few calls, with a line in the log."""
    master.basedir = tmp_path  # type: ignore[attr-defined]
    calls: list[int] = []
    received = Connection.dataReceived

    def counted(self: Connection, data: bytes) -> None:
        count = 0

        def note(frame: FrameType, event: str, argument: Any) -> None:
            nonlocal count
            count += event == "call"

        sys.setprofile(note)
        try:
            received(self, data)
        finally:
            sys.setprofile(None)
        calls.append(count)

    checked: list[str] = []
    known = Settings.is_known_as

    def is_known_as(self: Settings, host: str) -> bool:
        checked.append(host)
        return known(self, host)

    monkeypatch.setattr(Settings, "is_known_as", is_known_as)
    async with serving(master) as (_, port):
        one = await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", port), Client())

        async def ask(*fields: str) -> tuple[int, dict[str, str], bytes]:
            one.data = b""
            lines = ["GET /api/v2/builders HTTP/1.1", "Host: localhost", "User-Agent: test", *fields, "", ""]
            one.transport.write("\r\n".join(lines).encode())
            await until(lambda: one.data.endswith((b"}", b"\r\n\r\n")))
            return parse(one.data)

        for _ in range(2):  # the first answer, and the first one from memory
            _, fields, _ = await ask()
        monkeypatch.setattr(Connection, "dataReceived", counted)
        for _ in range(5):
            assert (await ask())[0] == 200
            assert (await ask(f"If-None-Match: {fields['etag']}"))[0] == 304
    assert len((tmp_path / "http.log").read_text().splitlines()) == 12
    assert checked == ["localhost"]
    assert max(calls) <= MOST_CALLS, calls
