"""Gitea's and Forgejo's webhooks: pushes and pull requests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from buildbot.www.hooks.dialect import (
    Delivery,
    Dialect,
    RefusedDeliveryError,
    at,
    branch_of,
    maybe,
    moment,
    parse,
    pushed,
    repeated,
    require_signature,
)
from buildbot.www.http.messages import Request


class GiteaDialect(Dialect):
    """A change per commit of a push, and one per new state of a pull request."""

    async def receive(self, request: Request) -> Delivery:
        """As ``Dialect.receive``."""
        require_signature(self.options.get("secret"), request.header("x-gitea-signature"), request.body)
        payload = parse(request.body)
        event = request.header("x-gitea-event") or ""
        if event in ("push", "create", "delete"):
            # A new branch or tag comes with a push of its own.
            changes = self._push(payload) if event == "push" else iter(())
        elif event in ("pull_request", "pull_request_sync"):
            changes = self._pull_request(payload)
        else:
            raise RefusedDeliveryError(f"Unknown event: {event[:100]}")
        return Delivery(list(changes), repeated("gitea", request))

    def _push(self, payload: Any) -> Iterator[dict[str, Any]]:
        branch = branch_of(at(payload, "ref", str))
        if branch is None:
            return
        # Newest first.
        for commit in reversed(maybe(payload, "commits", list) or []):
            yield {
                **pushed(payload, commit, branch),
                "properties": {"event": "push"},
                **self.codebase(payload),
            }

    def _pull_request(self, payload: Any) -> Iterator[dict[str, Any]]:
        if at(payload, "action", str) not in ("opened", "reopened", "synchronized"):
            return
        pull, number = at(payload, "pull_request", dict), at(payload, "number", int)
        text = f"Pull Request #{number}\n{at(pull, 'title', str)}\n{maybe(pull, 'body', str) or ''}"
        yield {
            "author": at(payload, "sender.login", str),
            "comments": text,
            "revision": at(pull, "head.sha", str),
            "when_timestamp": moment(at(pull, "updated_at", str)),
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
