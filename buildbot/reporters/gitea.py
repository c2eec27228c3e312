"""Gitea and Forgejo: statuses of commits."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from buildbot.config import checks
from buildbot.config.arguments import REQUIRED, argument
from buildbot.process.properties import Interpolate, Properties
from buildbot.reporters.generators.build import BuildStartEndStatusGenerator
from buildbot.reporters.http import without_slash
from buildbot.reporters.repositories import owner_and_name
from buildbot.reporters.status import Report, StatusPush, text_of
from buildbot.util.results import CANCELLED, EXCEPTION, FAILURE, RETRY, SKIPPED, SUCCESS, WARNINGS


class GiteaStatusPush(StatusPush):
    """Sets statuses of commits on Gitea. Pull requests are known by the properties that the hook ``gitea`` sets."""

    name = "GiteaStatusPush"
    secrets = ("token",)
    positional = (
        "baseURL", "token", "context", "context_pr", "verbose", "debug", "verify", "generators", "warningAsSuccess",
    )  # fmt: skip

    baseURL = argument(REQUIRED, without_slash, doc="of the server")
    token = argument(REQUIRED, checks.name, renderable=True, doc="of a user; needs *repository: write*")
    context = argument(
        None, checks.optional(checks.name), renderable=True, doc="the status's name; None: `buildbot/BUILDERNAME`"
    )
    context_pr = argument(
        None,
        checks.optional(checks.name),
        renderable=True,
        doc="the same for pull requests; None: `buildbot/pull_request/BUILDERNAME`",
    )
    warningAsSuccess = argument(False, checks.boolean, doc="whether warnings are `success`, not `warning`")

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
        """Beginnings and ends."""
        return [BuildStartEndStatusGenerator()]

    async def send_status(self, report: Report, build: Report, stamp: Report, state: str, props: Properties) -> None:
        """Create a status: of a pull request at its head."""
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
