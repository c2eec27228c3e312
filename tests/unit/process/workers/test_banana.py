"""The quick Banana reads, writes and refuses the same as Twisted's own."""

from __future__ import annotations

from io import BytesIO
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.spread import banana

from buildbot.process.workers.banana import QuickBanana


class _Keeps:
    """Keeps the messages that were read."""

    def __init__(self, dialect: bytes | None = b"pb") -> None:
        super().__init__(isClient=False)  # type: ignore[call-arg]
        self.setPrefixLimit(64)  # type: ignore[attr-defined]
        self.currentDialect = dialect
        self.read: list[Any] = []
        self.transport: Any = BytesIO()

    def callExpressionReceived(self, obj: Any) -> None:
        self.read.append(obj)


class Twisteds(_Keeps, banana.Banana):
    """Twisted's."""


class Quick(_Keeps, QuickBanana, banana.Banana):  # type: ignore[misc]
    """Ours."""


def outcome(reader: Any, chunks: list[bytes]) -> Any:
    """The result of reading chunks: the messages, the incomplete rest, and the kind of error that ended it."""
    try:
        for chunk in chunks:
            reader.dataReceived(chunk)
    except Exception as error:
        return reader.read, type(error)
    return reader.read, reader.buffer, reader.listStack


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """Data in pieces."""
    edges = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[a:b] for a, b in pairwise(edges)]


values = st.recursive(
    st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.binary(max_size=300)
    | st.sampled_from([b"None", b"class", b"dereference", b"answer"]),
    lambda inner: st.lists(inner, max_size=6),
    max_leaves=30,
)  # fmt: skip


def encoded(value: Any) -> bytes:
    """As Twisted's writes it."""
    out = BytesIO()
    writer: Any = Twisteds()
    writer._encode(value, out.write)
    return out.getvalue()


@settings(deadline=None)
@given(st.lists(values, max_size=5), st.lists(st.integers(0, 10_000), max_size=8))
def test_messages_however_they_are_cut(messages: list[Any], places: list[int]) -> None:
    """Each message comes out as it went in, in order, wherever the network cuts the bytes."""
    chunks = cut(b"".join(map(encoded, messages)), places)
    assert outcome(Quick(), chunks) == outcome(Twisteds(), chunks)
    assert outcome(Quick(), chunks)[0] == messages


@settings(deadline=None)
@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=4), st.sampled_from([b"pb", b"none", None]))
def test_any_bytes(data: bytes, places: list[int], dialect: bytes | None) -> None:
    """Of bytes that are no Banana the same messages are read before the same error."""
    chunks = cut(data, places)
    assert outcome(Quick(dialect), chunks) == outcome(Twisteds(dialect), chunks)


sendable = st.recursive(
    st.integers(-(2**70), 2**70) | st.integers(0, 300) | st.floats(allow_nan=False) | st.binary(max_size=300)
    | st.booleans() | st.sampled_from([b"None", b"class", b"dereference", b"answer"]),
    lambda inner: st.lists(inner, max_size=6) | st.tuples(inner, inner),
    max_leaves=30,
)  # fmt: skip


def sent(writer: Any, message: Any) -> Any:
    """The bytes that a writer makes of a message, or the kind of error and its words."""
    try:
        writer.sendEncoded(message)
    except Exception as error:
        return type(error), str(error)
    return writer.transport.getvalue()


@settings(deadline=None)
@given(sendable, st.sampled_from([b"pb", b"none"]))
def test_sent_bytes(message: Any, dialect: bytes) -> None:
    """Any message gives the same bytes."""
    assert sent(Quick(dialect), message) == sent(Twisteds(dialect), message)


@pytest.mark.parametrize(
    "message",
    [
        [b"x" * banana.SIZE_LIMIT, b"", [], ()],
        [b"x" * (banana.SIZE_LIMIT + 1)],
        [[0] * (banana.SIZE_LIMIT + 1)],
        [0, 127, 128, 2**31 - 1, 2**31, -1, True, 2**448 - 1],
        [2**448],
        ["text"],
        [None],
        b"alone",
        7,
    ],
)
def test_limits_of_sent_values(message: Any) -> None:
    """Values that are too long, too large or of another type are refused with the same message."""
    assert sent(Quick(), message) == sent(Twisteds(), message)


@pytest.mark.parametrize(
    "data",
    [
        b"\x01" * 65,
        b"\x01" * 65 + b"\x81",
        b"\x01" * 64,
        b"\x7f\x7f\x7f\x7f\x82",
        b"\x7f\x7f\x7f\x7f\x80",
        b"\x88",
        b"\x7f\x87",
    ],
)
def test_limits(data: bytes) -> None:
    """A number of more than 64 digits, a text or list that is too long, an unknown type, an unknown word."""
    for chunks in ([data], [data[:1], data[1:]]):
        assert outcome(Quick(), chunks) == outcome(Twisteds(), chunks)
