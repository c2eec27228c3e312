"""The base of reporters that use HTTP, and the reporter that sends builds as JSON to any server."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from twisted.logger import Logger

from buildbot.config import checks, requests
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

#: the most bytes of an answer
MAX_ANSWER_BYTES = 1_000_000
#: characters of an answer that are logged
_SHOWN = 200


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
    """A check: a http or https URL, from which a slash at the end is removed."""
    return checks.url(value).rstrip("/")


class HttpPush(ReporterBase):
    """The base of reporters that use HTTP."""

    debug = argument(None, checks.optional(checks.boolean), doc="log each request and the status of its answer")
    verify = argument(
        None, checks.optional(requests.verify), doc="False accepts any certificate; a path names certificates to trust"
    )

    __own_http: Any = None

    def session(self) -> HTTPSession:
        """A session for requests to the receiver, with their common headers."""
        raise NotImplementedError(f"{type(self).__name__} has no session()")

    @property
    def _http(self) -> Any:
        """`session`, under the name that users' reporters use; it may be set."""
        if self.__own_http is None:
            self.__own_http = self.session()
        return self.__own_http

    @_http.setter
    def _http(self, session: Any) -> None:
        self.__own_http = session

    def is_status_2xx(self, code: int) -> bool:
        """Whether a status is 2xx."""
        return code // 100 == 2

    @deferred
    async def reconfigService(self, *args: Any, **kwargs: Any) -> None:
        """Take the arguments; Deferred."""
        self.__own_http = None
        await super().reconfigService(*args, **kwargs)

    async def ask(self, method: str, url: str, **kwargs: Any) -> Answer:
        """Send a request; the arguments are those of `buildbot.util.httpclient.HttpClient.request`.

        Raises:
            SendLater: the server asks for a later attempt.
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
        """Log that the server cannot be asked for earlier attempts, so that a report may arrive twice."""
        _log.warn(
            "{reporter}: it is not known whether an earlier attempt has arrived; the report is sent: {problem}",
            reporter=self.name, problem=str(problem),
        )  # fmt: skip

    def require(self, answer: Answer, *statuses: int) -> Answer:
        """The answer, if its status is one of these (default: any 2xx); otherwise UnexpectedAnswerError."""
        if answer.status in statuses or (not statuses and answer.ok):
            return answer
        raise UnexpectedAnswerError(said_by(answer), answer.status)


def said_by(answer: Answer) -> str:
    """Request, status and beginning of an answer, for the log."""
    text = " ".join(answer.body.decode("utf-8", "replace").split())
    more = f": {text[:_SHOWN]}{'…' if len(text) > _SHOWN else ''}" if text else ""
    hint = " (redirects are not followed)" if 300 <= answer.status < 400 else ""
    return f"{answer.where} answers {answer.status}{hint}{more}"


def _asked_s(answer: Answer, now: float) -> float | None:
    """Seconds after which the server allows the next attempt; None if it does not say."""
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
    """A value that JSON can hold: times become Unix seconds, tuples lists, bytes text."""
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


class HttpStatusPush(HttpPush):
    """Sends builds as JSON to a server, when they begin and when they end.

    The request has the body of an event's first report: a dictionary or list as JSON, a text unchanged, nothing for
    None. Its header ``Idempotency-Key`` is the same for all attempts to send a report.
    """

    name = "HttpStatusPush"
    secrets = ("auth", "headers")
    positional = ("serverUrl", "auth", "headers", "debug", "verify", "cert", "skip_encoding", "generators")

    serverUrl = argument(REQUIRED, checks.url, doc="the URL to which builds are sent")
    auth = argument(None, credentials, renderable=True, doc="a pair (user, password) for Basic authentication")
    headers = argument(None, _headers, renderable=True, doc="further headers, by name")
    cert = argument(
        None,
        checks.optional(requests.certificate),
        doc="the client's certificate, or `(certificate, key)`: paths",
    )
    skip_encoding = argument(False, checks.boolean, doc="ask for answers that are not compressed")

    def default_generators(self) -> list[Any]:
        """Reports of the beginnings and ends of builds, with the default mode; the body is the build itself."""
        formatter = MessageFormatterFunction(_the_build, "json")
        return [BuildStatusGenerator(report_new=True, message_formatter=formatter)]

    def session(self) -> HTTPSession:
        """A session for requests to the server; an endpoint is empty, or a path below ``serverUrl``."""
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
        own = self.cert or (None, None)
        self.require(
            await self.ask(
                "POST", self.serverUrl, headers=headers, auth=self.auth, cert_file=own[0], key_file=own[1], **content
            )
        )


def _the_build(context: dict[str, Any]) -> Any:
    return context["build"]
