"""The reporter for GitLab: statuses of commits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from buildbot.config import checks
from buildbot.config.arguments import REQUIRED, argument
from buildbot.process.properties import Properties
from buildbot.reporters.http import without_slash
from buildbot.reporters.repositories import owner_and_name
from buildbot.reporters.status import Report, StatusPush, context_argument, rendered_context, text_of
from buildbot.util.deferreds import deferred
from buildbot.util.httpclient import Answer
from buildbot.util.httpclientservice import HTTPSession
from buildbot.util.results import CANCELLED, EXCEPTION, FAILURE, RETRY, SKIPPED, SUCCESS, WARNINGS

HOSTED_BASE_URL = "https://gitlab.com"
#: characters of a status's description that GitLab keeps
MAX_DESCRIPTION = 255


class GitLabStatusPush(StatusPush):
    """Sets statuses of commits on GitLab. A token needs the scope *api*."""

    name = "GitLabStatusPush"
    secrets = ("token",)
    positional = ("token", "context", "baseURL", "verbose", "debug", "verify", "generators")

    token = argument(REQUIRED, checks.name, renderable=True, doc="the token of a user, group or project")
    context = context_argument()
    baseURL = argument(None, checks.optional(without_slash), doc="the URL of the server; None: gitlab.com")

    states = {
        "pending": "pending",
        "cancelled": "canceled",
        "running": "running",
        SUCCESS: "success",
        WARNINGS: "success",
        FAILURE: "failed",
        SKIPPED: "success",
        EXCEPTION: "failed",
        RETRY: "pending",
        CANCELLED: "canceled",
    }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.__projects: dict[str, int] = {}
        super().__init__(*args, **kwargs)

    async def send_status(self, report: Report, build: Report, stamp: Report, state: str, props: Properties) -> None:
        """Create a status."""
        if not stamp["revision"]:
            self.skipped(stamp, "it has no revision")
            return
        project = await self.getProjectId(stamp)
        if project is None:
            return
        await self.createStatus(
            project_id=project,
            branch=stamp["branch"],
            sha=stamp["revision"],
            state=state,
            target_url=build["url"],
            description=text_of(report["body"])[:MAX_DESCRIPTION],
            context=await rendered_context(self.context, props),
        )

    @deferred
    async def getProjectId(self, sourcestamp: Mapping[str, Any]) -> int | None:
        """GitLab's id of the source stamp's project, which is cached; None if the repository's URL names no project."""
        repository = owner_and_name(sourcestamp["repository"] or "")
        if repository is None:
            self.skipped(sourcestamp, "its repository has no owner and name")
            return None
        path = "/".join(repository)
        if path not in self.__projects:
            answer = await self.__ask("GET", f"/projects/{quote(path, safe='')}")
            self.__projects[path] = int(answer.json()["id"])
        return self.__projects[path]

    @deferred
    async def createStatus(
        self,
        project_id: int,
        branch: str | None,
        sha: str,
        state: str,
        target_url: str | None = None,
        description: str | None = None,
        context: str | None = None,
    ) -> Any:
        """Create one status; the answer of the API. Its exception decides whether the report is sent again."""
        payload: dict[str, Any] = {"state": state}
        for name, value in (
            ("ref", branch),
            ("description", description),
            ("target_url", target_url),
            ("name", context),
        ):
            if value is not None:
                payload[name] = value
        answer = await self.__ask("POST", f"/projects/{project_id}/statuses/{sha}", payload)
        self.arrived(state, f"project {project_id} at {sha}, {context}")
        return answer

    def session(self) -> HTTPSession:
        """A session for requests to GitLab; the endpoints of its API begin with ``/api/v4``."""
        headers = {"Private-Token": self.token}
        http = self.master.httpservice
        return HTTPSession(http, self.baseURL or HOSTED_BASE_URL, headers=headers, verify=self.verify, debug=self.debug)

    async def __ask(self, method: str, path: str, payload: Any = ...) -> Answer:
        url = f"{self.baseURL or HOSTED_BASE_URL}/api/v4{path}"
        answer = await self.ask(method, url, headers={"Private-Token": self.token}, json=payload)
        if answer.status == 400 and b"Cannot transition status" in answer.body:
            return answer  # the commit has this state already, from an earlier attempt
        return self.require(answer)
