"""HTTP requests under the names that existing plugins use: `HTTPSession`, and the older `HTTPClientService`.

Both use the master's client, `buildbot.util.httpclient`. New code uses that directly.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from buildbot.util.deferreds import deferred
from buildbot.util.httpclient import Answer, FileValue, HttpClient, Params

__all__ = ["HTTPClientService", "HTTPResponse", "HTTPSession"]

_log = Logger()


class HTTPResponse:
    """An answer, with its body.

    Attributes:
        code: its status.
        url: of the request.
        headers: by names in lower case.
    """

    def __init__(self, url: str, answer: Answer) -> None:
        self.code = answer.status
        self.url = url
        self.headers = answer.headers
        self._answer = answer

    def content(self) -> Deferred[bytes]:
        """The body; Deferred."""
        return succeed(self._answer.body)

    @deferred
    async def json(self) -> Any:
        """The body's JSON; Deferred, which fails with UnexpectedAnswerError if it is none."""
        return self._answer.json()


class HTTPSession:
    """Requests to one server, with common headers and login.

    Args:
        http: ``self.master.httpservice``.
        base_url: the beginning of the URL for endpoints that begin with ``/``.
        auth: user and password for Basic authentication.
        headers: of every request.
        verify: False takes any certificate; a path names a file of certificates to trust.
        cert: the client's own certificate: a path, or those of certificate and key.
        debug: log each request and its answer's status, without queries and bodies.
        skip_encoding: ask for answers that are not compressed.

    Answers with any status are results. Redirects are not followed. An answer has at most 10 MB and comes within
    30 seconds; otherwise the Deferred fails with `buildbot.util.httpclient.HttpError`.

    Raises:
        ValueError: an argument is wrong.
    """

    def __init__(
        self,
        http: HttpClient,
        base_url: str,
        auth: tuple[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        verify: bool | str | None = None,
        cert: str | tuple[str, str | None] | None = None,
        debug: bool | None = False,
        skip_encoding: bool = False,
    ) -> None:
        if not isinstance(base_url, str) or not base_url.startswith(("http://", "https://")) or base_url.endswith("/"):
            raise ValueError("base_url: a http:// or https:// URL without a slash at its end")
        if auth is not None and (not isinstance(auth, tuple | list) or [type(each) for each in auth] != [str, str]):
            raise ValueError(f"auth: a pair (user, password), not {type(auth).__name__}")
        if not isinstance(verify, bool | str | None):
            raise ValueError(f"verify: True, False or the path of a file, not {type(verify).__name__}")
        if not isinstance(cert, str | None) and (not isinstance(cert, tuple | list) or len(cert) != 2):
            raise ValueError("cert: the path of a file, or those of certificate and key")
        self._http = http
        self._base_url = base_url
        self._auth = None if auth is None else (auth[0], auth[1])
        self._headers = dict(headers or {})
        if skip_encoding:
            self._headers.setdefault("Accept-Encoding", "identity")
        self._verify = verify is not False
        self._ca_file = verify if isinstance(verify, str) else None
        files: tuple[str | None, str | None] = (cert, None) if isinstance(cert, str | None) else (cert[0], cert[1])
        self._cert, self._key = files
        self._debug = bool(debug)

    def update_headers(self, headers: Mapping[str, str]) -> None:
        """Set further headers of every request."""
        self._headers.update(headers)

    def get(self, endpoint: str, **kwargs: Any) -> Deferred[HTTPResponse]:
        """GET; arguments as for `post`."""
        return self._request("GET", endpoint, **kwargs)

    def delete(self, endpoint: str, **kwargs: Any) -> Deferred[HTTPResponse]:
        """DELETE; arguments as for `post`."""
        return self._request("DELETE", endpoint, **kwargs)

    def post(self, endpoint: str, **kwargs: Any) -> Deferred[HTTPResponse]:
        """POST; Deferred of a `HTTPResponse`.

        Args:
            endpoint: ``/path`` below ``base_url``, a whole URL, or empty for ``base_url`` itself.
            params: added to the query.
            headers: of this request.
            data: fields of a form, or the body as bytes; excludes json.
            json: the body as JSON.
            files: files of a form, by field: content, open file, or (name, content).
        """
        return self._request("POST", endpoint, **kwargs)

    def put(self, endpoint: str, **kwargs: Any) -> Deferred[HTTPResponse]:
        """PUT; arguments as for `post`."""
        return self._request("PUT", endpoint, **kwargs)

    @deferred
    async def _request(
        self,
        method: str,
        endpoint: str,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
        data: bytes | str | Params | None = None,
        json: object = None,
        files: Mapping[str, FileValue] | None = None,
    ) -> HTTPResponse:
        if endpoint and not endpoint.startswith(("/", "http://", "https://")):
            raise ValueError(f"endpoint: {endpoint!r} must begin with a slash, or be a whole URL")
        url = endpoint if endpoint.startswith(("http://", "https://")) else self._base_url + endpoint
        answer = await self._http.request(
            method,
            url,
            params=params,
            headers={**self._headers, **(headers or {})},
            data=data,
            json=... if json is None else json,
            files=files,
            auth=self._auth,
            verify=self._verify,
            ca_file=self._ca_file,
            cert_file=self._cert,
            key_file=self._key,
        )
        if self._debug:
            _log.info("{where} answers {status}", where=answer.where, status=answer.status)
        return HTTPResponse(url, answer)


class HTTPClientService(HTTPSession):
    """The older form of `HTTPSession`, which finds the client by itself."""

    @classmethod
    def getService(
        cls,
        master: Any,
        base_url: str,
        auth: tuple[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        verify: bool | str | None = None,
        cert: str | tuple[str, str | None] | None = None,
        debug: bool | None = False,
        skipEncoding: bool = False,
    ) -> Deferred[HTTPClientService]:
        """Deferred of a session. Each call makes a new one; all share the connections."""
        return succeed(cls(master.httpservice, base_url, auth, headers, verify, cert, debug, skipEncoding))

    def updateHeaders(self, headers: Mapping[str, str]) -> None:
        """As `HTTPSession.update_headers`."""
        self.update_headers(headers)
