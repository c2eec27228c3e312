"""The dialect for scripts: a change as the fields of a form."""

from __future__ import annotations

from typing import TypeVar

from buildbot.www import jsonbody
from buildbot.www.hooks.dialect import Delivery, Dialect, RefusedDeliveryError, form
from buildbot.www.http.messages import Request

_TEXTS = ("committer", "revision", "branch", "category", "revlink", "repository", "project", "codebase")


T = TypeVar("T")


class BaseDialect(Dialect):
    """One change per request. A header ``Idempotency-Key`` makes a repeated request harmless."""

    async def receive(self, request: Request) -> Delivery:
        """As ``Dialect.receive``."""
        fields = {name: values[0] for name, values in form(request).items()}
        change: dict[str, object] = {name: fields[name] for name in _TEXTS if name in fields}
        change["author"] = fields.get("author", fields.get("who", ""))
        change["comments"] = fields.get("comments", "")
        change["files"] = files = _json(fields, "files", list)
        change["properties"] = _json(fields, "properties", dict)
        when = fields.get("when_timestamp", fields.get("when"))
        if when is not None:
            try:
                change["when_timestamp"] = int(float(when))
            except (ValueError, OverflowError) as problem:
                raise RefusedDeliveryError(str(problem)) from None
        if not all(isinstance(name, str) for name in files):
            raise RefusedDeliveryError("files must be a list of names")
        key = request.header("idempotency-key")
        if key is None:
            return Delivery({"": [change]})
        # the line is the key itself, so that changes in between do not matter
        return Delivery({f"base#{key}": [change]}, f"base#{key}")


def _json(fields: dict[str, str], name: str, kind: type[T]) -> T:
    if not fields.get(name):
        return kind()
    try:
        value: object = jsonbody.parse(fields[name].encode())
    except (ValueError, RecursionError) as problem:
        raise RefusedDeliveryError(str(problem)) from None
    if not isinstance(value, kind):
        raise RefusedDeliveryError(f"{name} must be a JSON {'array' if kind is list else 'object'}")
    return value
