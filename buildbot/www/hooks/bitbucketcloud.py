"""Bitbucket Cloud's webhooks: pushes and pull requests."""

from __future__ import annotations

from buildbot.www.hooks.dialect import (
    Delivery,
    Dialect,
    RefusedDeliveryError,
    at,
    delivered,
    maybe,
    moment,
    parse,
    require_signature,
)
from buildbot.www.http.messages import Request


class BitbucketCloudDialect(Dialect):
    """A change per commit of a push (Bitbucket sends the newest five), and one per new state of a pull request."""

    async def receive(self, request: Request) -> Delivery:
        """As ``Dialect.receive``."""
        signature = request.header("x-hub-signature")
        digest = None if signature is None else signature.removeprefix("sha256=")
        require_signature(await self.option("secret"), digest, request.body)
        payload = parse(request.body)
        event = request.header("x-event-key")
        if not event:
            raise RefusedDeliveryError("The header X-Event-Key is missing")
        if event == "repo:push":
            return delivered("bitbucketcloud", request, self._push(payload))
        if event.startswith("pullrequest:") and not event.startswith("pullrequest:comment"):
            return delivered("bitbucketcloud", request, self._pull_request(payload, event))
        return Delivery()  # comments, forks, pings: nothing to build

    def _push(self, payload: object) -> dict[str, list[dict[str, object]]]:
        lines: dict[str, list[dict[str, object]]] = {}
        for update in at(payload, "push.changes", list):
            new = maybe(update, "new", dict)
            ref = new if new is not None else maybe(update, "old", dict)
            if ref is None:
                continue
            name = f"{maybe(ref, 'type', str) or 'branch'} {at(ref, 'name', str)}"
            changes = lines.setdefault(f"{_repository(payload)['project']} {name}", [])
            if new is None:  # the branch is gone
                continue
            category = "tag" if at(new, "type", str) == "tag" else None
            # A new branch, a tag, or a branch that was moved: its commits are old, and not sent.
            for commit in reversed(maybe(update, "commits", list) or [at(new, "target", dict)]):
                changes.append(
                    {
                        "author": _author(payload, commit),
                        "comments": maybe(commit, "message", str) or "",
                        "revision": at(commit, "hash", str),
                        "when_timestamp": moment(commit, "date"),
                        "branch": at(new, "name", str),
                        "category": category,
                        "files": [],
                        "revlink": maybe(commit, "links.html.href", str) or "",
                        "properties": {"event": "repo:push"},
                        **_repository(payload),
                        **self.codebase(payload),
                    }
                )
        return lines

    def _pull_request(self, payload: object, event: str) -> dict[str, list[dict[str, object]]]:
        line = f"{_repository(payload)['project']} pull request {at(payload, 'pullrequest.id', int)}"
        if event not in ("pullrequest:created", "pullrequest:updated"):
            return {line: []}
        pull = at(payload, "pullrequest", dict)
        text = f"Bitbucket Cloud Pull Request #{at(pull, 'id', int)}\n{at(pull, 'title', str)}"
        change = {
            "author": _author(payload, {}),
            "comments": f"{text}\n{maybe(pull, 'description', str) or ''}",
            "revision": at(pull, "source.commit.hash", str),
            "when_timestamp": moment(pull, "updated_on"),
            # Bitbucket has no ref for pull requests: the source branch is built.
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
        return {line: [change]}


def _author(payload: object, commit: object) -> str:
    """The author of a commit; if that is unknown, the person who pushed it."""
    paths = ((commit, "author.raw"), (commit, "author.user.display_name"), (payload, "actor.display_name"))
    return next((name for each, path in paths if (name := maybe(each, path, str))), "unknown")


def _repository(payload: object) -> dict[str, str]:
    return {
        "project": at(payload, "repository.full_name", str),
        "repository": at(payload, "repository.links.html.href", str),
    }
