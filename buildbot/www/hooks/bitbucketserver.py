"""Bitbucket Server's and Data Center's webhooks, and those of their former plugin: pushes, pull requests."""

from __future__ import annotations

from collections.abc import Iterator

from buildbot.www.hooks.dialect import (
    Delivery,
    Dialect,
    RefusedDeliveryError,
    at,
    delivered,
    is_nothing,
    maybe,
    parse,
    require_signature,
    signed,
)
from buildbot.www.http.messages import Request

#: for each event of a pull request its category, and the ref that is built: its own, the target's or the source's
_PULLS = {
    "created": ("pull-created", "own"),
    "updated": ("pull-updated", "own"),
    "fulfilled": ("pull-fulfilled", "target"),
    "rejected": ("pull-rejected", "source"),
}
_NEWER = {
    "opened": "created",
    "from_ref_updated": "updated",
    "merged": "fulfilled",
    "declined": "rejected",
}


class BitbucketServerDialect(Dialect):
    """A change for each ref of a push, of its new head, and one for each new state of a pull request."""

    async def receive(self, request: Request) -> Delivery:
        """As ``Dialect.receive``."""
        signature = request.header("x-hub-signature")
        digest = None if signature is None else signature.removeprefix("sha256=")
        require_signature(await self.option("secret"), digest, request.body)
        event = request.header("x-event-key")
        if not event:
            raise RefusedDeliveryError("The header X-Event-Key is missing")
        kind, _, name = event.partition(":")
        payload = parse(request.body) if kind in ("repo", "pr", "pullrequest") else None
        if event in ("repo:push", "repo:refs_changed"):
            return delivered("bitbucketserver", request, self._push(payload))
        name = _NEWER.get(name, "") if kind == "pr" else name
        if kind in ("pr", "pullrequest") and name in _PULLS:
            return delivered("bitbucketserver", request, self._pull_request(payload, name))
        return Delivery()  # comments, forks, pings: nothing to build

    def _push(self, payload: object) -> dict[str, list[dict[str, object]]]:
        repository = _repository(payload)
        lines: dict[str, list[dict[str, object]]] = {}
        for ref, revision, deleted in _refs(payload):
            lines.setdefault(f"{_path(payload)} {ref}", []).append(
                {
                    "author": _actor(payload),
                    "comments": f"Bitbucket Server commit {revision}",
                    "revision": revision,
                    "branch": ref,
                    "category": "ref-deleted" if deleted else "push",
                    "files": [],
                    "revlink": f"{repository['repository']}commits/{revision}" if repository["repository"] else "",
                    **repository,
                    **self.codebase(payload),
                }
            )
        return lines

    def _pull_request(self, payload: object, name: str) -> dict[str, list[dict[str, object]]]:
        pull = maybe(payload, "pullrequest", dict) or at(payload, "pullRequest", dict)
        number, (category, which) = at(pull, "id", int), _PULLS[name]
        branch = {
            "own": f"refs/pull-requests/{number}/merge",
            "target": f"refs/heads/{_branch(pull, 'toRef')}",
            "source": f"refs/heads/{_branch(pull, 'fromRef')}",
        }[which]
        where = {"repository": maybe(payload, "repository", dict) or at(pull, "toRef.repository", dict)}
        link = maybe(pull, "link", str) or _href(pull)
        change = {
            "author": _actor(payload),
            "comments": f"Bitbucket Server Pull Request #{number}\n{maybe(pull, 'title', str) or ''}",
            "revision": maybe(pull, "fromRef.commit.hash", str) or at(pull, "fromRef.latestCommit", str),
            "branch": branch,
            "category": category,
            "files": [],
            "revlink": link,
            "properties": {"pullrequesturl": link},
            **_repository(where),
            **self.codebase(payload),
        }
        return {f"{_path(where)} pull request {number}": [change]}


def _refs(payload: object) -> Iterator[tuple[str, str, bool]]:
    """The refs of a push: name, commit, and whether it is gone."""
    for change in maybe(payload, "changes", list) or maybe(payload, "push.changes", list) or []:
        if maybe(change, "ref.id", str) is not None:
            deleted = maybe(change, "type", str) == "DELETE" or is_nothing(maybe(change, "toHash", str))
            yield at(change, "ref.id", str), at(change, "fromHash" if deleted else "toHash", str), deleted
            continue
        new = maybe(change, "new", dict)
        ref = at(change, "old", dict) if new is None else new
        folder = "tags" if maybe(ref, "type", str) == "tag" else "heads"
        yield f"refs/{folder}/{at(ref, 'name', str)}", at(ref, "target.hash", str), new is None


def _branch(pull: object, side: str) -> str:
    found = maybe(pull, f"{side}.branch.name", str) or maybe(pull, f"{side}.displayId", str)
    return found or at(pull, f"{side}.id", str).removeprefix("refs/heads/")


def _actor(payload: object) -> str:
    name = maybe(payload, "actor.displayName", str)
    return signed(name, maybe(payload, "actor.username", str) or maybe(payload, "actor.name", str)) or "unknown"


def _href(entity: object) -> str:
    links = maybe(entity, "links.self", list)
    return (maybe(links[0], "href", str) or "") if links else ""


def _path(payload: object) -> str:
    """The path of a repository: its project and its slug or name."""
    key = maybe(payload, "repository.project.key", str) or at(payload, "repository.project.name", str)
    return f"{key}/{maybe(payload, 'repository.slug', str) or maybe(payload, 'repository.name', str) or ''}"


def _repository(payload: object) -> dict[str, str]:
    return {
        "project": at(payload, "repository.project.name", str),
        "repository": _href(at(payload, "repository", dict)).removesuffix("browse"),
    }
