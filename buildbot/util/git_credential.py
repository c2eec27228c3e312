"""Logins of git steps and pollers to servers."""

from __future__ import annotations

import shlex
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from buildbot.util.deferreds import resolved
from buildbot.util.urls import web_login

#: the attributes of a login for `git credential`, in the order in which they must be given: ``url`` resets the others
ATTRIBUTES = (
    "url",
    "protocol",
    "host",
    "path",
    "username",
    "password",
    "password_expiry_utc",
    "oauth_refresh_token",
)


class GitCredentialInputRenderer:
    """A login by its attributes: ``url``, or ``protocol`` and ``host``, then ``username`` and ``password``.

    Args:
        credential_attributes: as `git credential` names them; a value may be a renderable, a secret for example.

    Raises:
        ValueError: git knows no such attribute.
    """

    def __init__(self, **credential_attributes: Any) -> None:
        for name in credential_attributes:
            if name not in ATTRIBUTES:
                raise ValueError(
                    f"GitCredentialInputRenderer: git knows no {name!r} of a login; it knows {', '.join(ATTRIBUTES)}"
                )
        self.__attributes = credential_attributes

    def __repr__(self) -> str:
        return f"GitCredentialInputRenderer({', '.join(self.__attributes)})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, GitCredentialInputRenderer) and self.__attributes == other.__attributes

    __hash__ = None  # type: ignore[assignment]

    async def getRenderingFor(self, props: Any) -> str:
        """The login as `git credential` reads it, a line for each attribute.

        Raises:
            ValueError: a value is missing, or has a line break in it.
        """
        values: Mapping[str, Any] = await resolved(props.render(self.__attributes))
        return credential_text(values)


def credential_text(values: Mapping[str, Any]) -> str:
    """A login as `git credential` reads it; ValueError, which shows no value, if one cannot be written so."""
    for name, value in values.items():
        if not isinstance(value, str | int) or not str(value):
            raise ValueError(f"the {name} of a git login must be a text that is not empty")
        if set(str(value)) & {"\n", "\r", "\0"}:
            raise ValueError(f"the {name} of a git login must not have a line break in it")
    return "".join(f"{name}={values[name]}\n" for name in ATTRIBUTES if name in values)


class GitCredentialOptions:
    """Logins for several servers or repositories.

    Args:
        credentials: each a `GitCredentialInputRenderer`, another renderable, or the text that `git credential` reads.
        use_http_path: whether logins of one server differ by the path of the repository; None: as git's own
            configuration on the machine says.

    Raises:
        ValueError: an argument is of the wrong type.
    """

    def __init__(self, credentials: Sequence[Any], use_http_path: bool | None = None) -> None:
        if isinstance(credentials, str) or not isinstance(credentials, Sequence):
            raise ValueError(f"GitCredentialOptions: credentials must be a list, not {type(credentials).__name__}")
        for each in credentials:
            if not isinstance(each, str) and not hasattr(each, "getRenderingFor"):
                raise ValueError(
                    "GitCredentialOptions: each of credentials must be a GitCredentialInputRenderer, another "
                    f"renderable or a text, not {type(each).__name__}"
                )
        if use_http_path is not None and not isinstance(use_http_path, bool):
            raise ValueError(f"GitCredentialOptions: use_http_path must be True, False or None, not {use_http_path!r}")
        self.credentials = list(credentials)
        self.use_http_path = use_http_path

    def __repr__(self) -> str:
        return f"GitCredentialOptions({len(self.credentials)} logins, use_http_path={self.use_http_path})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, GitCredentialOptions) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]


async def login_texts(
    options: GitCredentialOptions | None, auth: Any, url: str, render: Callable[[Any], Awaitable[Any]]
) -> list[str]:
    """All logins over HTTP, each as `git credential` reads it.

    Args:
        options: the argument ``git_credentials``.
        auth: the argument ``auth_credentials``: user and password for ``url``; None for no login.
        url: the address of the repository, without password.
        render: gives the value of a renderable.

    Raises:
        ValueError: a renderable gave something that is no login; the text shows none of it.
    """
    texts = [] if options is None else [await render(each) for each in options.credentials]
    if not all(isinstance(each, str) for each in texts):
        raise ValueError("git_credentials: a renderable must give the text that `git credential` reads")
    if auth is not None:
        user, password = await render(auth)
        texts.append(credential_text({"url": url, "username": user, "password": password}))
    return texts


@dataclass(frozen=True)
class AddressLogin:
    """The user and password in the address of a repository.

    Every account of a machine can read the arguments of a process. So git is given the address without them, and reads
    them from files.

    Attributes:
        server: the beginning of the address: ``https://example.org:8443``.
        user: the user, which may be a token.
        password: the password; None: the address has none. Git then asks the credential helpers of its account, and
            takes the empty password if they know none, as it does if the address is an argument.
    """

    server: str
    user: str
    password: str | None

    def files(self, directory: str) -> dict[str, str]:
        """The content of the files by name; git reads ``address-login`` as configuration.

        Args:
            directory: the path of their directory, with slashes.
        """
        helper = f'!f() {{ test "$1" = get && cat {shlex.quote(directory)}/address-answer; }}; f'
        first = "helper =" if self.password is not None else f"username = {config_value(self.user)}"
        return {
            "address-login": f"[credential {config_value(self.server)}]\n{first}\nhelper = {config_value(helper)}\n",
            "address-answer": f"username={self.user}\npassword={self.password or ''}\n",
        }


def address_login(url: str, auth: Any) -> AddressLogin | None:
    """The login in an HTTP address; None if there is none to use.

    Args:
        url: the address.
        auth: the argument ``auth_credentials``, which replaces a user without password.

    Raises:
        ValueError: the login has a line break in it.
    """
    login = web_login(url)
    if login is None or (login[1] is None and auth is not None):
        return None
    if set("".join(each or "" for each in login)) & {"\n", "\r", "\0"}:
        raise ValueError("the login in the address of a repository must not have a line break in it")
    parts = urlsplit(url)
    return AddressLogin(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}", *login)


def config_value(text: str) -> str:
    """A value, or the name of a subsection, as git's configuration files have it."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def git_credentials(value: Any) -> GitCredentialOptions | None:
    """Check the argument ``git_credentials``."""
    if value is not None and not isinstance(value, GitCredentialOptions):
        raise ValueError(f"must be util.GitCredentialOptions(…), not {type(value).__name__}")
    return value


def auth_credentials(value: Any) -> Any:
    """Check the argument ``auth_credentials``."""
    if value is not None and not (isinstance(value, (tuple, list)) and len(value) == 2):
        raise ValueError(f"must be (user, password), not {type(value).__name__}")
    return value


def ssh_mistakes(key: Any, host_key: Any, known_hosts: Any) -> list[str]:
    """The mistakes in the combination of the arguments for ssh."""
    mistakes = []
    if key is None and (host_key is not None or known_hosts is not None):
        mistakes.append("sshHostKey and sshKnownHosts need an sshPrivateKey")
    if host_key is not None and known_hosts is not None:
        mistakes.append("give either sshHostKey or sshKnownHosts, not both")
    return mistakes


def ssh_command(key: str | None, known_hosts: str | None, port: int = 22) -> str:
    """The ssh command for git.

    Args:
        key, known_hosts: paths of the files, with slashes; None: no such file.
        port: of the server, if the address names none.
    """
    words = ["ssh", "-o", '"BatchMode=yes"']
    if port != 22:
        words += ["-p", str(port)]
    if key is not None:
        words += ["-i", f'"{key}"']
    if known_hosts is not None:
        words += ["-o", f'"UserKnownHostsFile={known_hosts}"']
    return " ".join(words)


def ssh_files(key: Any, host_key: Any, known_hosts: Any) -> dict[str, str]:
    """The texts of the needed files for ssh, by their names ``ssh-key`` and ``ssh-known-hosts``.

    Raises:
        ValueError: a renderable gave no text.
    """
    for name, value in (("sshPrivateKey", key), ("sshHostKey", host_key), ("sshKnownHosts", known_hosts)):
        if value is not None and (not isinstance(value, str) or not value.strip()):
            raise ValueError(f"{name} is empty")
    files = {
        "ssh-key": key,
        "ssh-known-hosts": known_hosts if host_key is None else f"* {host_key.strip()}",
    }
    return {name: key_text(text) for name, text in files.items() if text is not None}


def key_text(key: str) -> str:
    """A private key with a line break at its end, which ssh requires."""
    return key if key.endswith("\n") else f"{key}\n"
