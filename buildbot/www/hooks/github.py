"""GitHub's webhooks: pushes and pull requests."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from urllib.parse import quote

from twisted.logger import Logger

from buildbot.util.httpclient import HttpError
from buildbot.www.hooks.dialect import (
    Delivery,
    Dialect,
    RefusedDeliveryError,
    at,
    branch_of,
    delivered,
    form,
    heads,
    maybe,
    moment,
    parse,
    pushed,
    require_signature,
)
from buildbot.www.http.messages import Request

_log = Logger()

_SKIPS = (r"\[ *skip *ci *\]", r"\[ *ci *skip *\]")


class GitHubDialect(Dialect):
    """A change per commit of a push, and one per new state of a pull request."""

    async def receive(self, request: Request) -> Delivery:
        """As ``Dialect.receive``."""
        self._authenticate(request)
        payload = _payload(request)
        event = request.header("x-github-event")
        if not event:
            raise RefusedDeliveryError("The header X-GitHub-Event is missing")
        if event == "push":
            return delivered("github", request, self._push(payload))
        if event == "pull_request":
            return delivered("github", request, await self._pull_request(payload))
        # whatever else GitHub tells, now or in years, has nothing to be built
        return Delivery()

    def _authenticate(self, request: Request) -> None:
        secret = self.options.get("secret")
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

    def _skipped(self, message: str) -> bool:
        return any(re.search(skip, message) for skip in self.options.get("skips", _SKIPS))

    def _push(self, payload: object) -> dict[str, list[dict[str, object]]]:
        ref = at(payload, "ref", str)
        branch = branch_of(ref)
        if branch is None:
            return {}
        line = f"{at(payload, 'repository.full_name', str)} {ref}"
        if maybe(payload, "deleted", bool):
            return {line: []}
        head = maybe(payload, "head_commit", dict)
        if head is not None and self._skipped(maybe(head, "message", str) or ""):
            return {line: []}
        commits = at(payload, "commits", list)
        # The commits of a new branch and of a tag are old ones. Without any, the branch was moved to an old one.
        if not commits or (head is not None and (maybe(payload, "created", bool) or branch[1] == "tag")):
            commits = heads(payload)
        return {line: [self._commit(payload, commit, branch) for commit in commits]}

    def _commit(self, payload: object, commit: object, branch: tuple[str, str | None]) -> dict[str, object]:
        return {
            **pushed(payload, commit, branch),
            "properties": {
                "event": "push",
                "github_distinct": maybe(commit, "distinct", bool) is not False,
                **self._chosen(payload),
            },
            **self.codebase(payload),
        }

    async def _pull_request(self, payload: object) -> dict[str, list[dict[str, object]]]:
        line = f"{at(payload, 'repository.full_name', str)} pull request {at(payload, 'number', int)}"
        if at(payload, "action", str) not in ("opened", "reopened", "synchronize"):
            return {line: []}
        pull = at(payload, "pull_request", dict)
        number, project = at(payload, "number", int), at(payload, "repository.full_name", str)
        revision = at(pull, "head.sha", str)
        if self._skipped(await self._message(project, revision)):
            return {line: []}
        text = f"GitHub Pull Request #{number} ({at(pull, 'commits', int)} commits)\n{at(pull, 'title', str)}"
        change = {
            "author": at(payload, "sender.login", str),
            "comments": f"{text}\n{maybe(pull, 'body', str) or ''}",
            "revision": revision,
            "when_timestamp": moment(at(pull, "created_at", str)),
            "branch": f"refs/pull/{number}/{self.options.get('pullrequest_ref', 'merge')}",
            "category": "pull",
            "files": await self._files(project, number),
            "project": project,
            "repository": at(payload, "repository.html_url", str),
            "revlink": at(pull, "html_url", str),
            "properties": {
                "event": "pull_request",
                "pullrequesturl": at(pull, "html_url", str),
                "basename": at(pull, "base.ref", str),
                **self._chosen(pull),
            },
            **self.codebase(payload),
        }
        return {line: [change]}

    def _chosen(self, values: object) -> dict[str, object]:
        """What ``github_property_whitelist`` names, as ``github.<path>``."""
        patterns = self.options.get("github_property_whitelist", ())
        if not patterns or not isinstance(values, dict):
            return {}
        found = _flat("github", values)
        return {name: value for name, value in found if any(fnmatchcase(name, pattern) for pattern in patterns)}

    async def _message(self, project: str, revision: str) -> str:
        """The message of a commit, which a pull request's payload does not have."""
        commit = await self._ask(f"/repos/{quote(project)}/commits/{quote(revision)}")
        return maybe(commit, "commit.message", str) or ""

    async def _files(self, project: str, number: int) -> list[str]:
        """Names of the files that a pull request changes, the first hundred."""
        files = await self._ask(f"/repos/{quote(project)}/pulls/{number}/files?per_page=100")
        return [at(each, "filename", str) for each in files] if isinstance(files, list) else []

    async def _ask(self, path: str) -> object:
        """An answer of GitHub's API; None without a ``token``, or if there is none: the change counts all the same."""
        token = self.options.get("token")
        if token is None:
            return None
        base = self.options.get("github_api_endpoint", "https://api.github.com").rstrip("/")
        try:
            headers = {"Accept": "application/json", "Authorization": f"Bearer {token}"}
            return (await self.http.request("GET", base + path, headers=headers)).require(200).json()
        except HttpError as problem:
            _log.warn("change hook github: {problem}; the change is taken without it", problem=problem)
            return None


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
