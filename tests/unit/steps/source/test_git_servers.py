"""Git steps with servers that need a login, whose files are on the worker during the step only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import ensureDeferred

from buildbot.config.errors import ConfigErrors
from buildbot.plugins import util
from buildbot.process.properties import Interpolate, Property
from buildbot.steps.shell import ShellCommand
from buildbot.steps.source.git import Git
from buildbot.util.results import CANCELLED, FAILURE, SUCCESS
from tests.e2e.agents import Repository
from tests.support.git_servers import HTTPServer, SSHServer, git_over_http
from tests.support.local_worker import LocalFarm, built


def logs_of(farm: LocalFarm) -> str:
    """The text of the logs of all builds."""
    steps = [step for build in farm.master.get("builds") for step in farm.master.steps(build["buildid"])]
    logs = [log for step in steps for log in farm.master.get("steps", step["stepid"], "logs")]
    return "\n".join(farm.master.get("logs", log["logid"], "contents")["content"] for log in logs)


def login_directory(farm: LocalFarm) -> Path:
    return farm.tmp_path / "w1" / ".runtests.build.buildbot"


@pytest.mark.parametrize("known", ["sshHostKey", "sshKnownHosts"])
async def test_a_key_for_ssh(farm: LocalFarm, repository: Repository, ssh_server: SSHServer, known: str) -> None:
    """Only the worker's account can read the key, during the step only; logs do not have it."""
    seen = []

    def look(name: str, args: dict[str, Any]) -> None:
        if "fetch" in args.get("command", ()):
            seen.append({path.name: path.stat().st_mode & 0o777 for path in login_directory(farm).iterdir()})

    farm.connection.on_command = look
    host_key = ssh_server.host_key if known == "sshHostKey" else f"[127.0.0.1]:{ssh_server.port} {ssh_server.host_key}"
    await farm.start(
        Git(
            repourl=ssh_server.url(repository.path),
            sshPrivateKey=Interpolate("%(prop:key)s"),
            mode=Property("mode"),
            method=Property("method"),
            **{known: host_key},
        )
    )
    for mode, method in (("incremental", None), ("full", "clobber"), ("full", "copy")):
        properties = {"key": (ssh_server.key, "Force"), "mode": (mode, "Force"), "method": (method, "Force")}
        assert await built(farm, properties=properties) == (SUCCESS, f"update {repository.second[:10]}")
        assert not login_directory(farm).exists()
    assert seen[0] == {"ssh-key": 0o400, "ssh-known-hosts": 0o400}
    assert not any(line in logs_of(farm) for line in ssh_server.key.splitlines())


async def test_the_key_goes_whatever_happens(farm: LocalFarm, repository: Repository, ssh_server: SSHServer) -> None:
    """A step that fails, or is stopped while git runs, leaves no key."""
    arguments = {"sshPrivateKey": ssh_server.key, "sshHostKey": Property("host", default=ssh_server.host_key)}
    await farm.start(Git(repourl=ssh_server.url(repository.path), **arguments))
    wrong = (ssh_server.key.splitlines()[1], "Force")
    results, text = await built(farm, properties={"host": (f"ssh-ed25519 {wrong[0]}", "Force")})
    assert results == FAILURE and text.startswith("git fetch: "), text
    assert not login_directory(farm).exists()

    def stop(name: str, args: dict[str, Any]) -> None:
        if "fetch" in args.get("command", ()):
            assert login_directory(farm).exists()
            for build in farm.builder.running.values():
                ensureDeferred(build.stop("enough"))

    farm.connection.on_command = stop
    assert (await built(farm))[0] == CANCELLED
    assert not login_directory(farm).exists()


async def test_what_a_lost_worker_left_goes_first(
    farm: LocalFarm, repository: Repository, ssh_server: SSHServer
) -> None:
    """The next build first removes the login's files of a build whose worker was lost."""
    left = login_directory(farm)
    left.mkdir(parents=True)
    (left / "ssh-key").write_text("old")
    (left / "ssh-key").chmod(0o400)
    await farm.start(
        Git(repourl=ssh_server.url(repository.path), sshPrivateKey=ssh_server.key, sshHostKey=ssh_server.host_key)
    )
    assert (await built(farm))[0] == SUCCESS
    assert not left.exists()


async def test_a_server_with_another_key(farm: LocalFarm, repository: Repository, ssh_server: SSHServer) -> None:
    """Git refuses a server with another host key."""
    other = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ3nlxZmxyo0e6Ct6kOFjDCeUn8QM5SMwbONvfHcLw/0"
    await farm.start(Git(repourl=ssh_server.url(repository.path), sshPrivateKey=ssh_server.key, sshHostKey=other))
    results, text = await built(farm)
    assert results == FAILURE and not (farm.directory / "file").exists(), text


async def test_an_empty_key(farm: LocalFarm, repository: Repository) -> None:
    """A key that is rendered to nothing fails the step before git runs."""
    await farm.start(Git(repourl=str(repository.path), sshPrivateKey=Property("key", default=" ")))
    assert await built(farm) == (FAILURE, "sshPrivateKey is empty (failure)")


async def test_a_password_for_http(farm: LocalFarm, repository: Repository, git_http: HTTPServer) -> None:
    """``auth_credentials`` is the login; git reports a wrong one. The password is shown nowhere."""
    password = Property("password")
    await farm.start(Git(repourl=git_http.url(repository.path), auth_credentials=("jo", password)))
    results, text = await built(farm, properties={"password": ("wrong", "Force")})
    assert results == FAILURE and "git fetch: fatal: Authentication failed" in text
    farm.master.calls.clear()
    results, text = await built(farm, properties={"password": ("s3cret/%word", "Force")})
    assert (results, text) == (SUCCESS, f"update {repository.second[:10]}")
    assert not login_directory(farm).exists()
    assert "s3cret" not in logs_of(farm)


async def test_logins_for_several_addresses(
    farm: LocalFarm, repository: Repository, git_http: HTTPServer, tmp_path: Path
) -> None:
    """``git_credentials`` has a login for each server, or for each repository; submodules use it, too."""
    sub = Repository(tmp_path / "sub")
    repository.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(sub.path), "inner")
    repository.git("config", "-f", ".gitmodules", "submodule.inner.url", "../sub")
    repository.git("commit", "-q", "-a", "-m", "submodule")
    logins = [
        util.GitCredentialInputRenderer(username="jo", url=git_http.url(path), password=Property("password"))
        for path in (repository.path, sub.path)
    ]
    credentials = util.GitCredentialOptions(credentials=logins, use_http_path=True)
    await farm.start(
        Git(repourl=git_http.url(repository.path), submodules=True, origin="up", git_credentials=credentials)
    )
    results, text = await built(farm, properties={"password": ("s3cret/%word", "Force")})
    assert results == SUCCESS, text
    assert (farm.directory / "inner" / "file").read_text() == "two\n"
    assert "up" in (farm.directory / ".git" / "config").read_text()


@pytest.mark.parametrize(
    ("login", "password"),
    [("jo:s3cret%2F%25word", "s3cret/%word"), ("t0ken", ""), ("t0ken:", "")],
    ids=["a password", "a token", "a token with a colon"],
)
async def test_a_login_in_the_address_is_no_argument(
    farm: LocalFarm, repository: Repository, tmp_path: Path, login: str, password: str
) -> None:
    """No process of the step has it among its arguments, and no log; later commands of the build log in by it."""
    sub = Repository(tmp_path / "sub")
    repository.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(sub.path), "inner")
    repository.git("config", "-f", ".gitmodules", "submodule.inner.url", "../sub")
    repository.git("commit", "-q", "-a", "-m", "submodule")
    secret = "s3cret" if password else "t0ken"
    trace = farm.connection.environment["GIT_TRACE"] = str(tmp_path / "trace")
    traced = []

    def note(name: str, args: dict[str, Any]) -> None:
        if "later" in args.get("command", ()):
            traced.append(Path(trace).read_text())

    farm.connection.on_command = note
    with git_over_http(tmp_path, login.partition(":")[0], password) as server:
        url = server.url(repository.path).replace("://", f"://{login}@")
        later = "git ls-remote -q && git -C inner ls-remote -q && git config remote.origin.url"
        await farm.start(
            Git(repourl=url, submodules=True, mode=Property("mode"), method=Property("method")),
            ShellCommand(command=["sh", "-c", later, "later"]),
        )
        for mode, method in (("incremental", None), ("incremental", None), ("full", "clobber"), ("full", "copy")):
            Path(trace).write_text("")
            results, text = await built(farm, properties={"mode": (mode, "Force"), "method": (method, "Force")})
            assert results == SUCCESS, text
            git, shell = (farm.master.text(step["stepid"]) for step in farm.master.steps(farm.master.newest())[1:])
            assert f"{url}\n" in shell and "fetch" in git and secret not in git
            assert not login_directory(farm).exists()
    assert len(traced) == 4 and all("remote-http" in each and secret not in each for each in traced)


async def test_a_user_in_the_address(farm: LocalFarm, repository: Repository, git_http: HTTPServer) -> None:
    """The worker's own credential helper is asked for the password."""
    helper = "!f() { grep -q username=jo && echo password=s3cret/%word; }; f"
    farm.connection.environment |= {
        "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "credential.helper", "GIT_CONFIG_VALUE_0": helper
    }  # fmt: skip
    await farm.start(Git(repourl=git_http.url(repository.path).replace("://", "://jo@")))
    assert await built(farm) == (SUCCESS, f"update {repository.second[:10]}")
    del farm.connection.environment["GIT_CONFIG_COUNT"]
    results, text = await built(farm, revision="main~1")
    assert results == FAILURE and "Authentication failed" in text


async def test_a_login_that_is_none(farm: LocalFarm, repository: Repository) -> None:
    """A password with a line break, or without a value, fails the step and is not shown."""
    await farm.start(Git(repourl=str(repository.path), auth_credentials=("jo", Property("password"))))
    for password, complaint in (("a\nhost=evil", "must not have a line break in it"), (None, "must be a text")):
        results, text = await built(farm, properties={"password": (password, "Force")})
        assert results == FAILURE and text.startswith("the password of a git login") and complaint in text


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"sshHostKey": "x"}, "Git: sshHostKey and sshKnownHosts need an sshPrivateKey"),
        ({"sshKnownHosts": "x"}, "Git: sshHostKey and sshKnownHosts need an sshPrivateKey"),
        ({"sshPrivateKey": "x", "sshHostKey": "x", "sshKnownHosts": "x"}, "give either sshHostKey or sshKnownHosts"),
        ({"sshPrivateKey": 5}, "sshPrivateKey must be a string, not 5"),
        ({"auth_credentials": "jo"}, r"auth_credentials must be \(user, password\), not str"),
        ({"git_credentials": {}}, r"git_credentials must be util.GitCredentialOptions\(…\), not dict"),
        ({"port": 0}, "port must be at least 1, not 0"),
        ({"origin": "-x"}, "origin must be a name of letters"),
        ({"filters": "blob:none"}, "filters must be a list, not 'blob:none'"),
    ],
)
def test_mistakes(arguments: dict[str, Any], complaint: str) -> None:
    """Arguments that exclude each other, or have a wrong type, are errors of the configuration."""
    with pytest.raises(ConfigErrors, match=complaint):
        Git(repourl="x", **arguments)


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: util.GitCredentialOptions(credentials="x"), "credentials must be a list, not str"),
        (lambda: util.GitCredentialOptions(credentials=[5]), "each of credentials must be a GitCredentialInputRend"),
        (lambda: util.GitCredentialOptions(credentials=[], use_http_path=1), "use_http_path must be True, False or"),
        (lambda: util.GitCredentialInputRenderer(user="x"), "git knows no 'user' of a login; it knows url, protocol"),
    ],
)
def test_mistakes_in_logins(make: Any, complaint: str) -> None:
    """Logins that git cannot use are errors of the configuration."""
    with pytest.raises(ValueError, match=complaint):
        make()
