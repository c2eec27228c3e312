"""The events that a subscription to a path gets.

A noun declares conditions on the messages of its events (``buildbot.resources.heard``). Here they are decided for the
variables of one path. The index of patterns decides by routing keys; the other conditions are tested with each message.
A path may name the owner of its resources by name or number. The ids of such owners are read once, in the snapshot at
which the subscription begins. Later owners are learned from their own events, which come before the events of what they
own. So no event needs a query, and none is missed in between.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

from sqlalchemy.engine import Connection

from buildbot.db.engine import query
from buildbot.db.engine.query import Query
from buildbot.mq.log import Event
from buildbot.mq.match import Pattern, matches
from buildbot.mq.subscription import Deliver
from buildbot.resources import BY_PLURAL
from buildbot.resources.base import Among, Condition, Element, Equals, Every, Field, Known, Path, Resource
from buildbot.resources.builds import BUILD
from buildbot.resources.heard import condition_of, parts_of

Body = Any


@dataclass(frozen=True, eq=False)
class Heard:
    """The events that the subscriptions to an endpoint get.

    Attributes:
        templates: routing keys of the events, without their names, with fields in braces.
        condition: the condition on the message.
        names: of the events.
        key: the field that identifies the event's resource.
        body: gives the message that the condition is tested with, from an event and one of its keys.
        known: reads the ids for ``Known``; runs in a thread.
        more: reads further variables of the path; runs in a thread.
    """

    templates: tuple[str, ...]
    condition: Condition
    names: tuple[str, ...]
    key: str
    body: Callable[[Event, tuple[str, ...]], Body] = lambda event, key: event.message
    known: Callable[[Connection, Mapping[str, Any]], Sequence[Any]] | None = None
    more: Callable[[Connection, Mapping[str, Any]], Mapping[str, Any]] | None = None


def heard_at(resource: Resource, path: Path) -> Heard | None:
    """All events of the resources at a noun's path; None if the noun announces nothing."""
    condition = condition_of(resource, path, BY_PLURAL) if resource.events else None
    if condition is None:
        return None

    def known(conn: Connection, variables: Mapping[str, Any]) -> list[Any]:
        asked = {name: variables[name] for name in path.variables}
        found = query.fetch(conn, resource, path, asked, Query(fields=(resource.key,))).entities
        return [entity[resource.key] for entity in found]

    return Heard(
        resource.events,
        condition,
        resource.event_names,
        resource.key,
        known=known if any(isinstance(part, Known) for part in parts_of(condition)) else None,
    )


def properties_heard_at(owner: Resource, path: Path) -> Heard | None:
    """The events of the properties of the resources at a path: only properties of builds change."""
    if owner is not BUILD:
        return None
    condition = condition_of(BUILD, path, BY_PLURAL)
    assert condition is not None
    if set(path.variables) != {BUILD.key}:
        condition = Among(BUILD.key, BUILD.plural, BUILD.key, condition, single=True)
    return Heard(
        (f"{BUILD.plural}/{{{BUILD.key}}}/properties",),
        condition,
        ("update",),
        BUILD.key,
        body=lambda event, key: {BUILD.key: int(key[1])},
    )


class _Test(Protocol):
    """A condition with the values of one path."""

    def true_of(self, body: Body, name: str) -> bool:
        """Whether the condition holds for the message of an event of that name."""


class _Equals:
    def __init__(self, field: str, value: Any) -> None:
        self.field = field
        self.values = value if isinstance(value, frozenset) else frozenset([value])

    def true_of(self, body: Body, name: str) -> bool:
        return any(value in self.values for value in _values(body, self.field))


class _Known(_Equals):
    """A resource counts as unknown until its first event, also for subscriptions that begin in the past."""

    def true_of(self, body: Body, name: str) -> bool:
        return name != "new" and super().true_of(body, name)


class _Element:
    def __init__(self, field: str, values: Mapping[str, Any]) -> None:
        self._field = field
        self._tests = [_Equals(name, value) for name, value in values.items()]

    def true_of(self, body: Body, name: str) -> bool:
        listed = body.get(self._field) if isinstance(body, dict) else None
        return any(all(test.true_of(one, name) for test in self._tests) for one in listed or ())


class _Every:
    def __init__(self, parts: Sequence[_Test]) -> None:
        self.parts = parts

    def true_of(self, body: Body, name: str) -> bool:
        return all(part.true_of(body, name) for part in self.parts)


class _Either:
    def __init__(self, parts: Sequence[_Test]) -> None:
        self.parts = parts

    def true_of(self, body: Body, name: str) -> bool:
        return any(part.true_of(body, name) for part in self.parts)


class _Among:
    """Keeps the values of a field of other resources, by their ids."""

    def __init__(self, declared: Among, variables: Mapping[str, Any]) -> None:
        self.field = declared.field
        self.source = BY_PLURAL[declared.plural]
        self._key = declared.key
        self._of_id = declared.key == self.source.key
        self._declared = declared
        self._variables = variables
        self._test = _test(declared.condition, variables)
        self._found: dict[Any, frozenset[Any]] = {}

    @property
    def value(self) -> Any:
        """The only value that is possible; None if there may be several."""
        if self._declared.single and self._of_id and self._found:
            return next(iter(self._found))
        return None

    def true_of(self, body: Body, name: str) -> bool:
        values = _values(body, self.field)
        if self._of_id:
            return any(value in self._found for value in values)
        return any(value in found for value in values for found in self._found.values())

    def read(self, conn: Connection) -> None:
        """Read the present ids and values."""
        for inner in _among(self._test):
            inner.read(conn)
        variables: Mapping[str, Any] = {}
        path = self._declared.found_by
        asked: tuple[query.Condition, ...] | None = ()
        if path is None:
            path, asked = _all(self.source), _asked(self._test)
        else:  # ``ids`` are of an ``IdIn``
            variables = {name: self._variables[name] for name in (*path.bound, "ids") if name in self._variables}
            asked = () if variables else None
        if asked is None:
            return
        fields = tuple(dict.fromkeys((self.source.key, self._key.partition(".")[0])))
        for entity in query.fetch(conn, self.source, path, variables, Query(asked, fields=fields)).entities:
            self._keep(entity)

    def learners(self) -> Iterator[_Among]:
        """The conditions that need the events of other nouns: inner ones first."""
        if self.value is None:
            for inner in _among(self._test):
                yield from inner.learners()
            yield self

    def learn(self, event: Event, key: tuple[str, ...]) -> None:
        """Learn from an event of the other noun."""
        if _is_true(self._test, event, key, event.message):
            self._keep(event.message)

    def _keep(self, entity: Mapping[str, Any]) -> None:
        self._found[entity[self.source.key]] = frozenset(() if self._of_id else _values(entity, self._key))

    def values(self) -> tuple[Any, ...]:
        """All values so far."""
        if self._of_id:
            return tuple(self._found)
        return tuple({value for values in self._found.values() for value in values})


class Filter:
    """Decides which events one subscription gets, and knows the patterns of routing keys that it needs.

    Args:
        heard: the events at the path.
        variables: of the path.
        event: only events of this name.
        identifier: only events of the resource with this key.
    """

    def __init__(
        self, heard: Heard, variables: Mapping[str, Any], event: str | None = None, identifier: Any = None
    ) -> None:
        self._heard = heard
        self._variables = dict(variables)
        self._event = event
        self._identifier = identifier
        self._known: frozenset[Any] = frozenset()
        self._prepare()

    def _prepare(self) -> None:
        self._variables["_known"] = self._known
        self._parts = list(_conjuncts(_test(self._heard.condition, self._variables, self._heard.key)))
        if self._identifier is not None:
            self._parts.append(_Equals(self._heard.key, self._identifier))

    @property
    def asks(self) -> bool:
        """Whether ``read`` must be called, in the snapshot at whose clock the subscription begins."""
        heard = self._heard
        return heard.known is not None or heard.more is not None or any(True for _ in _among(_Every(self._parts)))

    def read(self, conn: Connection) -> None:
        """Read the ids that the path does not name; runs in a thread."""
        heard = self._heard
        if heard.more is not None:
            self._variables.update(heard.more(conn, self._variables))
        if heard.known is not None:
            self._known = frozenset(heard.known(conn, self._variables))
        self._prepare()
        for among in _among(_Every(self._parts)):
            among.read(conn)

    def subscribe(self, deliver: Deliver) -> tuple[list[Pattern], Deliver]:
        """The patterns to subscribe to, and the callback for their events; it calls ``deliver`` for some of them."""
        fixed: dict[str, _Test] = {}
        values: dict[str, str] = {}
        for part in self._parts:
            value = _only_value(part)
            if value is not None:
                field, text = value
                fixed.setdefault(field, part)
                values.setdefault(field, text)
        pattern, used = _best(self._heard.templates, values, self._event)
        done = {id(fixed[field]) for field in used}
        rest = [part for part in self._parts if id(part) not in done]
        learners = [learner for among in _among(_Every(rest)) for learner in among.learners()]
        if not rest:
            return [pattern], deliver
        test, body = _Every(rest), self._heard.body

        def hear(event: Event, key: tuple[str, ...]) -> None:
            for learner in learners:
                if len(key) == 3 and key[0] == learner.source.plural:
                    learner.learn(event, key)
            if matches(pattern, key) and _is_true(test, event, key, body(event, key)):
                deliver(event, key)

        owners = dict.fromkeys((learner.source.plural, None, None) for learner in learners)
        return [*owners, *(() if pattern in owners else (pattern,))], hear


def _is_true(test: _Test, event: Event, key: tuple[str, ...], body: Body) -> bool:
    """Whether a condition holds for an event's resource, as it is now or as it was before the event."""
    if test.true_of(body, key[-1]):
        return True
    return event.aside is not None and isinstance(body, dict) and test.true_of({**body, **event.aside}, key[-1])


def _values(body: Body, field: str) -> Sequence[Any]:
    """The values of a field; of a list the values of its elements."""
    found = [body]
    for name in field.split("."):
        found = [one.get(name) for one in found if isinstance(one, dict)]
        found = [one for each in found for one in (each if isinstance(each, list) else (each,))]
    return [value for value in found if isinstance(value, int | str)]


def _test(condition: Condition, variables: Mapping[str, Any], key: str = "") -> Any:
    if isinstance(condition, Equals):
        return _Equals(condition.field, variables.get(condition.variable, frozenset()))
    if isinstance(condition, Element):
        return _Element(condition.field, {name: variables.get(name, frozenset()) for name in condition.variables})
    if isinstance(condition, Among):
        return _Among(condition, variables)
    if isinstance(condition, Known):
        return _Known(key, variables["_known"])
    parts = [_test(part, variables, key) for part in condition.parts]
    return _Every(parts) if isinstance(condition, Every) else _Either(parts)


def _conjuncts(test: Any) -> Iterator[Any]:
    if isinstance(test, _Every):
        for part in test.parts:
            yield from _conjuncts(part)
    else:
        yield test


def _among(test: Any) -> Iterator[_Among]:
    if isinstance(test, _Among):
        yield test
    elif isinstance(test, _Every | _Either):
        for part in test.parts:
            yield from _among(part)


def _only_value(test: Any) -> tuple[str, str] | None:
    """The field that must have one value, and that value as it is written in routing keys."""
    if isinstance(test, _Equals) and not isinstance(test, _Known) and len(test.values) == 1:
        return test.field, str(next(iter(test.values)))
    if isinstance(test, _Among) and test.value is not None:
        return test.field, str(test.value)
    return None


def _asked(test: Any) -> tuple[query.Condition, ...] | None:
    """A condition as filters of a list; None if no existing resource can fulfil it."""
    asked = []
    for part in _conjuncts(test):
        values = part.values() if isinstance(part, _Among) else tuple(part.values)
        if not values:
            return None
        asked.append(query.Condition(part.field, "in", values))
    return tuple(asked)


def _best(templates: Sequence[str], values: Mapping[str, str], event: str | None) -> tuple[Pattern, list[str]]:
    """The pattern with the most values in it, and the fields of these values."""
    chosen: tuple[Pattern, list[str]] | None = None
    for template in templates:
        names = re.findall(r"{(\w+)}", template)
        used = [name for name in names if name in values and "/" not in values[name]]
        if chosen is None or len(used) > len(chosen[1]):
            segments = (values[s[1:-1]] if s[1:-1] in used else None if s[0] == "{" else s for s in template.split("/"))
            chosen = (*segments, event), used
    assert chosen is not None
    return chosen


@cache
def _all(resource: Resource) -> Path:
    """The path of the list of all resources of a noun."""
    return Path(resource.plural)


def identifier_of(resource: Resource | None, key: str, text: str) -> Any:
    """A key from a routing key, as messages have it; None if it is no key."""
    field = None if resource is None else resource.fields[key]
    if not isinstance(field, Field) or field.value_kind != "int":
        return text
    return int(text) if text.isascii() and text.isdigit() else None
