"""Reporters for GitHub: commit statuses, comments on pull requests, and checks."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import count
from typing import Any
from urllib.parse import quote

from buildbot.config import checks
from buildbot.config.arguments import REQUIRED, argument
from buildbot.process.properties import Properties
from buildbot.reporters.generators.build import BuildStatusGenerator
from buildbot.reporters.http import without_slash
from buildbot.reporters.message import MessageFormatterRenderable
from buildbot.reporters.repositories import owner_and_name, pull_request
from buildbot.reporters.status import Report, StatusPush, context_argument, rendered_context, text_of
from buildbot.util.deferreds import deferred
from buildbot.util.httpclient import Answer, TooLargeError, UnexpectedAnswerError
from buildbot.util.httpclientservice import HTTPSession
from buildbot.util.results import CANCELLED, EXCEPTION, FAILURE, RETRY, SKIPPED, SUCCESS, WARNINGS

HOSTED_BASE_URL = "https://api.github.com"
#: characters of a status's description; GitHub refuses longer ones
MAX_DESCRIPTION = 140
#: comments on a page
_COMMENTS = 10


def shortened(text: str, longest: int) -> str:
    """A text of at most ``longest`` characters; a longer one is cut off, with an ellipsis."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


class GitHubStatusPush(StatusPush):
    """Sets statuses of commits on GitHub. A token needs the permission *Commit statuses: write*."""

    name = "GitHubStatusPush"
    positional = ("token", "context", "baseURL", "verbose", "debug", "verify", "generators")

    token = argument(
        REQUIRED, checks.name, renderable=True, doc="the token of a GitHub user or app; rendered for each request"
    )
    context = context_argument()
    baseURL = argument(
        None,
        checks.optional(without_slash),
        doc="the URL of the API of GitHub Enterprise, `https://…/api/v3`; None: GitHub's",
    )

    states = {
        "pending": "pending",
        "cancelled": "error",
        "running": "pending",
        SUCCESS: "success",
        WARNINGS: "success",
        FAILURE: "failure",
        SKIPPED: "success",
        EXCEPTION: "error",
        RETRY: "pending",
        CANCELLED: "error",
    }

    async def send_status(self, report: Report, build: Report, stamp: Report, state: str, props: Properties) -> None:
        """Create a status."""
        repository = owner_and_name(stamp["repository"] or "")
        if repository is None:
            self.skipped(stamp, "its repository has no owner and name")
            return
        if not stamp["revision"]:
            self.skipped(stamp, "it has no revision")
            return
        await self.createStatus(
            repo_user=repository[0],
            repo_name=repository[1],
            sha=stamp["revision"],
            state=state,
            props=props,
            target_url=build["url"],
            context=await rendered_context(self.context, props),
            issue=pull_request(stamp["branch"]),
            description=text_of(report["body"]),
        )

    @deferred
    async def createStatus(
        self,
        repo_user: str,
        repo_name: str,
        sha: str,
        state: str,
        props: Properties,
        target_url: str | None = None,
        context: str | None = None,
        issue: int | None = None,
        description: str | None = None,
    ) -> Any:
        """Create one status; the answer of the API. Its exception decides whether the report is sent again."""
        payload: dict[str, Any] = {"state": state}
        if description is not None:
            payload["description"] = shortened(description, MAX_DESCRIPTION)
        if target_url is not None:
            payload["target_url"] = target_url
        if context is not None:
            payload["context"] = context
        answer = await self.github(
            "POST", f"/repos/{quote(repo_user)}/{quote(repo_name)}/statuses/{sha}", props, payload
        )
        self.arrived(state, f"{repo_user}/{repo_name} at {sha}, context {context}, issue {issue}")
        return answer

    def session(self) -> HTTPSession:
        """A session for requests to the API; it has the token, unless that depends on the build."""
        headers = {"User-Agent": "Buildbot"}
        if isinstance(self.token, str):
            headers["Authorization"] = f"token {self.token}"
        http = self.master.httpservice
        return HTTPSession(http, self.baseURL or HOSTED_BASE_URL, headers=headers, verify=self.verify, debug=self.debug)

    async def github(self, method: str, path: str, props: Properties, payload: Any = ...) -> Answer:
        """Send a request to the API, which must succeed; the answer."""
        headers = {"Authorization": f"token {await props.render(self.token)}", "User-Agent": "Buildbot"}
        url = f"{self.baseURL or HOSTED_BASE_URL}{path}"
        return self.require(await self.ask(method, url, headers=headers, json=payload))


class GitHubCommentPush(GitHubStatusPush):
    """Comments on pull requests, when their builds end. A token needs the permission *Pull requests: write*.

    Each comment ends with a mark that pages do not show. If an earlier attempt may have arrived, because the master was
    killed or no answer came, the comments are searched for the mark first.
    """

    name = "GitHubCommentPush"

    def default_generators(self) -> list[Any]:
        """Reports of the ends of builds, with any result."""
        formatter = MessageFormatterRenderable("Build done.")
        mode = ("failing", "passing", "warnings", "exception", "cancelled")
        return [BuildStatusGenerator(mode=mode, message_formatter=formatter)]

    async def send_status(self, report: Report, build: Report, stamp: Report, state: str, props: Properties) -> None:
        """Comment on the pull request of a source stamp."""
        if pull_request(stamp["branch"]) is None:
            self.skipped(stamp, "its branch is not that of a pull request, refs/pull/N/merge or head")
            return
        if not text_of(report["body"]):
            self.skipped(stamp, "the report has no body")
            return
        await super().send_status(report, build, {**stamp, "revision": stamp["revision"] or "HEAD"}, state, props)

    @deferred
    async def createStatus(
        self,
        repo_user: str,
        repo_name: str,
        sha: str,
        state: str,
        props: Properties,
        target_url: str | None = None,
        context: str | None = None,
        issue: int | None = None,
        description: str | None = None,
    ) -> Any:
        """Make one comment; the answer of the API, or None if an earlier attempt has arrived."""
        path = f"/repos/{quote(repo_user)}/{quote(repo_name)}/issues/{issue}/comments"
        mark = self.mark_of(repo_user, repo_name, issue, sha, target_url)
        since = self.may_have_arrived_since
        if since is not None and await self.__is_there(path, mark, since, props):
            return None
        answer = await self.github("POST", path, props, {"body": f"{description}\n\n<!-- {mark} -->"})
        self.arrived("a comment", f"{repo_user}/{repo_name}, issue {issue}")
        return answer

    async def __is_there(self, path: str, mark: str, since: int, props: Properties) -> bool:
        """Whether a comment since then has this mark; False also if the comments cannot be read."""
        when = _iso(datetime.fromtimestamp(since, UTC))
        try:
            for page in count(1):
                query = f"since={when}&per_page={_COMMENTS}&page={page}"
                found = (await self.github("GET", f"{path}?{query}", props)).json()
                if any(mark in str(each.get("body")) for each in found):
                    return True
                if len(found) < _COMMENTS:
                    break
        except (UnexpectedAnswerError, TooLargeError) as problem:
            self.unseen(problem)
        return False


class GitHubChecksPush(GitHubStatusPush):
    """Shows builds as checks of commits on GitHub: with a title, a text in Markdown, and times.

    Only a GitHub App may make checks; its installation token needs the permission *Checks: write*. The text is the body
    of the report. Later reports change the check, so there is one for each build.
    """

    name = "GitHubChecksPush"

    #: GitHub's conclusions by result
    conclusions: Mapping[int, str] = {
        SUCCESS: "success",
        WARNINGS: "neutral",
        FAILURE: "failure",
        SKIPPED: "skipped",
        EXCEPTION: "failure",
        RETRY: "stale",
        CANCELLED: "cancelled",
    }

    async def send_status(self, report: Report, build: Report, stamp: Report, state: str, props: Properties) -> None:
        """Create or change the check of a build."""
        repository = owner_and_name(stamp["repository"] or "")
        if repository is None or not stamp["revision"]:
            self.skipped(stamp, "it has no revision, or its repository no owner and name")
            return
        name = await rendered_context(self.context, props)
        # a request and its builds have one check, also if it is built again
        external_id = f"{self.name}/{build['buildrequest']['buildrequestid']}"
        payload = {
            "name": name,
            "head_sha": stamp["revision"],
            "external_id": external_id,
            "details_url": build["url"],
            **self.__progress(build),
            "output": {
                "title": shortened(str(report["subject"] or build.get("state_string") or "pending"), 255),
                "summary": shortened(text_of(report["body"]), 65_535),
            },
        }
        base = f"/repos/{quote(repository[0])}/{quote(repository[1])}"
        known = await self.github(
            "GET", f"{base}/commits/{stamp['revision']}/check-runs?check_name={quote(name, safe='')}", props
        )
        runs = [run["id"] for run in known.json()["check_runs"] if run.get("external_id") == external_id]
        if runs:
            await self.github("PATCH", f"{base}/check-runs/{runs[0]}", props, payload)
        else:
            await self.github("POST", f"{base}/check-runs", props, payload)
        self.arrived(state, f"{repository[0]}/{repository[1]} at {stamp['revision']}, check {name}")

    def __progress(self, build: Mapping[str, Any]) -> dict[str, Any]:
        if "buildid" not in build:
            return {"status": "completed", "conclusion": "cancelled"} if build["complete"] else {"status": "queued"}
        begun = {"started_at": _iso(build["started_at"])}
        if build["results"] is None or build["results"] == RETRY:
            return {"status": "queued" if build["results"] == RETRY else "in_progress", **begun}
        return {
            "status": "completed",
            "conclusion": self.conclusions[build["results"]],
            "completed_at": _iso(build["complete_at"]),
            **begun,
        }


def _iso(when: Any) -> str:
    return f"{when:%Y-%m-%dT%H:%M:%SZ}"
