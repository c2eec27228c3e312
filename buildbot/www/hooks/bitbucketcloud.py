"""Bitbucket Cloud's webhooks: pushes and pull requests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from buildbot.www.hooks.dialect import (
    Delivery,
    Dialect,
    RefusedDeliveryError,
    at,
    maybe,
    moment,
    parse,
    repeated,
    require_signature,
)
from buildbot.www.http.messages import Request


class BitbucketCloudDialect(Dialect):
    """A change per commit of a push (Bitbucket sends the newest five), and one per new state of a pull request."""

    async def receive(self, request: Request) -> Delivery:
        """As ``Dialect.receive``."""
        signature = request.header("x-hub-signature")
        digest = None if signature is None else signature.removeprefix("sha256=")
        require_signature(self.options.get("secret"), digest, request.body)
        payload = parse(request.body)
        event = request.header("x-event-key") or ""
        if event == "repo:push":
            changes = self._push(payload)
        elif event in ("pullrequest:created", "pullrequest:updated"):
            changes = self._pull_request(payload, event)
        elif event.startswith(("repo:", "pullrequest:")):
            changes = iter(())
        else:
            raise RefusedDeliveryError(f"Unknown event: {event[:100]}")
        return Delivery(list(changes), repeated("bitbucketcloud", request))

    def _push(self, payload: Any) -> Iterator[dict[str, Any]]:
        for update in at(payload, "push.changes", list):
            new = maybe(update, "new", dict)
            if new is None:  # the branch is gone
                continue
            category = "tag" if at(new, "type", str) == "tag" else None
            # A new branch, a tag: its commits are old ones, and not sent.
            for commit in reversed(maybe(update, "commits", list) or [at(new, "target", dict)]):
                yield {
                    "author": at(commit, "author.raw", str),
                    "comments": at(commit, "message", str),
                    "revision": at(commit, "hash", str),
                    "when_timestamp": moment(at(commit, "date", str)),
                    "branch": at(new, "name", str),
                    "category": category,
                    "files": [],
                    "revlink": at(commit, "links.html.href", str),
                    "properties": {"event": "repo:push"},
                    **_repository(payload),
                    **self.codebase(payload),
                }

    def _pull_request(self, payload: Any, event: str) -> Iterator[dict[str, Any]]:
        pull = at(payload, "pullrequest", dict)
        text = f"Bitbucket Cloud Pull Request #{at(pull, 'id', int)}\n{at(pull, 'title', str)}"
        yield {
            "author": at(payload, "actor.display_name", str),
            "comments": f"{text}\n{maybe(pull, 'description', str) or ''}",
            "revision": at(pull, "source.commit.hash", str),
            "when_timestamp": moment(at(pull, "updated_on", str)),
            # Bitbucket has no ref for pull requests: what is built is the branch that asks.
            "branch": at(pull, "source.branch.name", str),
            "category": "pull",
            "files": [],
            "revlink": at(pull, "links.html.href", str),
            "properties": {
                "event": event,
                "pullrequesturl": at(pull, "links.html.href", str),
                "basename": at(pull, "destination.branch.name", str),
            },
            **_repository(payload),
            **self.codebase(payload),
        }


def _repository(payload: Any) -> dict[str, str]:
    return {
        "project": at(payload, "repository.full_name", str),
        "repository": at(payload, "repository.links.html.href", str),
    }
