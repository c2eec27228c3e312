"""Change hooks: the changes of each sender's payloads, and every reason to refuse one."""

from __future__ import annotations

import hmac
import json
from base64 import b64encode
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from twisted.cred.checkers import FilePasswordDB
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import Clock

from buildbot.config.hooks import check_dialects
from buildbot.plugins import webhooks
from buildbot.process.properties import Secret
from buildbot.test.fake.fakedb import FakeMaster
from buildbot.util import checks
from buildbot.www.hooks.github import GitHubEventHandler
from buildbot.www.hooks.receiver import ChangeHooks
from buildbot.www.http.messages import Request
from tests.unit.www.clients import until

SECRET = "a secret of the hook"
SHA = "8f1c9a3e5b7d2f4061728394a5b6c7d8e9f00112"
COMMIT: dict[str, Any] = {
    "id": SHA,
    "message": "Mend the roof",
    "timestamp": "2026-03-04T05:06:07+01:00",
    "url": f"https://git.example.org/acme/roof/commit/{SHA}",
    "author": {"name": "Joe Doe", "email": "joe@example.org", "username": "joe"},
    "committer": {"name": "Ann Roe", "email": "ann@example.org", "username": "ann"},
    "added": ["tiles.c"],
    "modified": ["roof.c"],
    "removed": ["hole.c"],
    "distinct": True,
}
REPOSITORY = {"name": "roof", "full_name": "acme/roof", "html_url": "https://git.example.org/acme/roof"}
PUSH = {
    "ref": "refs/heads/main",
    "before": "0" * 40,
    "after": SHA,
    "created": False,
    "deleted": False,
    "head_commit": COMMIT,
    "commits": [COMMIT],
    "repository": REPOSITORY,
    "pusher": {"name": "joe"},
}
PULL = {
    "action": "opened",
    "number": 7,
    "pull_request": {
        "html_url": "https://git.example.org/acme/roof/pull/7",
        "title": "A better roof",
        "body": None,
        "commits": 2,
        "created_at": "2026-03-04T05:06:07Z",
        "updated_at": "2026-03-04T05:06:07Z",
        "head": {"sha": SHA, "ref": "better"},
        "base": {"sha": "0" * 40, "ref": "main"},
    },
    "repository": REPOSITORY,
    "sender": {"login": "joe"},
}
CHANGE = {
    "author": "Joe Doe <joe@example.org>",
    "comments": "Mend the roof",
    "revision": SHA,
    "when_timestamp": 1772597167,
    "branch": "main",
    "category": None,
    "project": "acme/roof",
    "repository": "https://git.example.org/acme/roof",
    "revlink": f"https://git.example.org/acme/roof/commit/{SHA}",
}


def hooks(master: FakeMaster, dialects: dict[str, Any], **www: Any) -> ChangeHooks:
    return ChangeHooks(master.data, {"change_hook_dialects": dialects, **www}, master.reactor, master.httpservice)


async def deliver(
    receiver: ChangeHooks, dialect: str, payload: Any, query: str = "", **headers: str
) -> tuple[int, str]:
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = Request("POST", f"/change_hook/{dialect}", query, {"content-type": "application/json", **named}, body)
    response = await receiver.handle(request, (dialect,))
    assert isinstance(response.body, bytes)
    return response.status, response.body.decode()


@pytest.mark.parametrize("dialect", ["base", "github", "gitlab", "gitea", "bitbucketcloud"])
async def test_get_brings_nothing(master: FakeMaster, dialect: str) -> None:
    """A link or a picture on a foreign page makes no change."""
    receiver = hooks(master, {dialect: {}})
    request = Request("GET", f"/change_hook/{dialect}", "author=x&comments=x")
    response = await receiver.handle(request, (dialect,))
    assert (response.status, response.header("allow")) == (405, "POST")
    assert await master.data.get({}, ("changes",)) == []


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://ci.example:81", "https://ci.example"])
async def test_forms_of_other_pages(master: FakeMaster, origin: str) -> None:
    """A form on another page is recognised by its origin, too: browsers send ``Sec-Fetch-Site`` on safe links only."""
    for dialect in ("base", "poller"):
        receiver = ChangeHooks(
            master.data,
            {"change_hook_dialects": {dialect: {}}},
            master.reactor,
            master.httpservice,
            lambda each: each == "http://ci.example",
        )
        assert (await deliver(receiver, dialect, b"author=x", origin=origin))[0] == 403
    assert await master.data.get({}, ("changes",)) == []
    assert (await deliver(receiver, "poller", b"", origin="http://ci.example"))[0] == 200


def signature(payload: Any, algorithm: str = "sha256") -> str:
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return hmac.new(SECRET.encode(), body, algorithm).hexdigest()


async def changes(master: FakeMaster) -> list[dict[str, Any]]:
    return await master.data.get({"order": ["changeid"]}, ("changes",))  # type: ignore[no-any-return]


def has(change: dict[str, Any], **more: Any) -> bool:
    expected = {**CHANGE, **more}
    return {name: change[name] for name in expected} == expected


async def test_github_push(master: FakeMaster) -> None:
    """A signed push is stored, one change per commit, with the signature that GitHub makes."""
    receiver = hooks(master, {"github": {"secret": SECRET, "github_property_whitelist": ["github.pusher.*"]}})
    headers = {"x_github_event": "push", "x_hub_signature_256": f"sha256={signature(PUSH)}"}
    assert await deliver(receiver, "github", PUSH, **headers) == (200, "1 change found")
    (change,) = await changes(master)
    properties = {"event": ["push", "Change"], "github_distinct": [True, "Change"]}
    assert has(change, committer="Ann Roe <ann@example.org>", files=["tiles.c", "roof.c", "hole.c"])
    assert change["properties"] == {**properties, "github.pusher.name": ["joe", "Change"]}


async def test_replay(master: FakeMaster) -> None:
    """A delivery that comes again, even at the same moment, adds nothing; another one does."""
    receiver = hooks(master, {"github": {}})
    again = [deliver(receiver, "github", PUSH, x_github_event="push", x_github_delivery=each) for each in "abc"]
    answers = sorted([await each for each in again])
    assert answers == [(200, "1 change found"), (200, "no change found"), (200, "no change found")]
    other = {**PUSH, "ref": "refs/heads/other"}
    assert await deliver(receiver, "github", other, x_github_event="push") == (200, "1 change found")
    assert len(await changes(master)) == 2


@pytest.mark.parametrize("starts", [True, False])
async def test_a_master_that_starts(master: FakeMaster, starts: bool) -> None:
    """A delivery waits until the master has loaded its configuration of changes, for a limited time."""
    clock, starting = Clock(), [True]
    receiver = ChangeHooks(
        master.data,
        {"change_hook_dialects": {"github": {}}},
        clock,
        master.httpservice,
        is_starting=lambda: starting[0],
    )
    answer = ensureDeferred(deliver(receiver, "github", PUSH, x_github_event="push"))
    clock.pump([0.1] * 50)
    assert not answer.called
    starting[0] = not starts
    clock.pump([0.1] * 40)
    assert await answer == ((200, "1 change found") if starts else (503, "this master is starting; try again"))
    assert len(await changes(master)) == starts


async def test_failed_delivery_may_come_again(master: FakeMaster) -> None:
    """A delivery that could not be stored counts as new: all or nothing."""
    bad = {**PUSH, "commits": [COMMIT, {**COMMIT, "id": "b" * 40}]}
    names: list[Any] = ["mine", 5] * 2
    receiver = hooks(master, {"github": {"codebase": lambda payload: names.pop(0)}})
    for _ in range(2):
        status, text = await deliver(receiver, "github", bad, x_github_event="push")
        assert status == 400 and "codebase" in text
    assert await changes(master) == []


async def test_github_pull_request(master: FakeMaster) -> None:
    """A pull request is a change on its merge ref."""
    receiver = hooks(master, {"github": {"codebase": lambda payload: payload["repository"]["name"]}})
    assert await deliver(receiver, "github", PULL, x_github_event="pull_request") == (200, "1 change found")
    (change,) = await changes(master)
    comments = "GitHub Pull Request #7 (2 commits)\nA better roof\n"
    link = "https://git.example.org/acme/roof/pull/7"
    assert has(
        change,
        author="joe",
        branch="refs/pull/7/merge",
        category="pull",
        comments=comments,
        revlink=link,
        codebase="roof",
        when_timestamp=1772600767,
    )
    closed = {**PULL, "action": "closed"}
    assert await deliver(receiver, "github", closed, x_github_event="pull_request") == (200, "no change found")


@pytest.mark.parametrize(
    ("payload", "category", "count"),
    [
        ({**PUSH, "ref": "refs/tags/v1"}, "tag", 1),
        ({**PUSH, "ref": "refs/notes/x"}, None, 0),
        ({**PUSH, "deleted": True, "head_commit": None, "commits": []}, None, 0),
        ({**PUSH, "created": True, "commits": [COMMIT, COMMIT, COMMIT]}, None, 1),
        ({**PUSH, "head_commit": {**COMMIT, "message": "docs [ ci skip ]"}}, None, 0),
    ],
)
async def test_github_refs(master: FakeMaster, payload: Any, category: str | None, count: int) -> None:
    """Branches and tags count, other refs and deletions do not; of a new branch only its head; [ci skip] skips."""
    await deliver(hooks(master, {"github": {}}), "github", payload, x_github_event="push")
    assert [change["category"] for change in await changes(master)] == [category] * count


SHA1 = signature(PUSH, "sha1")


@pytest.mark.parametrize(
    ("options", "headers", "answer"),
    [
        ({"secret": SECRET}, {}, "Request has no required signature"),
        ({"secret": SECRET, "strict": False}, {}, "Request has no required signature"),
        ({"secret": SECRET}, {"x_hub_signature": f"sha1={SHA1}"}, "Request has no required signature"),
        ({"secret": SECRET}, {"x_hub_signature_256": "zz"}, "Wrong signature format: zz"),
        ({"secret": SECRET}, {"x_hub_signature_256": f"md5={signature(PUSH)}"}, "Unknown hash type: md5"),
        ({"secret": SECRET}, {"x_hub_signature_256": "sha256=00"}, "Hash mismatch"),
        ({"secret": SECRET}, {"x_hub_signature_256": "sha256=\xff"}, "Hash mismatch"),
        ({"secret": SECRET, "accept_sha1": True}, {"x_hub_signature": "sha1=00"}, "Hash mismatch"),
        ({}, {"x_github_event": ""}, "The header X-GitHub-Event is missing"),
        ({}, {"content_type": "text/plain"}, "Unknown content type: 'text/plain'"),
    ],
)
async def test_github_refuses(master: FakeMaster, options: Any, headers: dict[str, str], answer: str) -> None:
    """A delivery without a signature, or with a wrong one, gets an error that says so, and stores nothing."""
    receiver = hooks(master, {"github": options})
    assert await deliver(receiver, "github", PUSH, **{"x_github_event": "push", **headers}) == (400, answer)
    assert await changes(master) == []


async def test_github_sha1(master: FakeMaster) -> None:
    """Senders that know SHA-1 only are taken where the configuration says so; forms too."""
    receiver = hooks(master, {"github": {"secret": SECRET, "accept_sha1": True}})
    body = urlencode({"payload": json.dumps(PUSH)}).encode()
    headers = {"content_type": "application/x-www-form-urlencoded", "x_github_event": "push"}
    sha1 = f"sha1={signature(body, 'sha1')}"
    assert await deliver(receiver, "github", body, **headers, x_hub_signature=sha1) == (200, "1 change found")
    ping = {"x_github_event": "ping", "x_hub_signature_256": f"sha256={signature({})}"}
    assert await deliver(receiver, "github", {}, **ping) == (200, "no change found")


@pytest.mark.parametrize("dialect", ["github", "gitlab", "gitea", "bitbucketcloud"])
@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b"{}", b'{"ref": 1}', b"[" * 100_000, b"\xff", b'{"ref": "refs/heads/x"}']
)
async def test_malformed(master: FakeMaster, dialect: str, body: bytes) -> None:
    """An invalid payload is a 400 with the mistake."""
    receiver = hooks(master, {dialect: {}})
    headers = {"x_github_event": "push", "x_gitlab_event": "Push Hook", "x_gitea_event": "push"}
    headers["x_event_key"] = "repo:push"
    status, text = await deliver(receiver, dialect, body, **headers)
    if dialect == "gitea" and body == b'{"ref": "refs/heads/x"}':
        assert (status, text) == (200, "no change found")
    else:
        assert status == 400
        assert text.startswith(("Error loading JSON", "malformed payload"))
    assert await changes(master) == []


async def test_gitlab(master: FakeMaster) -> None:
    """A push with the right token; the query names the codebase; commits that are elsewhere already do not count."""
    receiver = hooks(master, {"gitlab": {"secret": SECRET}})
    repository = {"name": "roof", "url": "git@git.example.org:acme/roof.git"}
    old = {**COMMIT, "distinct": False}
    push = {"object_kind": "push", "ref": "refs/heads/main", "commits": [COMMIT, old], "repository": repository}
    assert await deliver(receiver, "gitlab", push) == (400, "Invalid secret")
    assert await deliver(receiver, "gitlab", push, x_gitlab_token="wröng") == (400, "Invalid secret")
    answer = await deliver(receiver, "gitlab", push, "codebase=roof", x_gitlab_token=SECRET)
    assert answer == (200, "1 change found")
    (change,) = await changes(master)
    assert has(change, category="push", project="roof", repository=repository["url"], codebase="roof")


MERGE: dict[str, Any] = {
    "iid": 3,
    "title": "A better roof",
    "description": "Less rain.",
    "state": "opened",
    "action": "open",
    "url": "https://git.example.org/acme/roof/-/merge_requests/3",
    "source_branch": "better",
    "target_branch": "main",
    "source_project_id": 14,
    "target_project_id": 5,
    "source": {"git_http_url": "https://git.example.org/joe/roof.git", "git_ssh_url": "git@x:joe/roof.git"},
    "target": {"name": "roof", "git_http_url": "https://git.example.org/acme/roof.git", "git_ssh_url": "git@x:a/r.git"},
    "last_commit": COMMIT,
}


@pytest.mark.parametrize(
    ("attributes", "count"),
    [
        ({}, 1),
        ({"action": "update"}, 0),
        ({"action": "update", "oldrev": "0" * 40}, 1),
        ({"action": "approved"}, 0),
        ({"state": "merged", "action": "merge"}, 0),
    ],
)
async def test_gitlab_merge_request(master: FakeMaster, attributes: dict[str, str], count: int) -> None:
    """A merge request counts when it is opened or has new commits."""
    payload = {"object_kind": "merge_request", "object_attributes": {**MERGE, **attributes}}
    await deliver(hooks(master, {"gitlab": {}}), "gitlab", payload)
    found = await changes(master)
    assert len(found) == count
    for change in found:
        comments = "MR#3: A better roof\n\nLess rain."
        target = {"project": "roof", "repository": MERGE["target"]["git_http_url"], "revlink": MERGE["url"]}
        assert has(change, category="merge_request", comments=comments, **target)
        assert change["properties"]["source_repository"] == ["https://git.example.org/joe/roof.git", "Change"]


@pytest.mark.parametrize(("gone", "count"), [("source", 1), ("source_project_id", 1), ("last_commit", 0)])
async def test_gitlab_merge_request_whose_source_is_gone(master: FakeMaster, gone: str, count: int) -> None:
    """The delivery is accepted: GitLab switches a hook off after a few refusals."""
    merge = {**MERGE, gone: None}
    receiver = hooks(master, {"gitlab": {}})
    for payload in (
        {"object_kind": "merge_request", "object_attributes": merge},
        {"object_kind": "note", "object_attributes": {"note": "build this"}, "merge_request": merge},
    ):
        expected = f"{count} change found" if count else "no change found"
        assert await deliver(receiver, "gitlab", payload) == (200, expected)


async def test_gitlab_note(master: FakeMaster) -> None:
    """A comment on a merge request is a change with the comment as a property; other kinds are none."""
    receiver = hooks(master, {"gitlab": {}})
    note = {"object_kind": "note", "object_attributes": {"note": "build this"}, "merge_request": MERGE}
    assert await deliver(receiver, "gitlab", note) == (200, "1 change found")
    assert (await changes(master))[0]["properties"]["comments"] == ["build this", "Change"]
    assert await deliver(receiver, "gitlab", {"object_kind": "pipeline"}) == (200, "no change found")


async def test_gitea(master: FakeMaster) -> None:
    """A signed push, oldest commit first, and a pull request."""
    receiver = hooks(master, {"gitea": {"secret": SECRET}})
    push = {**PUSH, "commits": [{**COMMIT, "id": "2" * 40}, {**COMMIT, "id": "1" * 40}]}
    answer = await deliver(receiver, "gitea", push, x_gitea_event="push", x_gitea_signature="00")
    assert answer == (400, "Hash mismatch")
    answer = await deliver(receiver, "gitea", push, x_gitea_event="push", x_gitea_signature=signature(push))
    assert answer == (200, "2 change found")
    assert [change["revision"] for change in await changes(master)] == ["1" * 40, "2" * 40]
    headers = {"x_gitea_event": "pull_request", "x_gitea_signature": signature(PULL)}
    assert await deliver(receiver, "gitea", PULL, **headers) == (200, "1 change found")
    assert (await changes(master))[2]["branch"] == "refs/pull/7/head"


async def test_bitbucket(master: FakeMaster) -> None:
    """A push, oldest commit first; a deleted branch is none; a pull request."""
    receiver = hooks(master, {"bitbucketcloud": {"secret": SECRET}})
    commit = {
        "hash": SHA,
        "message": "Mend the roof",
        "date": "2026-03-04T05:06:07+01:00",
        "author": {"raw": "Joe Doe <joe@example.org>"},
        "links": {"html": {"href": CHANGE["revlink"]}},
    }
    new = {"type": "branch", "name": "main", "target": commit}
    repository = {"full_name": "acme/roof", "links": {"html": {"href": CHANGE["repository"]}}}
    updates = [{"new": new, "commits": [commit, {**commit, "hash": "1" * 40}]}, {"new": None, "old": new}]
    push = {"push": {"changes": updates}, "repository": repository}
    headers = {"x_event_key": "repo:push", "x_hub_signature": f"sha256={signature(push)}"}
    assert await deliver(receiver, "bitbucketcloud", push, **headers) == (200, "2 change found")
    first, second = await changes(master)
    assert has(first, revision="1" * 40) and has(second)
    pull = {
        "actor": {"display_name": "Joe Doe"},
        "pullrequest": {
            "id": 3,
            "title": "A better roof",
            "updated_on": "2026-03-04T05:06:07.123456+01:00",
            "source": {"branch": {"name": "better"}, "commit": {"hash": SHA}},
            "destination": {"branch": {"name": "main"}},
            "links": {"html": {"href": "https://bitbucket.example.org/3"}},
        },
        "repository": repository,
    }
    headers = {"x_event_key": "pullrequest:created", "x_hub_signature": f"sha256={signature(pull)}"}
    assert await deliver(receiver, "bitbucketcloud", pull, **headers) == (200, "1 change found")


A, B, ZEROS = "2" * 40, "1" * 40, "0" * 40


def gitlab_push(kind: str, ref: str, before: str, after: str, **more: Any) -> dict[str, Any]:
    """A push that brings no commits, as GitLab describes it."""
    return {
        "object_kind": kind,
        "ref": ref,
        "before": before,
        "after": after,
        "checkout_sha": None if after == ZEROS else after,
        "user_name": "Joe Doe",
        "user_email": "joe@example.org",
        "project": {"web_url": "https://git.example.org/acme/r"},
        "repository": {"name": "r", "url": "r"},
        "commits": [],
        "total_commits_count": 0,
        **more,
    }


@pytest.mark.parametrize(
    ("payload", "branch"),
    [
        (gitlab_push("push", "refs/heads/new", ZEROS, B), "new"),
        (gitlab_push("push", "refs/heads/main", A, B), "main"),
        (gitlab_push("tag_push", "refs/tags/v1", ZEROS, B), "v1"),
        (gitlab_push("tag_push", "refs/tags/v1", ZEROS, A, checkout_sha=B), "v1"),
        (gitlab_push("push", "refs/heads/main", A, B, commits=[{**COMMIT, "distinct": False}]), "main"),
        (gitlab_push("push", "refs/heads/main", A, ZEROS), None),
        (gitlab_push("tag_push", "refs/tags/v1", A, ZEROS), None),
    ],
)
async def test_gitlab_without_commits(master: FakeMaster, payload: Any, branch: str | None) -> None:
    """A new branch, a branch moved to an old commit and a tag are a change of that commit; deletions are none."""
    status, text = await deliver(hooks(master, {"gitlab": {}}), "gitlab", payload)
    assert (status, text) == (200, "no change found" if branch is None else "1 change found")
    for change in await changes(master):
        link = f"https://git.example.org/acme/r/-/commit/{B}"
        assert has(
            change, branch=branch, revision=B, category=payload["object_kind"], files=[], project="r", repository="r",
            comments="", revlink=link, when_timestamp=change["when_timestamp"],
        )  # fmt: skip


async def test_gitlab_says_the_kind_in_a_header(master: FakeMaster) -> None:
    """Senders whose payload has no kind say it in the header."""
    payload = {**gitlab_push("", "refs/tags/v1", ZEROS, B), "object_kind": None}
    answer = await deliver(hooks(master, {"gitlab": {}}), "gitlab", payload, x_gitlab_event="Tag Push Hook")
    assert answer == (200, "1 change found")
    assert [change["category"] for change in await changes(master)] == ["tag_push"]


@pytest.mark.parametrize("dialect", ["github", "gitea"])
@pytest.mark.parametrize(
    ("more", "found"),
    [
        ({"head_commit": {**COMMIT, "id": B}}, ("main", None, "Joe Doe <joe@example.org>")),
        ({"head_commit": {**COMMIT, "id": B}, "ref": "refs/tags/v1"}, ("v1", "tag", "Joe Doe <joe@example.org>")),
        ({"head_commit": None}, ("main", None, "joe")),
        ({"head_commit": None, "deleted": True, "after": ZEROS}, None),
        ({"head_commit": None, "after": ZEROS, "ref": "refs/tags/v1"}, None),
    ],
)
async def test_moved_branch(master: FakeMaster, dialect: str, more: Any, found: tuple[str, str | None, str]) -> None:
    """A branch or tag that is moved to a commit that the forge has already is a change of it."""
    payload = {**PUSH, "before": A, "after": B, "forced": True, "commits": [], **more}
    status, text = await deliver(hooks(master, {dialect: {}}), dialect, payload, **{f"x_{dialect}_event": "push"})
    assert (status, text) == (200, "1 change found" if found else "no change found")
    for change in await changes(master):
        assert change["revision"] == B
        assert (change["branch"], change["category"], change["author"]) == found


NOBODIES: list[tuple[Any, str]] = [
    ({"name": "helper[bot]", "email": None}, "helper[bot]"),
    ({"name": "helper[bot]"}, "helper[bot]"),
    ({"name": "helper[bot]", "email": ""}, "helper[bot]"),
    ({"name": None, "email": "a@b"}, "a@b"),
    ({"name": "", "email": None, "username": "helper"}, "helper"),
    ({}, "unknown"),
    (None, "unknown"),
]


@pytest.mark.parametrize("dialect", ["github", "gitlab", "gitea"])
@pytest.mark.parametrize(("author", "shown"), NOBODIES)
async def test_author_without_address(master: FakeMaster, dialect: str, author: Any, shown: str) -> None:
    """A missing author, or one without address, is no reason to lose a push: a build does not need it."""
    commits = [{**COMMIT, "id": digit * 40} for digit in "123"]
    commits[1] = {**commits[1], "author": author, "committer": author}
    if dialect == "gitea":
        commits.reverse()
    payload = {**PUSH, "pusher": None, "commits": commits, "repository": {**REPOSITORY, "url": "r"}}
    payload["object_kind"] = "push"
    headers = {} if dialect == "gitlab" else {f"x_{dialect}_event": "push"}
    assert await deliver(hooks(master, {dialect: {}}), dialect, payload, **headers) == (200, "3 change found")
    assert [change["author"] for change in await changes(master)][1] == shown


async def test_commits_that_say_little(master: FakeMaster) -> None:
    """Message, time, link and files may be missing; a value of another kind is still refused."""
    payload = {**PUSH, "commits": [{"id": SHA, "message": None, "committer": None, "added": None}]}
    receiver = hooks(master, {"github": {}})
    assert await deliver(receiver, "github", payload, x_github_event="push") == (200, "1 change found")
    (change,) = await changes(master)
    assert (change["author"], change["comments"], change["files"], change["revlink"]) == ("joe", "", [], "")
    nothing = {**PUSH, "head_commit": None, "commits": None, "before": A, "after": B}
    assert await deliver(receiver, "github", nothing, x_github_event="push") == (200, "1 change found")
    bad = {**PUSH, "commits": [{**COMMIT, "author": {"name": 1}}]}
    answer = (400, "malformed payload: author.name is no str")
    assert await deliver(receiver, "github", bad, x_github_event="push") == answer


@pytest.mark.parametrize("dialect", ["github", "gitlab", "gitea", "bitbucketcloud"])
@pytest.mark.parametrize("time", ["", "yesterday", "0001-01-01T00:00:00Z", "2026-03-04T05:06:07", None])
async def test_texts_and_times_that_cannot_be_stored(master: FakeMaster, dialect: str, time: str | None) -> None:
    """A commit is built even if its message, author, files or time are malformed."""
    commit = {
        **COMMIT, "message": "\0\ud800" + "m" * checks.MAX_COMMENTS, "author": {"name": "J\0e", "raw": "J\0e"},
        "hash": SHA, "timestamp": time, "date": time,
        "added": ["a\0"] * (checks.MAX_FILES + 1), "modified": [], "removed": [],
    }  # fmt: skip
    payload: Any = {**PUSH, "commits": [commit], "repository": {**REPOSITORY, "url": "r"}, "object_kind": "push"}
    if dialect == "bitbucketcloud":
        payload = bitbucket_push("main", A, B)
        payload["push"]["changes"][0]["commits"] = [commit]
    headers = {"x_github_event": "push", "x_gitea_event": "push", "x_event_key": "repo:push"}
    assert await deliver(hooks(master, {dialect: {}}), dialect, payload, **headers) == (200, "1 change found")
    (change,) = await changes(master)
    assert (change["author"], change["comments"][:3]) == ("J\ufffde", "\ufffd\ufffdm")
    assert (len(change["comments"]), change["when_timestamp"] > 0) == (checks.MAX_COMMENTS, True)
    files = [] if dialect == "bitbucketcloud" else ["a\ufffd"] * checks.MAX_FILES
    assert change["files"] == files


@pytest.mark.parametrize("dialect", ["github", "gitea", "bitbucketcloud"])
async def test_a_pull_request_without_author(master: FakeMaster, dialect: str) -> None:
    """The user who opened a pull request, and the time, may be missing: it is a change all the same."""
    opened: Any = PULL["pull_request"]
    payload: Any = {**PULL, "sender": None, "pull_request": {**opened, "user": None}}
    if dialect == "bitbucketcloud":
        branch = {"branch": {"name": "better"}, "commit": {"hash": SHA}}
        link = {"links": {"html": {"href": "https://x"}}}
        pull = {"id": 7, "title": "A better roof", "source": branch, "destination": branch, "updated_on": None, **link}
        payload = {"actor": None, "pullrequest": pull, "repository": {"full_name": "acme/roof", **link}}
    headers = {"x_github_event": "pull_request", "x_gitea_event": "pull_request", "x_event_key": "pullrequest:created"}
    assert await deliver(hooks(master, {dialect: {}}), dialect, payload, **headers) == (200, "1 change found")
    assert [(each["author"], each["revision"]) for each in await changes(master)] == [("unknown", SHA)]


@pytest.mark.parametrize(
    ("dialect", "headers"),
    [
        *(("github", {"x_github_event": each}) for each in ("merge_group", "create", "issues", "installation", "ping")),
        *(("gitea", {"x_gitea_event": each}) for each in ("release", "issues", "create", "a_new_one")),
        *(("bitbucketcloud", {"x_event_key": each}) for each in ("diagnostics:ping", "issue:created", "repo:fork")),
        ("gitlab", {"x_gitlab_event": "Release Hook"}),
    ],
)
async def test_other_events(master: FakeMaster, dialect: str, headers: dict[str, str]) -> None:
    """Other events of a forge bring no change, and are no error."""
    payload = {"action": "created", "zen": "Keep it simple"}
    assert await deliver(hooks(master, {dialect: {}}), dialect, payload, **headers) == (200, "no change found")


SERVER = {
    "actor": {"displayName": "Joe Doe", "name": "joe"},
    "repository": {
        "slug": "roof", "project": {"key": "ACME", "name": "Acme"},
        "links": {"self": [{"href": "https://bb.example.org/projects/ACME/repos/roof/browse"}]},
    },
}  # fmt: skip


def bitbucket_push(name: str, before: str | None, after: str | None) -> dict[str, Any]:
    def state(revision: str | None) -> Any:
        commit = {"hash": revision, "author": {"raw": "Joe"}}
        return None if revision is None else {"type": "branch", "name": name, "target": commit}

    repository = {"full_name": "acme/roof", "links": {"html": {"href": CHANGE["repository"]}}}
    return {"push": {"changes": [{"old": state(before), "new": state(after)}]}, "repository": repository}


def _pushes(dialect: str) -> tuple[Any, Any, Any]:
    """A to B, B to A, and that the branch is deleted."""
    if dialect == "bitbucketserver":
        update = {"ref": {"id": "refs/heads/main"}, "type": "UPDATE"}
        pushes: Any = [{**SERVER, "changes": [{**update, "fromHash": x, "toHash": y}]} for x, y in ((A, B), (B, A))]
        return pushes[0], pushes[1], None
    if dialect == "bitbucketcloud":
        return bitbucket_push("main", A, B), bitbucket_push("main", B, A), bitbucket_push("main", B, None)
    if dialect == "gitlab":
        forward = gitlab_push("push", "refs/heads/main", A, B, commits=[{**COMMIT, "id": B}])
        ref = "refs/heads/main"
        return forward, gitlab_push("push", ref, B, A), gitlab_push("push", ref, B, ZEROS)
    common = {**PUSH, "head_commit": None}
    forward = {**common, "before": A, "after": B, "commits": [{**COMMIT, "id": B}]}
    gone = {**common, "before": B, "after": ZEROS, "deleted": True, "commits": []}
    return forward, {**common, "before": B, "after": A, "commits": []}, gone


@pytest.mark.parametrize("dialect", ["github", "gitlab", "gitea", "bitbucketcloud"])
async def test_a_branch_that_goes_back_and_forth(master: FakeMaster, dialect: str) -> None:
    """A delivery that comes again adds nothing, until something else has happened to its branch: then it is news."""
    headers = {"x_github_event": "push", "x_gitea_event": "push", "x_event_key": "repo:push"}
    forward, back, gone = _pushes(dialect)
    other = json.loads(json.dumps(forward).replace("refs/heads/main", "refs/heads/x").replace('"main"', '"x"'))
    receiver = hooks(master, {dialect: {}})
    found = []
    for payload in (forward, forward, back, back, forward, forward, gone, forward, other, forward):
        _, text = await deliver(receiver, dialect, payload, **headers)
        found.append(int(text[0] == "1"))
    assert found == [1, 0, 1, 0, 1, 0, 0, 1, 1, 0]
    assert [change["revision"] for change in await changes(master)] == [B, A, B, B, B]


async def test_a_branch_of_a_bitbucket_server_goes_back_and_forth(master: FakeMaster) -> None:
    """As with the other forges."""
    forward, back, _ = _pushes("bitbucketserver")
    receiver = hooks(master, {"bitbucketserver": {}})
    for payload in (forward, forward, back, back, forward, forward):
        assert (await deliver(receiver, "bitbucketserver", payload, x_event_key="repo:refs_changed"))[0] == 200
    assert [change["revision"] for change in await changes(master)] == [B, A, B]


async def test_a_push_of_several_branches(master: FakeMaster) -> None:
    """A repeated delivery adds only the branches that have moved since."""
    main, dev = bitbucket_push("main", A, B), bitbucket_push("dev", A, B)
    both = {**main, "push": {"changes": [*main["push"]["changes"], *dev["push"]["changes"]]}}
    receiver = hooks(master, {"bitbucketcloud": {}})
    headers = {"x_event_key": "repo:push"}
    assert await deliver(receiver, "bitbucketcloud", both, **headers) == (200, "2 change found")
    assert await deliver(receiver, "bitbucketcloud", both, **headers) == (200, "no change found")
    back = bitbucket_push("dev", B, A)
    assert await deliver(receiver, "bitbucketcloud", back, **headers) == (200, "1 change found")
    assert await deliver(receiver, "bitbucketcloud", both, **headers) == (200, "1 change found")
    assert [change["branch"] for change in await changes(master)] == ["dev", "main", "dev", "dev"]


async def test_base(master: FakeMaster) -> None:
    """A form's fields are a change, missing ones are empty, the first of several counts."""
    receiver = hooks(master, {"base": {}})
    form = {"content_type": "application/x-www-form-urlencoded"}
    body = (
        b"author=Joe&author=Ann&comments=c&revision=1&branch=main&category=x&revlink=l&repository=r&project=p"
        b'&when_timestamp=1772597167.5&files=["a","b"]&properties={"n":1}&committer=Ann'
    )
    assert await deliver(receiver, "base", body, **form) == (200, "1 change found")
    assert await deliver(receiver, "", b"", "who=Bob") == (200, "1 change found")
    first, second = await changes(master)
    assert (first["author"], first["files"], first["when_timestamp"]) == ("Joe", ["a", "b"], 1772597167)
    assert first["properties"] == {"n": [1, "Change"]}
    assert (second["author"], second["comments"], second["revision"]) == ("Bob", "", None)
    for _ in range(2):
        await deliver(receiver, "base", body, **form, idempotency_key="k")
    assert len(await changes(master)) == 3


@pytest.mark.parametrize(
    ("query", "answer"),
    [
        ("files=x", "Expecting value: line 1 column 1 (char 0)"),
        ("files={}", "files must be a JSON array"),
        ("files=[1]", "files must be a list of names"),
        ("properties=[]", "properties must be a JSON object"),
        ("when=abc", "could not convert string to float: 'abc'"),
        ("when=inf", "cannot convert float infinity to integer"),
    ],
)
async def test_base_refuses(master: FakeMaster, query: str, answer: str) -> None:
    """A bad value is a 400 that says so, and nothing is stored."""
    assert await deliver(hooks(master, {"base": {}}), "base", b"", query) == (400, answer)
    assert await changes(master) == []


async def test_poller(master: FakeMaster) -> None:
    """A delivery starts polls, by name or all, on the masters that run them; other pollers are refused."""
    ids = {name: await master.data.update.findChangeSourceId(name) for name in ("one", "two")}
    told: list[Any] = []
    await master.mq.startConsuming(lambda key, _: told.append(int(key[2])), ("control", "changesources", None, "poll"))
    receiver = hooks(master, {"poller": {"allowed": ["one"]}})
    assert await deliver(receiver, "poller", b"", "poller=one") == (200, "no change found")
    assert await deliver(receiver, "poller", b"", "poller=two") == (400, "Could not find pollers: two")
    assert await deliver(receiver, "poller", b"", "poller=nope") == (400, "Could not find pollers: nope")
    assert await deliver(receiver, "poller", b"") == (200, "no change found")
    await until(lambda: told == [ids["one"], ids["one"]])


async def test_deliveries_that_are_refused(master: FakeMaster, tmp_path: Path) -> None:
    """Dialects that are off, pages of other sites, other methods and wrong passwords are refused."""
    passwords = tmp_path / "passwords"
    passwords.write_text("joe:pw\n")
    open_ = hooks(master, {"base": {}})
    answer = (400, "The dialect specified, 'nope', wasn't whitelisted in change_hook")
    assert await deliver(open_, "nope", b"") == answer
    assert (await deliver(open_, "base", b"", sec_fetch_site="cross-site"))[0] == 403
    assert (await open_.handle(Request("PUT", "/change_hook/base"), ("base",))).status == 501
    guarded = hooks(master, {"base": {}}, change_hook_auth=[FilePasswordDB(str(passwords))])
    assert (await deliver(guarded, "base", b""))[0] == 401
    wrong, right = (f"Basic {b64encode(pair).decode()}" for pair in (b"joe:no", b"joe:pw"))
    assert (await deliver(guarded, "base", b"", authorization=wrong))[0] == 401
    assert await deliver(guarded, "base", b"", authorization=right) == (200, "1 change found")


class Handler(GitHubEventHandler):
    """As people have written it for Buildbot."""

    async def handle_pull_request(self, payload: Any, event: str) -> Any:
        changes, kind = await super().handle_pull_request(payload, event)
        for change in changes:
            change["category"] = f"{event} {self._has_skip('[skip ci]')}"
        return changes, kind

    def handle_release(self, payload: Any) -> Any:  # Buildbot's manual has it with one argument
        repository = payload["repository"]["html_url"]
        return self._process_change(payload, "joe", "r", repository, "proj", "release", {"more": 1}), "git"


async def test_github_class(master: FakeMaster) -> None:
    """The user's class handles events in its own way, and further events; signatures are checked before."""
    receiver = hooks(master, {"github": {"class": Handler, "secret": SECRET, "skips": []}})

    async def send(event: str, payload: Any, **headers: str) -> tuple[int, str]:
        signed = {"x_hub_signature_256": f"sha256={signature(payload)}", "x_github_event": event}
        return await deliver(receiver, "github", payload, **{**signed, **headers})

    assert (await send("pull_request", PULL, x_hub_signature_256="sha256=00"))[0] == 400
    assert await send("pull_request", PULL) == (200, "1 change found")
    assert await send("pull_request", PULL) == (200, "no change found")
    assert await send("release", PUSH) == (200, "1 change found")
    assert await send("push", PUSH) == (200, "1 change found")
    for event in ("ping", "workflow_run", "star"):
        assert await send(event, PUSH) == (200, "no change found")
    pull, release, _ = await changes(master)
    assert pull["category"] == "pull_request False"
    assert (release["project"], release["properties"]["more"][0]) == ("proj", 1)


class Custom:
    """Takes requests itself."""

    def __init__(self, master: Any, options: dict[str, Any]) -> None:
        self.master, self.options = master, options

    def getChanges(self, request: Any) -> Any:
        if request.getHeader(b"X-Refuse") is not None:
            raise ValueError("refused by the handler")
        assert request.getAllHeaders()[b"x-who"] == b"joe" and request.method == b"POST"
        assert request.args == {b"a": [b"1"]} and request.uri == b"/change_hook/mine?a=1"
        return [
            {"author": request.getHeader("X-Who"), "comments": request.content.read().decode(), **self.options}
        ], None


async def test_custom_class(master: FakeMaster) -> None:
    """The user's class takes the requests of any dialect, also of one with a new name."""
    www = check_dialects({"mine": {"custom_class": Custom, "branch": "b"}})
    receiver = hooks(master, www)
    assert await deliver(receiver, "mine", b"text", "a=1", x_who="joe") == (200, "1 change found")
    assert await deliver(receiver, "mine", b"text", x_refuse="1") == (400, "refused by the handler")
    (change,) = await changes(master)
    assert (change["author"], change["comments"], change["branch"]) == ("joe", "text", "b")


async def test_a_plugins_dialect(master: FakeMaster, monkeypatch: pytest.MonkeyPatch) -> None:
    """The dialect of a package is found by its name; its options are not checked."""

    class Entry:
        def load(self) -> Any:
            return Custom

    for place in ("buildbot.config.hooks", "buildbot.www.hooks.receiver"):
        monkeypatch.setattr(f"{place}.plugin_dialects", lambda: {"mine": Entry()})
    receiver = hooks(master, check_dialects({"mine": {"branch": "b"}}))
    assert await deliver(receiver, "mine", b"text", "a=1", x_who="joe") == (200, "1 change found")
    with pytest.raises(ValueError, match="'yours' is unknown"):
        check_dialects({"yours": {}})


class Inherits(webhooks.base):  # type: ignore[misc, name-defined]
    """Edits the changes of the class that it inherits from."""

    async def getChanges(self, request: Any) -> Any:
        found, kind = await super().getChanges(request)
        return [{**change, "project": "mine"} for change in found], kind


async def test_inheriting_a_dialect(master: FakeMaster) -> None:
    """The dialects under the names of ``webhooks`` are classes to inherit from."""
    receiver = ChangeHooks(
        master.data, {"change_hook_dialects": {"base": {"custom_class": Inherits}}}, master.reactor,
        master.httpservice, master=master,
    )  # fmt: skip
    form = {"content_type": "application/x-www-form-urlencoded"}
    assert await deliver(receiver, "base", b"author=joe&comments=c", **form) == (200, "1 change found")
    assert (await deliver(receiver, "base", b"author=joe&files=x", **form))[0] == 400
    (change,) = await changes(master)
    assert change["project"] == "mine"


async def test_secrets_of_hooks(master: FakeMaster) -> None:
    """A secret may be one of ``secretsProviders``; it is asked for at each delivery."""
    asked: list[Any] = []

    async def rendered(value: Any, properties: Any) -> str:
        asked.append(value)
        return SECRET

    setattr(master, "rendered", rendered)  # noqa: B010
    options = check_dialects({"github": {"secret": Secret("github")}, "gitlab": {"secret": Secret("gitlab")}})
    receiver = ChangeHooks(
        master.data, {"change_hook_dialects": options}, master.reactor, master.httpservice, master=master
    )
    for _ in range(2):
        headers = {"x_hub_signature_256": f"sha256={signature(PUSH)}", "x_github_event": "push"}
        assert (await deliver(receiver, "github", PUSH, **headers))[0] == 200
    assert (await deliver(receiver, "gitlab", {}, x_gitlab_token=SECRET))[0] == 200
    assert (await deliver(receiver, "gitlab", {}, x_gitlab_token="x"))[0] == 400
    assert [repr(each) for each in asked] == ["Secret(github)"] * 2 + ["Secret(gitlab)"] * 2


async def test_bitbucket_server_pushes(master: FakeMaster) -> None:
    """A change for each ref, of its new head; one that is gone is a change of its old one; both forms of payloads."""
    refs = {
        **SERVER,
        "changes": [
            {"ref": {"id": "refs/heads/main"}, "fromHash": "0" * 40, "toHash": SHA, "type": "UPDATE"},
            {"ref": {"id": "refs/heads/old"}, "fromHash": SHA, "toHash": "0" * 40, "type": "DELETE"},
        ],
    }
    push = {**SERVER, "push": {"changes": [{"new": {"type": "tag", "name": "v1", "target": {"hash": SHA}}}]}}
    receiver = hooks(master, {"bitbucketserver": {"secret": SECRET, "codebase": ""}})
    for event, payload in (("repo:refs_changed", refs), ("repo:push", push)):
        assert (await deliver(receiver, "bitbucketserver", payload, x_event_key=event))[0] == 400
        headers = {"x_event_key": event, "x_hub_signature": f"sha256={signature(payload)}"}
        assert (await deliver(receiver, "bitbucketserver", payload, **headers))[0] == 200
        assert await deliver(receiver, "bitbucketserver", payload, **headers) == (200, "no change found")
    found = [(each["branch"], each["category"]) for each in await changes(master)]
    assert found == [("refs/heads/main", "push"), ("refs/heads/old", "ref-deleted"), ("refs/tags/v1", "push")]
    first = (await changes(master))[0]
    assert first["author"] == "Joe Doe <joe>" and first["project"] == "Acme" and first["revision"] == SHA
    assert first["repository"] == "https://bb.example.org/projects/ACME/repos/roof/"
    assert first["revlink"] == f"https://bb.example.org/projects/ACME/repos/roof/commits/{SHA}"


@pytest.mark.parametrize(("event", "category", "branch"), [
    ("pullrequest:created", "pull-created", "refs/pull-requests/21/merge"),
    ("pullrequest:updated", "pull-updated", "refs/pull-requests/21/merge"),
    ("pullrequest:fulfilled", "pull-fulfilled", "refs/heads/main"),
    ("pullrequest:rejected", "pull-rejected", "refs/heads/better"),
    ("pr:opened", "pull-created", "refs/pull-requests/21/merge"),
    ("pr:from_ref_updated", "pull-updated", "refs/pull-requests/21/merge"),
    ("pr:merged", "pull-fulfilled", "refs/heads/main"),
    ("pr:declined", "pull-rejected", "refs/heads/better"),
    ("pr:comment:added", None, None),
    ("repo:forked", None, None),
    ("diagnostics:ping", None, None),
])  # fmt: skip
async def test_bitbucket_server_pull_requests(
    master: FakeMaster, event: str, category: str | None, branch: str | None
) -> None:
    """Old and new events; those that have nothing to build bring nothing."""
    link = "https://bb.example.org/projects/ACME/repos/roof/pull-requests/21"
    pull = {
        "id": 21, "title": "A better roof", "link": link, "links": {"self": [{"href": link}]},
        "fromRef": {"commit": {"hash": SHA}, "latestCommit": SHA, "displayId": "better", "branch": {"name": "better"}},
        "toRef": {"displayId": "main", "branch": {"name": "main"}, "repository": SERVER["repository"]},
    }  # fmt: skip
    old = {"actor": SERVER["actor"], "repository": SERVER["repository"], "pullrequest": pull}
    payload = {"actor": SERVER["actor"], "pullRequest": pull} if event.startswith("pr:") else old
    receiver = hooks(master, {"bitbucketserver": {}})
    assert (await deliver(receiver, "bitbucketserver", payload, x_event_key=event))[0] == 200
    found = [(each["category"], each["branch"], each["revision"], each["revlink"]) for each in await changes(master)]
    assert found == ([] if category is None else [(category, branch, SHA, link)])


async def test_old_forms(master: FakeMaster) -> None:
    """Bitbucket's first service and Gitorious: a change per commit."""
    bitbucket = {
        "canon_url": "https://bitbucket.org", "repository": {"absolute_url": "/acme/roof/"},
        "commits": [{"raw_author": "Joe <j@x>", "raw_node": SHA, "utctimestamp": "2026-03-04 05:06:07+00:00",
                     "branch": "main", "message": "m", "files": [{"file": "roof.c", "type": "added"}]}],
    }  # fmt: skip
    gitorious = {
        "ref": "main", "project": {"name": "acme"}, "repository": {"url": "https://gitorious.example.org/acme/roof"},
        "commits": [{"id": SHA, "message": "m", "timestamp": "2026-03-04T05:06:07Z", "url": "https://x/1",
                     "author": {"name": "Joe", "email": "j@x"}}],
    }  # fmt: skip
    receiver = hooks(master, {"bitbucket": {}, "gitorious": {}})
    kind = "application/x-www-form-urlencoded"
    for dialect, payload in (("bitbucket", bitbucket), ("gitorious", gitorious)):
        body = urlencode({"payload": json.dumps(payload)}).encode()
        assert await deliver(receiver, dialect, body, "project=p", content_type=kind) == (200, "1 change found")
        assert (await deliver(receiver, dialect, b"", content_type=kind))[0] == 400
    first, second = await changes(master)
    assert (first["project"], first["repository"], first["files"]) == (
        "p",
        "https://bitbucket.org/acme/roof/",
        ["roof.c"],
    )
    assert first["revlink"] == f"https://bitbucket.org/acme/roof/commits/{SHA}"
    assert (second["author"], second["project"], second["branch"]) == ("Joe <j@x>", "acme", "main")
    assert first["when_timestamp"] == second["when_timestamp"] == 1772600767
