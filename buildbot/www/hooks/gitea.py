"""Gitea's and Forgejo's webhooks: pushes and pull requests."""

from __future__ import annotations

from buildbot.www.hooks.dialect import (
    Delivery,
    Dialect,
    RefusedDeliveryError,
    at,
    branch_of,
    delivered,
    heads,
    login,
    maybe,
    moment,
    parse,
    pushed,
    require_signature,
)
from buildbot.www.http.messages import Request


class GiteaDialect(Dialect):
    """A change per commit of a push, and one per new state of a pull request."""

    async def receive(self, request: Request) -> Delivery:
        """As ``Dialect.receive``."""
        require_signature(await self.option("secret"), request.header("x-gitea-signature"), request.body)
        payload = parse(request.body)
        event = request.header("x-gitea-event")
        if not event:
            raise RefusedDeliveryError("The header X-Gitea-Event is missing")
        if event == "push":
            return delivered("gitea", request, self._push(payload))
        if event in ("pull_request", "pull_request_sync"):
            return delivered("gitea", request, self._pull_request(payload))
        # A new branch or tag comes with a push of its own; issues, releases and other events have nothing to build.
        return Delivery()

    def _push(self, payload: object) -> dict[str, list[dict[str, object]]]:
        ref = at(payload, "ref", str)
        branch = branch_of(ref)
        if branch is None:
            return {}
        # Newest first. Without commits, a branch or a tag was made at, or moved to, an old commit.
        commits = list(reversed(maybe(payload, "commits", list) or [])) or heads(payload)
        return {
            f"{maybe(payload, 'repository.full_name', str)} {ref}": [
                {**pushed(payload, commit, branch), "properties": {"event": "push"}, **self.codebase(payload)}
                for commit in commits
            ]
        }

    def _pull_request(self, payload: object) -> dict[str, list[dict[str, object]]]:
        line = f"{at(payload, 'repository.full_name', str)} pull request {at(payload, 'number', int)}"
        if at(payload, "action", str) not in ("opened", "reopened", "synchronized"):
            return {line: []}
        pull, number = at(payload, "pull_request", dict), at(payload, "number", int)
        text = f"Pull Request #{number}\n{at(pull, 'title', str)}\n{maybe(pull, 'body', str) or ''}"
        change = {
            "author": login(payload, "sender", "pull_request.user"),
            "comments": text,
            "revision": at(pull, "head.sha", str),
            "when_timestamp": moment(pull, "updated_at"),
            "branch": f"refs/pull/{number}/head",
            "category": "pull",
            "files": [],
            "project": at(payload, "repository.full_name", str),
            "repository": at(payload, "repository.html_url", str),
            "revlink": at(pull, "html_url", str),
            "properties": {
                "event": "pull_request",
                "pullrequesturl": at(pull, "html_url", str),
                "basename": at(pull, "base.ref", str),
            },
            **self.codebase(payload),
        }
        return {line: [change]}
