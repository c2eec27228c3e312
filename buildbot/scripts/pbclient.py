"""Calls of a master's methods over PB."""

from __future__ import annotations

from typing import Any

from buildbot.scripts.reactor import run


def ask(host: str, port: int, user: str, password: str, method: str, *args: Any) -> Any:
    """Log in, call a method of the master, and return its result; errors of any kind are raised.

    Args:
        host, port: the address of the master.
        user, password: the login.
        method: the name of the method, without ``perspective_``.
        args: its arguments; PB must be able to send them.
    """
    return run(lambda: _asked(host, port, user, password, method, *args))


async def _asked(host: str, port: int, user: str, password: str, method: str, *args: Any) -> Any:
    from twisted.cred.credentials import UsernamePassword
    from twisted.internet import reactor as installed
    from twisted.spread import pb

    reactor: Any = installed
    factory: Any = pb.PBClientFactory()
    connection = reactor.connectTCP(host, port, factory)
    try:
        perspective = await factory.login(UsernamePassword(user.encode(), password.encode()))
        return await perspective.callRemote(method, *args)
    finally:
        connection.disconnect()


def words(reason: Exception) -> str:
    """The text of an error; for an error of the master, the message that it sent."""
    from twisted.cred.error import UnauthorizedLogin
    from twisted.spread import pb

    if isinstance(reason, UnauthorizedLogin) or getattr(reason, "remoteType", b"").endswith(b"UnauthorizedLogin"):
        return "wrong user or password"
    if isinstance(reason, pb.RemoteError):
        return str(reason.args[0])
    return str(reason) or type(reason).__name__
