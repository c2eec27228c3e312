"""Sending of mails over SMTP: a connection for each message."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.ssl import CertificateOptions, optionsForClientTLS
from twisted.mail.smtp import ESMTPSenderFactory, SMTPClientError

from buildbot.reporters.delivery import SendLater

#: seconds without data from the server after which the connection is given up
TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Server:
    """A mail server, with the login and the kind of TLS.

    Attributes:
        host, port: its address.
        tls: ``"starttls"``: STARTTLS is required; ``"smtps"``: TLS from the first byte; ``"offered"``: STARTTLS if the
            server has it.
        login: user and password; None: no login.
        verify: whether its certificate is checked. With ``"offered"`` and no login it never is: TLS with an unknown
            certificate is better than no TLS.
    """

    host: str
    port: int
    tls: str = "offered"
    login: tuple[str, str] | None = None
    verify: bool = True


class _Factory(ESMTPSenderFactory):
    noisy = False


async def send(reactor: Any, server: Server, sender: str, recipients: Sequence[str], message: bytes) -> list[str]:
    """Send a message to a server.

    Args:
        reactor: makes the connection.
        server: the server.
        sender, recipients: the addresses of the envelope.
        message: headers and body.

    Returns:
        The server's answers about recipients that it refused, if it accepted others.

    Raises:
        SendLater: the server asks for a later attempt, or the connection failed.
        SMTPClientError: the server refuses the message.
    """
    done: Deferred[Any] = Deferred()
    checked = server.verify and (server.tls != "offered" or server.login is not None)
    context: Any = optionsForClientTLS(server.host) if checked else CertificateOptions(verify=False)
    user, password = server.login or (None, None)
    factory = _Factory(  # type: ignore[no-untyped-call]
        user.encode() if user is not None else None,
        password.encode() if password is not None else None,
        sender,
        list(recipients),
        io.BytesIO(message),
        done,
        retries=0,
        timeout=TIMEOUT_S,
        contextFactory=None if server.tls == "smtps" else context,
        requireAuthentication=server.login is not None,
        requireTransportSecurity=server.tls == "starttls",
        hostname=server.host,
    )
    # not an endpoint: the factory is told of lost connections by connectTCP and connectSSL only
    if server.tls == "smtps":
        reactor.connectSSL(server.host, server.port, factory, context, timeout=TIMEOUT_S)
    else:
        reactor.connectTCP(server.host, server.port, factory, timeout=TIMEOUT_S)
    where = f"{server.host}:{server.port}"
    try:
        _, taken = await done
    except SMTPClientError as problem:
        if problem.code // 100 == 5 and problem.code > 0:
            raise
        raise SendLater(f"{where}: {_said(problem)}") from None
    except Exception as problem:
        raise SendLater(f"{where}: {_said(problem)}") from None
    return [f"{_text(each[0])}: {each[1]} {_text(each[2])}" for each in taken if each[1] // 100 != 2]


def _said(problem: BaseException) -> str:
    return f"{type(problem).__name__}: {' '.join(str(problem).split())}"


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
