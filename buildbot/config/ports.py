"""Ports in configurations: a number, or a Twisted endpoint description."""

from __future__ import annotations

from twisted.internet.endpoints import serverFromString


def endpoint(value: object, interface: str = "") -> str:
    """The Twisted endpoint description for a configured port.

    Args:
        value: an int (``8010``), its text, or a description (``tcp:8010:interface=127.0.0.1``).
        interface: where a bare number listens; empty for every interface.

    Returns:
        A description that `twisted.internet.endpoints.serverFromString` understands.

    Raises:
        ValueError: it is none of these; the message completes "the port …".
    """
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(f"must be a number or an endpoint such as 'tcp:8010', not {value!r}")
    text = str(value).strip()
    if text.lstrip("-").isdigit():
        text = f"tcp:{text}" + (f":interface={interface}" if interface else "")
    kind, _, rest = text.partition(":")
    if not rest:
        raise ValueError(f"must be a number or an endpoint such as 'tcp:8010', not {value!r}")
    if kind in ("tcp", "tcp6", "ssl"):
        number = rest.partition(":")[0].removeprefix("port=")
        # Port 0 lets the system choose, which tests use.
        if not number.isdigit() or int(number) > 65535:
            raise ValueError(f"must be between 1 and 65535, not {number!r} (in {value!r})")
    try:
        serverFromString(object(), text)
    except Exception as reason:
        raise ValueError(f"is not an endpoint that Twisted knows: {value!r} ({reason})") from reason
    return text


def tcp_port(description: str) -> int | None:
    """The TCP port an endpoint description listens on, None if it has none or lets the system choose."""
    kind, _, rest = description.partition(":")
    number = rest.partition(":")[0].removeprefix("port=")
    if kind in ("tcp", "tcp6", "ssl") and number.isdigit() and int(number) > 0:
        return int(number)
    return None


_LOOPBACK = ("127.0.0.1", "localhost", "::1", r"\:\:1")


def is_loopback(listen: str | None) -> bool:
    """Whether only this machine reaches a Twisted endpoint."""
    if listen is None:
        return True
    kind, _, rest = listen.partition(":")
    if kind == "unix":
        return True
    return any(f":interface={name}:" in f":{rest}:" for name in _LOOPBACK)
