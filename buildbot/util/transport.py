"""The transport of a connection as type checkers see it."""

from __future__ import annotations

from twisted.internet.interfaces import IConsumer, IPushProducer, ITCPTransport


class IStream(ITCPTransport, IConsumer, IPushProducer):
    """The methods that protocols call of the transport of a TCP or TLS connection.

    Twisted's transports have them, but do not declare this interface, so nothing asks whether one provides it.
    """
