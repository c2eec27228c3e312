"""GitLab's webhooks: pushes, tags, merge requests and comments on them."""

from __future__ import annotations

import hmac

from buildbot.www.hooks.dialect import (
    Delivery,
    Dialect,
    RefusedDeliveryError,
    at,
    branch_of,
    delivered,
    is_nothing,
    maybe,
    moment,
    names,
    parse,
    person,
    signed,
)
from buildbot.www.http.messages import Request

#: the kinds of events by the header, for senders whose payloads do not name them
_KINDS = {
    "Push Hook": "push",
    "Tag Push Hook": "tag_push",
    "Merge Request Hook": "merge_request",
    "Note Hook": "note",
}


class GitLabDialect(Dialect):
    """A change per commit of a push, and one per new state of a merge request."""

    async def receive(self, request: Request) -> Delivery:
        """As ``Dialect.receive``."""
        secret: str | None = await self.option("secret")
        given = request.header("x-gitlab-token") or ""
        if secret is not None and not hmac.compare_digest(secret.encode(), given.encode()):
            raise RefusedDeliveryError("Invalid secret")
        payload = parse(request.body)
        kind = maybe(payload, "object_kind", str) or _KINDS.get(request.header("x-gitlab-event") or "", "")
        lines: dict[str, list[dict[str, object]]] = {}
        if kind in ("push", "tag_push"):
            lines = self._push(payload, kind)
        elif kind == "merge_request":
            lines = self._merge_request(payload, at(payload, "object_attributes", dict), kind)
        elif kind == "note" and maybe(payload, "merge_request", dict) is not None:
            merge = at(payload, "merge_request", dict)
            note = {"comments": at(payload, "object_attributes.note", str)}
            changes = self._merge_request_changes(payload, merge, kind)
            lines = {
                _merge_line(merge): [
                    {**change, "properties": {**at(change, "properties", dict), **note}} for change in changes
                ]
            }
        codebase = dict(request.parameters()).get("codebase")
        named = self.codebase(payload) if codebase is None else {"codebase": codebase}
        lines = {line: [{**change, **named} for change in changes] for line, changes in lines.items()}
        return delivered("gitlab", request, lines)

    def _push(self, payload: object, kind: str) -> dict[str, list[dict[str, object]]]:
        ref = at(payload, "ref", str)
        branch = branch_of(ref)
        if branch is None:
            return {}
        common = {
            "branch": branch[0],
            "category": kind,
            "project": at(payload, "repository.name", str),
            "repository": at(payload, "repository.url", str),
            "properties": {"event": kind},
        }
        commits = [each for each in maybe(payload, "commits", list) or [] if maybe(each, "distinct", bool) is not False]
        changes: list[dict[str, object]] = [
            {
                "author": person(commit, "author", otherwise=_pusher(payload)),
                "comments": maybe(commit, "message", str) or "",
                "revision": at(commit, "id", str),
                "when_timestamp": moment(commit, "timestamp"),
                "files": names(commit, "added", "modified", "removed"),
                "revlink": maybe(commit, "url", str) or "",
                **common,
            }
            for commit in commits
        ]
        changes = changes or [{**each, **common} for each in self._moved(payload)]
        return {f"{common['repository']} {ref}": changes}

    def _moved(self, payload: object) -> list[dict[str, object]]:
        """The head of a branch or tag without new commits: it was made at, or moved to, an old commit."""
        after = maybe(payload, "after", str)
        if is_nothing(after):  # deleted
            return []
        # an annotated tag is an object of its own; the commit is checked out
        revision = maybe(payload, "checkout_sha", str) or after
        page = maybe(payload, "project.web_url", str)
        return [
            {
                "author": _pusher(payload),
                "comments": maybe(payload, "message", str) or "",
                "revision": revision,
                "files": [],
                "revlink": f"{page}/-/commit/{revision}" if page else "",
            }
        ]

    def _merge_request(self, payload: object, request: object, kind: str) -> dict[str, list[dict[str, object]]]:
        line = _merge_line(request)
        if at(request, "state", str) in ("closed", "merged", "approved"):
            return {line: []}
        action = maybe(request, "action", str)
        # Without oldrev the update is of the title or a label, not of the code.
        if action in ("open", "reopen") or (action == "update" and maybe(request, "oldrev", str) is not None):
            return {line: self._merge_request_changes(payload, request, kind)}
        return {line: []}

    def _merge_request_changes(self, payload: object, request: object, kind: str) -> list[dict[str, object]]:
        """The change of a merge request's newest commit; none if it has no commits. Its source may be gone."""
        commit = maybe(request, "last_commit", dict)
        if commit is None:
            return []
        title = f"MR#{at(request, 'iid', int)}: {at(request, 'title', str)}"
        change: dict[str, object] = {
            "author": person(commit, "author"),
            "comments": f"{title}\n\n{maybe(request, 'description', str) or ''}",
            "revision": at(commit, "id", str),
            "when_timestamp": moment(commit, "timestamp"),
            "branch": at(request, "target_branch", str),
            "category": kind,
            "files": [],
            "project": at(request, "target.name", str),
            "repository": at(request, "target.git_http_url", str),
            "revlink": maybe(request, "url", str),
            "properties": {
                "source_branch": at(request, "source_branch", str),
                "source_project_id": maybe(request, "source_project_id", int),
                "source_repository": maybe(request, "source.git_http_url", str),
                "source_git_ssh_url": maybe(request, "source.git_ssh_url", str),
                "target_branch": at(request, "target_branch", str),
                "target_project_id": at(request, "target_project_id", int),
                "target_repository": at(request, "target.git_http_url", str),
                "target_git_ssh_url": at(request, "target.git_ssh_url", str),
                "event": kind,
            },
        }
        return [change]


def _pusher(payload: object) -> str:
    name = maybe(payload, "user_name", str) or maybe(payload, "user_username", str)
    return signed(name, maybe(payload, "user_email", str)) or "unknown"


def _merge_line(request: object) -> str:
    return f"{maybe(request, 'target.git_http_url', str) or ''} merge request {at(request, 'iid', int)}"
