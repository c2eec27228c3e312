"""``c['www']['change_hook_dialects']``: who may tell the master about changes over HTTP, and how."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from buildbot.config import checks

_codebase = checks.optional(checks.either(checks.text, checks.function, otherwise="a string or a function"))
_secret = checks.optional(checks.text)
_texts = checks.list_of(checks.text)

#: dialect → option → check
DIALECTS: Mapping[str, Mapping[str, checks.Check]] = {
    "base": {},
    "github": {
        "secret": _secret,
        "strict": checks.boolean,
        "accept_sha1": checks.boolean,
        "codebase": _codebase,
        "github_property_whitelist": _texts,
        "skips": _texts,
        "pullrequest_ref": checks.one_of("merge", "head"),
        "github_api_endpoint": checks.url,
        "token": _secret,
    },
    "gitlab": {"secret": _secret, "codebase": _codebase},
    "gitea": {"secret": _secret, "codebase": _codebase},
    "bitbucketcloud": {"secret": _secret, "codebase": _codebase},
    "poller": {"allowed": _texts},
}


def check_dialects(value: Any) -> dict[str, dict[str, Any]]:
    """The options of each dialect that is switched on; ``True`` and ``None`` stand for no options.

    Raises:
        ValueError: an unknown dialect or option, or a wrong value.
    """
    switched_on = {}
    for dialect, given in checks.mapping(value).items():
        if dialect not in DIALECTS:
            known = ", ".join(DIALECTS)
            raise ValueError(f"{dialect!r} is unknown{checks.suggestion(dialect, DIALECTS)}; there are {known}")
        if given is False:
            continue
        options = {} if given is True or given is None else given
        switched_on[dialect] = _check_options(dialect, options)
    return switched_on


def _check_options(dialect: str, given: Any) -> dict[str, Any]:
    known = DIALECTS[dialect]
    options = {}
    try:
        for name, value in checks.mapping(given).items():
            if name not in known:
                raise ValueError(f"has no option {name!r}{checks.suggestion(name, known)}")
            try:
                options[name] = known[name](value)
            except ValueError as reason:
                raise ValueError(f"[{name!r}] {reason}") from None
        if options.get("strict") and not options.get("secret"):
            raise ValueError("is strict and has no secret")
    except ValueError as reason:
        raise ValueError(f"{dialect!r}: {reason}") from None
    return options
