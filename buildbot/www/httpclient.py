"""Requests to other servers, for the few answers that a login needs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from io import BytesIO
from typing import Any
from urllib.parse import urlencode

from twisted.web.client import Agent, FileBodyProducer, readBody
from twisted.web.http_headers import Headers

TIMEOUT_S = 30


class AnswerError(Exception):
    """Another server did not answer as it should; the message says which and how, and holds no secrets."""


async def ask(
    reactor: Any, url: str, form: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
) -> Any:
    """The JSON that a URL gives; a POST if there is a form.

    Raises:
        AnswerError: no answer in 30 s, another status than 200, or no JSON.
    """
    where = url.partition("?")[0]
    sent = {"Accept": "application/json", "User-Agent": "Buildbot", **(headers or {})}
    body = None
    if form is not None:
        sent["Content-Type"] = "application/x-www-form-urlencoded"
        body = FileBodyProducer(BytesIO(urlencode(form).encode()))
    raw = Headers({name.encode(): [value.encode()] for name, value in sent.items()})
    agent = Agent(reactor, connectTimeout=TIMEOUT_S)
    try:
        method = b"GET" if body is None else b"POST"
        asking = agent.request(method, url.encode(), raw, body)
        asking.addTimeout(TIMEOUT_S, reactor)
        response = await asking
        reading = readBody(response)
        reading.addTimeout(TIMEOUT_S, reactor)
        text = await reading
    except Exception as problem:
        raise AnswerError(f"{where} does not answer: {type(problem).__name__}") from problem
    if response.code != 200:
        raise AnswerError(f"{where} answers {response.code}")
    try:
        return json.loads(text)
    except ValueError:
        raise AnswerError(f"{where} answers without JSON") from None
