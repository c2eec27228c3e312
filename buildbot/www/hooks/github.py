"""GitHub's webhooks: pushes and pull requests."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Protocol
from urllib.parse import quote

from twisted.logger import Logger

from buildbot.util.deferreds import resolved
from buildbot.util.httpclient import HttpClient, HttpError
from buildbot.www.hooks.dialect import (
    Delivery,
    Dialect,
    RefusedDeliveryError,
    at,
    branch_of,
    delivered,
    form,
    heads,
    login,
    maybe,
    moment,
    parse,
    pushed,
    require_signature,
)
from buildbot.www.hooks.webrequest import WebRequest
from buildbot.www.http.messages import Request

_log = Logger()

_SKIPS = (r"\[ *skip *ci *\]", r"\[ *ci *skip *\]")


class GitHubDialect(Dialect):
    """A change per commit of a push, and one per new state of a pull request; `GitHubEventHandler` makes them."""

    async def receive(self, request: Request) -> Delivery:
        """As ``Dialect.receive``."""
        secret: str | None = await self.option("secret")
        self._authenticate(request, secret)
        payload = _payload(request)
        event = request.header("x-github-event")
        if not event:
            raise RefusedDeliveryError("The header X-GitHub-Event is missing")
        options = self.options
        token: str | None = await self.option("token", full_name=maybe(payload, "repository.full_name", str) or "")
        handler = (options.get("class") or GitHubEventHandler)(
            secret,
            bool(options.get("strict")),
            codebase=options.get("codebase"),
            github_property_whitelist=options.get("github_property_whitelist"),
            master=self.master if self.master is not None else _OnlyHttp(self.http),
            skips=options.get("skips"),
            github_api_endpoint=options.get("github_api_endpoint"),
            pullrequest_ref=options.get("pullrequest_ref"),
            token=token,
            debug=options.get("debug", False),
            verify=options.get("verify", True),
        )
        changes, _ = await resolved(handler.process(WebRequest(request)))
        line = _line(event, payload)
        if line is None:
            return delivered("github", request, {event: list(changes)}) if changes else Delivery()
        return delivered("github", request, {line: list(changes)})

    def _authenticate(self, request: Request, secret: str | None) -> None:
        signature, known = request.header("x-hub-signature-256"), "sha256"
        if signature is None and self.options.get("accept_sha1"):
            signature, known = request.header("x-hub-signature"), "sha1"
        if secret is None or signature is None:
            return require_signature(secret, None, request.body)
        algorithm, equals, digest = signature.partition("=")
        if not equals:
            raise RefusedDeliveryError(f"Wrong signature format: {signature[:100]}")
        if algorithm != known:
            raise RefusedDeliveryError(f"Unknown hash type: {algorithm[:100]}")
        return require_signature(secret, digest, request.body, known)


class HasHttp(Protocol):
    """The part of a master that handlers need."""

    @property
    def httpservice(self) -> HttpClient: ...


class _OnlyHttp:
    """The part of a master that requests to GitHub need."""

    def __init__(self, http: HttpClient) -> None:
        self.httpservice = http


def _line(event: str, payload: object) -> str | None:
    """The line of an event: its branch, tag or pull request; None for other events."""
    if event == "push":
        ref = at(payload, "ref", str)
        return None if branch_of(ref) is None else f"{at(payload, 'repository.full_name', str)} {ref}"
    if event == "pull_request":
        return f"{at(payload, 'repository.full_name', str)} pull request {at(payload, 'number', int)}"
    return None


#: the result of handlers: changes, as arguments of ``addChange``, and the kind of repository
Handled = tuple[list[dict[str, object]], str]


class GitHubEventHandler:
    """Makes changes of GitHub's events; the option ``class`` names a user's subclass.

    For each event the method ``handle_<event>(payload, event)`` is called, if there is one; it returns a list of
    changes (arguments of ``addChange``) and ``"git"``, or a Deferred or coroutine of both. A method may take the
    payload only. Signatures have been checked before.

    Args: the options of the dialect, and the master.
    """

    def __init__(
        self,
        secret: str | None = None,
        strict: bool = False,
        codebase: str | Callable[[Any], str | None] | None = None,
        github_property_whitelist: Sequence[str] | None = None,
        master: HasHttp | None = None,
        skips: Sequence[str] | None = None,
        github_api_endpoint: str | None = None,
        pullrequest_ref: str | None = None,
        token: str | None = None,
        debug: bool = False,
        verify: bool = True,
    ) -> None:
        self.master = master
        self.github_property_whitelist = list(github_property_whitelist or ())
        self.skips = list(_SKIPS if skips is None else skips)
        self.github_api_endpoint = (github_api_endpoint or "https://api.github.com").rstrip("/")
        self.pullrequest_ref = pullrequest_ref or "merge"
        self.debug, self.verify = debug, verify
        self.__codebase, self.__token = codebase, token

    async def process(self, request: WebRequest) -> Handled:
        """The changes of a request."""
        event = request.header("x-github-event") or ""
        payload = _payload(request.request)
        if self.debug:
            _log.info("change hook github: {event}: {payload!r}", event=event, payload=payload)
        handler = getattr(self, f"handle_{event}", None)
        if handler is None:  # other events have nothing to build
            return [], "git"
        handled: Handled = await resolved(handler(payload, event) if _takes_event(handler) else handler(payload))
        return handled

    def handle_ping(self, payload: object, event: str) -> Handled:
        """A hook was made: nothing to build."""
        return [], "git"

    def handle_workflow_run(self, payload: object, event: str) -> Handled:
        """A workflow of GitHub: nothing to build."""
        return [], "git"

    def handle_push(self, payload: object, event: str) -> Handled:
        """A change for each commit."""
        project = at(payload, "repository.full_name", str)
        repository = at(payload, "repository.html_url", str)
        user = maybe(payload, "pusher.name", str)
        properties = self.__chosen(payload)
        return self._process_change(payload, user, project, repository, project, event, properties), "git"

    async def handle_pull_request(self, payload: object, event: str) -> Handled:
        """A change, if there is something new to build."""
        number, project = at(payload, "number", int), at(payload, "repository.full_name", str)
        if at(payload, "action", str) not in ("opened", "reopened", "synchronize"):
            return [], "git"
        pull = at(payload, "pull_request", dict)
        revision = at(pull, "head.sha", str)
        if self._has_skip(await resolved(self._get_commit_msg(project, revision))):
            return [], "git"
        text = f"GitHub Pull Request #{number} ({at(pull, 'commits', int)} commits)\n{at(pull, 'title', str)}"
        change = {
            "author": login(payload, "sender", "pull_request.user"),
            "comments": f"{text}\n{maybe(pull, 'body', str) or ''}",
            "revision": revision,
            "when_timestamp": moment(pull, "created_at"),
            "branch": f"refs/pull/{number}/{self.pullrequest_ref}",
            "category": "pull",
            "files": await resolved(self._get_pr_files(project, number)),
            "project": project,
            "repository": at(payload, "repository.html_url", str),
            "revlink": at(pull, "html_url", str),
            "properties": {
                "event": "pull_request",
                "pullrequesturl": at(pull, "html_url", str),
                "basename": at(pull, "base.ref", str),
                **self.__chosen(pull),
            },
            **self.__of_codebase(payload),
        }
        return [change], "git"

    # methods that subclasses call, under Buildbot's names

    def _process_change(
        self,
        payload: object,
        user: str | None,
        repo: str,
        repo_url: str,
        project: str,
        event: str,
        properties: Mapping[str, object],
    ) -> list[dict[str, object]]:
        """The changes of a push.

        Args:
            repo_url, project: of the changes.
            properties: of each change, besides ``event``.
        """
        branch = branch_of(at(payload, "ref", str))
        if branch is None or maybe(payload, "deleted", bool):
            return []
        head = maybe(payload, "head_commit", dict)
        if head is not None and self._has_skip(maybe(head, "message", str) or ""):
            return []
        commits = maybe(payload, "commits", list) or []
        # The commits of a new branch and of a tag are old. Without commits, the branch was moved to an old one.
        if not commits or (head is not None and (maybe(payload, "created", bool) or branch[1] == "tag")):
            commits = heads(payload)
        return [
            {
                **pushed(payload, commit, branch),
                "project": project,
                "repository": repo_url,
                "properties": {
                    "event": event,
                    "github_distinct": maybe(commit, "distinct", bool) is not False,
                    **properties,
                },
                **self.__of_codebase(payload),
            }
            for commit in commits
        ]

    def _has_skip(self, msg: str) -> bool:
        """Whether the message of a commit says that it is not to be built."""
        return any(re.search(skip, msg) for skip in self.skips)

    async def _get_commit_msg(self, repo: str, sha: str) -> str:
        """The message of a commit, which a pull request's payload does not have."""
        commit = await self.__ask(f"/repos/{quote(repo)}/commits/{quote(sha)}")
        return maybe(commit, "commit.message", str) or ""

    async def _get_pr_files(self, repo: str, number: int) -> list[str]:
        """Names of the files that a pull request changes, the first hundred."""
        files = await self.__ask(f"/repos/{quote(repo)}/pulls/{number}/files?per_page=100")
        return [at(each, "filename", str) for each in files] if isinstance(files, list) else []

    async def __ask(self, path: str) -> object:
        """An answer of GitHub's API; None without a ``token``, or after an error: the change is taken without it."""
        if self.__token is None or self.master is None:
            return None
        try:
            headers = {"Accept": "application/json", "Authorization": f"Bearer {self.__token}"}
            url = self.github_api_endpoint + path
            answer = await self.master.httpservice.request("GET", url, headers=headers, verify=self.verify)
            found: object = answer.require(200).json()
            return found
        except HttpError as problem:
            _log.warn("change hook github: {problem}; the change is taken without it", problem=problem)
            return None

    def __of_codebase(self, payload: object) -> dict[str, object]:
        name = self.__codebase(payload) if callable(self.__codebase) else self.__codebase
        return {} if name is None else {"codebase": name}

    def __chosen(self, values: object) -> dict[str, object]:
        """The values that ``github_property_whitelist`` names, as ``github.<path>``."""
        patterns = self.github_property_whitelist
        if not patterns or not isinstance(values, dict):
            return {}
        found = _flat("github", values)
        return {name: value for name, value in found if any(fnmatchcase(name, pattern) for pattern in patterns)}


def _takes_event(handler: Callable[..., Any]) -> bool:
    """Whether a handler takes the event beside the payload."""
    parameters = inspect.signature(handler).parameters.values()
    if any(each.kind is each.VAR_POSITIONAL for each in parameters):
        return True
    return sum(each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD) for each in parameters) >= 2


def _payload(request: Request) -> object:
    content_type = (request.header("content-type") or "").partition(";")[0].strip().lower()
    if content_type == "application/json":
        return parse(request.body)
    if content_type == "application/x-www-form-urlencoded":
        return parse(form(request).get("payload", [""])[0])
    raise RefusedDeliveryError(f"Unknown content type: {content_type[:100]!r}")


def _flat(prefix: str, values: dict[str, object]) -> Iterator[tuple[str, object]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(f"{prefix}.{name}", value)
        else:
            yield f"{prefix}.{name}", value
