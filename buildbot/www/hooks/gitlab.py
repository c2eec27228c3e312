"""GitLab's webhooks: pushes, tags, merge requests and comments on them."""

from __future__ import annotations

import hmac
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
    names,
    parse,
    person,
    repeated,
)
from buildbot.www.http.messages import Request

_PUSHES = ("push", "tag_push", "Push Hook")


class GitLabDialect(Dialect):
    """A change per commit of a push, and one per new state of a merge request."""

    async def receive(self, request: Request) -> Delivery:
        """As ``Dialect.receive``."""
        secret = self.options.get("secret")
        given = request.header("x-gitlab-token") or ""
        if secret is not None and not hmac.compare_digest(secret.encode(), given.encode()):
            raise RefusedDeliveryError("Invalid secret")
        payload = parse(request.body)
        kind = maybe(payload, "object_kind", str) or request.header("x-gitlab-event") or ""
        changes: list[dict[str, Any]] = []
        if kind in _PUSHES:
            changes = list(self._push(payload, kind))
        elif kind == "merge_request":
            changes = list(self._merge_request(payload, at(payload, "object_attributes", dict), kind))
        elif kind == "note" and maybe(payload, "merge_request", dict) is not None:
            changes = [self._merge_request_change(payload, at(payload, "merge_request", dict), kind)]
            changes[0]["properties"]["comments"] = at(payload, "object_attributes.note", str)
        codebase = dict(request.parameters()).get("codebase")
        named = self.codebase(payload) if codebase is None else {"codebase": codebase}
        return Delivery([{**change, **named} for change in changes], repeated("gitlab", request))

    def _push(self, payload: Any, kind: str) -> Iterator[dict[str, Any]]:
        branch = branch_of(at(payload, "ref", str))
        if branch is None:
            return
        for commit in at(payload, "commits", list):
            if maybe(commit, "distinct", bool) is False:
                continue
            yield {
                "author": person(commit, "author"),
                "comments": at(commit, "message", str),
                "revision": at(commit, "id", str),
                "when_timestamp": moment(at(commit, "timestamp", str)),
                "branch": branch[0],
                "category": kind,
                "files": names(commit, "added", "modified", "removed"),
                "project": at(payload, "repository.name", str),
                "repository": at(payload, "repository.url", str),
                "revlink": at(commit, "url", str),
                "properties": {"event": kind},
            }

    def _merge_request(self, payload: Any, request: Any, kind: str) -> Iterator[dict[str, Any]]:
        if at(request, "state", str) in ("closed", "merged", "approved"):
            return
        action = maybe(request, "action", str)
        # Without oldrev the update is of the title or a label, not of what would be built.
        if action in ("open", "reopen") or (action == "update" and maybe(request, "oldrev", str) is not None):
            yield self._merge_request_change(payload, request, kind)

    def _merge_request_change(self, payload: Any, request: Any, kind: str) -> dict[str, Any]:
        commit = at(request, "last_commit", dict)
        title = f"MR#{at(request, 'iid', int)}: {at(request, 'title', str)}"
        return {
            "author": person(commit, "author"),
            "comments": f"{title}\n\n{maybe(request, 'description', str) or ''}",
            "revision": at(commit, "id", str),
            "when_timestamp": moment(at(commit, "timestamp", str)),
            "branch": at(request, "target_branch", str),
            "category": kind,
            "files": [],
            "project": at(request, "target.name", str),
            "repository": at(request, "target.git_http_url", str),
            "revlink": maybe(request, "url", str),
            "properties": {
                "source_branch": at(request, "source_branch", str),
                "source_project_id": at(request, "source_project_id", int),
                "source_repository": at(request, "source.git_http_url", str),
                "source_git_ssh_url": at(request, "source.git_ssh_url", str),
                "target_branch": at(request, "target_branch", str),
                "target_project_id": at(request, "target_project_id", int),
                "target_repository": at(request, "target.git_http_url", str),
                "target_git_ssh_url": at(request, "target.git_ssh_url", str),
                "event": kind,
            },
        }
