"""Whole lines, made of the pieces of text in which a command's output comes.

Each stream keeps its unfinished line until the rest of it comes. A line of output that grows beyond `MAX_LINE_CHARS`
goes on in a line of its own, so that a program that ends no line costs no memory.
"""

from __future__ import annotations

from collections.abc import Callable

from buildbot.util.redaction import Redactor

#: characters of a line of output; the rest of a longer line goes on in the next line
MAX_LINE_CHARS = 1024 * 1024

#: how bytes become text: the name of an encoding that Python knows, or a function
Encoding = str | Callable[[bytes], str]


def decoder_of(encoding: Encoding) -> Callable[[bytes], str]:
    """The function that decodes bytes; with a named encoding, bytes that it cannot decode become U+FFFD."""
    if callable(encoding):
        return encoding
    return lambda data: data.decode(encoding, "replace")


def storable(text: str) -> str:
    """``text`` with U+FFFD in place of the characters that no database stores: NUL and lone surrogates."""
    return text.replace("\0", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")


class _Partial:
    """The beginning of a line, kept in the pieces in which it came."""

    def __init__(self, text: str = "") -> None:
        self._texts, self.chars = [text], len(text)

    def add(self, text: str) -> None:
        """More of the line."""
        self._texts.append(text)
        self.chars += len(text)

    def text(self) -> str:
        """The line so far."""
        return "".join(self._texts)


def _pieces(line: str) -> list[str]:
    """A line, cut into pieces of at most `MAX_LINE_CHARS`; at least one piece."""
    return [line[at : at + MAX_LINE_CHARS] for at in range(0, len(line), MAX_LINE_CHARS)] or [line]


class LineSplitter:
    """Splits the text of several streams into lines, in which secrets are hidden.

    Args:
        redactor: hides the secrets.
        cut: whether lines longer than `MAX_LINE_CHARS` are cut.
    """

    def __init__(self, redactor: Redactor, cut: bool) -> None:
        self._redactor, self._cut = redactor, cut
        self._partial: dict[str, _Partial] = {}

    @property
    def unfinished(self) -> list[str]:
        """The streams with an unfinished line."""
        return list(self._partial)

    def split(self, stream: str, text: str) -> list[str]:
        """The lines of a stream that are finished with this text, without their newlines."""
        whole, newline, rest = text.rpartition("\n")
        lines = whole.split("\n") if newline else []
        if stream in self._partial and lines:
            lines[0] = self._partial.pop(stream).text() + lines[0]
        if rest:
            partial = self._partial.setdefault(stream, _Partial())
            partial.add(rest)
            if self._cut and partial.chars > MAX_LINE_CHARS:
                *cut, rest = self._cut_off(partial.text())
                lines += cut
                self._partial[stream] = _Partial(rest)
        if self._redactor:
            lines = list(map(self._redactor.clean, lines))
        if self._cut and lines and max(map(len, lines)) > MAX_LINE_CHARS:
            lines = [piece for line in lines for piece in _pieces(line)]
        return lines

    def _cut_off(self, line: str) -> list[str]:
        """The pieces of an unfinished line. The last piece keeps the beginning of a secret whose end has not come."""
        line = self._redactor.clean(line)
        undecided = len(line) - max(self._redactor.longest - 1, 0)
        *cut, rest = _pieces(line[:undecided])
        return [*cut, rest + line[undecided:]]
