"""Mails over SMTP: one message, one connection, and what the server says of it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.ssl import CertificateOptions, optionsForClientTLS
from twisted.mail.smtp import ESMTPSenderFactory, SMTPClientError

from buildbot.reporters.delivery import SendLater

#: seconds without any word from the server
TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Server:
    """A mail server, and how to speak to it.

    Attributes:
        host, port: where it is.
        tls: ``"starttls"`` to insist on STARTTLS, ``"smtps"`` for TLS from the first byte, ``"offered"`` to use
            STARTTLS where the server has it.
        login: user and password.
        verify: whether its certificate is checked. Where TLS is neither insisted on nor protects a password, it never
            is: an unknown certificate is better than none.
    """

    host: str
    port: int
    tls: str = "offered"
    login: tuple[str, str] | None = None
    verify: bool = True


class _Factory(ESMTPSenderFactory):
    noisy = False


async def send(reactor: Any, server: Server, sender: str, recipients: Sequence[str], message: bytes) -> list[str]:
    """Hand a message to a server.

    Args:
        sender, recipients: of the envelope.
        message: headers and body.

    Returns:
        What the server said of the recipients that it did not take, if it took others.

    Raises:
        SendLater: it wants the message later, or its connection failed.
        SMTPClientError: it refuses the message.
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
    # The factory hears of lost connections by the older way to connect only.
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
