"""Telegram's interface for bots: calls of its methods, and messages that wait until they can be sent."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from buildbot.reporters.delivery import FIRST_S, LONGEST_ASKED_S, LONGEST_S
from buildbot.util.background import in_background
from buildbot.util.httpclient import TIMEOUT_S, FileValue, HttpError

_log = Logger()

API = "https://api.telegram.org"
#: messages that wait; of more the oldest are left out
MAX_WAITING = 1000
#: bytes of an answer: a hundred updates with long messages
_MAX_BYTES = 10_000_000
#: characters of one message; Telegram takes 4096
MAX_TEXT = 4000
#: answers after which the same call may be answered well
_LATER = frozenset({0, 408, 409, 429, *range(500, 600)})
_SHOWN = 200
#: what is Markdown in our texts: links and code
_MARKED = re.compile(r"(\[[^\[\]\n]*\]\([^()\s]*\)|`[^`\n]+`)")


class CallError(Exception):
    """A call of a method failed; the message says how, without the token.

    Attributes:
        status: of the answer; 0 without one.
        after_s: seconds after which Telegram wants to be asked again; None if it does not say.
    """

    def __init__(self, message: str, status: int = 0, after_s: float | None = None) -> None:
        super().__init__(message)
        self.status, self.after_s = status, after_s

    @property
    def is_passing(self) -> bool:
        """Whether the same call may be answered well later."""
        return self.status in _LATER


class Telegram:
    """Calls the methods of one bot.

    Args:
        master: the master, whose HTTP client is used.
        token: the bot's, which is its password.
    """

    def __init__(self, master: Any, token: str) -> None:
        self._master, self._token = master, token

    async def call(
        self, method: str, timeout_s: float = TIMEOUT_S, files: Mapping[str, FileValue] | None = None, **parameters: Any
    ) -> Any:
        """The result of a method. Raises CallError."""
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
        said = str(told.get("description", "nothing that can be read")).replace(self._token, "…")[:_SHOWN]
        status = 502 if answer.ok else answer.status
        raise CallError(f"Telegram's {method} answers {answer.status}: {said}", status, wanted)


class Pauses:
    """How long to wait after each failure: twice as long each time, or as long as Telegram says."""

    def __init__(self, first_s: float, longest_s: float = LONGEST_S) -> None:
        self._first_s, self._longest_s = first_s, max(first_s, longest_s)
        self._next_s = first_s

    def after(self, problem: CallError) -> float:
        """Seconds to wait after a failure."""
        pause_s, self._next_s = self._next_s, min(self._next_s * 2, self._longest_s)
        return pause_s if problem.after_s is None else min(max(problem.after_s, 0.0), LONGEST_ASKED_S)

    def reset(self) -> None:
        """It works again."""
        self._next_s = self._first_s


@dataclass(frozen=True)
class _Call:
    method: str
    parameters: Mapping[str, Any]


class Outbox:
    """Sends messages one after the other; what Telegram cannot take now waits, in memory only.

    Args:
        telegram: what it calls.
        reactor: whose time it waits by.
        bot: the name that the log calls it by.
    """

    def __init__(self, telegram: Telegram, reactor: Any, bot: str) -> None:
        self._telegram, self._reactor, self._bot = telegram, reactor, bot
        self._waiting: deque[_Call] = deque()
        self._sending: Deferred[Any] | None = None
        self._busy = False
        self._ended = False

    def put(self, method: str, **parameters: Any) -> None:
        """Have a method called."""
        if self._ended:
            return
        if len(self._waiting) >= MAX_WAITING:
            self._waiting.popleft()
            _log.error("{bot}: {number} messages wait; the oldest is left out", bot=self._bot, number=MAX_WAITING)
        self._waiting.append(_Call(method, parameters))
        if not self._busy:
            self._busy = True
            self._sending = in_background(self._send(), f"sending of {self._bot}")

    def text(self, room: str, text: str, **more: Any) -> None:
        """Have a text sent, in several messages if it is long; ``more`` goes with the last one."""
        parts = _parts(text)
        for number, part in enumerate(parts, 1):
            given = more if number == len(parts) else {}
            self.put("sendMessage", chat_id=chat_id(room), parse_mode="Markdown", text=markdown(part), **given)

    async def end(self) -> None:
        """Send nothing any more."""
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
                pause: Deferred[None] = deferLater(self._reactor, pause_s, lambda: None)
                await pause
        finally:
            self._busy = False

    async def _sent(self, call: _Call, pauses: Pauses) -> float | None:
        """Make a call; seconds after which it is to be made again, None if it is dealt with."""
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
    """A chat as Telegram names it: a number, or ``@channel``."""
    return int(room) if re.fullmatch(r"-?[0-9]+", room) else room


def markdown(text: str) -> str:
    """A text whose links and code are Markdown, and in which everything else means itself."""
    pieces = _MARKED.split(text)
    return "".join(each if number % 2 else re.sub(r"([_*`\[])", r"\\\1", each) for number, each in enumerate(pieces))


def _plain(parameters: Mapping[str, Any]) -> dict[str, Any]:
    rest = {name: value for name, value in parameters.items() if name != "parse_mode"}
    return {**rest, "text": re.sub(r"\\([_*`\[])", r"\1", parameters["text"])}


def _parts(text: str) -> list[str]:
    """A text in pieces that fit into messages, each of whole lines where that is possible."""
    parts: list[str] = []
    for line in text.splitlines():
        for start in range(0, max(len(line), 1), MAX_TEXT):
            piece = line[start : start + MAX_TEXT]
            if parts and len(parts[-1]) + 1 + len(piece) <= MAX_TEXT:
                parts[-1] += f"\n{piece}"
            else:
                parts.append(piece)
    return [each for each in parts if each.strip()]
