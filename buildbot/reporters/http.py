"""Reporters that speak HTTP: what they share, and the one that sends whole builds to any server."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from twisted.logger import Logger

from buildbot.config import checks
from buildbot.config.arguments import REQUIRED, argument
from buildbot.interfaces import holds_renderable
from buildbot.reporters.base import ReporterBase
from buildbot.reporters.delivery import LATER, SendLater
from buildbot.reporters.generators.build import BuildStatusGenerator
from buildbot.reporters.message import MessageFormatterFunction
from buildbot.util.deferreds import deferred
from buildbot.util.httpclient import Answer, UnexpectedAnswerError
from buildbot.util.httpclientservice import HTTPSession

_log = Logger()

#: bytes that are read of an answer; only the beginning of a longer one is used
MAX_ANSWER_BYTES = 1_000_000
#: characters of an answer that stand in the log
_SHOWN = 200


def verify_or_file(value: Any) -> Any:
    """A check: None, True, False, or the path of a file with certificates."""
    if value is None or isinstance(value, bool | str):
        return value
    raise ValueError(f"must be True, False or the path of a file, not {checks.kind(value)}")


def credentials(value: Any) -> Any:
    """A check: None, or a pair (user, password), each a text or a renderable."""
    if value is None:
        return None
    if not isinstance(value, tuple | list) or len(value) != 2:
        # a wrong value may be a password, so it is not shown
        raise ValueError(f"must be a pair (user, password), not a value of type {type(value).__name__}")
    for each in value:
        if not isinstance(each, str) and not holds_renderable(each):
            raise ValueError(f"must be a pair of texts, but has a value of type {type(each).__name__}")
    return tuple(value)


def without_slash(value: Any) -> str:
    """A check: a http or https URL; a slash at its end is taken off."""
    return checks.url(value).rstrip("/")


class HttpPush(ReporterBase):
    """Base of reporters that speak HTTP."""

    debug = argument(None, checks.optional(checks.boolean), doc="log each request and how it was answered")
    verify = argument(None, verify_or_file, doc="False takes any certificate; a path names those to trust")

    __own_http: Any = None

    def session(self) -> HTTPSession:
        """Requests to the receiver, with what they have in common."""
        raise NotImplementedError(f"{type(self).__name__} has no session()")

    @property
    def _http(self) -> Any:
        """`session`, as reporters of people's own call it; it may be set."""
        if self.__own_http is None:
            self.__own_http = self.session()
        return self.__own_http

    @_http.setter
    def _http(self, session: Any) -> None:
        self.__own_http = session

    def is_status_2xx(self, code: int) -> bool:
        """Whether a status says that a request has succeeded."""
        return code // 100 == 2

    @deferred
    async def reconfigService(self, *args: Any, **kwargs: Any) -> None:
        """Take the arguments; Deferred."""
        self.__own_http = None
        await super().reconfigService(*args, **kwargs)

    async def ask(self, method: str, url: str, **kwargs: Any) -> Answer:
        """Make a request; arguments as `buildbot.util.httpclient.HttpClient.request`.

        Raises:
            SendLater: the server asks to try later.
            HttpError: there is no usable answer.
        """
        answer = await self.master.httpservice.request(
            method,
            url,
            verify=self.verify is not False,
            ca_file=self.verify if isinstance(self.verify, str) else None,
            max_bytes=MAX_ANSWER_BYTES,
            **kwargs,
        )
        assert isinstance(answer, Answer)
        if self.debug:
            _log.info(
                "{reporter}: {where} answers {status}", reporter=self.name, where=answer.where, status=answer.status
            )
        after_s = _asked_s(answer, self.master.wall_seconds())
        if answer.status in LATER or (answer.status == 403 and after_s is not None):
            raise SendLater(said_by(answer), after_s)
        return answer

    def unseen(self, problem: Exception) -> None:
        """Say that what the server has got cannot be looked at, so that a report may arrive twice."""
        _log.warn(
            "{reporter}: whether the report arrived before cannot be seen, it is sent: {problem}",
            reporter=self.name, problem=str(problem),
        )  # fmt: skip

    def require(self, answer: Answer, *statuses: int) -> Answer:
        """The answer, if its status is one of these (default: any 2xx); UnexpectedAnswerError says what it is else."""
        if answer.status in statuses or (not statuses and answer.ok):
            return answer
        raise UnexpectedAnswerError(said_by(answer), answer.status)


def said_by(answer: Answer) -> str:
    """An answer, for the log."""
    text = " ".join(answer.body.decode("utf-8", "replace").split())
    more = f": {text[:_SHOWN]}{'…' if len(text) > _SHOWN else ''}" if text else ""
    hint = " (redirects are not followed)" if 300 <= answer.status < 400 else ""
    return f"{answer.where} answers {answer.status}{hint}{more}"


def _asked_s(answer: Answer, now: float) -> float | None:
    """Seconds after which the server wants to be asked again; None if it does not say."""
    given = answer.headers.get("retry-after")
    if given is None and answer.headers.get("x-ratelimit-remaining") == "0":
        reset = answer.headers.get("x-ratelimit-reset", "")
        return max(int(reset) - now, 0.0) if reset.isdecimal() else None
    if given is None:
        return None
    if given.strip().isdecimal():
        return float(given)
    try:
        return max(parsedate_to_datetime(given).timestamp() - now, 0.0)
    except (TypeError, ValueError):
        return None


def jsonable(value: Any) -> Any:
    """A value as JSON has it: times become Unix seconds, tuples lists, bytes text."""
    if isinstance(value, dt.datetime):
        return int(value.timestamp())
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [jsonable(item) for item in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value


def _headers(value: Any) -> Any:
    if value is None:
        return None
    for name, each in checks.mapping(value).items():
        if not holds_renderable(each) and not isinstance(each, str):
            raise ValueError(f"[{name!r}] must be a text, not of type {type(each).__name__}")
    return dict(value)


def _certificate(value: Any) -> Any:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, tuple | list) and [type(each) for each in value] == [str, str]:
        return tuple(value)
    raise ValueError(f"must be the path of a file, or those of certificate and key, not {checks.kind(value)}")


class HttpStatusPush(HttpPush):
    """Sends builds as JSON to a server, when they begin and when they end.

    What is sent is the body of the first report of an event: a dictionary or list as JSON, a text as it is, nothing for
    None. A header ``Idempotency-Key`` is the same for a report that is sent again.
    """

    name = "HttpStatusPush"
    secrets = ("auth", "headers")
    positional = ("serverUrl", "auth", "headers", "debug", "verify", "cert", "skip_encoding", "generators")

    serverUrl = argument(REQUIRED, checks.url, doc="where builds are sent to")
    auth = argument(None, credentials, renderable=True, doc="a pair (user, password) for Basic authentication")
    headers = argument(None, _headers, renderable=True, doc="further headers, by name")
    cert = argument(None, _certificate, doc="the client's own certificate: a path, or those of certificate and key")
    skip_encoding = argument(False, checks.boolean, doc="ask for answers that are not compressed")

    def default_generators(self) -> list[Any]:
        """Beginnings, and the ends that the default mode has; the build itself is the body."""
        formatter = MessageFormatterFunction(_the_build, "json")
        return [BuildStatusGenerator(report_new=True, message_formatter=formatter)]

    def session(self) -> HTTPSession:
        """Requests to the server; their endpoint is empty, or a path below it."""
        http, url = self.master.httpservice, self.serverUrl.rstrip("/")
        return HTTPSession(http, url, self.auth, self.headers, self.verify, self.cert, self.debug, self.skip_encoding)

    @deferred
    async def sendMessage(self, reports: list[dict[str, Any]]) -> None:
        """POST the first report's body."""
        body = reports[0]["body"]
        headers = {"Idempotency-Key": self.idempotency_key, **(self.headers or {})}
        if self.skip_encoding:
            headers.setdefault("Accept-Encoding", "identity")
        content: dict[str, Any] = {}
        if isinstance(body, str):
            headers.setdefault("Content-Type", f"text/{reports[0]['type']}; charset=utf-8")
            content["data"] = body
        elif body is not None:
            headers.setdefault("Content-Type", "application/json")
            content["data"] = json.dumps(jsonable(body), allow_nan=False)
        else:
            content["data"] = b""
        own = (self.cert, None) if isinstance(self.cert, str | None) else self.cert
        self.require(
            await self.ask(
                "POST", self.serverUrl, headers=headers, auth=self.auth, cert_file=own[0], key_file=own[1], **content
            )
        )


def _the_build(context: dict[str, Any]) -> Any:
    return context["build"]
