"""The arguments by which a git poller or step logs in; each of these classes declares them by `login_arguments`."""

from __future__ import annotations

from typing import Any

from buildbot.config import checks
from buildbot.config.arguments import argument
from buildbot.util.git_credential import auth_credentials, git_credentials


def login_arguments(time: str, repositories: str, **how: bool) -> tuple[Any, ...]:
    """Declare ``sshPrivateKey``, ``sshHostKey``, ``sshKnownHosts``, ``auth_credentials`` and ``git_credentials``.

    Args:
        time: for how long the key is in a file, in the documentation.
        repositories: what ``git_credentials`` is for, in the documentation.
        **how: ``rendered`` or ``renderable``, as in `argument`.
    """
    text = checks.optional(checks.text)
    key = argument(None, text, doc=f"a private key to log in with by ssh. It is in a file {time} only", **how)
    host_key = argument(
        None,
        text,
        doc="the public key that the server must have, as `ssh-keyscan` prints it but without the name",
        **how,
    )
    known_hosts = argument(None, text, doc="or the text of a whole file of known hosts", **how)
    auth = argument(None, auth_credentials, doc="`(user, password)` to log in with at `repourl` over HTTP", **how)
    options = argument(
        None, git_credentials, doc=f"`util.GitCredentialOptions(…)`: logins over HTTP for {repositories}"
    )
    return key, host_key, known_hosts, auth, options
