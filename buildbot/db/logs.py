"""Logs connector: lines of text in chunks. Its writing operations serve the Data layer.

A chunk is a run of whole lines, at most ``MAX_CHUNK`` bytes unless one line alone is longer, kept as UTF-8 or, where
that is smaller, compressed by zstd. While a log grows each append is a chunk of its own, so that no line waits; when it
is finished, small neighbours are joined.
"""

from __future__ import annotations

from collections.abc import Iterator
from threading import local
from typing import Any

import zstandard
from sqlalchemy import bindparam, delete, func, insert, select, update
from sqlalchemy.engine import Connection

from buildbot.db.base import DBConnectorComponent
from buildbot.db.builds import HELD
from buildbot.db.exceptions import NotClaimedError
from buildbot.db.operations import reads, snapshots
from buildbot.db.statements import Insert, Row, Statement
from buildbot.resources.buildrequests import buildrequests
from buildbot.resources.builds import builds
from buildbot.resources.logs import logchunks, logs
from buildbot.resources.steps import steps
from buildbot.util import checks

#: bytes of text in one chunk: small enough to show its middle at once, large enough to compress well
MAX_CHUNK = 128 * 1024
#: below this, compression is not worth its time
MIN_COMPRESSED = 512

#: compressors are not safe to share between threads
_codecs = local()

_hold = Statement(
    select(logs.c.num_lines, logs.c.complete)
    .join(steps, steps.c.id == logs.c.stepid)
    .join(builds, builds.c.id == steps.c.buildid)
    .join(buildrequests, buildrequests.c.id == builds.c.buildrequestid)
    .where(logs.c.id == bindparam("logid"), HELD)
    .with_for_update(read=True)
)
_slug_taken = Statement(
    select(logs.c.id).where(logs.c.stepid == bindparam("stepid"), logs.c.slug_hash == bindparam("hash"))
)
_add = Insert(
    insert(logs).values(
        name=bindparam("name"),
        slug=bindparam("slug"),
        slug_hash=bindparam("hash"),
        stepid=bindparam("stepid"),
        type=bindparam("type"),
    )
)
_add_chunk = Statement(insert(logchunks).values({c.name: bindparam(c.name) for c in logchunks.columns}))
_grow = Statement(update(logs).where(logs.c.id == bindparam("logid")).values(num_lines=bindparam("lines")))
_finish = Statement(update(logs).where(logs.c.id == bindparam("logid")).values(complete=1))
_get = Statement(
    select(logs.c.id, logs.c.num_lines, logs.c.type, logs.c.complete, logs.c.name, logs.c.slug, logs.c.stepid).where(
        logs.c.id == bindparam("logid")
    )
)
_chunks = Statement(
    select(logchunks.c.first_line, logchunks.c.last_line, logchunks.c.compressed, logchunks.c.content)
    .where(
        logchunks.c.logid == bindparam("logid"),
        logchunks.c.first_line <= bindparam("last"),
        logchunks.c.last_line >= bindparam("first"),
    )
    .order_by(logchunks.c.first_line)
)
_next_chunk = Statement(
    select(logchunks.c.first_line, logchunks.c.last_line, logchunks.c.compressed, logchunks.c.content)
    .where(logchunks.c.logid == bindparam("logid"), logchunks.c.first_line >= bindparam("first"))
    .order_by(logchunks.c.first_line)
    .limit(bindparam("count"))
)
_size = Statement(select(func.count()).where(logchunks.c.logid == bindparam("logid")))
_unfinished = Statement(
    select(logs.c.id).where(logs.c.stepid == bindparam("stepid"), logs.c.complete == 0).order_by(logs.c.id)
)


class LogsConnectorComponent(DBConnectorComponent):
    """What steps had to say; at ``master.db.logs``."""

    def thdGetLog(self, conn: Connection, logid: int) -> dict[str, Any] | None:
        """The log (``id``, ``num_lines``, ``type``, ``complete``, ``name``, ``slug``, ``stepid``), or None."""
        row = _get.first(conn, logid=checks.identifier(logid, "logid"))
        if row is None:
            return None
        keys = ("id", "num_lines", "type", "complete", "name", "slug", "stepid")
        return {**dict(zip(keys, row, strict=True)), "complete": bool(row[3])}

    getLog = reads(thdGetLog)

    def thdGetLogLines(self, conn: Connection, logid: int, first_line: int, last_line: int) -> str:
        """The lines from ``first_line`` to ``last_line``, both counted from 0 and included, each ending in a
        newline.
        """
        checks.integer(first_line, "first_line", maximum=checks.MAX_INT)
        pieces = []
        for row in _chunks.all(conn, logid=checks.identifier(logid, "logid"), first=first_line, last=last_line):
            text = _text(row)
            if row[0] < first_line or row[1] > last_line:
                lines = text.split("\n")
                text = "\n".join(lines[max(first_line - row[0], 0) : last_line - row[0] + 1]) + "\n"
                if row[1] <= last_line and text.endswith("\n\n") and not lines[-1]:
                    text = text[:-1]
            pieces.append(text)
        return "".join(pieces)

    getLogLines = snapshots(thdGetLogLines)

    def thdGetLogPiece(self, conn: Connection, logid: int, first_line: int) -> tuple[str, int] | None:
        """The text of the chunk that begins at ``first_line`` or next after it, and the line after it; None at the
        end.
        """
        row = _next_chunk.first(conn, logid=checks.identifier(logid, "logid"), first=first_line, count=1)
        return None if row is None else (_text(row), row[1] + 1)

    getLogPiece = reads(thdGetLogPiece)

    # -- for the Data layer -------------------------------------------------------------------------

    def thdHold(self, conn: Connection, logid: int) -> int:
        """Make sure that this master has claimed the log's build until this transaction ends; the lines it has.

        Raises NotClaimedError if not, ValueError if the log is finished.
        """
        owner = {"owner": self.db.masterid, "owner_epoch": self.db.epoch}
        row = _hold.first(conn, logid=checks.identifier(logid, "logid"), **owner)
        if row is None:
            raise NotClaimedError(f"the build of log {logid} is not claimed by this master")
        if row[1]:
            raise ValueError(f"logid: log {logid} is finished")
        return int(row[0])

    def thdAdd(self, conn: Connection, stepid: int, name: str, log_type: str) -> int:
        """Add a log; its slug is made of its name, unique in its step by ``_2``, ``_3``, …"""
        checks.text(name, "name")
        checks.one_of(log_type, ("s", "t", "h"), "type")
        wanted = slug = _slug(name)
        suffix = 1
        while _slug_taken.first(conn, stepid=stepid, hash=checks.name_hash(slug)) is not None:
            suffix += 1
            slug = f"{wanted}_{suffix}"
        return _add.id(conn, name=name, slug=slug, hash=checks.name_hash(slug), stepid=stepid, type=log_type)

    def thdAppend(self, conn: Connection, logid: int, first_line: int, content: str) -> int:
        """Append whole lines after ``first_line`` lines; the number of lines that there are now."""
        if not content.endswith("\n"):
            raise ValueError("content: the text must be whole lines, each ending in a newline")
        rows = []
        for piece in _pieces(content):
            count = piece.count(b"\n")
            compressed, blob = _packed(piece)
            rows.append(
                {
                    "logid": logid,
                    "first_line": first_line,
                    "last_line": first_line + count - 1,
                    "compressed": compressed,
                    "content": blob,
                }
            )
            first_line += count
        _add_chunk.many(conn, rows)
        _grow.run(conn, logid=logid, lines=first_line)
        return first_line

    def thdFinish(self, conn: Connection, logid: int) -> None:
        """Nothing more will come: join small chunks."""
        if _size.scalar(conn, logid=logid) > 1:
            self._join_chunks(conn, logid)
        _finish.run(conn, logid=logid)

    def thdUnfinished(self, conn: Connection, stepid: int) -> list[int]:
        """Ids of a step's logs that are not finished."""
        return [row[0] for row in _unfinished.all(conn, stepid=stepid)]

    def _join_chunks(self, conn: Connection, logid: int) -> None:
        start = 0
        while True:  # bounded memory: a few chunks at a time
            rows = _next_chunk.all(conn, logid=logid, first=start, count=64)
            if not rows:
                return
            group: list[Row] = []
            size = 0
            for row in rows:
                length = len(_bytes(row))
                if group and size + length > MAX_CHUNK:
                    self._replace(conn, logid, group)
                    group, size = [], 0
                group.append(row)
                size += length
            # the last group of a full page may still grow with the next page
            if len(rows) == 64 and len(group) < len(rows):
                start = group[0][0]
                continue
            self._replace(conn, logid, group)
            start = rows[-1][1] + 1

    @staticmethod
    def _replace(conn: Connection, logid: int, group: list[Row]) -> None:
        if len(group) < 2:
            return
        compressed, blob = _packed(b"".join(_bytes(row) for row in group))
        _remove_range.run(conn, logid=logid, first=group[0][0], last=group[-1][0])
        _add_chunk.run(
            conn,
            logid=logid,
            first_line=group[0][0],
            last_line=group[-1][1],
            compressed=compressed,
            content=blob,
        )


_remove_range = Statement(
    delete(logchunks).where(
        logchunks.c.logid == bindparam("logid"),
        logchunks.c.first_line >= bindparam("first"),
        logchunks.c.first_line <= bindparam("last"),
    )
)


def _slug(name: str) -> str:
    slug = "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "_" for c in name)[:50]
    return slug if slug and not slug[0].isdigit() else f"_{slug}"[:50]


def _pieces(content: str) -> Iterator[bytes]:
    data = content.encode()
    while len(data) > MAX_CHUNK:
        cut = data.rfind(b"\n", 0, MAX_CHUNK) + 1
        if cut == 0:  # one line alone is longer
            cut = data.index(b"\n") + 1
        yield data[:cut]
        data = data[cut:]
    if data:
        yield data


def _packed(data: bytes) -> tuple[int, bytes]:
    if len(data) >= MIN_COMPRESSED:
        if not hasattr(_codecs, "compressor"):
            _codecs.compressor = zstandard.ZstdCompressor(level=3)
        packed: bytes = _codecs.compressor.compress(data)
        if len(packed) < len(data):
            return 1, packed
    return 0, data


def _bytes(row: Row) -> bytes:
    if not row[2]:
        return bytes(row[3])
    if not hasattr(_codecs, "decompressor"):
        _codecs.decompressor = zstandard.ZstdDecompressor()
    return _codecs.decompressor.decompress(row[3])  # type: ignore[no-any-return]


def _text(row: Row) -> str:
    return _bytes(row).decode()
