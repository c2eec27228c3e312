"""The bot on Telegram, with an imitation of Telegram's server that keeps the calls."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from treq.testing import RequestTraversalAgent
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.web.server import NOT_DONE_YET

from buildbot.config import ConfigErrors
from buildbot.data.exceptions import ControlParamsError
from buildbot.process.properties import Secret
from buildbot.reporters import telegramapi
from buildbot.reporters.telegram import TelegramBot
from buildbot.schedulers.forcesched import ForceScheduler
from buildbot.schedulers.parameters import BooleanParameter, ChoiceStringParameter, StringParameter
from buildbot.secrets.manager import SecretManager
from buildbot.test.reporters import HttpRecorder, ReporterHarness
from buildbot.test.running import until
from buildbot.util.httpclient import HttpClient
from buildbot.util.results import FAILURE, SUCCESS
from buildbot.www.app import App
from buildbot.www.http.messages import Request
from tests.unit.secrets.test_providers import InMemory

TOKEN = "123:hush-hush"
ANN = {"id": 42, "first_name": "Ann", "last_name": "Doe"}
PRIVATE = {"id": 42, "type": "private"}
GROUP = {"id": -7, "type": "group"}


class Server(HttpRecorder):
    """Telegram, as far as bots know it.

    Attributes:
        faults: answers that methods give before they do what they do: ``{method: [(status, bytes, headers), …]}``.
        updates: what people did that the bot has not confirmed.
    """

    def __init__(self) -> None:
        super().__init__(self.serve)
        self.faults: dict[str, list[Any]] = {}
        self.updates: list[dict[str, Any]] = []
        self.newest = 100
        self._held: list[Any] = []
        self._agents: list[Any] = []

    def client(self, reactor: Any) -> HttpClient:
        """As `HttpRecorder.client`."""
        self._agents.append(RequestTraversalAgent(self))  # type: ignore[no-untyped-call]
        return HttpClient(reactor, self._agents[-1])

    def serve(self, request: Any) -> Any:
        """The answer to a call."""
        host, _, path = self.requests[-1]["url"].removeprefix("https://").partition("/")
        bot, _, method = path.partition("/")
        assert (host, bot, request.method) == ("api.telegram.org", f"bot{TOKEN}", b"POST")
        self.requests[-1]["called"] = method
        if self.faults.get(method):
            return self.faults[method].pop(0)
        if method == "getMe":
            return _result({"id": 123, "username": "our_bot"})
        if method != "getUpdates":
            return _result(True)
        offset = self.requests[-1]["json"].get("offset", 0)
        self.updates = [each for each in self.updates if each["update_id"] >= offset]
        if self.updates:
            return _result(self.updates)
        self._held.append(request)
        return NOT_DONE_YET

    def calls(self, method: str) -> list[dict[str, Any]]:
        """The parameters of the calls of a method."""
        return [each["json"] or {} for each in self.requests if each["called"] == method]

    def happens(self, **update: Any) -> None:
        """Add an update."""
        self.newest += 1
        self.updates.append({"update_id": self.newest, **update})
        held, self._held = self._held, []
        for request in held:
            request.write(_result(self.updates))
            request.finish()
        for agent in self._agents:
            agent.flush()

    def says(self, text: str, chat: dict[str, Any] = PRIVATE) -> None:
        """Ann writes a message."""
        self.happens(message={"message_id": 5, "from": ANN, "chat": chat, "text": text})

    def presses(self, data: str, chat: dict[str, Any] = PRIVATE) -> None:
        """Ann presses a button."""
        message = {"message_id": 6, "chat": chat}
        self.happens(callback_query={"id": "q", "from": ANN, "message": message, "data": data})


def _result(result: Any) -> bytes:
    return json.dumps({"ok": True, "result": result}).encode()


def refusal(status: int, said: str, **parameters: Any) -> tuple[int, bytes]:
    """An answer of Telegram that refuses a call."""
    told = {"ok": False, "error_code": status, "description": said, "parameters": parameters}
    return status, json.dumps(told).encode()


class Farm(ReporterHarness):
    """A bot with its server."""

    server: Server

    def __init__(self, master: Any = None, server: Server | None = None, **arguments: Any) -> None:
        clock = Clock() if master is None else None
        super().__init__(
            TelegramBot(**{"bot_token": TOKEN, **arguments}), server=server or Server(), reactor=clock, master=master
        )

    async def until(self, condition: Callable[[], bool], step_s: float = 0) -> None:
        """Wait for a condition, while the time advances."""

        async def holds() -> bool:
            self.master.reactor.advance(step_s)
            return condition()

        await until(holds)

    async def told(self, number: int = 1) -> dict[str, Any]:
        """The last of a number of messages."""
        sent = self.server.calls
        await self.until(lambda: len(sent("sendMessage")) >= number)
        return sent("sendMessage")[number - 1]

    async def ask(self, text: str, chat: dict[str, Any] = PRIVATE) -> dict[str, Any]:
        """The message that answers what Ann writes."""
        number = len(self.server.calls("sendMessage"))
        self.server.says(text, chat)
        return await self.told(number + 1)

    async def press(self, data: str) -> dict[str, Any]:
        """The message that answers a button."""
        number = len(self.server.calls("sendMessage"))
        self.server.presses(data)
        return await self.told(number + 1)

    async def asking(self) -> None:
        """Wait until the bot polls."""
        await self.until(lambda: bool(self.server._held), 1)


async def farm_of(**arguments: Any) -> Farm:
    """A bot that runs and polls."""
    farm = Farm(**arguments)
    await farm.start()
    await farm.asking()
    return farm


def labels(message: dict[str, Any]) -> dict[str, str]:
    """The commands of a message's buttons by their labels."""
    return {each["text"]: each["callback_data"] for row in message["reply_markup"]["inline_keyboard"] for each in row}


async def test_how_it_begins() -> None:
    """The bot reads its name, removes a webhook, registers its commands, and polls, with the next offset."""
    farm = await farm_of(pollTimeout=60)
    called = [each["called"] for each in farm.server.requests]
    assert sorted(called) == ["deleteWebhook", "getMe", "getUpdates", "setMyCommands"]
    assert called.index("deleteWebhook") < called.index("getUpdates")
    assert farm.server.requests[called.index("getMe")]["body"] == b""
    commands = farm.server.calls("setMyCommands")[0]["commands"]
    assert " ".join(each["command"] for each in commands) == (
        "commands force getid hello help last list nay notify shutdown source start status stop version watch"
    )
    assert all(each["description"] for each in commands)
    assert await farm.ask("/hello") == {"chat_id": 42, "parse_mode": "Markdown", "text": "Hello, Ann Doe (42)."}
    await farm.asking()
    assert farm.server.calls("getUpdates") == [{"timeout": 60}, {"timeout": 60, "offset": 102}]
    await farm.stop()


async def test_builds_are_told() -> None:
    """Wanted events are sent to each chat; links and code are Markdown, all else is escaped."""
    farm = await farm_of(chat_ids=[42, "@builds"], notify_events=["failure"], bot_username="our_bot")
    await farm.build(SUCCESS)
    await farm.build(FAILURE, text="failed my_test [x] *")
    await farm.told(2)
    first, second = farm.server.calls("sendMessage")
    assert (first["chat_id"], second["chat_id"], first["parse_mode"]) == (42, "@builds", "Markdown")
    assert first["text"] == second["text"]
    assert first["text"] == (
        "Build [#2](https://ci/#/builders/1/builds/2) of `b one` failed \u2757: failed my\\_test \\[x] \\*"
    )
    assert farm.server.calls("getMe") == []
    await farm.stop()


async def called(farm: Farm, update: Any, secret: str | None = None, path: str | None = None) -> int:
    """The status of the answer to a call of the webhook with an update."""
    told = farm.server.calls("setWebhook")[-1]
    address = told["url"].removeprefix("https://ci/") if path is None else path
    headers = {"x-telegram-bot-api-secret-token": told["secret_token"] if secret is None else secret}
    body = update if isinstance(update, bytes) else json.dumps(update).encode()
    app: Any = SimpleNamespace(gate=SimpleNamespace(master=farm.master))
    request = Request("POST", f"/{address}", headers=headers, body=body)
    return (await App._call_back(app, request, request.segments()[1:])).status


async def test_webhook() -> None:
    """Telegram gets an address and a secret, both without the token; it calls, and is not polled."""
    farm = Farm(useWebhook=True)
    await farm.start()
    await farm.until(lambda: bool(farm.server.calls("setMyCommands")))
    (told,) = farm.server.calls("setWebhook")
    assert told["url"].startswith("https://ci/callback/telegram/") and "hush" not in str(told)
    assert farm.server.calls("getUpdates") == farm.server.calls("deleteWebhook") == []
    message = {"message_id": 5, "from": ANN, "chat": PRIVATE, "text": "/getid"}
    assert await called(farm, {"update_id": 7, "message": message}) == 200
    assert (await farm.told())["text"] == "Your id is `42`."
    assert await called(farm, {"update_id": 7, "message": message}) == 200
    assert await called(farm, {"update_id": 8, "message": message}, secret="guess") == 403
    assert await called(farm, b"no JSON") == await called(farm, []) == await called(farm, {"update_id": "x"}) == 400
    assert await called(farm, {}, path="callback/telegram/guess") == 404
    farm.master.reactor.advance(0)
    assert len(farm.server.calls("sendMessage")) == 1
    await farm.stop()
    assert await called(farm, {"update_id": 9, "message": message}) == 404


@pytest.mark.parametrize("form", ["path", "file", "bytes"])
async def test_certificate(form: str, tmp_path: Path) -> None:
    """A self-signed certificate is sent to Telegram, as a file of a form."""
    path = tmp_path / "cert.pem"
    path.write_bytes(b"-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----\n")
    given = {"path": str(path), "file": path.open("rb"), "bytes": path.read_bytes()}
    farm = Farm(useWebhook=True, certificate=given[form])
    await farm.start()

    def told() -> bool:
        for agent in farm.server._agents:
            agent.flush()
        return bool(farm.server.calls("setMyCommands"))

    await farm.until(told)
    (request,) = [each for each in farm.server.requests if each["called"] == "setWebhook"]
    assert request["headers"]["content-type"].startswith("multipart/form-data")
    assert path.read_bytes() in request["body"] and b"https://ci/callback/telegram/" in request["body"]
    await farm.stop()


async def test_webhook_that_is_not_taken() -> None:
    """Telegram's refusal of the address is logged, and the registration is repeated."""
    farm = Farm(useWebhook=True)
    farm.server.faults["setWebhook"] = [refusal(400, "bad webhook: an HTTPS URL must be provided")]
    with capturedLogs() as logs:
        await farm.start()
        await farm.until(lambda: len(farm.server.calls("setWebhook")) == 2, 1)
    assert any("an HTTPS URL must be provided" in str(each.get("problem")) for each in logs)
    await farm.stop()


async def test_where_commands_are_heard() -> None:
    """Commands are given in private, or to this bot in groups; other talk is answered in private only."""
    farm = await farm_of()
    assert (await farm.ask("/getid"))["text"] == "Your id is `42`."
    assert "do not know what you mean" in (await farm.ask("good morning"))["text"]
    assert "do not know 'sudo'" in (await farm.ask("/sudo make"))["text"]
    farm.server.says("good morning", GROUP)
    farm.server.says("/getid@another_bot", GROUP)
    answer = await farm.ask("/getid@our_bot", GROUP)
    assert answer["text"] == "Your id is `42`.\nThe id of this group is `-7`."
    assert (answer["chat_id"], answer["reply_to_message_id"]) == (-7, 5)
    assert len(farm.server.calls("sendMessage")) == 4
    assert (await farm.ask("/start"))["text"] == "Hello, Ann Doe. /help tells what I can do."
    assert farm.server.calls("setChatMenuButton") == [{"chat_id": 42, "menu_button": {"type": "commands"}}]
    assert "status - the current builds of builders" in (await farm.ask("/commands botfather"))["text"]
    await farm.stop()


async def test_who_may() -> None:
    """Rules have ids of users, as numbers or texts; buttons have the same permissions as commands."""
    farm = await farm_of(authz={"stop": 42, "force": [43], "shutdown": "42"})
    refused = "You may not do that, Ann Doe (42): force"
    assert (await farm.ask("/force build b reason"))["text"] == refused
    assert (await farm.press("/force - start"))["text"] == refused
    assert (await farm.ask("/stop"))["text"] == "There are no builds running now."
    farm.master.is_leaving = False
    shown = labels(await farm.ask("/shutdown"))
    assert (shown["Now"], shown["After the builds"]) == ("/shutdown now", "/shutdown start")
    farm.master.is_leaving = True
    assert labels(await farm.ask("/shutdown"))["Go on"] == "/shutdown stop"
    await farm.stop()


async def test_buttons() -> None:
    """Buttons have commands of at most 64 bytes; Hide deletes the message."""
    farm = await farm_of(authz={"!": True})
    long = "b" * 60
    brids = [await farm.request(name) for name in ("b one", long)]
    described: dict[str, Any] = {"description": None, "description_format": None, "tags": [], "projectid": None}
    await farm.master.data.update.setBuilders([{"name": name, **described} for name in ("b one", long)])
    for brid in brids:
        await farm.begin(brid)
    asked = labels(await farm.ask("/list"))
    assert asked["Builders"] == "/list builders" and asked["All workers"] == "/list all workers"
    assert f"`{long}`" in (await farm.press(asked["Builders"]))["text"]
    assert farm.server.calls("answerCallbackQuery") == [{"callback_query_id": "q"}]
    watched = labels(await farm.ask("/watch"))
    assert watched == {"b one": "/watch 'b one'", long: "/watch #2", "Hide": "/hide"}
    assert f"of `{long}` ends" in (await farm.press(watched[long]))["text"]
    stopped = labels(await farm.ask("/stop"))
    assert stopped["b one"] == "/stop build 'b one' in Telegram"
    assert "is stopped" in (await farm.press(stopped[long]))["text"]
    farm.server.presses("/hide")
    await farm.until(lambda: bool(farm.server.calls("deleteMessage")))
    assert farm.server.calls("deleteMessage") == [{"chat_id": 42, "message_id": 6}]
    await farm.stop()


async def test_events_by_button() -> None:
    """A button toggles an event, and the buttons are redrawn; the state survives a restart."""
    farm = await farm_of()
    asked = labels(await farm.ask("/notify"))
    assert asked["worker: off"] == "/notify on-quiet worker"
    farm.server.presses(asked["worker: off"])
    await farm.until(lambda: bool(farm.server.calls("editMessageReplyMarkup")))
    (redrawn,) = farm.server.calls("editMessageReplyMarkup")
    assert (redrawn["chat_id"], redrawn["message_id"]) == (42, 6)
    assert labels(redrawn)["worker: on"] == "/notify off-quiet worker"
    await farm.stop()
    again = await farm_of(master=farm.master)
    assert (await again.ask("/notify list"))["text"] == "The following events are being notified: worker"
    await again.stop()


async def test_a_command_is_done_once() -> None:
    """A handled update of which Telegram does not know is not handled again after a restart."""
    farm = await farm_of()
    await farm.ask("/hello")
    await farm.asking()
    await farm.stop()
    server = Server()
    server.says("/hello")
    again = Farm(master=farm.master, server=server)
    await again.start()
    await again.asking()
    assert server.calls("getUpdates") == [{"timeout": 120}, {"timeout": 120, "offset": 102}]
    assert server.calls("sendMessage") == []
    assert "Tenfold" in (await again.ask("/version"))["text"]
    await again.stop()


async def form(farm: Farm) -> list[Any]:
    """A form; the submitted values."""
    given: list[Any] = []
    scheduler = ForceScheduler(
        "rel", ["b one"],
        properties=[
            ChoiceStringParameter("kind", "Kind:", choices=["nightly", "release"], default="nightly"),
            BooleanParameter("clean", "Clean"),
            StringParameter("secret", hide=True),
        ],
    )  # fmt: skip
    update = farm.master.data.update
    schedulerid = await update.findSchedulerId("rel")
    await update.setSchedulerMaster(schedulerid, farm.master.masterid)
    await update.setForceScheduler(schedulerid, scheduler.describe())

    async def control(action: str, args: Any, path: Any) -> Any:
        given.append((action, dict(args), path))
        if args["reason"] == "bad":
            raise ControlParamsError({"reason": "not this one"})
        return [1, {"1": 9}]

    farm.master.data.control = control
    return given


async def test_a_form() -> None:
    """A single scheduler needs no choice; values are changed by buttons and messages; then the build is requested."""
    farm = await farm_of(authz={"force": 42})
    given = await form(farm)
    builder = labels(await farm.ask("/force"))
    assert builder == {"b one": "/force rel config 'b one'", "Hide": "/hide"}
    shown = await farm.press(builder["b one"])
    assert shown["text"].startswith("Build `b one` with `rel`:\nreason: force build\npriority: 0\n")
    assert "secret" not in shown["text"] and "Kind: nightly\nClean: False" in shown["text"]
    buttons = labels(shown)
    assert labels(await farm.press(buttons["Change Kind"]))["release"].startswith("/force - value ")
    shown = await farm.press(labels(farm.server.calls("sendMessage")[-1])["release"])
    assert "Kind: release" in shown["text"]
    assert "Clean: True" in (await farm.press(buttons["Change Clean"]))["text"]
    assert (await farm.press(buttons["Change reason"]))["text"] == "Send me: reason"
    assert "reason: bad" in (await farm.ask("bad"))["text"]
    assert (await farm.press(buttons["Start"]))["text"] == "That cannot be built: reason: not this one"
    await farm.press(buttons["Change reason"])
    await farm.ask("it's time")
    assert (await farm.press(buttons["Start"]))["text"] == "Build request 9 of `b one` is made."
    action, args, path = given[-1]
    assert (action, path) == ("force", ("forceschedulers", "rel"))
    assert args["owner"] == "Ann Doe (42)" and args["builderNames"] == ["b one"]
    assert (args["kind"], args["clean"], args["reason"]) == ("release", True, "it's time")
    assert "no form" in (await farm.press(buttons["Start"]))["text"]
    await farm.ask("/force rel config 'b one'")
    assert (await farm.ask("/nay"))["text"] == "It is forgotten."
    for line in ("/force other", "/force rel make 'b one'", "/force rel config nine"):
        assert (await farm.ask(line))["text"].startswith(("no such force scheduler", "Try '")), line
    await farm.stop()


async def test_a_server_that_is_busy() -> None:
    """Messages wait as long as Telegram says, in their order; what it never takes is left out, and Markdown that it
    does not take is sent as plain text.
    """
    farm = await farm_of(chat_ids=[42], notify_events=["finished"])
    clock = farm.master.reactor
    farm.server.faults["sendMessage"] = [
        refusal(429, "Too Many Requests", retry_after=17), (503, b"", {"Retry-After": "20"}), (502, b"<html>"),
        refusal(403, "bot was blocked by the user"), refusal(400, "Bad Request: can't parse entities"),
    ]  # fmt: skip
    began = clock.seconds()
    await farm.build(FAILURE, text="one_")
    await farm.build(FAILURE, text="two_")
    sent = farm.server.calls
    await farm.until(lambda: len(sent("sendMessage")) == 2, 0.5)
    assert 17 <= clock.seconds() - began < 19
    await farm.until(lambda: len(sent("sendMessage")) == 3, 0.5)
    assert 37 <= clock.seconds() - began < 41
    await farm.until(lambda: len(sent("sendMessage")) == 6, 0.5)
    texts = [each["text"].partition(": ")[2] for each in sent("sendMessage")]
    assert texts == ["one\\_"] * 4 + ["two\\_", "two_"]
    assert "parse_mode" not in sent("sendMessage")[-1]
    await farm.stop()


async def test_asking_again() -> None:
    """After a bad answer the bot polls after retryDelay, then after twice as long; no log has the token."""
    farm = Farm(retryDelay=10)
    farm.server.faults = {
        "getMe": [refusal(401, f"Unauthorized {TOKEN}"), (500, b"no")],
        "getUpdates": [
            refusal(409, "Conflict"),
            _result([])[:-3],
            _result({"a": 1}),
            refusal(429, "wait", retry_after=7),
        ],
        "setMyCommands": [refusal(400, "no")],
    }
    clock = farm.master.reactor
    times: list[tuple[str, float]] = []
    answer = farm.server.answer

    def noted(request: Any) -> Any:
        times.append((farm.server.requests[-1]["url"].rpartition("/")[2], clock.seconds()))
        return answer(request)

    farm.server.answer = noted
    with capturedLogs() as events:
        await farm.start()
        await farm.asking()
    begun = times[0][1]
    assert [round(when - begun) for what, when in times if what == "getMe"] == [0, 10, 30]
    first, *rest = [when for what, when in times if what == "getUpdates"]
    assert [round(when - first) for when in rest] == [10, 30, 70, 77]
    assert "hush" not in str(events) and any("answers 401: Unauthorized" in str(each) for each in events)
    await farm.stop()


async def test_an_update_that_nobody_understands() -> None:
    """A malformed update is logged, and the next one is handled."""
    farm = await farm_of()
    with capturedLogs() as events:
        farm.server.happens(message={"from": {}, "text": "/hello"})
        farm.server.happens(edited_message={})
        assert "Hello" in (await farm.ask("/hello"))["text"]
    assert any("an update could not be handled" in str(each.get("log_format")) for each in events)
    await farm.stop()


async def test_a_secret() -> None:
    """The token may be a secret."""
    farm = Farm(bot_token=Secret("token"))
    secrets = SecretManager(farm.master)
    farm.master.namedServices = {"secrets": secrets}
    await secrets.startService()
    await secrets.use([InMemory({"token": TOKEN})])
    await farm.start()
    await farm.asking()
    await farm.stop()


async def test_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    """Long texts are split; while nothing can be sent, the oldest messages are dropped."""
    monkeypatch.setattr(telegramapi, "MAX_TEXT", 10)
    monkeypatch.setattr(telegramapi, "MAX_WAITING", 2)
    farm = await farm_of()
    farm.server.faults["sendMessage"] = [(500, b"")]
    bot: Any = farm.services[0]
    bot.say("1", "one two\nthree\nfourfivesixseven")
    bot.say("1", "eight")
    await farm.until(lambda: len(farm.server.calls("sendMessage")) == 3, 1)
    assert [each["text"] for each in farm.server.calls("sendMessage")[1:]] == ["xseven", "eight"]
    await farm.stop()


@pytest.mark.parametrize(("arguments", "said"), [
    ({"bot_token": "with space"}, "bot_token must be the token that BotFather gives"),
    ({"chat_ids": ["ann"]}, "chat_ids element 1 must be the id of a chat or '@channel'"),
    ({"chat_ids": 42}, "chat_ids must be a list"),
    ({"certificate": b"-----BEGIN CERTIFICATE-----"}, "certificate goes with useWebhook=True"),
    ({"useWebhook": True, "certificate": b"x"}, "certificate must be a certificate"),
    ({"useWebhook": True, "certificate": "/no/such/file"}, "certificate cannot be read"),
    ({"pollTimeout": 0}, "pollTimeout must be a number above 0"),
    ({"authz": {"force": 1.5}}, r"authz \['force'\] must be True, False"),
])  # fmt: skip
def test_mistakes(arguments: dict[str, Any], said: str) -> None:
    """Mistakes are reported when the configuration is read; a wrong token is not shown."""
    with pytest.raises(ConfigErrors, match=said) as caught:
        TelegramBot(**{"bot_token": TOKEN, **arguments})
    assert "with space" not in str(caught.value)
