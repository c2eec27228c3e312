"""Reporters for Bitbucket Server and Data Center: statuses of commits, by two APIs, and comments on pull requests."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any
from urllib.parse import quote, urlsplit

from buildbot.config import checks
from buildbot.config.arguments import REQUIRED, argument
from buildbot.config.errors import error
from buildbot.process.properties import Interpolate, Properties
from buildbot.reporters.bitbucket import STATES
from buildbot.reporters.generators.build import BuildStartEndStatusGenerator, BuildStatusGenerator
from buildbot.reporters.http import HttpPush, credentials, without_slash
from buildbot.reporters.repositories import owner_and_name
from buildbot.reporters.status import Report, StatusPush, text_of
from buildbot.util.deferreds import deferred
from buildbot.util.httpclient import TooLargeError, UnexpectedAnswerError

_BUILDER = Interpolate("%(prop:buildername)s")
#: the number of newest entries of a pull request's history that are searched
_ACTIVITIES = 20
_TESTS = {"failed": "tests_failed", "skipped": "tests_skipped", "successful": "tests_successful"}


class BitbucketServerStatusPush(StatusPush):
    """Sets statuses of commits by the older API, which has one status for a commit in all repositories."""

    name = "BitbucketServerStatusPush"
    secrets = ("user", "password")
    positional = ("base_url", "user", "password", "key", "statusName", "verbose", "debug", "verify", "generators")

    base_url = argument(REQUIRED, without_slash, doc="the URL of the server")
    user = argument(REQUIRED, checks.name, renderable=True, doc="the user that sets statuses")
    password = argument(REQUIRED, checks.name, renderable=True, doc="the user's password, or a token")
    key = argument(
        None,
        checks.optional(checks.name),
        renderable=True,
        doc="the key, which distinguishes statuses; None: the builder's name",
    )
    statusName = argument(None, checks.optional(checks.name), renderable=True, doc="the name that users see")

    states = STATES

    def default_generators(self) -> list[Any]:
        """Reports of the beginnings and ends of builds."""
        return [BuildStartEndStatusGenerator()]

    async def send_status(self, report: Report, build: Report, stamp: Report, state: str, props: Properties) -> None:
        """Create a status, or change that with this key."""
        if not stamp["revision"]:
            self.skipped(stamp, "it has no revision")
            return
        payload = {
            "state": state,
            "url": build["url"],
            "key": await props.render(_BUILDER if self.key is None else self.key),
            "description": text_of(report["body"]),
        }
        if self.statusName is not None:
            payload["name"] = await props.render(self.statusName)
        url = f"{self.base_url}/rest/build-status/1.0/commits/{stamp['revision']}"
        self.require(await self.ask("POST", url, auth=(self.user, self.password), json=payload))
        self.arrived(state, str(stamp["revision"]))


class BitbucketServerCoreAPIStatusPush(StatusPush):
    """Sets statuses of commits by the newer API, with number, duration and results of tests."""

    name = "BitbucketServerCoreAPIStatusPush"
    secrets = ("token", "auth")
    positional = (
        "base_url", "token", "auth", "statusName", "statusSuffix", "key", "parentName", "buildNumber", "ref",
        "duration", "testResults", "verbose", "debug", "verify", "generators",
    )  # fmt: skip

    base_url = argument(REQUIRED, without_slash, doc="the URL of the server")
    token = argument(None, checks.optional(checks.name), renderable=True, doc="an access token")
    auth = argument(None, credentials, renderable=True, doc="a pair (user, password), instead of the token")
    statusName = argument(None, renderable=True, doc="the name that users see; None: `BUILDER #N`, after the parent's")
    statusSuffix = argument(None, renderable=True, doc="appended to the name")
    key = argument(None, renderable=True, doc="the key, which distinguishes statuses; None: the builder's name")
    parentName = argument(
        None, renderable=True, doc="the name of a group of statuses; None: the parent's builder, or the builder"
    )
    buildNumber = argument(None, renderable=True, doc="the number of the build; None: the build's own")
    ref = argument(None, renderable=True, doc="the ref of the commit; None: the branch, as `refs/heads/…`")
    duration = argument(None, renderable=True, doc="the duration in milliseconds; None: the build's own")
    testResults = argument(
        None,
        renderable=True,
        doc="numbers of tests; None: properties `tests_failed`, `tests_skipped`, `tests_successful`",
    )

    states = STATES

    def checkConfig(self, *args: Any, **kwargs: Any) -> Any:
        """Check the arguments, also the credentials together."""
        super().checkConfig(*args, **kwargs)
        given = self.by_name(args, kwargs)
        if given.get("token") is not None and given.get("auth") is not None:
            error(f"{self.name}: give token or auth, not both")

    async def send_status(self, report: Report, build: Report, stamp: Report, state: str, props: Properties) -> None:
        """Create a status, or change that with this key."""
        repository = owner_and_name(stamp["repository"] or "")
        if repository is None or not stamp["revision"]:
            self.skipped(stamp, "it has no revision, or its repository no owner and name")
            return
        builder = build["builder"]["name"]
        parent = build.get("parentbuilder")
        usual = {
            "key": builder,
            "parent": builder if parent is None else parent["name"],
            "ref": _ref(stamp["branch"]),
            "buildNumber": str(build.get("number", "")),
            "name": _name(build),
            "duration": _duration(build),
            "testResults": _tests(props),
        }
        given = {
            "key": self.key, "parent": self.parentName, "ref": self.ref, "buildNumber": self.buildNumber,
            "name": self.statusName, "duration": self.duration, "testResults": self.testResults,
        }  # fmt: skip
        payload: dict[str, Any] = {"state": state, "url": build["url"], "description": text_of(report["body"])}
        for field, value in usual.items():
            payload[field] = value if given[field] is None else await props.render(given[field])
        if self.statusSuffix is not None:
            payload["name"] = f"{payload['name']}{await props.render(self.statusSuffix)}"
        headers = {} if self.token is None else {"Authorization": f"Bearer {self.token}"}
        owner, name = map(quote, repository)
        url = f"{self.base_url}/rest/api/1.0/projects/{owner}/repos/{name}/commits/{stamp['revision']}/builds"
        self.require(await self.ask("POST", url, headers=headers, auth=self.auth, json=payload))
        self.arrived(state, f"{owner}/{name} at {stamp['revision']}")


class BitbucketServerPRCommentPush(HttpPush):
    """Comments on the pull request in the property ``pullrequesturl``.

    Each comment ends with a mark that pages do not show. If an earlier attempt may have arrived, because the master was
    killed or no answer came, the newest comments are searched for the mark first.
    """

    name = "BitbucketServerPRCommentPush"
    secrets = ("user", "password")
    positional = ("base_url", "user", "password", "verbose", "debug", "verify", "generators")

    base_url = argument(REQUIRED, without_slash, doc="the URL of the server")
    user = argument(REQUIRED, checks.name, renderable=True, doc="the user that comments")
    password = argument(REQUIRED, checks.name, renderable=True, doc="the user's password, or a token")
    verbose = argument(False, checks.boolean, doc="log comments that arrived; `debug` logs more")

    def default_generators(self) -> list[Any]:
        """Reports of the ends of builds, with the default mode and texts."""
        return [BuildStatusGenerator()]

    @deferred
    async def sendMessage(self, reports: list[dict[str, Any]]) -> None:
        """Comment with the first report."""
        report = reports[0]
        for number, build in enumerate(report["builds"]):
            path = urlsplit(str(build["properties"].get("pullrequesturl", ("",))[0] or "")).path
            if path:
                await self.once(number, partial(self.__comment, path, text_of(report["body"]), number, build["url"]))

    async def __comment(self, path: str, text: str, number: int, build_url: str) -> None:
        base = f"{self.base_url}/rest/api/1.0{path.rstrip('/')}"
        mark = self.mark_of(base, number, build_url)
        if self.may_have_arrived_since is not None and await self.__is_there(base, mark):
            return
        marked = f"{text}\n\n[//]: # ({mark})"
        self.require(await self.ask("POST", f"{base}/comments", auth=(self.user, self.password), json={"text": marked}))

    async def __is_there(self, base: str, mark: str) -> bool:
        """Whether one of the newest comments has this mark; False also if they cannot be read."""
        url = f"{base}/activities?limit={_ACTIVITIES}"
        try:
            answer = self.require(await self.ask("GET", url, auth=(self.user, self.password)))
            comments = (each.get("comment") or {} for each in answer.json()["values"])
        except (UnexpectedAnswerError, TooLargeError) as problem:
            self.unseen(problem)
            return False
        return any(mark in str(each.get("text")) for each in comments)


def _ref(branch: str | None) -> str | None:
    return branch if branch is None or branch.startswith("refs/") else f"refs/heads/{branch}"


def _name(build: Mapping[str, Any]) -> str:
    number = build.get("number")
    own = f"{build['builder']['name']} #{'(build request)' if number is None else number}"
    parent = build.get("parentbuild")
    return own if parent is None else f"{build['parentbuilder']['name']} #{parent['number']} \u00bb {own}"


def _duration(build: Mapping[str, Any]) -> int | None:
    if build.get("complete_at") is None or build.get("started_at") is None:
        return None
    return int((build["complete_at"] - build["started_at"]).total_seconds()) * 1000


def _tests(props: Properties) -> dict[str, int] | None:
    if not any(props.hasProperty(name) for name in _TESTS.values()):
        return None
    return {field: props.getProperty(name, 0) for field, name in _TESTS.items()}
