"""The reporter that sends mails."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate, parseaddr
from typing import Any

from twisted.logger import Logger

from buildbot.config import checks
from buildbot.config.arguments import REQUIRED, argument
from buildbot.config.errors import error
from buildbot.interfaces import is_renderable
from buildbot.process.properties import Properties
from buildbot.reporters import smtp
from buildbot.reporters.base import ReporterBase
from buildbot.reporters.generators.build import BuildStatusGenerator
from buildbot.reporters.generators.utils import merged
from buildbot.reporters.generators.worker import WorkerMissingGenerator
from buildbot.reporters.message import MessageFormatter, MessageFormatterMissingWorker, properties_of
from buildbot.util.deferreds import deferred, resolved
from buildbot.util.results import statusToString

_log = Logger()

_ADDRESS = re.compile(r"[^@\s<>,;\"\\\x00-\x1f]+@[^@\s<>,;\"\\\x00-\x1f]+\Z")
#: the SMTP client itself replaces these by CRLF
_LINES = SMTP.clone(linesep="\n")
#: the most bytes of a line that all servers accept
_MAX_LINE = 998


def address_of(text: str) -> str | None:
    """The address in ``address`` or ``Name <address>``; None if there is none."""
    if re.search(r"[\r\n\0]", text):
        return None
    _, address = parseaddr(text)
    return address if _ADDRESS.match(address) else None


class Domain:
    """A ``lookup`` that appends a domain to names."""

    def __init__(self, domain: str) -> None:
        self.domain = domain.removeprefix("@")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Domain) and self.domain == other.domain

    def __hash__(self) -> int:
        return hash(self.domain)

    def getAddress(self, name: str) -> str:
        """The address of a name; a name with ``@`` is unchanged."""
        return name if "@" in name else f"{name}@{self.domain}"


def _lookup(value: Any) -> Any:
    if value is None or hasattr(value, "getAddress"):
        return value
    if isinstance(value, str) and _ADDRESS.match(f"x@{value.removeprefix('@')}"):
        return Domain(value)
    raise ValueError(f"must be a domain or an object with getAddress(name), not {checks.kind(value)}")


def _recipients(value: Any) -> list[str]:
    for each in checks.sequence(value):
        if not isinstance(each, str) or address_of(each) is None:
            raise ValueError(f"has {each!r}, which is no mail address")
    return list(value)


def _sender(value: Any) -> str:
    if address_of(checks.text(value)) is None:
        raise ValueError(f"must be a mail address, alone or as 'Name <address>', not {value!r}")
    return str(value)


def _extra_headers(value: Any) -> Any:
    if not isinstance(value, Mapping):
        raise ValueError(f"must be a dictionary, not {checks.kind(value)}")
    for name, each in value.items():
        if not is_renderable(name) and (not isinstance(name, str) or not re.fullmatch(r"[!-9;-~]+", name)):
            raise ValueError(f"has {name!r}, which is no name of a header")
        if isinstance(each, str) and re.search(r"[\r\n]", each):
            raise ValueError(f"[{name!r}] has a line end")
    return dict(value)


class MailNotifier(ReporterBase):
    """Sends mails to the responsible users of builds, and to others.

    All reports of an event are one mail. A user's name may be a mail address; other names need ``lookup``.
    """

    secrets = ("smtpUser", "smtpPassword")
    positional = (
        "fromaddr", "relayhost", "lookup", "extraRecipients", "sendToInterestedUsers", "extraHeaders", "useTls",
        "useSmtps", "smtpUser", "smtpPassword", "smtpPort", "dumpMailsToLog", "generators",
    )  # fmt: skip

    fromaddr = argument(REQUIRED, _sender, doc="the sender, `address` or `Name <address>`")
    relayhost = argument("localhost", checks.name, doc="the mail server")
    smtpPort = argument(25, checks.whole_number(1), doc="its port")
    useTls = argument(False, checks.boolean, doc="require STARTTLS")
    useSmtps = argument(False, checks.boolean, doc="use TLS from the first byte, usually on port 465")
    verify = argument(True, checks.boolean, doc="check the server's certificate")
    smtpUser = argument(None, checks.optional(checks.text), renderable=True, doc="the user to log in as")
    smtpPassword: Any = argument(None, checks.optional(checks.text), renderable=True, doc="the user's password")
    lookup = argument(
        None,
        _lookup,
        doc="gives addresses of users: a domain, or an object whose `getAddress(name)` gives an address or None",
    )
    extraRecipients = argument(None, checks.optional(_recipients), doc="addresses that get all mails, too")
    sendToInterestedUsers = argument(True, checks.boolean, doc="send to the responsible users of the build")
    extraHeaders = argument(
        None, checks.optional(_extra_headers), renderable=True, doc="further headers; values may be renderables"
    )
    dumpMailsToLog = argument(False, checks.boolean, doc="write all mails to the master's log")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if kwargs.get("name") is None and type(self).name is None:
            # notifiers with different generators need no names
            given = self.by_name(args, kwargs).get("generators")
            generators = given if isinstance(given, list | tuple) else self.default_generators()
            parts = [each.generate_name() for each in generators if hasattr(each, "generate_name")]
            kwargs["name"] = "_".join([type(self).__name__, *parts])
        super().__init__(*args, **kwargs)

    def default_generators(self) -> list[Any]:
        """Reports of the ends of builds with the default mode, and of missing workers, in HTML."""
        return [
            BuildStatusGenerator(message_formatter=MessageFormatter(template_type="html")),
            WorkerMissingGenerator(message_formatter=MessageFormatterMissingWorker(template_type="html")),
        ]

    def checkConfig(self, *args: Any, **kwargs: Any) -> Any:
        """Check the arguments, also those that exclude or need each other."""
        super().checkConfig(*args, **kwargs)
        given = self.by_name(args, kwargs)
        if given.get("useTls") and given.get("useSmtps"):
            error(f"{type(self).__name__}: give useTls or useSmtps, not both")
        if (given.get("smtpUser") is None) != (given.get("smtpPassword") is None):
            error(f"{type(self).__name__}: smtpUser and smtpPassword go together")

    @deferred
    async def sendMessage(self, reports: list[dict[str, Any]]) -> None:
        """Send the reports of an event as one mail."""
        report = merged(reports) if len(reports) > 1 else reports[0]
        missing = report.get("worker") is not None
        interested: list[str] = []
        if missing or self.sendToInterestedUsers:
            interested = await self.findInterrestedUsersEmails(report["users"])
        extra = [] if missing else [each for each in self.extraRecipients or () if each not in interested]
        envelope = list(dict.fromkeys(address for each in (*interested, *extra) if (address := address_of(each))))
        if not envelope:
            return
        message = await self.createEmail(report)
        to, cc = (interested, extra) if interested else (extra, [])
        self.__address(message, "To", to)
        self.__address(message, "Cc", cc)
        await self.__extra_headers(message, report)
        await self.sendMail(message, envelope)

    @deferred
    async def findInterrestedUsersEmails(self, users: Iterable[str]) -> list[str]:
        """The addresses of users in the form of headers, sorted. (The method has Buildbot's name.)"""
        found: set[str] = set()
        for user in users:
            address = await self.__find(user)
            if address is not None and address_of(address) is not None:
                found.add(address)
            elif address is not None:
                _log.warn("{name}: {address!r} of user {user!r} is no mail address", name=self.name, address=address,
                          user=user)  # fmt: skip
        return sorted(found)

    async def __find(self, user: str) -> str | None:
        if address_of(user) is not None:
            return user
        if self.lookup is not None:
            address: str | None = await resolved(self.lookup.getAddress(user))
            return address
        return await self.__of_user_object(user)

    async def __of_user_object(self, name: str) -> str | None:
        """The address of the installation's user with this name; None if there is none."""
        users = self.master.db.users
        uid = await users.identifierToUid(name)
        known = None if uid is None else await users.getUser(uid)
        found: str | None = None if known is None else known.get("email")
        return found

    @deferred
    async def createEmail(self, report: Mapping[str, Any]) -> EmailMessage:
        """The mail of a report, without recipients; ValueError if a mail cannot have such a type or header."""
        if report["type"] not in ("plain", "html"):
            raise ValueError(f"a mail is plain or html, not {report['type']!r}")
        message = EmailMessage(policy=SMTP)
        message["Subject"] = _one_line("subject", report["subject"] or self.__subject(report))
        message["From"] = self.fromaddr
        message["Date"] = formatdate(self.master.wall_seconds())
        message["Message-ID"] = self.__message_id()
        body = report["body"]
        text = body.decode("utf-8", "replace") if isinstance(body, bytes) else str(body or "")
        message.set_content(text, subtype=report["type"], charset="utf-8", cte=_encoding(text))
        for number, patch in enumerate(report["patches"] or (), 1):
            content = patch["body"].decode("utf-8", "replace") if isinstance(patch["body"], bytes) else patch["body"]
            _attach(message, content, f"source patch {number}")
        logs = report["logs"] or ()
        several = len({log["buildername"] for log in logs}) > 1
        for log in logs:
            name = f"{log['stepname']}.{log['name']}"
            _attach(message, log["content"]["content"], f"{name}.{log['buildername']}" if several else name)
        return message

    def __subject(self, report: Mapping[str, Any]) -> str:
        builders = ", ".join(dict.fromkeys(build["builder"]["name"] for build in report["builds"] or ()))
        ended = "has begun" if report["results"] is None else statusToString(report["results"])
        return f"Buildbot ({self.master.config.title}): {builders} - {ended}"

    def __message_id(self) -> str:
        """The Message-ID, which is the same for all attempts to send the mail, so that receivers recognize it."""
        text = f"{self.master.config.buildbotURL}\0{self.idempotency_key}"
        domain = str(address_of(self.fromaddr)).rpartition("@")[2]
        return f"<{hashlib.sha256(text.encode()).hexdigest()[:32]}@{domain}>"

    def __address(self, message: EmailMessage, header: str, addresses: Sequence[str]) -> None:
        found = []
        for each in addresses:
            name, address = parseaddr(each)
            found.append(Address(name, addr_spec=address))
        if found:
            message[header] = found

    async def __extra_headers(self, message: EmailMessage, report: Mapping[str, Any]) -> None:
        if not self.extraHeaders:
            return
        properties = Properties()
        properties.master = self.master
        if report["builds"]:
            properties = properties_of(report["builds"][0], self.master)
        for name, value in self.extraHeaders.items():
            name, value = await properties.render(name), await properties.render(value)
            del message[name]
            message[name] = _one_line(name, str(value))

    @deferred
    async def sendMail(self, message: EmailMessage, recipients: Sequence[str]) -> None:
        """Send a mail to the server."""
        content = message.as_bytes(policy=_LINES)
        if self.dumpMailsToLog:
            _log.info("{name}: mail to {whom}\n{mail}", name=self.name, whom=", ".join(recipients),
                      mail=content.decode("utf-8", "replace"))  # fmt: skip
        login = None if self.smtpUser is None else (self.smtpUser, self.smtpPassword)
        tls = "smtps" if self.useSmtps else "starttls" if self.useTls else "offered"
        server = smtp.Server(self.relayhost, self.smtpPort, tls, login, self.verify)
        sender = str(address_of(self.fromaddr))
        for refused in await smtp.send(self.master.reactor, server, sender, recipients, content):
            _log.warn("{name}: the mail server refused a recipient: {refused}", name=self.name, refused=refused)


def _one_line(what: str, text: str) -> str:
    if re.search(r"[\r\n]", text):
        raise ValueError(f"the {what} of a mail has a line end: {text!r}")
    return text


def _encoding(text: str) -> str:
    if any(len(line.encode()) > _MAX_LINE for line in text.split("\n")):
        return "base64"
    return "7bit" if text.isascii() else "8bit"


def _attach(message: EmailMessage, text: str, filename: str) -> None:
    message.add_attachment(text.encode("utf-8", "replace"), maintype="text", subtype="plain", filename=filename,
                           params={"charset": "utf-8"})  # fmt: skip
