"""Webhooks of services that post a form with a field ``payload``: Bitbucket's first ones, and those of Gitorious.

The services are gone; some servers and scripts of users still send such forms.
"""

from __future__ import annotations

from buildbot.www.hooks.dialect import (
    Delivery,
    Dialect,
    RefusedDeliveryError,
    at,
    form,
    maybe,
    moment,
    parse,
    person,
)
from buildbot.www.http.messages import Request


def _payload(request: Request) -> object:
    given = form(request).get("payload")
    if not given:
        raise RefusedDeliveryError("the form has no field payload")
    return parse(given[0])


class BitbucketDialect(Dialect):
    """A change per commit; the project is that of the URL, ``?project=``."""

    async def receive(self, request: Request) -> Delivery:
        """As ``Dialect.receive``."""
        payload = _payload(request)
        repository = at(payload, "canon_url", str) + at(payload, "repository.absolute_url", str)
        project = dict(request.parameters()).get("project", "")
        changes: list[dict[str, object]] = [
            {
                "author": maybe(commit, "raw_author", str) or maybe(commit, "author", str) or "unknown",
                "comments": maybe(commit, "message", str) or "",
                "revision": at(commit, "raw_node", str),
                "when_timestamp": moment(commit, "utctimestamp"),
                "branch": maybe(commit, "branch", str),
                "files": [at(each, "file", str) for each in maybe(commit, "files", list) or []],
                "revlink": f"{repository}commits/{at(commit, 'raw_node', str)}",
                "repository": repository,
                "project": project,
                "properties": {"event": request.header("x-event-key")},
            }
            for commit in at(payload, "commits", list)
        ]
        return Delivery({"": changes} if changes else {})


class GitoriousDialect(Dialect):
    """A change per commit."""

    async def receive(self, request: Request) -> Delivery:
        """As ``Dialect.receive``."""
        payload = _payload(request)
        changes: list[dict[str, object]] = [
            {
                "author": person(commit, "author"),
                "comments": maybe(commit, "message", str) or "",
                "revision": at(commit, "id", str),
                "when_timestamp": moment(commit, "timestamp"),
                "branch": at(payload, "ref", str),
                "files": [],
                "revlink": maybe(commit, "url", str) or "",
                "repository": at(payload, "repository.url", str),
                "project": at(payload, "project.name", str),
            }
            for commit in at(payload, "commits", list)
        ]
        return Delivery({"": changes} if changes else {})
