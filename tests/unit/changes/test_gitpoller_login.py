"""GitPoller with servers that want a login: keys and passwords are in files for the time of a poll only."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from buildbot.changes.base import PollError
from buildbot.changes.gitpoller import GitPoller
from buildbot.config.errors import ConfigErrors
from buildbot.plugins import util
from buildbot.process.properties import renderer
from buildbot.test.running import Running
from tests.support.git_servers import HTTPServer, SSHServer, git_over_http
from tests.unit.changes.repository import Repository


async def polled(master: Any, basedir: Path, url: str, **arguments: Any) -> list[str]:
    """Poll with a new poller; the revisions of all changes so far."""
    poller = GitPoller(url, **arguments)
    poller.master = Running(master, basedir)  # type: ignore[assignment]
    await poller.claim(master.masterid)
    try:
        await poller.poll()
    finally:
        assert not list((basedir / "gitpoller-work").glob("*.login"))
    return [change["revision"] for change in await master.data.get({"order": ["changeid"]}, ("changes",))]


async def test_a_key_for_ssh(master: Any, tmp_path: Path, repository: Repository, ssh_server: SSHServer) -> None:
    """Key and host's key may be renderables; a server with another key is not talked to."""
    repository.commit()
    login = {"sshPrivateKey": renderer(lambda props: ssh_server.key), "sshHostKey": ssh_server.host_key}
    assert await polled(master, tmp_path, ssh_server.url(repository.path), **login) == []
    new = repository.commit()
    known = {**login, "sshHostKey": None, "sshKnownHosts": f"[127.0.0.1]:{ssh_server.port} {ssh_server.host_key}"}
    assert await polled(master, tmp_path, ssh_server.url(repository.path), **known) == [new]
    other = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ3nlxZmxyo0e6Ct6kOFjDCeUn8QM5SMwbONvfHcLw/0"
    with pytest.raises(PollError, match="cannot be read: git ls-remote failed"):
        await polled(master, tmp_path, ssh_server.url(repository.path), **{**login, "sshHostKey": other})
    with pytest.raises(PollError, match="cannot be read: sshPrivateKey is empty"):
        await polled(master, tmp_path, ssh_server.url(repository.path), sshPrivateKey=renderer(lambda props: ""))


async def test_a_password_for_http(master: Any, tmp_path: Path, repository: Repository, git_http: HTTPServer) -> None:
    """For the repository, or for several addresses; a wrong one is said without showing it."""
    repository.commit()
    url = git_http.url(repository.path)
    password = renderer(lambda props: "s3cret/%word")
    assert await polled(master, tmp_path, url, auth_credentials=("jo", password)) == []
    new = repository.commit()
    login = util.GitCredentialInputRenderer(url=url, username="jo", password=password)
    options = util.GitCredentialOptions(credentials=[login], use_http_path=True)
    assert await polled(master, tmp_path, url, git_credentials=options) == [new]
    with pytest.raises(PollError, match=r"Authentication failed|could not read") as caught:
        await polled(master, tmp_path, url, auth_credentials=("jo", "wr0ng"))
    assert "wr0ng" not in str(caught.value)


@pytest.mark.parametrize(
    ("login", "password"),
    [("jo:s3cret%2F%25word", "s3cret/%word"), ("t0ken", ""), ("t0ken:", "")],
    ids=["a password", "a token", "a token with a colon"],
)
async def test_a_login_in_the_address(
    master: Any, tmp_path: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch, login: str, password: str
) -> None:
    """It is used, and no process has it among its arguments, which every account of the machine could read."""
    repository.commit()
    trace = tmp_path / "trace"
    monkeypatch.setenv("GIT_TRACE", str(trace))
    with git_over_http(tmp_path, login.partition(":")[0], password) as server:
        url = server.url(repository.path).replace("://", f"://{login}@")
        assert await polled(master, tmp_path, url) == []
        new = repository.commit()
        assert await polled(master, tmp_path, url) == [new]
    arguments = trace.read_text()
    assert "remote-http" in arguments and "s3cret" not in arguments and "t0ken" not in arguments


async def test_a_user_in_the_address(
    master: Any, tmp_path: Path, repository: Repository, git_http: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Git asks the account's own credential helper for the user's password."""
    repository.commit()
    helper = "!f() { grep -q username=jo && echo password=s3cret/%word; }; f"
    for name, value in (("COUNT", "1"), ("KEY_0", "credential.helper"), ("VALUE_0", helper)):
        monkeypatch.setenv(f"GIT_CONFIG_{name}", value)
    assert await polled(master, tmp_path, git_http.url(repository.path).replace("://", "://jo@")) == []


async def test_files_of_a_killed_master_are_removed(
    master: Any, tmp_path: Path, repository: Repository, ssh_server: SSHServer
) -> None:
    """The next poll removes it, and works."""
    repository.commit()
    login = {"sshPrivateKey": ssh_server.key, "sshHostKey": ssh_server.host_key, "name": "poller"}
    await polled(master, tmp_path, ssh_server.url(repository.path), **login)
    left = tmp_path / "gitpoller-work" / f"{hashlib.sha256(b'poller').hexdigest()[:20]}.login"
    left.mkdir()
    (left / "ssh-key").write_text("old")
    (left / "ssh-key").chmod(0o400)
    assert await polled(master, tmp_path, ssh_server.url(repository.path), **login) == []


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"sshHostKey": "x"}, "GitPoller x: sshHostKey and sshKnownHosts need an sshPrivateKey"),
        ({"sshPrivateKey": "x", "sshHostKey": "x", "sshKnownHosts": "x"}, "give either sshHostKey or sshKnownHosts"),
        ({"auth_credentials": "jo"}, r"auth_credentials must be \(user, password\), not str"),
        ({"git_credentials": {}}, r"git_credentials must be util.GitCredentialOptions\(…\), not dict"),
    ],
)
def test_mistakes(arguments: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigErrors, match=complaint):
        GitPoller("x", **arguments)
