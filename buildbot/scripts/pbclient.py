"""Calling what a master offers to programs over PB."""

from __future__ import annotations

from typing import Any

from buildbot.scripts.reactor import run


def ask(host: str, port: int, user: str, password: str, method: str, *args: Any) -> Any:
    """Log in, call a method of the master, and return its result; every failure is raised.

    Args:
        host, port: where the master listens.
        user, password: of the login.
        method: without ``perspective_``.
        args: values that PB carries.
    """
    answers: list[Any] = []
    run(lambda: _asked(answers, host, port, user, password, method, *args))
    return answers[0]


async def _asked(answers: list[Any], host: str, port: int, user: str, password: str, method: str, *args: Any) -> None:
    from twisted.cred.credentials import UsernamePassword
    from twisted.internet import reactor as installed
    from twisted.spread import pb

    reactor: Any = installed
    factory: Any = pb.PBClientFactory()
    connection = reactor.connectTCP(host, port, factory)
    try:
        perspective = await factory.login(UsernamePassword(user.encode(), password.encode()))
        answers.append(await perspective.callRemote(method, *args))
    finally:
        connection.disconnect()


def words(reason: Exception) -> str:
    """The text of a failure; an error of the master is its class and its message."""
    from twisted.cred.error import UnauthorizedLogin
    from twisted.spread import pb

    if isinstance(reason, UnauthorizedLogin) or getattr(reason, "remoteType", b"").endswith(b"UnauthorizedLogin"):
        return "wrong user or password"
    if isinstance(reason, pb.RemoteError):
        return str(reason.args[0])
    return str(reason) or type(reason).__name__
