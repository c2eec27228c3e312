"""Figures in InfluxDB, by its HTTP API for its line protocol; InfluxDB 2 and other servers accept it, too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from buildbot.config import checks
from buildbot.config.arguments import REQUIRED, Declared, argument
from buildbot.process.configured import Configured
from buildbot.reporters.delivery import LATER, SendLater
from buildbot.reporters.http import said_by
from buildbot.statistics.storage_backends.base import Point, StatsStorageBase, captures_checked
from buildbot.util.httpclient import UnexpectedAnswerError


def _server(value: Any) -> str:
    text = checks.name(value)
    parts = urlsplit(text if "://" in text else f"http://{text}")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/") or parts.query:
        raise ValueError(f"must be a server, or http:// or https:// and a server, not {checks.kind(value)}")
    return f"{parts.scheme}://{parts.netloc}"


class InfluxStorageService(Configured, Declared, StatsStorageBase):
    """Writes figures to a database of InfluxDB, which has to exist.

    A series is a measurement, whose points have the tags ``builder_name`` and ``build_number`` and the time when the
    build ended. A point that is sent twice, because an answer was lost, is stored once.
    """

    positional = ("url", "port", "user", "password", "db", "captures", "name")
    url = argument(REQUIRED, _server, doc="the server's name, or `http://` or `https://` and its name")
    port = argument(REQUIRED, checks.whole_number(1), doc="the server's port, most often 8086")
    user = argument(
        REQUIRED, checks.optional(checks.text), renderable=True, doc="the user that writes; None or empty: no login"
    )
    password = argument(REQUIRED, checks.optional(checks.text), renderable=True, doc="the user's password, or token")
    db = argument(REQUIRED, checks.name, doc="the database")
    captures = argument(REQUIRED, captures_checked, doc="a list of `buildbot.statistics.capture`")
    name = argument("InfluxStorageService", checks.name, doc="the service's name")

    async def post(self, service: Any, points: Sequence[Point]) -> None:
        """Write points; see `StatsStorageBase.post`.

        Raises:
            SendLater: the server is overloaded, or the database does not exist yet.
            UnexpectedAnswerError: the server refused the points.
        """
        user, password = await service.renderSecrets([self.user, self.password])
        answer = await service.master.httpservice.request(
            "POST",
            f"{self.url}:{self.port}/write",
            params={"db": self.db, "precision": "ms"},
            headers={"Content-Type": "text/plain; charset=utf-8"},
            data="".join(f"{line(point)}\n" for point in points),
            auth=(user, password or "") if user else None,
        )
        if answer.status in LATER or answer.status == 404:
            raise SendLater(said_by(answer))
        if not answer.ok:
            raise UnexpectedAnswerError(said_by(answer), answer.status)


def line(point: Point) -> str:
    """A point as a line of InfluxDB's protocol, with its time in milliseconds."""
    tags = "".join(f",{_escaped(key, ',= ')}={_escaped(value, ',= ')}" for key, value in sorted(point.context.items()))
    fields = ",".join(f"{_escaped(name, ',= ')}={_value(value)}" for name, value in point.fields.items())
    return f"{_escaped(point.series, ', ')}{tags} {fields} {round(point.time * 1000)}"


def _escaped(text: str, special: str) -> str:
    kept = " ".join(str(text).splitlines()) or " "
    for each in special:
        kept = kept.replace(each, f"\\{each}")
    return f"{kept} " if kept.endswith("\\") else kept  # it would hide the next character


def _value(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return f"{value}i"
        case float():
            return repr(value)
    text = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


__all__ = ["InfluxStorageService", "line"]
