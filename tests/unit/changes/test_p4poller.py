"""P4Source with a program that answers as p4 has been seen to: a real one cannot be had."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from buildbot.changes.base import PollError
from buildbot.changes.p4poller import P4Source
from buildbot.config.errors import ConfigErrors
from buildbot.plugins import changes as plugins
from tests.support.p4 import Perforce
from tests.unit.changes.polling import Polling

DESCRIBED = """\
Change {number} by jo@desk on 2026/07/01 12:00:00

\tSubject

\tMore é

Affected files ...

... //depot/p/trunk/a#1 add
... //depot/p/branches/b/c d#4 edit
... //depot/q/x#2 delete

"""


class P4Polling(Polling):
    """Sources of one depot."""

    def __init__(self, master: Any, tmp_path: Path) -> None:
        super().__init__(master, tmp_path, self.__source)
        self.p4 = Perforce(tmp_path / "p4")

    def __source(self, **arguments: Any) -> P4Source:
        given = {"p4port": "h:1", "p4user": "jo", "p4bin": str(self.p4.path), "p4base": "//depot/p/"}
        return P4Source(**given | arguments)

    def submit(self, *numbers: int) -> None:
        """There are these changes, the newest first."""
        self.p4.says("changes", "".join(f"Change {number} on 2026/07/01 by jo@desk 'x'\n" for number in numbers))
        for number in numbers:
            self.p4.says(f"describe-{number}", DESCRIBED.format(number=number))


@pytest.fixture
def polling(master: Any, tmp_path: Path) -> P4Polling:
    return P4Polling(master, tmp_path)


async def test_changes_once(polling: P4Polling) -> None:
    """The newest at first sight is no change; later ones are, the oldest first, each once, also after interruptions."""
    polling.submit(7)
    assert await polling.poll() == []
    polling.submit(10, 9, 8)
    (polling.p4.directory / "describe-10").write_text("what is this")
    with pytest.raises(PollError, match="p4 describe says what cannot be read: 'what is this'"):
        await polling.poll()
    polling.submit(10)
    await polling.poll()
    assert [change["revision"] for change in await polling.changes()] == ["8", "9", "10"]


async def test_attributes_of_a_change(polling: P4Polling) -> None:
    """Author, message, time of the server, files of each branch."""
    polling.submit(7)
    await polling.poll()
    polling.submit(8)

    def split(path: str) -> tuple[str | None, str | None]:
        top, _, rest = path.partition("/")
        return (None, rest) if top == "trunk" else ("/".join(path.split("/")[:2]), "/".join(path.split("/")[2:]))

    first, second = await polling.poll(
        split_file=split, server_tz="Europe/Berlin", project="p", resolvewho=lambda user: f"{user}@x",
        revlink=lambda branch, revision: f"{branch}/{revision}",
    )  # fmt: skip
    expected = {
        "author": "jo@x", "comments": "Subject\n\nMore é", "revision": "8", "branch": None, "files": ["a"],
        "when_timestamp": 1782900000, "repository": "", "project": "p", "revlink": "None/8",
    }  # fmt: skip
    assert {key: first[key] for key in expected} == expected
    assert (second["branch"], second["files"]) == ("branches/b", ["c d"])


async def test_questions(polling: P4Polling) -> None:
    """The arguments of p4; passwords are not among them."""
    polling.submit(7)
    await polling.poll(p4passwd="s3cret")
    polling.submit()
    await polling.poll(p4passwd="s3cret", use_tickets=True, histmax=5)
    assert polling.p4.calls == [
        "-p h:1 -u jo changes -m 1 //depot/p/...",
        "-p h:1 -u jo login",
        "-p h:1 -u jo changes -m 5 //depot/p/...@8,#head",
    ]  # fmt: skip
    assert polling.p4.got("login") == "s3cret\n"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"server_tz": "Mars"}, "server_tz is not a time zone that this machine knows: 'Mars'"),
        ({"use_tickets": True}, "use_tickets needs a p4passwd"),
        ({"histmax": 0}, "histmax must be at least 1"),
        ({"resolvewho": "x"}, "resolvewho must be a function, not 'x'"),
    ],
)
def test_mistakes(arguments: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigErrors, match=complaint):
        P4Source(**arguments)


def test_plugin_name() -> None:
    assert plugins.P4Source is P4Source
    assert P4Source(p4port="h:1").name == "P4Source:h:1://"
