"""A provider of secrets in the key-value engine (KV) of HashiCorp Vault or OpenBao, which has the same API.

The module has the name of the library that Buildbot uses for it; here the master's HTTP client asks Vault.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable
from urllib.parse import quote

from buildbot.config import checks
from buildbot.config.arguments import REQUIRED, argument
from buildbot.config.errors import error
from buildbot.secrets.providers.base import SecretProviderBase
from buildbot.util.httpclient import Answer, HttpClient


@runtime_checkable
class VaultAuthenticator(Protocol):
    """A login that gives a token."""

    async def log_in(self, http: HttpClient, server: str) -> str:
        """A token for requests to ``server``; HttpError if the login fails."""

    @property
    def renews(self) -> bool:
        """Whether another login may give a new token, after Vault has refused one."""


class VaultAuthenticatorToken:
    """A login by a fixed token."""

    renews = False

    def __init__(self, token: str) -> None:
        if not isinstance(token, str) or not token:
            error("VaultAuthenticatorToken: token must be a text that is not empty")
        self.__token = token

    def __repr__(self) -> str:
        return "VaultAuthenticatorToken(…)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, VaultAuthenticatorToken) and self.__token == other.__token

    def __hash__(self) -> int:
        return hash(type(self))

    async def log_in(self, http: HttpClient, server: str) -> str:
        """The token."""
        return self.__token


class VaultAuthenticatorApprole:
    """A login as an AppRole, repeated when Vault refuses its token."""

    renews = True

    def __init__(self, roleId: str, secretId: str) -> None:
        for name, value in (("roleId", roleId), ("secretId", secretId)):
            if not isinstance(value, str) or not value:
                error(f"VaultAuthenticatorApprole: {name} must be a text that is not empty")
        self.__login = {"role_id": roleId, "secret_id": secretId}

    def __repr__(self) -> str:
        return "VaultAuthenticatorApprole(…)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, VaultAuthenticatorApprole) and self.__login == other.__login

    def __hash__(self) -> int:
        return hash(type(self))

    async def log_in(self, http: HttpClient, server: str) -> str:
        """A new token; HttpError if the login fails."""
        answer = await http.request("POST", f"{server}/v1/auth/approle/login", json=self.__login)
        return str(answer.require().json()["auth"]["client_token"])


def _authenticator(value: Any) -> Any:
    if not isinstance(value, VaultAuthenticator):
        raise ValueError(
            f"must be secrets.VaultAuthenticatorToken(…) or secrets.VaultAuthenticatorApprole(…), "
            f"not a value of type {type(value).__name__}"
        )
    return value


def _character(value: Any) -> str:
    if not isinstance(value, str) or len(value) != 1:
        raise ValueError(f"must be one character, not {checks.kind(value)}")
    return value


class HashiCorpVaultKvSecretProvider(SecretProviderBase):
    """Secrets in documents of Vault: the name of a secret is the document's path, a delimiter, and the key."""

    positional = ("vault_server", "authenticator", "secrets_mount", "api_version", "path_delimiter", "path_escape")

    vault_server = argument(REQUIRED, checks.url, doc="`https://…`, without a path")
    authenticator = argument(
        REQUIRED,
        _authenticator,
        doc="the login: `secrets.VaultAuthenticatorToken(…)` or `secrets.VaultAuthenticatorApprole(…)`",
    )
    secrets_mount = argument(None, checks.optional(checks.name), doc="the mount path of the engine; None: `secret`")
    api_version = argument(2, checks.one_of(1, 2), doc="version of the engine")
    path_delimiter = argument("|", _character, doc="the character between path and key")
    path_escape = argument("\\", _character, doc="the character before a delimiter that belongs to the path or the key")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.__token: str | None = None
        super().__init__(*args, **kwargs)

    async def reconfigService(self, *args: Any, **kwargs: Any) -> None:  # type: ignore[override]
        """Take the arguments; the next use of a secret logs in."""
        self.__token = None
        await super().reconfigService(*args, **kwargs)

    async def get(self, entry: str) -> Any:
        """The value, of any JSON type; None if the name has no delimiter, or there is no such document or key.

        Raises:
            HttpError: Vault does not answer, or refuses the request.
            KeyError: the name has several delimiters.
        """
        path, key = self.__split(entry)
        if key is None:
            return None
        mount = self.secrets_mount or "secret"
        where = f"{mount}/data/{quote(path)}" if self.api_version == 2 else f"{mount}/{quote(path)}"
        answer = await self.__read(f"{self.vault_server.rstrip('/')}/v1/{where}")
        if answer.status == 404:
            return None
        document = answer.require().json()["data"]
        values = document["data"] if self.api_version == 2 else document
        return None if values is None else values.get(key)

    async def __read(self, url: str) -> Answer:
        http: HttpClient = self.master.httpservice
        server = self.vault_server.rstrip("/")
        fresh = self.__token is None
        if self.__token is None:
            self.__token = await self.authenticator.log_in(http, server)
        answer = await http.request("GET", url, headers={"X-Vault-Token": self.__token})
        if answer.status == 403:
            self.__token = None
            if self.authenticator.renews and not fresh:
                return await self.__read(url)
        return answer

    def __split(self, entry: str) -> tuple[str, str | None]:
        """Path and key of a name; the key is None if the name has no delimiter."""
        parts, escaped = [""], False
        for character in entry:
            if not escaped and character == self.path_escape:
                escaped = True
                continue
            if not escaped and character == self.path_delimiter:
                parts.append("")
            else:
                if escaped and character not in (self.path_delimiter, self.path_escape):
                    parts[-1] += self.path_escape
                parts[-1] += character
            escaped = False
        if len(parts) > 2:
            raise KeyError(
                f"the name {entry!r} has several {self.path_delimiter!r}; put {self.path_escape!r} before one"
            )
        return parts[0], parts[1] if len(parts) == 2 else None
