"""The change sources of Gerrit, with a program in the place of ssh and a server in the place of Gerrit's.

There is no Gerrit to be had here: events and answers are as its documentation has them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from buildbot.changes import gerritchangesource
from buildbot.changes.base import PollError
from buildbot.changes.gerritchangesource import GerritChangeSource, GerritEventLogPoller
from buildbot.config.errors import ConfigErrors
from buildbot.plugins import changes as plugins
from buildbot.test.running import Running, until
from tests.support.http import Handler
from tests.support.threads import in_thread

PATCH_SET: dict[str, Any] = {
    "type": "patchset-created",
    "change": {
        "project": "pr", "branch": "refs/heads/main", "number": 12, "subject": "subject", "url": "http://g/12",
        "owner": {"name": "Ann", "email": "ann@x"},
    },
    "patchSet": {"number": 3, "revision": "abc", "ref": "refs/changes/12/12/3"},
    "eventCreatedOn": 1_600_000_000,
}  # fmt: skip
PUSH: dict[str, Any] = {
    "type": "ref-updated",
    "submitter": {"name": "Bob"},
    "refUpdate": {"project": "pr", "refName": "refs/heads/main", "oldRev": "1", "newRev": "def"},
    "eventCreatedOn": 1_600_000_001,
}


def event(base: dict[str, Any], **more: Any) -> str:
    return json.dumps({**base, **more})


class Gerrit(ThreadingHTTPServer):
    """Answers with a log of events and with lists of files."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.events: list[str] = []
        self.asked: list[tuple[str, str | None]] = []
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Handler(Handler):
    server: Gerrit

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers.get("Authorization")))
        if self.path.startswith("/a/plugins/events-log/events/"):
            body = "".join(f"{each}\n" for each in self.server.events)
        else:
            body = ")]}'\n" + json.dumps({"/COMMIT_MSG": {}, "src/a": {}})
        self.reply(body.encode())


@pytest.fixture
def gerrit() -> Iterator[Gerrit]:
    server = Gerrit()
    with in_thread(server):
        yield server


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Puts a program in the place of ssh: it writes down its arguments, prints lines, and stays or ends."""

    def make(*lines: str, ends: bool = False, query: str = "") -> Path:
        directory = tmp_path / "bin"
        directory.mkdir(exist_ok=True)
        (directory / "lines").write_text("".join(f"{line}\n" for line in lines))
        (directory / "query").write_text(query)
        script = directory / "ssh"
        script.write_text(
            f"#!/bin/sh\ncd {directory}\necho \"$*\" >> calls\ncase \"$*\" in *query*) exec cat query;; esac\n"
            f"cat lines\n{'echo gone >&2' if ends else 'exec sleep 600'}\n"
        )  # fmt: skip
        script.chmod(0o755)
        monkeypatch.setenv("PATH", f"{directory}:/usr/bin:/bin")
        return directory / "calls"

    return make


async def changes_of(master: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = await master.data.get({"order": ["changeid"]}, ("changes",))
    return found


def at_least(master: Any, count: int) -> Deferred[Any]:
    async def there() -> Any:
        found = await changes_of(master)
        return found if len(found) >= count else None

    return Deferred.fromCoroutine(until(there))


async def test_the_stream(master: Any, tmp_path: Path, ssh: Callable[..., Path]) -> None:
    """A patch set and a push are changes; other events, invalid lines and repeated events are passed over."""
    calls = ssh(
        "warning: hello", event(PATCH_SET), event(PATCH_SET), event(PATCH_SET, type="comment-added"),
        event(PUSH, refUpdate={**PUSH["refUpdate"], "newRev": "0" * 40}), event({"type": "ref-updated"}), event(PUSH),
    )  # fmt: skip
    source = GerritChangeSource("g.example", "jo", identity_file="/key", ssh_server_alive_count_max=None)
    await source.run_in(Running(master, tmp_path))  # type: ignore[arg-type]
    first, second = await at_least(master, 2)
    await source.stop_running()
    expected = {
        "author": "Ann <ann@x>", "branch": "refs/changes/12/12/3", "revision": "abc", "comments": "subject",
        "category": "patchset-created", "project": "pr", "repository": "ssh://jo@g.example:29418/pr",
        "revlink": "http://g/12", "files": ["unknown"],
    }  # fmt: skip
    assert {key: first[key] for key in expected} == expected
    properties = {name: value for name, (value, _) in first["properties"].items()}
    assert properties["event.change.owner.email"] == "ann@x" and properties["target_branch"] == "main"
    assert properties["event.source"] == "GerritChangeSource" and "event.eventCreatedOn" not in properties
    expected = {
        "author": "Bob", "branch": "main", "revision": "def", "comments": "Gerrit: commit(s) pushed.",
        "category": "ref-updated", "project": "pr", "revlink": "",
    }  # fmt: skip
    assert {key: second[key] for key in expected} == expected
    command = "-o BatchMode=yes -o ServerAliveInterval=15 jo@g.example -p 29418 -i /key gerrit stream-events"
    assert calls.read_text() == f"{command}\n"


async def test_a_stream_that_ends(
    master: Any, tmp_path: Path, ssh: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is begun again; an event that comes again after a restart is no second change."""
    monkeypatch.setattr(gerritchangesource, "FIRST_WAIT_S", 0.0)
    calls = ssh(event(PATCH_SET), ends=True)
    source = GerritChangeSource("g.example", "jo")
    await source.run_in(Running(master, tmp_path))  # type: ignore[arg-type]
    await at_least(master, 1)

    async def twice() -> bool:
        return calls.read_text().count("stream-events") >= 3

    await until(twice)
    await source.stop_running()
    again = GerritChangeSource("g.example", "jo")
    ssh(event(PATCH_SET), event(PUSH))
    await again.run_in(Running(master, tmp_path))  # type: ignore[arg-type]
    await at_least(master, 2)
    await again.stop_running()
    assert [change["revision"] for change in await changes_of(master)] == ["abc", "def"]


async def test_events_that_the_stream_missed(
    master: Any, tmp_path: Path, ssh: Callable[..., Path], gerrit: Gerrit
) -> None:
    """With ``http_url`` the log of events is asked for them; events of the stream are not added twice."""
    ssh(event(PATCH_SET))
    gerrit.events = [event(PATCH_SET), event(PUSH)]
    source = GerritChangeSource("g.example", "jo", http_url=gerrit.url, http_auth=("jo", "pw"), http_poll_interval=0.01)
    await source.run_in(Running(master, tmp_path))  # type: ignore[arg-type]
    await at_least(master, 2)

    async def asked_again() -> bool:
        return len(gerrit.asked) >= 3

    await until(asked_again)
    await source.stop_running()
    assert sorted(change["revision"] for change in await changes_of(master)) == ["abc", "def"]
    path, authorization = gerrit.asked[-1]
    assert path == "/a/plugins/events-log/events/?t1=2020-09-13+12%3A26%3A41" and authorization == "Basic am86cHc="


async def test_odd_events(master: Any, tmp_path: Path, gerrit: Gerrit) -> None:
    """An event that lacks something, or whose time is wrong, does not hide those that come after it."""
    gerrit.events = [
        event(PATCH_SET, change={**PATCH_SET["change"], "owner": None}),
        event(PATCH_SET, change=None),
        event(PUSH, submitter="x"),
        event(PUSH, eventCreatedOn=10**11),
        json.dumps({**PATCH_SET, "change": {**PATCH_SET["change"], "subject": "a\x85b\u2028c"}}, ensure_ascii=False),
    ]
    poller = GerritEventLogPoller(gerrit.url, ("jo", "pw"), gitBaseURL="https://g/", pollAtLaunch=False)
    await poller.run_in(Running(master, tmp_path))  # type: ignore[arg-type]
    for _ in range(2):
        await poller.poll()
        assert [change["revision"] for change in await changes_of(master)] == ["def", "abc"]
    assert (await poller.last_event_s() or 0) < 2 * 10**9
    state = master.db.state
    objectid = await state.getObjectId(poller.name, poller.state_class)
    await state.setState(objectid, "position", {"last": 10**11, "seen": {}})
    poller.forget_position()
    assert (await poller.last_event_s() or 0) < 2 * 10**9
    await poller.stop_running()


async def test_files(master: Any, tmp_path: Path, ssh: Callable[..., Path], gerrit: Gerrit) -> None:
    """With ``get_files`` they are asked for: over ssh, or over HTTP."""
    sets = [{"number": 2, "files": []}, {"number": 3, "files": [{"file": "/COMMIT_MSG"}, {"file": "a b"}]}]
    calls = ssh(event(PATCH_SET), query=json.dumps({"patchSets": sets}) + "\n{}\n")
    source = GerritChangeSource("g.example", "jo", get_files=True)
    await source.run_in(Running(master, tmp_path))  # type: ignore[arg-type]
    (change,) = await at_least(master, 1)
    await source.stop_running()
    assert change["files"] == ["a b"]
    assert calls.read_text().endswith("gerrit query 12 --format JSON --files --patch-sets\n")
    gerrit.events = [event(PATCH_SET)]
    poller = GerritEventLogPoller(gerrit.url, ("jo", "pw"), gitBaseURL="https://g/", get_files=True, pollAtLaunch=False)
    await poller.run_in(Running(master, tmp_path))  # type: ignore[arg-type]
    await poller.poll()
    await poller.poll()
    await poller.stop_running()
    assert [change["files"] for change in await changes_of(master)] == [["a b"], ["src/a"]]
    assert (await changes_of(master))[-1]["repository"] == "https://g/pr"
    assert gerrit.asked[1][0] == "/a/changes/12/revisions/3/files/"


async def test_handlers_of_subclasses(master: Any, tmp_path: Path, ssh: Callable[..., Path]) -> None:
    """A method for a type of events makes their changes."""

    class Own(GerritChangeSource):
        def eventReceived_comment_added(self, properties: dict[str, Any], event: dict[str, Any]) -> Any:
            if event["comment"] == "recheck":
                return self.addChangeFromEvent({**properties, "why": "asked"}, event)
            return None

    ssh(
        event(PATCH_SET, type="comment-added", comment="nice"),
        event(PATCH_SET, type="comment-added", comment="recheck"),
        event(PATCH_SET, type="change-merged"),
    )
    source = Own("g.example", "jo", handled_events=["comment-added", "change-merged"], debug=True)
    await source.run_in(Running(master, tmp_path))  # type: ignore[arg-type]
    first, second = await at_least(master, 2)
    await source.stop_running()
    assert first["properties"]["why"] == ["asked", "Change"] and first["category"] == "comment-added"
    assert (second["branch"], "target_branch" in second["properties"]) == ("main", False)


async def test_a_server_that_does_not_answer(master: Any) -> None:
    """The poll fails with words, and the next one tries again."""
    poller = GerritEventLogPoller("http://127.0.0.1:1/", ("jo", "pw"), gitBaseURL="x")
    poller.master = Running(master)  # type: ignore[assignment]
    with pytest.raises(PollError, match=r"GET http://127.0.0.1:1/a/plugins/events-log/events/"):
        await poller.poll()


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: GerritChangeSource("g"), "GerritChangeSource: argument 'username' is missing"),
        (lambda: GerritChangeSource("-g", "jo"), "gerritserver must not begin with '-'"),
        (lambda: GerritChangeSource("g", "jo", http_auth=("a", "b")), "http_auth needs an http_url"),
        (lambda: GerritChangeSource("g", "jo", handled_events="x"), "handled_events must be a list, not 'x'"),
        (lambda: GerritEventLogPoller("http://g/", ("a", "b")), "argument 'gitBaseURL' is missing"),
        (lambda: GerritEventLogPoller("http://g/", "ab", gitBaseURL="x"), r"auth must be \(user, password\), not str"),
    ],
)
def test_mistakes(make: Any, complaint: str) -> None:
    with pytest.raises(ConfigErrors, match=complaint):
        make()


def test_plugin_names() -> None:
    assert (plugins.GerritChangeSource, plugins.GerritEventLogPoller) == (GerritChangeSource, GerritEventLogPoller)
    assert GerritChangeSource("g", "jo").name == "GerritChangeSource:jo@g:29418"
