"""Steps that send an HTTP request from the master."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from twisted.internet.defer import ensureDeferred

from buildbot.config import checks, requests
from buildbot.config.arguments import REQUIRED, argument
from buildbot.config.errors import error
from buildbot.process.loglines import storable
from buildbot.process.logs import Log
from buildbot.process.step import BuildStep
from buildbot.util.deferreds import resolved
from buildbot.util.httpclient import Answer, HttpError
from buildbot.util.httpproxies import Proxies
from buildbot.util.results import FAILURE, SUCCESS
from buildbot.util.urls import without_password

METHODS = ("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH")

#: headers whose values are passwords, or as good as one
_SECRET_HEADERS = frozenset({"authorization", "proxy-authorization", "cookie", "set-cookie"})
#: characters of a request's body that the log shows
_SHOWN_CHARS = 10_000


class Response:
    """The response that functions in ``hooks`` are called with.

    Attributes:
        url: of the request, without password.
        status_code: 200, 404 and so on.
        headers: by names in lower case.
        content: the body, as bytes; empty with ``stream``.
    """

    def __init__(self, url: str, answer: Answer) -> None:
        self.url = url
        self.status_code = answer.status
        self.headers = answer.headers
        self.content = answer.body
        self.__answer = answer

    @property
    def ok(self) -> bool:
        """Whether the status is below 400."""
        return self.status_code < 400

    @property
    def text(self) -> str:
        """The body, decoded by the charset of its ``Content-Type``, or as UTF-8."""
        return self.content.decode(_encoding(self.headers), "replace")

    def json(self) -> Any:
        """The value of the body's JSON; `buildbot.util.httpclient.HttpError` if the body is no JSON."""
        return self.__answer.json()


class _IntoLog:
    """Writes the body of an answer to a log as it arrives; reading pauses while too much waits to be stored."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._transport: Any = None
        self._is_held = False
        self._decoder: codecs.IncrementalDecoder = codecs.getincrementaldecoder("utf-8")("replace")
        log.on_hold_back(self._hold_back)

    def begin(self, headers: Mapping[str, str], transport: Any) -> None:
        """The body begins."""
        self._transport = transport
        self._decoder = codecs.getincrementaldecoder(_encoding(headers))("replace")
        if self._is_held:
            transport.pauseProducing()

    def received(self, data: bytes) -> None:
        """A part of the body."""
        self._log.addStdout(storable(self._decoder.decode(data)))

    def end(self) -> None:
        """The body has ended, or will not come."""
        self._transport = None
        rest = self._decoder.decode(b"", True)
        if rest:
            self._log.addStdout(rest)

    def _hold_back(self, hold: bool) -> None:
        self._is_held = hold
        if self._transport is not None:
            (self._transport.pauseProducing if hold else self._transport.resumeProducing)()


class HTTPStep(requests.RequestArguments, BuildStep):
    """Send an HTTP request; a status below 400 is success.

    The request comes from the master, not from the worker: it reaches what the master can reach. An answer has at most
    10 MB, unless it is streamed. No cookies are remembered from one step to the next.
    """

    name = "HTTPStep"
    positional: ClassVar[tuple[str, ...]] = ("url", "method", "hide_request_headers", "hide_response_headers")
    method = argument(REQUIRED, checks.one_of(*METHODS), rendered=True, doc=f"one of {', '.join(METHODS)}")
    timeout = argument(20 * 60, requests.timeout, rendered=True, doc="seconds for the whole exchange")
    verify = argument(
        True,
        requests.verify,
        rendered=True,
        doc="False takes any certificate; a path names a file of certificates to trust",
    )
    cert = argument(
        None,
        checks.optional(requests.certificate),
        rendered=True,
        doc="the client's certificate, or `(certificate, key)`: paths",
    )
    hide_request_headers = argument(
        (), checks.list_of(checks.text), doc="headers whose values are not logged; those with passwords never are"
    )
    hide_response_headers = argument(
        (), checks.list_of(checks.text), doc="headers of the answer whose values are not logged; cookies never are"
    )
    hooks = argument(
        None,
        checks.optional(requests.hooks),
        doc="""`{"response": function}`, or a list of functions: each is called with the answer (`status_code`, `ok`,
        `headers`, `content`, `text`, `json()`, `url`), and may return another one in its place, or a Deferred""",
    )
    stream = argument(
        None,
        checks.optional(checks.boolean),
        rendered=True,
        doc="whether the answer goes to the log `content` as it comes, however large it is, instead of into memory",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.__status: int | None = None
        self.__why = ""
        if self.json is not None and (self.data is not None or self.files is not None):
            error(f"{type(self).__name__}: json excludes data and files")

    async def run(self) -> int:
        """Send the request, call the hooks with the answer, and log it."""
        log = await self.addLog("log")
        self.__log_request(log)
        try:
            answer = await self.__ask()
        except (HttpError, ValueError) as problem:
            self.__why = str(problem).rpartition(": ")[2]
            log.addStderr(f"{problem}\n")
            return FAILURE
        response: Any = Response(without_password(self.url), answer)
        for hook in self.hooks or ():
            other = await resolved(hook(response))
            response = response if other is None else other
        self.__status = response.status_code
        await self.__log_answer(log, answer)
        return SUCCESS if response.status_code < 400 else FAILURE

    async def __ask(self) -> Answer:
        if not self.stream:
            return await self.__exchange(None)
        sink = _IntoLog(await self.addLog("content"))
        try:
            return await self.__exchange(sink)
        finally:
            sink.end()

    async def __exchange(self, sink: _IntoLog | None) -> Answer:
        follow = self.method == "GET" if self.allow_redirects is None else bool(self.allow_redirects)
        cert, key = self.cert or (None, None)
        asking = ensureDeferred(
            self.master.httpservice.request(
                self.method,
                self.url,
                params=self.params,
                headers=self.headers,
                cookies=self.cookies,
                json=... if self.json is None else self.json,
                data=self.data,
                files=self.files,
                auth=self.auth,
                timeout_s=self.timeout,
                verify=self.verify is not False,
                ca_file=self.verify if isinstance(self.verify, str) else None,
                cert_file=cert,
                key_file=key,
                follow_redirects=follow,
                follow_any=bool(self.allow_redirects),
                proxies=Proxies.of(self.proxies) if self.proxies else None,
                sink=sink,
            )
        )
        return await self.wait(asking)

    def __log_request(self, log: Log) -> None:
        log.addHeader(f"Performing {self.method} request to {without_password(self.url)}\n")
        if self.params:
            log.addHeader("Parameters:\n")
            _log_pairs(log, self.params.items() if isinstance(self.params, dict) else self.params, ())
        body = self.data if self.json is None else json.dumps(self.json, indent=2)
        if isinstance(body, (str, bytes)):
            text = body if isinstance(body, str) else body.decode("utf-8", "replace")
            log.addHeader(f"Data:\n\t{storable(text[:_SHOWN_CHARS])}\n")
        elif body is not None:
            log.addHeader("Data:\n")
            _log_pairs(log, body.items() if isinstance(body, dict) else body, ())
        if self.headers:
            log.addHeader("Request Headers:\n")
            _log_pairs(log, self.headers.items(), self.hide_request_headers)

    async def __log_answer(self, log: Log, answer: Answer) -> None:
        log.addStdout(f"URL: {without_password(self.url)}\nStatus: {answer.status}\n")
        log.addHeader("Response Headers:\n")
        _log_pairs(log, answer.headers.items(), self.hide_response_headers)
        if self.stream:
            return
        text = storable(answer.body.decode(_encoding(answer.headers), "replace"))
        log.addStdout(f" ------ Content ------\n{text}\n")
        content = await self.addLog("content")
        content.addStdout(text)

    def getCurrentSummary(self) -> Any:
        """The description, or "Requesting"."""
        return {"step": self.describe(self.description, "Requesting")}

    def getResultSummary(self) -> Any:
        """The description, or the status of the answer; why there is none, and the result."""
        if self.__status is None:
            return self.summary_of_result("Requested", self.__why)
        return self.summary_of_result(f"Status code: {self.__status}")


def _log_pairs(log: Log, pairs: Iterable[tuple[str, Any]], hidden: Iterable[str]) -> None:
    """Write names and values as header lines of a log, without the values of hidden names."""
    secret = {*(name.lower() for name in hidden), *_SECRET_HEADERS}
    for name, value in pairs:
        shown = "<HIDDEN>" if str(name).lower() in secret else value
        log.addHeader(f"\t{storable(f'{name}: {shown}')}\n")


def _encoding(headers: Mapping[str, str]) -> str:
    """The charset of the ``Content-Type`` in the headers; ``utf-8`` if there is none or Python does not know it."""
    named = re.search(r"charset=\"?([\w.:-]+)", headers.get("content-type", ""))
    try:
        b"".decode(named[1] if named else "utf-8")
    except LookupError:
        return "utf-8"
    return named[1] if named else "utf-8"


class GET(HTTPStep):
    """Send a GET request."""

    name = "GET"
    positional: ClassVar[tuple[str, ...]] = ("url",)
    method = "GET"


class POST(HTTPStep):
    """Send a POST request."""

    name = "POST"
    positional: ClassVar[tuple[str, ...]] = ("url",)
    method = "POST"


class PUT(HTTPStep):
    """Send a PUT request."""

    name = "PUT"
    positional: ClassVar[tuple[str, ...]] = ("url",)
    method = "PUT"


class DELETE(HTTPStep):
    """Send a DELETE request."""

    name = "DELETE"
    positional: ClassVar[tuple[str, ...]] = ("url",)
    method = "DELETE"


class HEAD(HTTPStep):
    """Send a HEAD request: the answer has headers, but no body."""

    name = "HEAD"
    positional: ClassVar[tuple[str, ...]] = ("url",)
    method = "HEAD"


class OPTIONS(HTTPStep):
    """Send an OPTIONS request."""

    name = "OPTIONS"
    positional: ClassVar[tuple[str, ...]] = ("url",)
    method = "OPTIONS"
