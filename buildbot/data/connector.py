"""The Data API, ``master.data``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar, cast
from urllib.parse import unquote

from sqlalchemy.engine import Connection
from twisted.internet.defer import Deferred

from buildbot.data import resultspec
from buildbot.data.control import Control
from buildbot.data.endpoint import Endpoint
from buildbot.data.endpoints import Endpoints
from buildbot.data.exceptions import (
    InvalidControlError,
    InvalidOptionError,
    NotFoundError,
    SinceTooOldError,
    UnknownActionError,
)
from buildbot.data.heard import Filter, identifier_of
from buildbot.data.metrics import StateMetrics
from buildbot.data.updates import Updates
from buildbot.db.connector import DBConnector
from buildbot.db.engine.query import Query
from buildbot.db.logsearch import Found, thd_search
from buildbot.db.pool import in_snapshot
from buildbot.mq.connector import Callback, MQConnector
from buildbot.mq.log import Event, thdClock
from buildbot.mq.match import Pattern
from buildbot.mq.subscription import Deliver, Subscription
from buildbot.util.deferreds import deferred

T = TypeVar("T")
Options = Mapping[str, Any] | None


def segments_of(path: str) -> tuple[str, ...]:
    """The segments of a path as clients write it: percent-encoded as in a URL, so that names may have any character.

    Slashes before and behind it do not count.
    """
    return tuple(map(unquote, path.strip("/").split("/")))


def path_of(segments: Sequence[str]) -> str:
    """The path as clients write it, of which these are the segments; a client may have encoded the slashes too."""
    if len(segments) == 1:
        return segments[0]
    return "/".join(segment.replace("%", "%25").replace("/", "%2F") for segment in segments)


class Watch:
    """The result of ``watch``: a snapshot, and the subscription that begins after it."""

    def __init__(self, data: Any, subscription: Subscription) -> None:
        #: the result of ``get`` at the moment of the snapshot
        self.data = data
        self._subscription = subscription

    @property
    def clock(self) -> int:
        """The clock up to which events have been delivered; at first that of the snapshot."""
        return self._subscription.clock

    def stopConsuming(self) -> Any:
        """Deliver no more, from now on."""
        return self._subscription.stopConsuming()


class DataConnector:
    """Reads and writes of callers: ``get``, ``startConsuming``, ``control``, ``update``.

    Paths are tuples; integers in them may be given as text.
    """

    def __init__(self, db: DBConnector, mq: MQConnector) -> None:
        self._db = db
        self._mq = mq
        self._endpoints = Endpoints(db)
        #: methods of the process layer that write state and announce it
        self.update = Updates(db, mq)
        #: the same object, under the name that existing plugins use
        self.updates = self.update
        self._control = Control(db, self.update)
        self._metrics = StateMetrics(db, mq, self.update)
        #: the numbers of this layer, for ``master.metrics``
        self.metrics = self._metrics.families
        #: ``{(plural, action): async handler(args, entity)}`` for actions that the process layer implements
        self.control_handlers = self._control.handlers
        #: describes the locks of the process layer, see `buildbot.process.locks.Locks.described`
        self.locks: Callable[[], list[dict[str, Any]]] = list
        #: a version of the database's data, and the clock that was read after it
        self._version: tuple[int, int] | None = None

    def endpoint(self, path: Sequence[Any]) -> Endpoint:
        """The endpoint at a path. Raises InvalidPathError if the API has no such path."""
        return self._endpoints.find(path)[0]

    def endpoints(self) -> list[Endpoint]:
        """All paths of the API."""
        return self._endpoints.all

    @deferred
    async def get(self, options: Options | Sequence[Any], path: Any = None, **spec: Any) -> Any:
        """A resource or a list of resources.

        Plugins of Buildbot 4.3 call it with the path first: ``get(path, filters=[Filter(…)], fields=…, order=…,
        limit=…, offset=…)``, see `buildbot.data.resultspec`.

        Args:
            options: ``filters`` ``{field: value}`` or ``{field__op: value or list}``, ``order`` (list of fields, ``-``
                for descending), ``fields`` (only these come back), ``limit``, ``offset``, ``expand`` (names of links to
                replace by the linked resources, nested with dots), ``properties`` (names, or ``*``).
            path: tuple.

        Returns:
            Deferred with a dictionary or None, or a list; simple values, and ``Link`` instances. Without ``limit``
            lists are complete.

        Raises:
            InvalidPathError: the API has no such path.
            InvalidOptionError: an option, field, operator or value is wrong; the text names it.
        """
        if isinstance(options, tuple | list) and all(isinstance(each, str | int) for each in options):
            spec.setdefault("filters", path)
            return await self._get(resultspec.options(**spec), options)
        if spec:
            raise InvalidOptionError(f"options are a dictionary, not keywords: {', '.join(spec)}")
        return await self._get(cast(Options, options), path)

    @deferred
    async def snapshot(self, options: Options, path: Sequence[Any]) -> tuple[Any, int]:
        """As ``get``, with the clock: ``(data, clock)``.

        The data contains exactly the events up to that number.
        """
        return await self._read(options, path)

    @deferred
    async def read(self, options: Options, path: Sequence[Any], finish: Callable[[Any, int], T]) -> T:
        """As ``snapshot``, but with the result of ``finish(data, clock)``.

        ``finish`` runs in the thread that read, so that the reactor goes on meanwhile. The data has only the links that
        ``expand`` names.
        """
        endpoint, variables = self._endpoints.find(path)
        query = replace(endpoint.check(options), links=False)
        return await self._ask(_read_and_finish, endpoint, variables, query, finish)

    def log_bytes(self, logid: int, first_line: int, stripped: bool) -> Deferred[tuple[bytes, int] | None]:
        """A part of a log from the chunk at ``first_line`` on, as UTF-8, and the line after it; None at the end.

        ``stripped``: without the letter at the beginning of each line that tells streams apart.
        """
        return self._db.logs.getLogBytes(logid, first_line, stripped)

    def log_sizes(self, logid: int, stripped: bool) -> Deferred[list[tuple[int, int]]]:
        """For each chunk its first line, and the number of bytes that ``log_bytes`` gives of it."""
        return self._db.logs.getLogSizes(logid, stripped)

    def log_search(
        self, logid: int, first_line: int, prefixed: bool, needle: bytes, most: int
    ) -> Deferred[Found | None]:
        """Lines with ``needle`` (lower case) in a part of a log, and where the next part begins; None at the end."""
        found: Deferred[Found | None] = self._db.pool.read(
            thd_search, self._db.logs, logid, first_line, prefixed, needle, most
        )
        return found

    def data_version(self) -> int | None:
        """SQLite's data version, read without a query. None on servers: there every write moves the clock instead.

        While the version is the same, the data is the same, unannounced changes included.
        """
        return self._db.pool.data_version()

    async def version(self) -> tuple[int, int]:
        """``(version, clock)``, in one statement at most."""
        changes = self._db.pool.data_version()
        if changes is None:
            clock = await self.clock()
            return clock, clock
        if self._version is None or self._version[0] != changes:
            # The version was read before the clock: a write in between gives another version next time.
            self._version = changes, await self.clock()
        return self._version

    @deferred
    async def startConsuming(self, callback: Callback, options: Options, path: Sequence[Any]) -> Subscription:
        """Call ``callback(routing_key, message)`` for every later event of the resources at a path, in order, once.

        Args:
            callback: gets a tuple of text and simple values, which it must not change.
            options: ``since``: the clock after which it begins; default: now.
            path: tuple; a list's events are those of its elements.

        Returns:
            Deferred with an object with ``.clock`` and ``.stopConsuming()``; no callback runs before it has fired.

        Raises:
            InvalidPathError, InvalidOptionError: as ``get``.
            SinceTooOldError: the log no longer holds the events after ``since``.
        """
        since = _since(options)
        endpoint, variables = self._endpoints.find(path)
        heard = endpoint.heard
        if heard is None:
            return await self.subscribe([_own_pattern(endpoint, path)], _delivers(callback), since)
        return await self._follow(Filter(heard, variables), _delivers(callback), since)

    async def follow(self, path: str, deliver: Deliver, since: int | None) -> Subscription:
        """As ``subscribe``, for a path as clients write it: with slashes and ``*``, names percent-encoded.

        A path of the API means the events of the resources there. The identifier of an element of a list and the
        name of an event may follow; ``*`` stands for any of them. Every other text is a pattern of routing keys, in
        which ``*`` is any one segment.
        """
        segments = segments_of(path)
        filter = self._filter(list(segments))
        if filter is None:
            pattern = tuple(None if segment == "*" else segment for segment in segments)
            return await self.subscribe([pattern], deliver, since)
        return await self._follow(filter, deliver, since)

    def _filter(self, segments: list[str]) -> Filter | None:
        """The filter of a path as clients write it, if it begins with a path of the API."""
        for ending in range(3):
            beginning, end = segments[: len(segments) - ending], segments[len(segments) - ending :]
            found = None if "*" in beginning else self._endpoints.at(beginning)
            heard = None if found is None else found[0].heard
            if found is None or heard is None:
                continue
            endpoint, variables = found
            event = end[-1] if end and end[-1] != "*" else None
            if (event is not None and event not in heard.names) or (ending and endpoint.is_collection != (ending == 2)):
                continue
            identifier = None
            if ending == 2 and end[0] != "*":
                identifier = identifier_of(endpoint.resource, heard.key, end[0])
                if identifier is None:
                    continue
            return Filter(heard, variables, event, identifier)
        return None

    async def _follow(self, filter: Filter, deliver: Deliver, since: int | None) -> Subscription:
        if filter.asks:
            # it reads ids as they are at the clock at which it begins, or later
            clock = await self._db.pool.snapshot(_read_filter, filter)
            since = clock if since is None else since
        patterns, hear = filter.subscribe(deliver)
        return await self.subscribe(patterns, hear, since)

    async def subscribe(self, patterns: Sequence[Pattern], deliver: Deliver, since: int | None) -> Subscription:
        """As ``startConsuming``, for several patterns of routing keys and with events as they are in the log."""
        if since is not None:
            newest, trimmed = await self._mq.clock()
            if since > newest:
                raise InvalidOptionError(f"since: {since} is later than the clock, {newest}")
            if since < trimmed:
                raise SinceTooOldError(f"since: the log begins after {trimmed}, so events after {since} are gone")
        return await self._mq.subscribe(patterns, deliver, since)

    @deferred
    async def watch(self, callback: Callback, options: Options, path: Sequence[Any]) -> Watch:
        """A snapshot and every event after it.

        Returns:
            Deferred with an object with ``.data``, ``.clock`` and ``.stopConsuming()``; no callback runs before it
            has fired.
        """
        data, clock = await self._read(options, path)
        return Watch(data, await self.startConsuming(callback, {"since": clock}, path))

    @deferred
    async def control(self, action: str, args: Mapping[str, Any], path: Sequence[Any]) -> Any:
        """Run an action of a resource: ``stop``, ``rebuild``, ``cancel``, ``force``, …

        Args:
            action: a short text, one of `buildbot.data.control.ACTIONS`.
            args: its arguments.
            path: tuple naming a single resource.

        Returns:
            Deferred with None, or of ``force`` and ``rebuild`` with ``[bsid, {builderid as text: buildrequestid}]``.

        Raises:
            InvalidPathError: as ``get``.
            InvalidControlError: the resource has no such action, or an argument is wrong; the text names it.
            NotFoundError: the resource does not exist.
        """
        endpoint, variables = self._endpoints.find(path)
        if not isinstance(action, str):
            raise InvalidControlError(f"action must be text, not {action!r}")
        if not isinstance(args, Mapping):
            raise InvalidControlError(f"args must be a dictionary, not {args!r}")
        if endpoint.kind != "single" or not self._control.has(endpoint.plural, action):
            raise UnknownActionError(f"action: {action} is not supported")
        entity = await self._db.pool.read_short(endpoint.read, variables, Query())
        if entity is None:
            raise NotFoundError(f"not found: {'/'.join(map(str, path))}")
        return await self._control.run(endpoint.plural, action, args, entity)

    async def clock(self) -> int:
        """The number of the newest event of the installation."""
        newest, _ = await self._mq.clock()
        return newest

    async def _get(self, options: Options, path: Sequence[Any]) -> Any:
        endpoint, variables = self._endpoints.find(path)
        query = endpoint.check(options)
        return await self._ask(_get, endpoint, variables, query)

    async def _read(self, options: Options, path: Sequence[Any]) -> tuple[Any, int]:
        endpoint, variables = self._endpoints.find(path)
        query = endpoint.check(options)
        return await self._ask(_read, endpoint, variables, query)

    def _ask(
        self, thd: Callable[..., T], endpoint: Endpoint, variables: Mapping[str, Any], query: Query, *args: Any
    ) -> Deferred[T]:
        read = self._db.pool.read_short if endpoint.asks_short(query) else self._db.pool.read
        return read(thd, endpoint, variables, query, *args)


def _own_pattern(endpoint: Endpoint, path: Sequence[Any]) -> Pattern:
    """The pattern of routing keys at a path whose resources have no events: other parts may announce there."""
    segments = tuple(str(segment) for segment in path)
    return (*segments, None, None) if endpoint.is_collection else (*segments, None)


def _delivers(callback: Callback) -> Deliver:
    def deliver(event: Event, key: tuple[str, ...]) -> None:
        callback(key, event.message)

    return deliver


def _read_filter(conn: Connection, filter: Filter) -> int:
    clock, _ = thdClock(conn)
    filter.read(conn)
    return clock


def _get(conn: Connection, endpoint: Endpoint, variables: Mapping[str, Any], query: Query) -> Any:
    if endpoint.is_of_one_moment(query):
        found = endpoint.read(conn, variables, query)
        if endpoint.is_whole(query, found):
            return found
    return _read(conn, endpoint, variables, query)[0]


def _read(conn: Connection, endpoint: Endpoint, variables: Mapping[str, Any], query: Query) -> tuple[Any, int]:
    found = endpoint.read_at_once(conn, variables, query)
    return in_snapshot(conn, endpoint.read_with_clock, variables, query) if found is None else found


def _read_and_finish(
    conn: Connection,
    endpoint: Endpoint,
    variables: Mapping[str, Any],
    query: Query,
    finish: Callable[[Any, int], T],
) -> T:
    return finish(*_read(conn, endpoint, variables, query))


def _since(options: Options) -> int | None:
    if options is None:
        return None
    if not isinstance(options, Mapping):
        raise InvalidOptionError(f"options must be a dictionary, not {options!r}")
    for name in options:
        if name != "since":
            raise InvalidOptionError(f"unknown option {name!r}; startConsuming takes since")
    since = options.get("since")
    if since is not None and (not isinstance(since, int) or isinstance(since, bool) or since < 0):
        raise InvalidOptionError(f"since must be a clock, an integer from 0 on, not {since!r}")
    return since
