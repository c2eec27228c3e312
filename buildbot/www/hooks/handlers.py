"""Hooks of users and plugins: classes with ``getChanges(request)``, and base classes for them."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Mapping
from typing import Any, ClassVar, Protocol

from buildbot.data.interfaces import Master
from buildbot.util.deferreds import resolved
from buildbot.www.hooks.base import BaseDialect
from buildbot.www.hooks.bitbucketcloud import BitbucketCloudDialect
from buildbot.www.hooks.bitbucketserver import BitbucketServerDialect
from buildbot.www.hooks.dialect import Delivery, Dialect, RefusedDeliveryError
from buildbot.www.hooks.gitea import GiteaDialect
from buildbot.www.hooks.github import GitHubDialect
from buildbot.www.hooks.gitlab import GitLabDialect
from buildbot.www.hooks.oldforms import BitbucketDialect, GitoriousDialect
from buildbot.www.hooks.poller import PollerDialect
from buildbot.www.hooks.webrequest import WebRequest
from buildbot.www.http.messages import Request

#: arguments of ``addChange``, and the kind of repository
Changes = tuple[Iterable[Mapping[str, Any]] | None, str | None]


class Handler(Protocol):
    """Makes the changes of requests."""

    def getChanges(self, request: WebRequest) -> Changes | Awaitable[Changes]:
        """The changes of a request, and the kind of repository."""


class HandlerDialect(Dialect):
    """Calls a handler to make the changes of a request.

    Args:
        name: the dialect's.
        handler: a class that is made with the master and the options, or an object.
    """

    def __init__(self, name: str, handler: Any, *args: Any) -> None:
        super().__init__(*args)
        self._name = name
        given = {key: value for key, value in self.options.items() if key != "custom_class"}
        self._handler: Handler = handler(self.master, given) if isinstance(handler, type) else handler

    async def receive(self, request: Request) -> Delivery:
        """As ``Dialect.receive``. A ValueError of the handler is the answer to the sender."""
        try:
            changes, _ = await resolved(self._handler.getChanges(WebRequest(request)))
        except ValueError as problem:
            raise RefusedDeliveryError(str(problem)) from None
        return Delivery({"": [dict(change) for change in changes]} if changes else {})


class BaseHookHandler:
    """Base of handlers. It makes the changes of its dialect; a user's handler overrides `getChanges`.

    Args:
        master: the master.
        options: of the dialect; True and None: no options.
    """

    dialect: ClassVar[type[Dialect]] = BaseDialect

    def __init__(self, master: Master, options: Mapping[str, Any] | bool | None = None) -> None:
        self.master = master
        self.options = dict(options) if isinstance(options, Mapping) else {}

    async def getChanges(self, request: WebRequest) -> tuple[list[dict[str, Any]], str | None]:
        """The changes of a request, as arguments of ``addChange``, and the kind of repository.

        Raises ValueError with the answer for a sender who is refused.
        """
        http: Any = getattr(self.master, "httpservice", None)
        made = self.dialect(self.master.data, self.options, http, self.master)
        try:
            delivery = await made.receive(request.request)
        except RefusedDeliveryError as problem:
            raise ValueError(str(problem)) from None
        return [change for changes in delivery.changes.values() for change in changes], "git"


class base(BaseHookHandler):
    """``webhooks.base``"""


class bitbucket(BaseHookHandler):
    """``webhooks.bitbucket``"""

    dialect = BitbucketDialect


class bitbucketserver(BaseHookHandler):
    """``webhooks.bitbucketserver``"""

    dialect = BitbucketServerDialect


class gitorious(BaseHookHandler):
    """``webhooks.gitorious``"""

    dialect = GitoriousDialect


class bitbucketcloud(BaseHookHandler):
    """``webhooks.bitbucketcloud``"""

    dialect = BitbucketCloudDialect


class gitea(BaseHookHandler):
    """``webhooks.gitea``"""

    dialect = GiteaDialect


class github(BaseHookHandler):
    """``webhooks.github``"""

    dialect = GitHubDialect


class gitlab(BaseHookHandler):
    """``webhooks.gitlab``"""

    dialect = GitLabDialect


class poller(BaseHookHandler):
    """``webhooks.poller``"""

    dialect = PollerDialect
