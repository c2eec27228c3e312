"""``c['www']['change_hook_dialects']``: the dialects of change hooks, and their options."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from buildbot.config import checks
from buildbot.config.arguments import Declared, argument, arguments_of

_codebase = checks.optional(checks.either(checks.text, checks.function, otherwise="a string or a function"))
_secret = checks.optional(checks.name)
_texts = checks.list_of(checks.text)


def _class(value: Any) -> Any:
    if not isinstance(value, type):
        raise ValueError(f"must be a class, not {checks.kind(value)}")
    return value


class HookOptions(Declared):
    """Options of every dialect."""

    custom_class = argument(
        None, checks.optional(_class), doc="a class of your own that takes the requests, with `getChanges(request)`"
    )


class SignedHookOptions(HookOptions):
    """Options of dialects whose senders sign their requests."""

    secret = argument(
        None, _secret, renderable=True, doc="the key that the sender signs with, or the token that it sends"
    )
    codebase = argument(None, _codebase, doc="the codebase of the changes: a name, or f(payload)")


class GitHubOptions(SignedHookOptions):
    """Options of ``github``."""

    strict = argument(False, checks.boolean, doc="require a `secret`, without which nothing is signed")
    accept_sha1 = argument(False, checks.boolean, doc="accept signatures of old servers, too")
    github_property_whitelist = argument(
        (), _texts, doc="patterns of the values of a payload that become properties: `github.*`"
    )
    skips = argument(
        (r"\[ *skip *ci *\]", r"\[ *ci *skip *\]"),
        _texts,
        doc="regular expressions; commits whose messages match are left out",
    )
    pullrequest_ref = argument("merge", checks.one_of("merge", "head"), doc="the ref of a pull request that is built")
    github_api_endpoint = argument("https://api.github.com", checks.url, doc="the API, for questions")
    token = argument(
        None, _secret, renderable=True, doc="for questions to the API; rendered with the property `full_name`"
    )
    debug = argument(False, checks.boolean, doc="log what comes")
    verify = argument(True, checks.boolean, doc="check the API's certificate")


# the name is a keyword of Python, so it cannot be set in the body
setattr(
    GitHubOptions,
    "class",
    argument(None, checks.optional(_class), doc="a subclass of `GitHubEventHandler` that handles events"),
)


class PollerOptions(HookOptions):
    """Options of ``poller``."""

    allowed = argument(None, checks.optional(_texts), doc="names of the pollers that may be told; None: all")


#: the options of each dialect
DIALECTS: Mapping[str, type[HookOptions]] = {
    "base": HookOptions,
    "github": GitHubOptions,
    "gitlab": SignedHookOptions,
    "gitea": SignedHookOptions,
    "bitbucketcloud": SignedHookOptions,
    "bitbucketserver": SignedHookOptions,
    "bitbucket": HookOptions,
    "gitorious": HookOptions,
    "poller": PollerOptions,
}


def plugin_dialects() -> dict[str, EntryPoint]:
    """Dialects that other packages offer, by name."""
    return {entry.name: entry for entry in entry_points(group="buildbot.webhooks")}


def check_dialects(value: Any) -> dict[str, dict[str, Any]]:
    """The options of each enabled dialect; ``True`` and ``None`` mean no options.

    Raises:
        ValueError: an unknown dialect or option, or a wrong value.
    """
    switched_on = {}
    for dialect, given in checks.mapping(value).items():
        if dialect not in DIALECTS and dialect not in plugin_dialects() and not _has_class(given):
            known = ", ".join(DIALECTS)
            raise ValueError(f"{dialect!r} is unknown{checks.suggestion(dialect, DIALECTS)}; there are {known}")
        if given is False:
            continue
        options = {} if given is True or given is None else given
        # only the plugin knows the options of its dialect
        switched_on[dialect] = _check_options(dialect, options) if dialect in DIALECTS else checks.mapping(options)
    return switched_on


def _has_class(given: Any) -> bool:
    """Whether options name a class that takes the requests."""
    return isinstance(given, Mapping) and isinstance(given.get("custom_class"), type)


def _check_options(dialect: str, given: Any) -> dict[str, Any]:
    known = arguments_of(DIALECTS[dialect])
    options = {}
    try:
        for name, value in checks.mapping(given).items():
            if name not in known:
                raise ValueError(f"has no option {name!r}{checks.suggestion(name, known)}")
            try:
                options[name] = known[name].checked(value)
            except ValueError as reason:
                raise ValueError(f"[{name!r}] {reason}") from None
        if options.get("strict") and not options.get("secret"):
            raise ValueError("is strict and has no secret")
    except ValueError as reason:
        raise ValueError(f"{dialect!r}: {reason}") from None
    return options
