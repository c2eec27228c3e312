"""The arguments that describe an HTTP request, declared once for all kinds that send one, and their checks."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from buildbot.config import checks
from buildbot.config.arguments import REQUIRED, Declared, argument
from buildbot.util.httpproxies import Proxies


def texts(value: Any) -> dict[str, str]:
    """Names and values in one line each, such as headers; numbers become texts."""
    checked = checks.mapping(value)
    for name, each in checked.items():
        if not isinstance(each, (str, int, float)) or isinstance(each, bool):
            raise ValueError(f"[{name!r}] must be a text, not {checks.kind(each)}")
        if re.search(r"[\r\n\0]", f"{name}{each}"):
            raise ValueError(f"[{name!r}] must be in one line, not {checks.kind(each)}")
    return {name: str(each) for name, each in checked.items()}


def fields(value: Any) -> Any:
    """The fields of a query or a form: a dictionary or a list of pairs."""
    if isinstance(value, Mapping):
        return checks.mapping(value)
    pairs = checks.sequence(value)
    if any(not isinstance(each, (list, tuple)) or len(each) != 2 for each in pairs):
        raise ValueError(f"must be a dictionary or a list of pairs, not {checks.kind(value)}")
    return [tuple(each) for each in pairs]


def data(value: Any) -> Any:
    """A body: a text, bytes, or the fields of a form."""
    return value if isinstance(value, (str, bytes)) else fields(value)


def files(value: Any) -> dict[str, Any]:
    """Files of a form by field: ``(name, content)``; a content alone is named as its field."""
    files = {}
    for field, each in checks.mapping(value).items():
        name, content = each if isinstance(each, (list, tuple)) and len(each) == 2 else (field, each)
        if not isinstance(name, str) or not isinstance(content, (str, bytes)):
            raise ValueError(f"[{field!r}] must be a text, bytes, or (name, content), not {checks.kind(each)}")
        files[field] = (name, content.encode() if isinstance(content, str) else content)
    return files


def auth(value: Any) -> tuple[str, str]:
    """``(user, password)``; what is wrong with it is said without showing it."""
    if not isinstance(value, (list, tuple)) or [type(each) for each in value] != [str, str]:
        raise ValueError(f"must be (user, password), not a value of type {type(value).__name__}")
    return value[0], value[1]


def timeout(value: Any) -> float:
    """Seconds for the whole exchange; a pair of them, for connecting and reading, is added up."""
    if isinstance(value, (list, tuple)) and len(value) == 2:
        return sum(checks.positive(each) for each in value)
    return checks.positive(value)


def certificate(value: Any) -> tuple[str, str | None]:
    """The client's certificate: a path, or those of certificate and key."""
    if isinstance(value, str) and value:
        return value, None
    if not isinstance(value, (list, tuple)) or [type(each) for each in value] != [str, str]:
        raise ValueError(f"must be the path of a file, or those of certificate and key, not {checks.kind(value)}")
    return value[0], value[1]


def verify(value: Any) -> Any:
    """Whether certificates are checked: True, False, or the path of those to trust."""
    if not isinstance(value, (bool, str)):
        raise ValueError(f"must be True, False or the path of a file of certificates, not {checks.kind(value)}")
    return value


def proxies(value: Any) -> Any:
    """Proxies by scheme, as `buildbot.util.httpproxies.Proxies` takes them."""
    Proxies.of(checks.mapping(value))
    return value


def hooks(value: Any) -> list[Callable[..., Any]]:
    """``{"response": function}``, or with a list of functions: the functions."""
    given = checks.mapping(value)
    unknown = sorted(map(repr, given.keys() - {"response"}))
    if unknown:
        raise ValueError(f"has the key {unknown[0]}; there is only 'response'")
    found = given.get("response") or []
    found = list(found) if isinstance(found, (list, tuple)) else [found]
    if not all(callable(each) for each in found):
        raise ValueError("['response'] must be a function or a list of functions")
    return found


class RequestArguments(Declared):
    """The arguments of a request that the step `HTTPStep` and the machines' `HttpAction` have in common."""

    url = argument(REQUIRED, checks.url, rendered=True, doc="the address: `http://…` or `https://…`")
    params = argument(None, checks.optional(fields), rendered=True, doc="added to the query of the URL")
    data = argument(None, checks.optional(data), rendered=True, doc="the body as a text or bytes, or fields of a form")
    json = argument(None, rendered=True, doc="the body as JSON; excludes `data` and `files`")
    headers = argument(None, checks.optional(texts), rendered=True, doc="headers of the request, by name")
    cookies = argument(None, checks.optional(texts), rendered=True, doc="cookies of the request, by name")
    files = argument(
        None, checks.optional(files), rendered=True, doc="files of a form by field: the content, or `(name, content)`"
    )
    auth = argument(None, checks.optional(auth), rendered=True, doc="`(user, password)`")
    allow_redirects = argument(
        None,
        checks.optional(checks.flag),
        rendered=True,
        doc="whether redirects are followed, by HEAD as HEAD, by other methods as GET; None: those of GET only",
    )
    proxies = argument(
        None,
        checks.optional(proxies),
        rendered=True,
        doc="""URLs of proxies, which may hold user and password, by `http`, `https`, `all` or `https://server`; by
        `no_proxy` servers that are asked without one. None: no proxy""",
    )
