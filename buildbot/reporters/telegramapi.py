"""Telegram's Bot API: calls of its methods, and a queue of messages to send."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from buildbot.reporters.delivery import FIRST_S, LONGEST_ASKED_S, LONGEST_S
from buildbot.util.background import in_background
from buildbot.util.deferreds import asyncSleep
from buildbot.util.httpclient import TIMEOUT_S, FileValue, HttpError

_log = Logger()

API = "https://api.telegram.org"
#: the most messages that wait; beyond that the oldest one is dropped
MAX_WAITING = 1000
#: the most bytes of an answer: a hundred updates with long messages
_MAX_BYTES = 10_000_000
#: the most characters of a message; Telegram allows 4096
MAX_TEXT = 4000
#: statuses after which a repeated call may succeed; 0: no answer
_LATER = frozenset({0, 408, 409, 429, *range(500, 600)})
_SHOWN = 200
#: Markdown in the bot's texts: links and code
_MARKED = re.compile(r"(\[[^\[\]\n]*\]\([^()\s]*\)|`[^`\n]+`)")


class CallError(Exception):
    """A call of a method failed; the message does not have the token.

    Attributes:
        status: the status of the answer; 0 without an answer.
        after_s: the delay in seconds that Telegram asks for; None if it does not say.
    """

    def __init__(self, message: str, status: int = 0, after_s: float | None = None) -> None:
        super().__init__(message)
        self.status, self.after_s = status, after_s

    @property
    def is_passing(self) -> bool:
        """Whether a later call may succeed."""
        return self.status in _LATER


class Telegram:
    """Calls the methods of one bot.

    Args:
        master: the master, whose HTTP client is used.
        token: the token of the bot, which is its password.
    """

    def __init__(self, master: Any, token: str) -> None:
        self._master, self._token = master, token

    async def call(
        self, method: str, timeout_s: float = TIMEOUT_S, files: Mapping[str, FileValue] | None = None, **parameters: Any
    ) -> Any:
        """Call a method; gives its result.

        Args:
            method: the name of the method.
            timeout_s: the timeout in seconds.
            files: files by the names of their parameters.
            parameters: the other parameters.

        Raises:
            CallError: it failed.
        """
        body: dict[str, Any] = {"json": parameters} if parameters else {}
        if files:
            body = {"data": parameters, "files": files}
        try:
            answer = await self._master.httpservice.request(
                "POST", f"{API}/bot{self._token}/{method}", name=f"Telegram's {method}", timeout_s=timeout_s,
                max_bytes=_MAX_BYTES, **body,
            )  # fmt: skip
        except HttpError as problem:
            raise CallError(str(problem)) from None
        after_s = answer.headers.get("retry-after", "")
        try:
            told = answer.json()
        except HttpError:
            told = None
        told = told if isinstance(told, dict) else {}
        if answer.ok and told.get("ok") is True and "result" in told:
            return told["result"]
        asked = told.get("parameters")
        wanted = asked.get("retry_after") if isinstance(asked, dict) else None
        if not isinstance(wanted, int | float):
            wanted = float(after_s) if after_s.isdecimal() else None
        said = str(told.get("description", "no description")).replace(self._token, "…")[:_SHOWN]
        status = 502 if answer.ok else answer.status
        raise CallError(f"Telegram's {method} answers {answer.status}: {said}", status, wanted)


class Pauses:
    """The delays after failures: each is twice as long as the previous one, or as long as Telegram says."""

    def __init__(self, first_s: float, longest_s: float = LONGEST_S) -> None:
        self._first_s, self._longest_s = first_s, max(first_s, longest_s)
        self._next_s = first_s

    def after(self, problem: CallError) -> float:
        """The delay in seconds after a failure."""
        pause_s, self._next_s = self._next_s, min(self._next_s * 2, self._longest_s)
        return pause_s if problem.after_s is None else min(max(problem.after_s, 0.0), LONGEST_ASKED_S)

    def reset(self) -> None:
        """Begin with the first delay again, after a success."""
        self._next_s = self._first_s


@dataclass(frozen=True)
class _Call:
    method: str
    parameters: Mapping[str, Any]


class Outbox:
    """Sends messages one after the other; messages that cannot be sent now wait in memory.

    Args:
        telegram: calls the methods.
        reactor: for the delays.
        bot: the name of the bot in the log.
    """

    def __init__(self, telegram: Telegram, reactor: Any, bot: str) -> None:
        self._telegram, self._reactor, self._bot = telegram, reactor, bot
        self._waiting: deque[_Call] = deque()
        self._sending: Deferred[Any] | None = None
        self._busy = False
        self._ended = False

    def put(self, method: str, **parameters: Any) -> None:
        """Queue a call of a method."""
        if self._ended:
            return
        if len(self._waiting) >= MAX_WAITING:
            self._waiting.popleft()
            _log.error("{bot}: {number} messages wait; the oldest one is dropped", bot=self._bot, number=MAX_WAITING)
        self._waiting.append(_Call(method, parameters))
        if not self._busy:
            self._busy = True
            self._sending = in_background(self._send(), f"sending of {self._bot}")

    def text(self, room: str, text: str, **more: Any) -> None:
        """Queue a text, in several messages if it is long; ``more`` are parameters of the last one."""
        parts = _parts(text)
        for number, part in enumerate(parts, 1):
            given = more if number == len(parts) else {}
            self.put("sendMessage", chat_id=chat_id(room), parse_mode="Markdown", text=markdown(part), **given)

    async def end(self) -> None:
        """Drop waiting messages, and send no more."""
        self._ended = True
        self._waiting.clear()
        if self._sending is not None:
            self._sending.cancel()
            await self._sending

    async def _send(self) -> None:
        pauses = Pauses(FIRST_S)
        try:
            while self._waiting:
                call = self._waiting.popleft()
                pause_s = await self._sent(call, pauses)
                if pause_s is None or self._ended:
                    continue
                self._waiting.appendleft(call)
                await asyncSleep(pause_s, self._reactor)
        finally:
            self._busy = False

    async def _sent(self, call: _Call, pauses: Pauses) -> float | None:
        """Make a call; the seconds until it is to be repeated, None if it is done."""
        try:
            await self._telegram.call(call.method, **call.parameters)
        except CallError as problem:
            if problem.status == 400 and "parse" in str(problem) and "parse_mode" in call.parameters:
                self._waiting.appendleft(_Call(call.method, _plain(call.parameters)))
                return None
            if not self._ended:
                _log.warn("{bot}: {problem}", bot=self._bot, problem=str(problem))
            return pauses.after(problem) if problem.is_passing else None
        pauses.reset()
        return None


def chat_id(room: str) -> int | str:
    """The id of a chat for Telegram: a number, or ``@channel``."""
    return int(room) if re.fullmatch(r"-?[0-9]+", room) else room


def markdown(text: str) -> str:
    """A text in Markdown, with links and code; all other special characters are escaped."""
    pieces = _MARKED.split(text)
    return "".join(each if number % 2 else re.sub(r"([_*`\[])", r"\\\1", each) for number, each in enumerate(pieces))


def _plain(parameters: Mapping[str, Any]) -> dict[str, Any]:
    rest = {name: value for name, value in parameters.items() if name != "parse_mode"}
    return {**rest, "text": re.sub(r"\\([_*`\[])", r"\1", parameters["text"])}


def _parts(text: str) -> list[str]:
    """A text in parts of at most `MAX_TEXT` characters, split between lines if possible."""
    parts: list[str] = []
    for line in text.splitlines():
        for start in range(0, max(len(line), 1), MAX_TEXT):
            piece = line[start : start + MAX_TEXT]
            if parts and len(parts[-1]) + 1 + len(piece) <= MAX_TEXT:
                parts[-1] += f"\n{piece}"
            else:
                parts.append(piece)
    return [each for each in parts if each.strip()]
