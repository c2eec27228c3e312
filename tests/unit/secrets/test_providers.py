"""Providers of secrets, and their manager."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from treq.testing import RequestTraversalAgent
from twisted.web.resource import Resource

from buildbot.config import ConfigErrors
from buildbot.process.properties import Interpolate, Properties, Secret
from buildbot.secrets.manager import SecretManager
from buildbot.secrets.providers.base import SecretProviderBase
from buildbot.secrets.providers.file import SecretInAFile
from buildbot.secrets.providers.passwordstore import SecretInPass
from buildbot.secrets.providers.vault_hvac import (
    HashiCorpVaultKvSecretProvider,
    VaultAuthenticatorApprole,
    VaultAuthenticatorToken,
)
from buildbot.test.fake.fakedb import make_master
from buildbot.test.running import real_reactor
from buildbot.util.httpclient import HttpClient, UnexpectedAnswerError


class InMemory(SecretProviderBase):
    """A provider with the given secrets."""

    def checkConfig(self, values: dict[str, Any]) -> None:
        """Any arguments."""

    async def reconfigService(self, values: dict[str, Any]) -> None:  # type: ignore[override]
        self.values = values

    def get(self, entry: str) -> Any:
        return self.values.get(entry)


async def asking(*providers: SecretProviderBase, http: HttpClient | None = None) -> tuple[SecretManager, Properties]:
    """The manager of a master in memory, and properties that are rendered in it."""
    master: Any = make_master()
    if http is not None:
        master._http = http
    manager = SecretManager(master)
    master.namedServices = {"secrets": manager}
    await manager.startService()
    await manager.use(providers)
    properties = Properties()
    properties.master = master
    return manager, properties


async def test_the_first_that_knows_it() -> None:
    """Providers are asked in their order; if none has the secret, the error names it."""
    manager, properties = await asking(InMemory({"a": "1"}, name="x"), InMemory({"a": "2", "b": "3"}, name="y"))
    assert await properties.render([Secret("a"), Secret("b")]) == ["1", "3"]
    details = await manager.get("b")
    assert (details.source, details.key, details.value) == ("InMemory", "b", "3") and "3" not in repr(details)
    with pytest.raises(KeyError, match="secret key c is not found in any provider"):
        await properties.render(Secret("c"))
    await manager.use([InMemory({"c": "4"}, name="x")])
    assert await properties.render(Secret("c")) == "4"
    with pytest.raises(KeyError, match="secret key a is not found"):
        await properties.render(Secret("a"))
    await manager.stopService()


async def test_interpolate() -> None:
    """``%(secret:name)s`` is the value; names may be those of Vault; a missing secret is always an error."""
    manager, properties = await asking(InMemory({"a": "1", "path/to|key": "2", "path:key": "3"}))
    text = Interpolate("%(secret:a)s %(secret:path/to|key)s %(secret:path:key)s %(secret:a:+yes)s %(secret:a:-no)s")
    assert await properties.render(text) == "1 2 3 yes 1"
    assert properties.cleanupTextFromSecrets("1,2") == "<a>,<path/to|key>"
    with pytest.raises(KeyError, match="secret key b"):
        await properties.render(Interpolate("%(secret:b:-default)s"))
    with pytest.raises(ConfigErrors, match="needs a name"):
        Interpolate("%(secret:)s")
    with pytest.raises(ConfigErrors, match="name must be a text"):
        Secret("")
    await manager.stopService()


async def test_without_providers() -> None:
    """A secret without any provider is an error with a message."""
    with pytest.raises(KeyError, match="secretsProviders"):
        await Properties().render(Secret("a"))


def file(directory: Path, name: str, content: bytes, mode: int = 0o600) -> None:
    """A file with a secret."""
    (directory / name).write_bytes(content)
    (directory / name).chmod(mode)


async def test_files(tmp_path: Path) -> None:
    """Line ends at the end are removed, blanks are not; a file is read at each use; names are never paths."""
    for name, content in {"a": b"one \r\n\n", "b": "zwö".encode(), ".dot": b"three\n", "empty": b"\n"}.items():
        file(tmp_path, name, content)
    (tmp_path / "directory").mkdir()
    manager, properties = await asking(SecretInAFile(str(tmp_path)))
    assert await properties.render([Secret("a"), Secret("b"), Secret(".dot")]) == ["one ", "zwö", "three"]
    assert await properties.render(Secret("empty")) == ""
    file(tmp_path, "a", b"changed")
    assert await properties.render(Secret("a")) == "changed"
    for name in ("nothing", "../" + tmp_path.name + "/a", "directory", "..", "a\0", "directory/../a"):
        with pytest.raises(KeyError):
            await properties.render(Secret(name))
    await manager.use([SecretInAFile(str(tmp_path), strip=False)])
    assert await properties.render(Secret(".dot")) == "three\n"
    await manager.stopService()


async def test_suffixes(tmp_path: Path) -> None:
    """Only files with a suffix are secrets, named without it; two files of one secret are a mistake."""
    file(tmp_path, "a.txt", b"1")
    file(tmp_path, "b.pw", b"2")
    file(tmp_path, "open", b"3", 0o644)
    manager, properties = await asking(SecretInAFile(str(tmp_path), suffixes=[".txt", ".pw"]))
    assert await properties.render([Secret("a"), Secret("b")]) == ["1", "2"]
    with pytest.raises(KeyError):
        await properties.render(Secret("open"))
    file(tmp_path, "a.pw", b"4")
    with pytest.raises(ConfigErrors, match=r"a\.pw and a\.txt in .* are both the secret 'a'"):
        SecretInAFile(str(tmp_path), suffixes=[".txt", ".pw"])
    await manager.stopService()


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o601])
async def test_files_that_others_may_read(tmp_path: Path, mode: int) -> None:
    """They are refused when the configuration is read, and at each use."""
    manager, properties = await asking(SecretInAFile(str(tmp_path)))
    file(tmp_path, "a", b"hush", mode)
    with pytest.raises(ConfigErrors, match=rf"Permissions {oct(mode)} on file a are too open\. It is required"):
        SecretInAFile(str(tmp_path))
    with pytest.raises(ValueError, match="are too open") as caught:
        await properties.render(Secret("a"))
    assert "hush" not in str(caught.value)
    await manager.stopService()


async def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    """The error has no part of the content."""
    manager, properties = await asking(SecretInAFile(str(tmp_path)))
    file(tmp_path, "binary", b"hush\xff")
    with pytest.raises(ValueError, match="binary is not UTF-8 text") as caught:
        await properties.render(Secret("binary"))
    assert "hush" not in str(caught.value) and caught.value.__cause__ is None
    with pytest.raises(ConfigErrors, match="directory /no/such does not exist"):
        SecretInAFile("/no/such")
    await manager.stopService()


async def test_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The value is the first line of the output; if the program fails, the next provider is asked."""
    program = tmp_path / "pass"
    program.write_text(
        '#!/bin/sh\n[ "$1" = web/token ] || exit 1\n'
        'printf " %s-%s \\nsecond\\n" "$PASSWORD_STORE_DIR" "$PASSWORD_STORE_GPG_OPTS"\n'
    )
    program.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    manager, properties = await asking(SecretInPass("phrase", str(tmp_path)), InMemory({"other": "x", "-v": "y"}))
    assert await properties.render(Secret("web/token")) == f" {tmp_path}---passphrase phrase "
    assert await properties.render([Secret("other"), Secret("-v")]) == ["x", "y"]
    monkeypatch.setenv("PATH", "/no/such")
    with pytest.raises(ConfigErrors, match="pass does not exist in PATH"):
        SecretInPass()
    await manager.stopService()


class Vault(Resource):
    """An imitation of Vault: logins of roles, tokens that expire, documents of both versions."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.good = {"fixed"}
        self.requests: list[str] = []

    def render(self, request: Any) -> bytes:
        path = request.uri.decode()
        self.requests.append(path)
        if path == "/v1/auth/approle/login":
            assert request.content.read() == b'{"role_id":"role","secret_id":"id"}'
            self.good = {f"token{len(self.requests)}"}
            return f'{{"auth": {{"client_token": "{next(iter(self.good))}"}}}}'.encode()
        if (request.getHeader("X-Vault-Token") or "") not in self.good:
            request.setResponseCode(403)
            return b"{}"
        documents = {
            "/v1/secret/data/a/b": b'{"data": {"data": {"k|l": "v", "n": 5}}}',
            "/v1/kv/a": b'{"data": {"k": "1"}}',
        }
        if path not in documents:
            request.setResponseCode(404)
        return documents.get(path, b'{"errors": []}')


async def test_vault() -> None:
    """Both versions are read; a delimiter may be escaped; for a missing document the next provider is asked."""
    vault = Vault()
    http = HttpClient(real_reactor, RequestTraversalAgent(vault))  # type: ignore[no-untyped-call]
    token = VaultAuthenticatorToken("fixed")
    second = HashiCorpVaultKvSecretProvider("http://vault:8200", token, "kv", 1, ":", name="one")
    manager, properties = await asking(
        HashiCorpVaultKvSecretProvider("http://vault:8200", token), second, InMemory({"plain": "x"}), http=http
    )
    names = [r"a/b|k\|l", "a/b|n", "a:k", "plain"]
    assert await properties.render([Secret(each) for each in names]) == ["v", 5, "1", "x"]
    for name in ("a/b|none", "c|k"):
        with pytest.raises(KeyError):
            await properties.render(Secret(name))
    with pytest.raises(KeyError, match="has several"):
        await properties.render(Secret("a|b|c"))
    vault.good.clear()
    with pytest.raises(UnexpectedAnswerError, match="answers 403"):
        await properties.render(Secret("a/b|n"))
    await manager.stopService()


async def test_vault_roles() -> None:
    """A role logs in at the first use, and again when its token has expired."""
    vault = Vault()
    http = HttpClient(real_reactor, RequestTraversalAgent(vault))  # type: ignore[no-untyped-call]
    role = VaultAuthenticatorApprole("role", "id")
    manager, properties = await asking(HashiCorpVaultKvSecretProvider("http://vault:8200", role), http=http)
    assert vault.requests == []
    assert await properties.render(Secret("a/b|n")) == 5
    vault.good.clear()
    assert await properties.render(Secret("a/b|n")) == 5
    assert vault.requests.count("/v1/auth/approle/login") == 2
    await manager.stopService()


@pytest.mark.parametrize(("arguments", "said"), [
    ({"vault_server": 1}, "vault_server must be a string"),
    ({"authenticator": "x"}, "authenticator must be secrets.VaultAuthenticatorToken"),
    ({"api_version": 3}, "api_version must be one of 1, 2, not 3"),
    ({"path_delimiter": "::"}, "path_delimiter must be one character"),
    ({"path_escape": ""}, "path_escape must be one character"),
])  # fmt: skip
def test_mistakes_with_vault(arguments: dict[str, Any], said: str) -> None:
    """Mistakes are reported when the configuration is read."""
    right = {"vault_server": "http://vault", "authenticator": VaultAuthenticatorToken("x")}
    with pytest.raises(ConfigErrors, match=said):
        HashiCorpVaultKvSecretProvider(**{**right, **arguments})


def test_providers_as_plugins_write_them() -> None:
    """The arguments of a provider with ``reconfigService`` are checked against its signature."""

    class Own(SecretProviderBase):
        def reconfigService(self, values: dict[str, str], prefix: str = "") -> None:  # type: ignore[override]
            self.values = values

        def get(self, entry: str) -> str | None:
            return self.values.get(entry)

    assert Own({"a": "b"}, prefix="c").name == "Own"
    with pytest.raises(ConfigErrors, match="Own 'Own': missing a required argument: 'values'"):
        Own()
    with pytest.raises(ConfigErrors, match="Own 'Own': got an unexpected keyword argument 'prefixx'"):
        Own({}, prefixx="c")
