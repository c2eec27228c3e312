"""The reporter for Bitbucket Cloud: statuses of commits."""

from __future__ import annotations

import hashlib
from typing import Any
from urllib.parse import quote

from buildbot.config import checks
from buildbot.config.arguments import argument
from buildbot.config.errors import error
from buildbot.process.properties import Interpolate, Properties
from buildbot.reporters.delivery import SendLater
from buildbot.reporters.generators.build import BuildStartEndStatusGenerator
from buildbot.reporters.http import credentials, said_by, without_slash
from buildbot.reporters.repositories import owner_and_name
from buildbot.reporters.status import Report, StatusPush
from buildbot.util.results import CANCELLED, EXCEPTION, FAILURE, RETRY, SKIPPED, SUCCESS, WARNINGS

_FAILED = dict.fromkeys((WARNINGS, FAILURE, SKIPPED, EXCEPTION, RETRY, CANCELLED), "FAILED")
#: states of Bitbucket, in the cloud and on servers
STATES: dict[Any, str] = {
    "pending": "INPROGRESS",
    "cancelled": "FAILED",
    "running": "INPROGRESS",
    SUCCESS: "SUCCESSFUL",
    **_FAILED,
}


class BitbucketStatusPush(StatusPush):
    """Sets statuses of commits on Bitbucket Cloud, as an OAuth consumer or as a user with an app password."""

    name = "BitbucketStatusPush"
    secrets = ("oauth_key", "oauth_secret", "auth")
    positional = (
        "oauth_key", "oauth_secret", "auth", "base_url", "oauth_url", "debug", "verify", "status_key", "status_name",
        "generators",
    )  # fmt: skip

    oauth_key = argument(None, checks.optional(checks.name), renderable=True, doc="the key of the OAuth consumer")
    oauth_secret = argument(None, checks.optional(checks.name), renderable=True, doc="the secret of the OAuth consumer")
    auth = argument(None, credentials, renderable=True, doc="a pair (user, app password), instead of the consumer")
    base_url = argument(
        "https://api.bitbucket.org/2.0/repositories",
        without_slash,
        doc="the URL of the API, to which owner and repository are appended",
    )
    oauth_url = argument(
        "https://bitbucket.org/site/oauth2/access_token", checks.url, doc="the URL at which the consumer gets tokens"
    )
    status_key = argument(
        None,
        checks.optional(checks.name),
        renderable=True,
        doc="the key, which distinguishes statuses; None: the builder's name",
    )
    status_name = argument(
        None, checks.optional(checks.name), renderable=True, doc="the name that users see; None: the builder's name"
    )

    states = STATES

    def default_generators(self) -> list[Any]:
        """Reports of the beginnings and ends of builds."""
        return [BuildStartEndStatusGenerator()]

    def checkConfig(self, *args: Any, **kwargs: Any) -> Any:
        """Check the arguments, also the credentials together."""
        super().checkConfig(*args, **kwargs)
        given = self.by_name(args, kwargs)
        key, secret = given.get("oauth_key"), given.get("oauth_secret")
        if given.get("auth") is not None and (key is not None or secret is not None):
            error(f"{self.name}: give oauth_key and oauth_secret, or auth, not both")
        if (key is None) != (secret is None):
            error(f"{self.name}: oauth_key and oauth_secret go together")

    async def send_status(self, report: Report, build: Report, stamp: Report, state: str, props: Properties) -> None:
        """Create a status, or change that with this key."""
        repository = owner_and_name(stamp["repository"] or "")
        if repository is None or not stamp["revision"]:
            self.skipped(stamp, "it has no revision, or its repository no owner and name")
            return
        builder = Interpolate("%(prop:buildername)s")
        key = await props.render(builder if self.status_key is None else self.status_key)
        payload = {
            "state": state,
            "key": hashlib.sha1(str(key).encode()).hexdigest(),
            "name": await props.render(builder if self.status_name is None else self.status_name),
            "description": report["subject"] or "",
            "url": build["url"],
        }
        owner, name = map(quote, repository)
        url = f"{self.base_url}/{owner}/{name}/commit/{stamp['revision']}/statuses/build"
        headers, auth = {}, self.auth
        if self.oauth_key is not None:
            headers = {"Authorization": f"Bearer {await self.__token()}"}
        self.require(await self.ask("POST", url, headers=headers, auth=auth, json=payload))
        self.arrived(state, f"{owner}/{name} at {stamp['revision']}")

    async def __token(self) -> str:
        answer = await self.ask(
            "POST", self.oauth_url, auth=(self.oauth_key, self.oauth_secret), data={"grant_type": "client_credentials"}
        )
        if answer.status != 200:
            raise SendLater(said_by(answer))
        return str(answer.json()["access_token"])
