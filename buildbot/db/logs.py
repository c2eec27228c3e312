"""Logs connector: lines of text in chunks. Its writing operations serve the Data layer.

A chunk is a run of whole lines, at most ``MAX_CHUNK`` bytes unless one line alone is longer. It is stored as UTF-8 or,
if that is smaller, compressed by zstd. While a log grows each append is a chunk of its own, so that no line waits; when
the log is finished, small neighbours are joined.
"""

from __future__ import annotations

from collections.abc import Iterator
from threading import local
from typing import Any

import zstandard
from sqlalchemy import ColumnElement, Integer, and_, bindparam, delete, func, insert, not_, select, update
from sqlalchemy.engine import Connection

from buildbot.db.base import DBConnectorComponent
from buildbot.db.builds import HELD
from buildbot.db.engine.query import CLOCK
from buildbot.db.engine.races import again_if_taken
from buildbot.db.engine.rows import own_row
from buildbot.db.engine.statements import Insert, Row, Statement, Update
from buildbot.db.exceptions import NotClaimedError
from buildbot.db.operations import reads, reads_short, snapshots
from buildbot.resources.builders import builders
from buildbot.resources.buildrequests import buildrequests
from buildbot.resources.builds import builds
from buildbot.resources.logs import LOG, DbLogDict, logchunks, logs
from buildbot.resources.steps import steps
from buildbot.resources.workers import workers
from buildbot.util import checks

#: the result of getters, under the name that plugins import
LogModel = DbLogDict

#: bytes of text in one chunk: small enough to show its middle at once, large enough to compress well
MAX_CHUNK = 128 * 1024
#: chunks that a download reads at once
DOWNLOAD_CHUNKS = 24
#: chunks that are read together when a log is finished
JOINED = 64
#: below this number of bytes compression is not worth its time
MIN_COMPRESSED = 512

#: compressors are not safe to share between threads
_codecs = local()

_its_build = steps.join(builds, builds.c.id == steps.c.buildid).join(
    buildrequests, buildrequests.c.id == builds.c.buildrequestid
)
_this = logs.c.id == bindparam("logid")
_held = (
    select(steps.c.id)
    .select_from(_its_build)
    .where(steps.c.id == logs.c.stepid, HELD)
    .with_for_update(read=True, of=buildrequests)
    .exists()
)
#: a part of the statement that writes the log
_growing = and_(_this, logs.c.complete == 0, _held)
_this_held = Statement(select(logs.c.id).where(_this, _held))
_with_slug = select(logs.c.id).where(logs.c.stepid == bindparam("stepid"), logs.c.slug_hash == bindparam("hash"))
_held_step = select(steps.c.id).select_from(_its_build).where(steps.c.id == bindparam("stepid"), HELD)
#: whether this master holds the step's build
_is_held = Statement(_held_step)
_values: dict[str, ColumnElement[Any]] = {
    "name": bindparam("name", type_=logs.c.name.type),
    "slug": bindparam("slug", type_=logs.c.slug.type),
    "slug_hash": bindparam("hash", type_=logs.c.slug_hash.type),
    "stepid": bindparam("stepid", type_=logs.c.stepid.type),
    "type": bindparam("type", type_=logs.c.type.type),
    "num_lines": bindparam("num_lines", type_=Integer),
    "complete": bindparam("complete", type_=Integer),
}
#: adds a log, if this master holds the step's build and no log of the step has the slug
_add = Insert(
    insert(logs).from_select(
        list(_values),
        _held_step.with_only_columns(*_values.values())
        .where(not_(_with_slug.exists()))
        .with_for_update(read=True, of=buildrequests),
    ),
    gives=own_row(LOG),
)
_add_chunk = Statement(insert(logchunks).values({c.name: bindparam(c.name) for c in logchunks.columns}))
_grow = Update(update(logs).where(_growing).values(num_lines=logs.c.num_lines + bindparam("more")), own_row(LOG), _this)
#: the column with the number of lines
_NUM_LINES = [column.name for column in own_row(LOG).columns].index("num_lines")
_finish = Update(
    update(logs).where(_growing).values(num_lines=logs.c.num_lines + bindparam("more"), complete=1), own_row(LOG), _this
)
_finish_lost = Update(update(logs).where(_this).values(complete=1), own_row(LOG), _this)
_get = Statement(
    select(logs.c.id, logs.c.num_lines, logs.c.type, logs.c.complete, logs.c.name, logs.c.slug, logs.c.stepid).where(
        logs.c.id == bindparam("logid")
    )
)
_chunks = Statement(
    select(logchunks.c.first_line, logchunks.c.last_line, logchunks.c.compressed, logchunks.c.content, CLOCK)
    .where(
        logchunks.c.logid == bindparam("logid"),
        logchunks.c.first_line <= bindparam("last"),
        logchunks.c.last_line >= bindparam("first"),
    )
    .order_by(logchunks.c.first_line)
)
_origin = Statement(
    select(steps.c.name, builds.c.number, builders.c.name, workers.c.name)
    .select_from(
        logs.join(steps, steps.c.id == logs.c.stepid)
        .join(builds, builds.c.id == steps.c.buildid)
        .join(builders, builders.c.id == builds.c.builderid)
        .outerjoin(workers, workers.c.id == builds.c.workerid)
    )
    .where(logs.c.id == bindparam("logid"))
)
#: bytes of a chunk for the header of a zstd frame, which has the size of its content
_sizes = Statement(
    select(
        logchunks.c.first_line,
        logchunks.c.last_line,
        logchunks.c.compressed,
        func.substr(logchunks.c.content, 1, 18),
        func.length(logchunks.c.content),
    )
    .where(logchunks.c.logid == bindparam("logid"))
    .order_by(logchunks.c.first_line)
)
_next_chunk = Statement(
    select(logchunks.c.first_line, logchunks.c.last_line, logchunks.c.compressed, logchunks.c.content)
    .where(logchunks.c.logid == bindparam("logid"), logchunks.c.first_line >= bindparam("first"))
    .order_by(logchunks.c.first_line)
    .limit(bindparam("count"))
)
_chunks_from = Statement(
    select(logchunks.c.first_line, logchunks.c.last_line, logchunks.c.compressed, logchunks.c.content)
    .where(logchunks.c.logid == bindparam("logid"), logchunks.c.last_line >= bindparam("first"))
    .order_by(logchunks.c.first_line)
    .limit(bindparam("count"))
)


class LogsConnectorComponent(DBConnectorComponent):
    """Logs; at ``master.db.logs``."""

    def thdGetLog(self, conn: Connection, logid: int) -> dict[str, Any] | None:
        """The log (``id``, ``num_lines``, ``type``, ``complete``, ``name``, ``slug``, ``stepid``), or None."""
        row = _get.first(conn, logid=checks.identifier(logid, "logid"))
        if row is None:
            return None
        keys = ("id", "num_lines", "type", "complete", "name", "slug", "stepid")
        return {**dict(zip(keys, row, strict=True)), "complete": bool(row[3])}

    getLog = reads_short(thdGetLog)

    def thdGetLogLines(self, conn: Connection, logid: int, first_line: int, last_line: int) -> str:
        """The lines from ``first_line`` to ``last_line``, both counted from 0 and included, each ending in a
        newline.
        """
        return self.thdGetLogLinesAt(conn, logid, first_line, last_line)[0]

    getLogLines = snapshots(thdGetLogLines)

    def thdGetLogLinesAt(self, conn: Connection, logid: int, first_line: int, last_line: int) -> tuple[str, int | None]:
        """As ``thdGetLogLines``, and the clock when they were read; None if there are none."""
        checks.integer(first_line, "first_line", maximum=checks.MAX_INT)
        pieces = []
        rows = _chunks.all(conn, logid=checks.identifier(logid, "logid"), first=first_line, last=last_line)
        for row in rows:
            text = _text(row)
            if row[0] < first_line or row[1] > last_line:
                lines = text.split("\n")[max(first_line - row[0], 0) : min(last_line, row[1]) - row[0] + 1]
                text = "\n".join([*lines, ""])
            pieces.append(text)
        return "".join(pieces), rows[0][-1] if rows else None

    def thdGetLogPiece(self, conn: Connection, logid: int, first_line: int) -> tuple[str, int] | None:
        """The text of the chunk at ``first_line``, or of the next one, and the line after it; None at the end."""
        row = _next_chunk.first(conn, logid=checks.identifier(logid, "logid"), first=first_line, count=1)
        return None if row is None else (_text(row), row[1] + 1)

    getLogPiece = reads(thdGetLogPiece)

    def thdGetOrigin(self, conn: Connection, logid: int) -> tuple[str, int, str, str | None] | None:
        """The names of a log's step, builder and worker (if it had one), and its build's number; or None."""
        row = _origin.first(conn, logid=logid)
        return None if row is None else (row[0], row[1], row[2], row[3])

    def thdGetLogBytes(self, conn: Connection, logid: int, first_line: int, stripped: bool) -> tuple[bytes, int] | None:
        """Some chunks from the one that begins at ``first_line`` on, as UTF-8, and the line after them; None at the
        end. ``stripped``: without the first letter of each line.
        """
        rows = _next_chunk.all(conn, logid=logid, first=first_line, count=DOWNLOAD_CHUNKS)
        if not rows:
            return None
        pieces = map(_bytes, rows)
        return b"".join(map(_stripped, pieces) if stripped else pieces), rows[-1][1] + 1

    getLogBytes = reads(thdGetLogBytes)

    def thdGetLogPart(self, conn: Connection, logid: int, line: int) -> tuple[bytes, int, int] | None:
        """Some chunks from the one that has ``line`` on: their UTF-8, their first line, the line after them; or
        None.
        """
        rows = _chunks_from.all(conn, logid=logid, first=line, count=DOWNLOAD_CHUNKS)
        return (b"".join(map(_bytes, rows)), rows[0][0], rows[-1][1] + 1) if rows else None

    def thdGetLogSizes(self, conn: Connection, logid: int, stripped: bool) -> list[tuple[int, int]]:
        """For each chunk its first line, and the number of bytes that ``getLogBytes`` gives of it."""
        return [
            (first, _size_of(compressed, beginning, length) - (last - first + 1 if stripped else 0))
            for first, last, compressed, beginning, length in _sizes.all(conn, logid=logid)
        ]

    getLogSizes = reads(thdGetLogSizes)

    # -- for the Data layer -------------------------------------------------------------------------

    # The methods that write raise NotClaimedError unless this master has claimed the log's build, at its epoch.

    def thdAdd(self, conn: Connection, stepid: int, name: str, log_type: str, content: str | None = None) -> int:
        """Add a log; its slug is made from its name, and made unique in its step by ``_2``, ``_3``, …

        With ``content``, lines that each end in a newline, it is complete at once.
        """
        checks.text(name, "name")
        checks.one_of(log_type, ("s", "t", "h"), "type")
        wanted = slug = _slug(name)
        row = {
            "stepid": checks.identifier(stepid, "stepid"),
            "name": name,
            "type": log_type,
            "num_lines": 0 if content is None else _lines_in(content),
            "complete": int(content is not None),
            **self._owner(),
        }
        suffix = 1
        while True:
            with again_if_taken(conn):
                logid = _add.id_if_added(conn, slug=slug, hash=checks.name_hash(slug), **row)
            if logid is not None:
                break
            if _is_held.first(conn, stepid=stepid, **self._owner()) is None:
                raise NotClaimedError(f"the build of step {stepid} is not claimed by this master")
            suffix += 1
            slug = f"{wanted}_{suffix}"
        if content:
            _add_chunk.many(conn, _chunks_of(logid, 0, content))
        return logid

    def thdAppend(self, conn: Connection, logid: int, content: str) -> tuple[int, int]:
        """Append whole lines; gives the numbers of the first and the last of them."""
        if not content:
            raise ValueError("content: there must be a line at least")
        first, after = self._append(conn, _grow, logid, content)
        return first, after - 1

    def thdFinish(self, conn: Connection, logid: int, content: str = "") -> None:
        """End a log with these last lines: join small chunks."""
        if self._append(conn, _finish, logid, content)[0]:  # otherwise there are no chunks but the new ones
            self._join_chunks(conn, logid)

    def _append(self, conn: Connection, statement: Update, logid: int, content: str) -> tuple[int, int]:
        """Change a log that grows, and append; gives the numbers of the first line and of the line after the last."""
        more = _lines_in(content)
        changed = statement.changed(conn, logid=checks.identifier(logid, "logid"), more=more, **self._owner())
        if not changed:
            raise self._not_growing(conn, logid)
        after = changed[0][_NUM_LINES]
        _add_chunk.many(conn, _chunks_of(logid, after - more, content))
        return after - more, after

    def thdFinishLost(self, conn: Connection, logid: int) -> None:
        """End a log whose build's master is dead, and so holds nothing any more."""
        self._join_chunks(conn, logid)
        _finish_lost.count(conn, logid=logid)

    def _not_growing(self, conn: Connection, logid: int) -> Exception:
        if _this_held.first(conn, logid=logid, **self._owner()):
            return ValueError(f"logid: log {logid} is finished")
        return NotClaimedError(f"the build of log {logid} is not claimed by this master")

    def _join_chunks(self, conn: Connection, logid: int) -> None:
        start = 0
        more = True
        while more:  # bounded memory: a few chunks at a time
            rows = _next_chunk.all(conn, logid=logid, first=start, count=JOINED)
            more = len(rows) == JOINED
            group: list[Row] = []
            size = 0
            for row in rows:
                length = _size_of(row[2], row[3], len(row[3]))
                if group and size + length > MAX_CHUNK:
                    self._replace(conn, logid, group)
                    group, size = [], 0
                group.append(row)
                size += length
            # the last group of a full page may grow with the next page
            if more and len(group) < len(rows):
                start = group[0][0]
                continue
            self._replace(conn, logid, group)
            start = rows[-1][1] + 1 if rows else start

    @staticmethod
    def _replace(conn: Connection, logid: int, group: list[Row]) -> None:
        if len(group) < 2:
            return
        compressed, blob = packed(b"".join(_bytes(row) for row in group))
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


def _lines_in(content: str) -> int:
    """The number of lines. Raises ValueError unless each of them ends in a newline."""
    if content and not content.endswith("\n"):
        raise ValueError("content: the text must be whole lines, each ending in a newline")
    return content.count("\n")


def _chunks_of(logid: int, line: int, content: str) -> list[dict[str, Any]]:
    """The rows of chunks with these lines, of which the first one has the number ``line``."""
    chunks = []
    for piece in pieces_of(content.encode()):
        count = piece.count(b"\n")
        compressed, blob = packed(piece)
        chunks.append(
            {
                "logid": logid,
                "first_line": line,
                "last_line": line + count - 1,
                "compressed": compressed,
                "content": blob,
            }
        )
        line += count
    return chunks


def pieces_of(data: bytes) -> Iterator[bytes]:
    """Whole lines of UTF-8, each ending in a newline, cut into pieces for chunks."""
    while len(data) > MAX_CHUNK:
        cut = data.rfind(b"\n", 0, MAX_CHUNK) + 1
        if cut == 0:  # one line alone is longer
            cut = data.index(b"\n") + 1
        yield data[:cut]
        data = data[cut:]
    if data:
        yield data


def packed(data: bytes) -> tuple[int, bytes]:
    """The columns ``compressed`` and ``content`` of a chunk with this text."""
    if len(data) >= MIN_COMPRESSED:
        if not hasattr(_codecs, "compressor"):
            _codecs.compressor = zstandard.ZstdCompressor(level=3)
        smaller: bytes = _codecs.compressor.compress(data)
        if len(smaller) < len(data):
            return 1, smaller
    return 0, data


def _bytes(row: Row) -> bytes:
    if not row[2]:
        return bytes(row[3])
    if not hasattr(_codecs, "decompressor"):
        _codecs.decompressor = zstandard.ZstdDecompressor()
    return _codecs.decompressor.decompress(row[3])  # type: ignore[no-any-return]


def _size_of(compressed: int, beginning: bytes, length: int) -> int:
    """The number of bytes of a chunk's text, from its beginning and its length."""
    return zstandard.frame_content_size(bytes(beginning)) if compressed else length


def _stripped(data: bytes) -> bytes:
    return b"\n".join([line[1:] for line in data.split(b"\n")])


def _text(row: Row) -> str:
    return _bytes(row).decode()
