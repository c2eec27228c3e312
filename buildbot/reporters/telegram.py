"""The bot on Telegram: it notifies chats of builds, and answers commands, with buttons.

The bot polls Telegram for messages (`getUpdates`), for which the master needs no public address; with a webhook,
Telegram calls the master's web server. The database has the ids of handled updates that Telegram does not know of yet,
so that a command runs only once, also if the master stops in between.

The URL of the webhook does not have the token, which would get into logs. Telegram authenticates itself by a secret in
a header.
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, DeferredLock
from twisted.logger import Logger

from buildbot.config import checks
from buildbot.config.arguments import REQUIRED, argument
from buildbot.config.errors import error
from buildbot.reporters.chat import VERBS
from buildbot.reporters.chat import authz as checked_rules
from buildbot.reporters.chatbot import ChatBot, ChatPart
from buildbot.reporters.telegramapi import CallError, Outbox, Pauses, Telegram, chat_id
from buildbot.reporters.telegramcommands import HIDE, Buttons, TelegramCommands
from buildbot.util.background import in_background
from buildbot.util.callbacks import callbacks_of
from buildbot.util.deferreds import asyncSleep
from buildbot.util.results import CANCELLED, EXCEPTION, FAILURE, RETRY, SKIPPED, SUCCESS, WARNINGS

_log = Logger()

#: the number of last updates by webhook whose repetition is recognized
_REMEMBERED = 100
#: seconds that an answer to a poll may take beyond its timeout
_LATE_S = 15.0
_SYMBOLS = {
    None: "\N{BLACK RIGHT-POINTING TRIANGLE}",
    SUCCESS: "\N{WHITE HEAVY CHECK MARK}",
    WARNINGS: "\N{WARNING SIGN}",
    FAILURE: "\N{HEAVY EXCLAMATION MARK SYMBOL}",
    EXCEPTION: "\N{DOUBLE EXCLAMATION MARK}",
    CANCELLED: "\N{NO ENTRY SIGN}",
    RETRY: "\N{CLOCKWISE OPEN CIRCLE ARROW}",
    SKIPPED: "\N{BLACK RIGHT-POINTING DOUBLE TRIANGLE}",
}
_COMMAND = re.compile(r"/(\w+)(?:@(\w+))?(?:\s+(.*))?\Z", re.DOTALL)


def _token(value: Any) -> str:
    # a wrong value may be a token, so it is not shown
    if not isinstance(value, str) or not re.fullmatch(r"[\w:-]+", value, re.ASCII):
        raise ValueError("must be the token that BotFather gives, or a Secret with it")
    return value


def _certificate(value: Any) -> bytes:
    if isinstance(value, str):
        try:
            value = Path(value).read_bytes()
        except OSError as problem:
            raise ValueError(f"cannot be read: {problem}") from None
    elif callable(getattr(value, "read", None)):
        value.seek(0)  # it is read at each check of the arguments
        value = value.read()
    if not isinstance(value, bytes) or b"-----BEGIN CERTIFICATE-----" not in value:
        raise ValueError("must be a certificate (PEM): its path, its content as bytes, or an open file")
    return value


def _chats(value: Any) -> list[str]:
    found = []
    for number, each in enumerate(checks.sequence(value), 1):
        is_id = isinstance(each, int) and not isinstance(each, bool)
        if not is_id and not (isinstance(each, str) and re.fullmatch(r"-?[0-9]+|@\w+", each)):
            raise ValueError(f"element {number} must be the id of a chat or '@channel', not {checks.kind(each)}")
        found.append(str(each))
    return found


def _rules(value: Any) -> Any:
    given = checks.dictionary(value)
    alone = {key: [each] for key, each in given.items() if isinstance(each, int) and not isinstance(each, bool)}
    return checked_rules({**given, **alone})


class TelegramBot(ChatBot):
    """A bot on Telegram. If several masters have a bot of the same name, one of them runs it."""

    name = "TelegramBot"
    secrets = ("bot_token",)
    positional = (
        "bot_token", "chat_ids", "authz", "bot_username", "tags", "notify_events", "showBlameList", "useRevisions",
        "useWebhook", "certificate", "pollTimeout", "retryDelay",
    )  # fmt: skip

    bot_token = argument(REQUIRED, _token, renderable=True, doc="the token that BotFather gives; a secret")
    chat_ids = argument(
        (), checks.optional(_chats), doc="the chats that are notified of `notify_events`: their ids, or `@channel`"
    )
    authz = argument(
        None,
        checks.optional(_rules),
        doc="""the permissions: a command, or a tuple of commands, without slash, with True, False or ids of users (see
        `/getid`); `''` stands for all harmless commands, `'!'` for `force`, `stop` and `shutdown`""",
    )
    bot_username = argument(None, checks.optional(checks.name), doc="the username of the bot; None: Telegram is asked")
    useWebhook = argument(
        False,
        checks.boolean,
        doc="""whether Telegram calls an address below `buildbotURL`, which must be `https://`; otherwise the bot polls
        Telegram""",
    )
    certificate = argument(
        None,
        checks.optional(_certificate),
        doc="""for a webhook: the certificate of the web server (PEM), if it is self-signed: its path, its content as
        bytes, or an open file""",
    )
    pollTimeout = argument(120, checks.positive, doc="seconds that Telegram waits for updates before it answers a poll")
    retryDelay = argument(
        30,
        checks.positive,
        doc="seconds until the next poll after a failed one; doubled after each further failure",
    )

    outbox: Outbox | None = None
    #: its username
    nick: str = ""

    def checkConfig(self, *args: Any, **kwargs: Any) -> Any:
        """Check the arguments, also those that need each other."""
        super().checkConfig(*args, **kwargs)
        given = self.by_name(args, kwargs)
        if given.get("certificate") is not None and given.get("useWebhook") is not True:
            error(f"{self.name}: certificate goes with useWebhook=True")

    def part(self) -> _Running:
        """As `ChatBot.part`."""
        return _Running(self)

    @property
    def rules(self) -> dict[str, Any]:
        """The permissions of users."""
        return dict(self.authz or {})

    def verb(self, results: int | None) -> str:
        """The verb for the result of a build, with a symbol."""
        verb = VERBS[results]
        return f"{verb} {_SYMBOLS[results]}" if results in _SYMBOLS else verb

    def say(self, room: str, text: str) -> None:
        """Send a message, as soon as Telegram accepts it."""
        if self.outbox is not None:
            self.outbox.text(room, text)

    # called by commands

    def ask(self, room: str, text: str, buttons: Buttons) -> None:
        """As `buildbot.reporters.telegramcommands.TelegramBot.ask`."""
        if self.outbox is not None:
            self.outbox.text(room, text, reply_markup=_keyboard(buttons))

    def redraw(self, room: str, message: int, buttons: Buttons) -> None:
        """As `buildbot.reporters.telegramcommands.TelegramBot.redraw`."""
        if self.outbox is not None:
            self.outbox.put(
                "editMessageReplyMarkup", chat_id=chat_id(room), message_id=message, reply_markup=_keyboard(buttons)
            )

    def join_room(self, name: str) -> None:
        """As `Bot.join_room`; there is no command for it: users add bots to groups."""

    def leave_room(self, name: str) -> None:
        """As `Bot.leave_room`; there is no command for it."""


def _derived(purpose: str, token: str) -> str:
    """A text that is computed from the token, and from which the token cannot be found out."""
    return hmac.new(token.encode(), f"buildbot webhook {purpose}".encode(), "sha256").hexdigest()


def _keyboard(buttons: Buttons) -> dict[str, Any]:
    rows = [[{"text": label, "callback_data": command} for label, command in row] for row in buttons]
    return {"inline_keyboard": rows}


class _Running(ChatPart):
    """The bot, while this master runs it."""

    def __init__(self, bot: TelegramBot) -> None:
        super().__init__(bot)
        self._bot = bot
        self._telegram: Telegram
        self._outbox: Outbox
        self._commands: TelegramCommands
        self._asking: Deferred[Any] | None = None
        self._ended = False
        #: the ids of handled updates of which Telegram does not know yet
        self._done: list[int] = []
        #: the id of the next update; None: the oldest that Telegram has
        self._offset: int | None = None
        #: held while an update of the webhook is handled
        self._taking = DeferredLock()

    async def start_work(self) -> None:
        """Begin to poll, or register the webhook."""
        bot = self._bot
        self._ended, self._offset = False, None
        self._telegram = Telegram(self.master, bot.bot_token)
        self._outbox = bot.outbox = Outbox(self._telegram, self.master.reactor, bot.name)
        self._done = await self.master.db.state.getState(self.objectid, "done", [])
        await self.tell(bot.chat_ids or ())
        self._commands = TelegramCommands(self.master, bot, bot.teller, bot.rules)
        self._asking = in_background(self._ask(), f"asking of {bot!r}")

    async def stop_work(self) -> None:
        """Stop polling, and answer no more calls of the webhook."""
        self._ended = True
        callbacks_of(self.master).pop(self._address, None)
        await self._bot.teller.stop()
        self._bot.outbox = None
        await self._outbox.end()
        asking, self._asking = self._asking, None
        if asking is not None:
            asking.cancel()
            await asking

    async def _ask(self) -> None:
        bot, call = self._bot, self._telegram.call
        bot.nick = bot.bot_username or (await self._patiently(lambda: call("getMe"))).get("username", "")
        if bot.useWebhook:
            await self._patiently(self._register_webhook)
        else:
            await self._patiently(lambda: call("deleteWebhook"))
        commands = [{"command": name, "description": said} for name, said in self._commands.meanings().items()]
        self._outbox.put("setMyCommands", commands=commands)
        while not self._ended and not bot.useWebhook:
            await self._patiently(self._poll_once)

    @property
    def _address(self) -> str:
        return f"telegram/{_derived('address', self._bot.bot_token)[:32]}"

    async def _register_webhook(self) -> None:
        """Register the webhook with Telegram."""
        told: dict[str, Any] = {
            "url": f"{self._bot.master.config.buildbotURL}callback/{self._address}",
            "secret_token": _derived("secret", self._bot.bot_token),
        }
        callbacks_of(self.master)[self._address] = self._called
        certificate = self._bot.certificate
        files = None if certificate is None else {"certificate": ("certificate.pem", certificate)}
        await self._telegram.call("setWebhook", files=files, **told)

    async def _called(self, headers: Mapping[str, str], body: bytes) -> int:
        """Handle a call of the webhook; the HTTP status of the answer. Telegram repeats a call without 200."""
        secret = headers.get("x-telegram-bot-api-secret-token", "")
        if not hmac.compare_digest(secret.encode(), _derived("secret", self._bot.bot_token).encode()):
            return 403
        try:
            update = json.loads(body)
        except ValueError:
            return 400
        if not isinstance(update, dict) or not isinstance(update.get("update_id"), int):
            return 400
        async with self._taking:
            await self._take(update)
            del self._done[:-_REMEMBERED]
        return 200

    async def _poll_once(self) -> None:
        """Poll once, and handle the updates."""
        asked: dict[str, Any] = {"timeout": self._bot.pollTimeout}
        if self._offset is not None:
            asked["offset"] = self._offset
        timeout_s = self._bot.pollTimeout + _LATE_S
        updates = await self._telegram.call("getUpdates", timeout_s=timeout_s, **asked)
        if not isinstance(updates, list) or not all(isinstance(each, dict) for each in updates):
            raise CallError("Telegram's getUpdates answers without a list of updates")
        if self._offset is not None:
            self._done.clear()
        for each in updates:
            await self._take(each)
            self._offset = each["update_id"] + 1

    async def _patiently(self, work: Callable[[], Awaitable[Any]]) -> Any:
        """The result of ``work``, which is repeated until it succeeds."""
        pauses = Pauses(self._bot.retryDelay)
        while True:
            try:
                return await work()
            except CancelledError:
                raise
            except CallError as problem:
                if self._ended:
                    raise CancelledError() from None
                pause_s = pauses.after(problem)
                _log.warn(
                    "{bot}: {problem}; next try in {pause:.0f} s",
                    bot=self._bot.name, problem=str(problem), pause=pause_s,
                )  # fmt: skip
            except Exception as problem:  # the database, most often
                pause_s = pauses.after(CallError(str(problem)))
                _log.failure("{bot} cannot go on; next try in {pause:.0f} s", bot=self._bot.name, pause=pause_s)
            await asyncSleep(pause_s, self.master.reactor)

    async def _take(self, update: dict[str, Any]) -> None:
        """Handle an update, unless it was handled before."""
        if update["update_id"] in self._done:
            return
        await self.master.db.state.setState(self.objectid, "done", [*self._done, update["update_id"]])
        self._done.append(update["update_id"])
        try:
            if "message" in update:
                await self._message(update["message"])
            elif "callback_query" in update:
                await self._button(update["callback_query"])
        except Exception:
            _log.failure("{bot}: an update could not be handled", bot=self._bot.name)

    async def _message(self, message: dict[str, Any]) -> None:
        if "from" not in message or "text" not in message:
            return
        text, is_private = message["text"].strip(), message["chat"]["type"] == "private"
        found = _COMMAND.match(text)
        more = {} if is_private else {"reply_to_message_id": message["message_id"]}
        room = str(message["chat"]["id"])
        if found is None:
            user = self._user(message["from"])
            answer = await self._commands.heard(user, self._bot.teller.room(room), text)
            if answer is None and is_private:
                answer = ["I do not know what you mean; /help tells what I can do."]
            self._answer(room, answer or (), more)
        elif not found[2] or found[2].lower() == self._bot.nick.lower():
            if found[1] == "start":
                self._outbox.put("setChatMenuButton", chat_id=chat_id(room), menu_button={"type": "commands"})
            await self._command(message["from"], room, text=f"{found[1]} {found[3] or ''}", more=more)

    async def _button(self, query: dict[str, Any]) -> None:
        self._outbox.put("answerCallbackQuery", callback_query_id=query["id"])
        message, data = query.get("message"), query.get("data", "")
        if message is None:
            return
        room = str(message["chat"]["id"])
        if data == HIDE:
            self._outbox.put("deleteMessage", chat_id=chat_id(room), message_id=message["message_id"])
            return
        self._commands.pressed = message["message_id"]
        try:
            await self._command(query["from"], room, data.removeprefix("/"), {})
        finally:
            self._commands.pressed = None

    async def _command(self, sender: dict[str, Any], room: str, text: str, more: dict[str, Any]) -> None:
        user = self._user(sender)
        self._answer(room, await self._commands.answer(user, self._bot.teller.room(room), text), more)

    def _user(self, sender: dict[str, Any]) -> str:
        """The id of the sender, whose name is remembered."""
        user = str(sender["id"])
        name = " ".join(str(sender[key]) for key in ("first_name", "last_name") if sender.get(key))
        self._commands.people[user] = name or str(sender.get("username", ""))
        return user

    def _answer(self, room: str, lines: Iterable[str], more: dict[str, Any]) -> None:
        self._outbox.text(room, "\n".join(lines), **more)
