"""The reporter for Gitea and Forgejo: statuses of commits."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from buildbot.config import checks
from buildbot.config.arguments import REQUIRED, argument
from buildbot.process.properties import Interpolate, Properties
from buildbot.reporters.generators.build import BuildStartEndStatusGenerator
from buildbot.reporters.http import without_slash
from buildbot.reporters.repositories import owner_and_name
from buildbot.reporters.status import Report, StatusPush, context_argument, text_of
from buildbot.util.results import CANCELLED, EXCEPTION, FAILURE, RETRY, SKIPPED, SUCCESS, WARNINGS


class GiteaStatusPush(StatusPush):
    """Sets statuses of commits on Gitea; the properties of the hook ``gitea`` say which commit a pull request has."""

    name = "GiteaStatusPush"
    secrets = ("token",)
    positional = (
        "baseURL", "token", "context", "context_pr", "verbose", "debug", "verify", "generators", "warningAsSuccess",
    )  # fmt: skip

    baseURL = argument(REQUIRED, without_slash, doc="the URL of the server")
    token = argument(
        REQUIRED, checks.name, renderable=True, doc="an access token, with the permission *repository: write*"
    )
    context = context_argument()
    context_pr = argument(
        None,
        checks.optional(checks.name),
        renderable=True,
        doc="the name of the status of a pull request; None: `buildbot/pull_request/BUILDERNAME`",
    )
    warningAsSuccess = argument(
        False, checks.boolean, doc="whether the state of a build with warnings is `success`, not `warning`"
    )

    states = {
        "pending": "pending",
        "cancelled": "error",
        "running": "pending",
        SUCCESS: "success",
        WARNINGS: "warning",
        FAILURE: "failure",
        SKIPPED: "success",
        EXCEPTION: "error",
        RETRY: "pending",
        CANCELLED: "error",
    }

    def default_generators(self) -> list[Any]:
        """Reports of the beginnings and ends of builds."""
        return [BuildStartEndStatusGenerator()]

    async def send_status(self, report: Report, build: Report, stamp: Report, state: str, props: Properties) -> None:
        """Create a status; for a pull request, of its head."""
        if props.hasProperty("pr_id") and props.getProperty("head_sha"):
            where = tuple(props.getProperty(name) for name in ("head_owner", "head_reponame", "head_sha"))
            context, usual = self.context_pr, "buildbot/pull_request/%(prop:buildername)s"
        else:
            repository = owner_and_name(stamp["repository"] or "") or (None, None)
            where = (*repository, stamp["revision"])
            context, usual = self.context, "buildbot/%(prop:buildername)s"
        if not all(where):
            self.skipped(stamp, "it has no revision, or its repository no owner and name")
            return
        owner, name, sha = map(str, where)
        name_of_status = await props.render(Interpolate(usual) if context is None else context)
        if build["results"] == WARNINGS and self.warningAsSuccess:
            state = self.states[SUCCESS]
        payload = {
            "state": state,
            "description": text_of(report["body"]),
            "target_url": build["url"],
            "context": name_of_status,
        }
        url = f"{self.baseURL}/api/v1/repos/{quote(owner)}/{quote(name)}/statuses/{sha}"
        self.require(await self.ask("POST", url, headers={"Authorization": f"token {self.token}"}, json=payload))
        self.arrived(state, f"{owner}/{name} at {sha}, {name_of_status}")
