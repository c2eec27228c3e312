"""Mails, sent to a real SMTP server."""

from __future__ import annotations

import asyncio
import email
import ssl
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.policy import default
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult
from twisted.logger import capturedLogs

from buildbot.config import ConfigErrors
from buildbot.process.properties import Interpolate
from buildbot.reporters import delivery
from buildbot.reporters.generators.build import BuildStartEndStatusGenerator, BuildStatusGenerator
from buildbot.reporters.generators.buildset import BuildSetStatusGenerator
from buildbot.reporters.generators.worker import WorkerMissingGenerator
from buildbot.reporters.mail import MailNotifier, address_of
from buildbot.reporters.message import MessageFormatter, MessageFormatterFunctionRaw, MessageFormatterRenderable
from buildbot.test.reporters import STAMP, ReporterHarness
from buildbot.test.running import until
from buildbot.util.results import FAILURE, SUCCESS
from tests.unit.util.test_httpclient import make_certificate

PLAIN = MessageFormatter(template="hello {{ buildername }}\n", subject="☺ {{ buildername }}")


class Inbox:
    """The mails that a server accepts."""

    def __init__(self) -> None:
        self.envelopes: list[Any] = []
        self.answers: list[str] = []
        self.refused: set[str] = set()
        self.logins: list[tuple[bytes, bytes]] = []
        self.tls: list[bool] = []

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        if address in self.refused:
            return "550 nobody here"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        answer = self.answers.pop(0) if self.answers else "250 taken"
        if answer.startswith("250"):
            self.envelopes.append(envelope)
            self.tls.append(session.ssl is not None)
        return answer

    def authenticate(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> Any:
        self.logins.append((data.login, data.password))
        return AuthResult(success=data.password == b"hush", handled=False)

    def mails(self) -> list[Any]:
        """The parsed messages."""
        return [
            email.message_from_bytes(each.content.replace(b"\r\n", b"\n"), policy=default) for each in self.envelopes
        ]


@asynccontextmanager
async def serving(inbox: Inbox, **options: Any) -> AsyncIterator[int]:
    """A server; its port."""
    tls = options.pop("ssl_context", None)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def listen() -> asyncio.Server:
        return await loop.create_server(lambda: SMTP(inbox, loop=loop, **options), "127.0.0.1", 0, ssl=tls)

    server = asyncio.run_coroutine_threadsafe(listen(), loop).result(20)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:

        async def end() -> None:
            server.close()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), loop).result(20)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(20)
        loop.close()


async def harness(port: int, *generators: Any, **arguments: Any) -> ReporterHarness:
    """A harness with a running notifier."""
    given = {"fromaddr": "Bot <ci@example.org>", "relayhost": "127.0.0.1", "smtpPort": port, **arguments}
    if generators:
        given["generators"] = list(generators)
    made = ReporterHarness(MailNotifier(**given))
    await made.start()
    return made


def by(author: str) -> dict[str, Any]:
    """A source stamp with a patch of a user."""
    return {
        **STAMP,
        "patch_body": "+x\n",
        "patch_level": 1,
        "patch_author": author,
        "patch_comment": "",
        "patch_subdir": "",
    }


async def test_a_mail() -> None:
    """Headers, body and envelope of a mail."""
    inbox = Inbox()
    async with serving(inbox) as port:
        farm = await harness(port, BuildStatusGenerator(message_formatter=PLAIN), extraRecipients=["list@example.org"],
                             extraHeaders={"X-Branch": Interpolate("%(prop:branch)s"), "X-Fixed": "1"})  # fmt: skip
        await farm.build(stamps=[by("Zoë Q <zoe@example.org>")], properties={"owner": ("bare", "S")})
        await farm.idle()
        await farm.stop()
    (mail,), (envelope,) = inbox.mails(), inbox.envelopes
    assert mail["Subject"] == "☺ b one" and b"Subject: =?utf-8?" in envelope.content
    assert mail["From"] == "Bot <ci@example.org>" and envelope.mail_from == "ci@example.org"
    assert mail["To"] == "Zoë Q <zoe@example.org>" and mail["Cc"] == "list@example.org"
    assert envelope.rcpt_tos == ["zoe@example.org", "list@example.org"]
    assert (mail["X-Branch"], mail["X-Fixed"]) == ("main", "1") and mail["Date"].endswith("-0000")
    assert mail["Message-ID"].endswith("@example.org>")
    assert mail.get_content_type() == "text/plain" and mail.get_content() == "hello b one\n"
    assert mail["Content-Transfer-Encoding"] == "7bit"


@pytest.mark.parametrize(("arguments", "to", "cc"), [
    ({"lookup": "example.net"}, "own1@example.net, Zoe <zoe@example.org>", "list@example.org"),
    ({}, "Zoe <zoe@example.org>", "list@example.org"),
    ({"sendToInterestedUsers": False}, "list@example.org", None),
])  # fmt: skip
async def test_recipients(arguments: dict[str, Any], to: str, cc: str | None) -> None:
    """The responsible users and the extra recipients get the mail."""
    inbox = Inbox()
    async with serving(inbox) as port:
        farm = await harness(
            port, BuildStatusGenerator(message_formatter=PLAIN), extraRecipients=["list@example.org"], **arguments
        )
        await farm.build(stamps=[by("Zoe <zoe@example.org>")], properties={"owner": ("own1", "S")})
        await farm.idle()
        await farm.stop()
    (mail,) = inbox.mails()
    assert sorted(mail["To"].split(", ")) == sorted(to.split(", ")) and mail["Cc"] == cc


class Lookup:
    """Has the addresses of some users."""

    async def getAddress(self, name: str) -> str | None:
        return {"ann": "ann@example.org", "evil": "x@example.org\nBcc: y@example.org"}.get(name)


async def test_lookup_objects_and_stored_addresses() -> None:
    """An object gives addresses, or None; without one the installation's users are asked."""
    inbox = Inbox()
    async with serving(inbox) as port:
        farm = await harness(port, BuildStatusGenerator(message_formatter=PLAIN), lookup=Lookup())
        for name in ("ann", "nobody", "evil"):
            await farm.build(properties={"owner": (name, "S")})
        await farm.idle()
        await farm.stop()
        farm = await harness(port, BuildStatusGenerator(message_formatter=PLAIN))
        uid = await farm.master.db.users.findUserByAttr("joe", "email", "joe@example.org")
        assert uid
        await farm.build(properties={"owner": ("joe", "S")})
        await farm.idle()
        await farm.stop()
    assert [each.rcpt_tos for each in inbox.envelopes] == [["ann@example.org"], ["joe@example.org"]]


async def test_attachments() -> None:
    """Logs and patches are attached; with several builders the names have the builder."""
    inbox = Inbox()
    formatter = MessageFormatter(template="ü" * 600, subject="s", want_logs_content=["stdio"])
    async with serving(inbox) as port:
        other = BuildStatusGenerator(message_formatter=MessageFormatter(template="B", subject="t"))
        farm = await harness(port, BuildStatusGenerator(add_patch=True, message_formatter=formatter), other)
        buildid = await farm.begin(await farm.request(stamps=[by("zoe@example.org")]))
        update = farm.master.data.update
        step = await update.newStep(buildid, "echo")
        logid = await update.newLog(step["stepid"], "stdio", "s")
        await update.appendLog(logid, "ogrüße\n")
        await update.finishLog(logid)
        await farm.end(buildid)
        await farm.idle()
        await farm.stop()
    (mail,) = inbox.mails()
    body, patch, log = mail.iter_parts()
    assert mail["Subject"] == "s" and body.get_content().strip() == "ü" * 600 + "B"
    assert body["Content-Transfer-Encoding"] == "base64"
    assert (patch.get_filename(), patch.get_content()) == ("source patch 1", "+x\n")
    assert (log.get_filename(), log.get_content(), log.get_content_type()) == ("echo.stdio", "ogrüße\n", "text/plain")


async def test_no_subject() -> None:
    """A report without a subject gets one with builders and result."""
    inbox = Inbox()
    async with serving(inbox) as port:
        farm = await harness(port, BuildStartEndStatusGenerator(), extraRecipients=["list@example.org"])
        await farm.build(FAILURE)
        await farm.idle()
        await farm.stop()
    assert [each["Subject"] for each in inbox.mails()] == [
        "Buildbot (Widget CI): b one - has begun", "Buildbot (Widget CI): b one - failure",
    ]  # fmt: skip


async def test_a_missing_worker() -> None:
    """Only the users that the worker names get a mail."""
    inbox = Inbox()
    async with serving(inbox) as port:
        farm = await harness(port, WorkerMissingGenerator(), extraRecipients=["list@example.org"], lookup="example.org")
        for notify in (["bob@example.org", "jim"], []):
            message = {"workerid": 1, "name": "w", "notify": notify, "last_connection": "Sat"}
            await farm.master.mq.produce(("workers", "1", "missing"), message)
        await farm.idle()
        await farm.stop()
    (envelope,) = inbox.envelopes
    assert envelope.rcpt_tos == ["bob@example.org", "jim@example.org"]


@pytest.fixture(name="context", scope="module")
def make_context(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """A TLS context with a self-signed certificate."""
    pem = make_certificate(tmp_path_factory.mktemp("tls"), "mail.example.org")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


@pytest.mark.parametrize("arguments", [
    {"useTls": True, "verify": False},
    {"smtpUser": "joe", "smtpPassword": "hush", "verify": False},
    {"useTls": True, "smtpUser": "joe", "smtpPassword": "hush", "verify": False},
    {},
])  # fmt: skip
async def test_starttls_and_login(arguments: dict[str, Any], context: Any) -> None:
    """STARTTLS is used if it is offered, and the given login."""
    inbox = Inbox()
    async with serving(inbox, tls_context=context, authenticator=inbox.authenticate) as port:
        farm = await harness(port, BuildStatusGenerator(message_formatter=PLAIN), extraRecipients=["a@example.org"],
                             **arguments)  # fmt: skip
        await farm.build()
        await farm.idle()
        await farm.stop()
    assert inbox.tls == [True]
    assert inbox.logins == ([(b"joe", b"hush")] if "smtpUser" in arguments else [])


async def test_smtps(context: Any) -> None:
    """TLS is used from the first byte."""
    inbox = Inbox()
    async with serving(inbox, ssl_context=context) as port:
        farm = await harness(port, BuildStatusGenerator(message_formatter=PLAIN), extraRecipients=["a@example.org"],
                             useSmtps=True, verify=False)  # fmt: skip
        await farm.build()
        await farm.idle()
        await farm.stop()
    assert len(inbox.envelopes) == 1


@pytest.mark.parametrize("options", [{"useTls": True}, {"useSmtps": True}, {"smtpUser": "x", "smtpPassword": "y"}])
async def test_certificates(options: dict[str, Any], context: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """An untrusted certificate is refused if it matters: nothing is sent, and the report is tried again."""
    monkeypatch.setattr(delivery, "FIRST_S", 0.01)
    inbox = Inbox()
    key = "ssl_context" if "useSmtps" in options else "tls_context"
    async with serving(inbox, **{key: context}) as port:
        farm = await harness(port, BuildStatusGenerator(message_formatter=PLAIN), extraRecipients=["a@example.org"],
                             **options)  # fmt: skip
        with capturedLogs() as logs:
            await farm.build()

            async def twice() -> bool:
                return sum("is tried again" in each["log_format"] for each in logs) >= 2

            await until(twice)
        assert farm.waiting() == 1
        await farm.stop()
    assert inbox.envelopes == []


async def test_what_servers_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """4xx: sent again with the same Message-ID; 5xx: given up; a refused recipient does not affect others."""
    monkeypatch.setattr(delivery, "FIRST_S", 0.01)
    inbox = Inbox()
    inbox.answers = ["451 later", "250 taken", "554 spam"]
    inbox.refused = {"gone@example.org"}
    async with serving(inbox) as port:
        farm = await harness(port, BuildStatusGenerator(message_formatter=PLAIN),
                             extraRecipients=["a@example.org", "gone@example.org"])  # fmt: skip
        with capturedLogs() as logs:
            for _ in range(3):
                await farm.build()
                await farm.idle()
        await farm.stop()
    assert [each.rcpt_tos for each in inbox.envelopes] == [["a@example.org"]] * 2
    said = [each["log_format"] for each in logs]
    assert sum("is tried again" in each for each in said) == 1
    assert sum("given up" in each for each in said) == 1
    assert any("nobody here" in str(each.get("refused")) for each in logs)


async def test_line_ends_in_a_subject() -> None:
    """A subject with a line end, which could add headers, is refused."""
    inbox = Inbox()
    evil = MessageFormatterFunctionRaw(lambda master, context: {"body": "b", "subject": "s\nBcc: evil@example.org"})
    async with serving(inbox) as port:
        farm = await harness(port, BuildStatusGenerator(message_formatter=evil), extraRecipients=["a@example.org"])
        with capturedLogs() as logs:
            await farm.build()
            await farm.idle()
        await farm.stop()
    assert inbox.envelopes == []
    assert any("has a line end" in str(each["log_failure"].value) for each in logs if "log_failure" in each)


async def test_lines_that_begin_with_a_dot() -> None:
    """They arrive unchanged."""
    inbox = Inbox()
    said = MessageFormatterRenderable("one\n.\n..two\n", "s")
    async with serving(inbox) as port:
        farm = await harness(port, BuildStatusGenerator(message_formatter=said), extraRecipients=["a@example.org"],
                             dumpMailsToLog=True)  # fmt: skip
        await farm.build(SUCCESS)
        await farm.idle()
        await farm.stop()
    assert inbox.mails()[0].get_content() == "one\n.\n..two\n"


@pytest.mark.parametrize(("arguments", "said"), [
    ({}, "argument 'fromaddr' is missing"),
    ({"fromaddr": "x"}, "fromaddr must be a mail address"),
    ({"fromaddr": "x@y\nBcc: z@y"}, "fromaddr must be a mail address"),
    ({"extraRecipients": "x@y"}, "extraRecipients must be a list"),
    ({"extraRecipients": ["x y"]}, "extraRecipients has 'x y', which is no mail address"),
    ({"extraHeaders": ["x"]}, "extraHeaders must be a dictionary"),
    ({"extraHeaders": {"X": "a\nb"}}, "extraHeaders ['X'] has a line end"),
    ({"lookup": 3}, "lookup must be a domain or an object with getAddress"),
    ({"useTls": True, "useSmtps": True}, "give useTls or useSmtps, not both"),
    ({"smtpUser": "x"}, "smtpUser and smtpPassword go together"),
    ({"messageFormatter": 1}, "unknown argument 'messageFormatter'"),
])  # fmt: skip
def test_mistakes(arguments: dict[str, Any], said: str) -> None:
    """Mistakes are reported when the configuration is read."""
    with pytest.raises(ConfigErrors) as caught:
        MailNotifier(**({"fromaddr": "ci@example.org", **arguments} if arguments else {}))
    assert said in str(caught.value)


def test_addresses() -> None:
    """Which texts are addresses."""
    assert address_of("Zoe Q <zoe@example.org>") == address_of("zoe@example.org") == "zoe@example.org"
    for text in ("zoe", "zoe@", "zoe@x\nBcc: y@z", "a b", "", "a@b@c", "<a@b"[:3]):
        assert address_of(text) is None, text


def test_names() -> None:
    """Notifiers with different generators need no names."""
    one, two = (MailNotifier("ci@example.org", generators=[BuildStatusGenerator(mode)]) for mode in ("all", "failing"))
    assert one.name != two.name
    assert MailNotifier("ci@example.org", generators=[BuildSetStatusGenerator()]).name.startswith("MailNotifier_")
