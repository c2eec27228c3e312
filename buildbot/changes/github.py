"""GitHubPullrequestPoller: finds pull requests that are new or have new commits.

The position of the source is the head of each pull request that became a change, by its number. It moves in the
transaction that adds the change, so a pull request becomes one once for each of its heads, wherever a poll is
interrupted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import quote

from twisted.logger import Logger

from buildbot.changes.base import PollError, PollingChangeSource, categorised, category_argument
from buildbot.changes.pullrequests import Problems, chosen, kept, moment, passes, person, wanted
from buildbot.config import checks
from buildbot.config.arguments import REQUIRED, argument
from buildbot.util.httpclient import Answer, HttpError

_log = Logger()
#: which address of a repository the change has, by `repository_type`
_ADDRESSES = {"https": "clone_url", "svn": "svn_url", "git": "git_url", "ssh": "ssh_url"}
_NEXT = re.compile(r'<([^>]+)>\s*;[^,]*\brel="?next"?')
_MAX_PAGES = 100


class GitHubPullrequestPoller(PollingChangeSource):
    """Polls a repository of GitHub for open pull requests; each head that one has is a change.

    The first poll tells of all that are open.
    """

    state_class = "GitHubPullrequestPoller"
    positional: ClassVar[tuple[str, ...]] = ("owner", "repo")
    owner = argument(REQUIRED, checks.name, doc="who has the repository")
    repo = argument(REQUIRED, checks.name, doc="its name")
    branches = argument(
        None,
        checks.optional(checks.list_of(checks.name)),
        doc="only pull requests into these branches; None: into all",
    )
    pullrequest_filter = argument(
        True,
        wanted,
        doc="`f(pull request)` says whether to take it, given what the API says of it; True: all",
    )
    token = argument(
        None, renderable=True, doc="of the API, for private repositories and more than 60 requests an hour"
    )
    baseURL = argument("https://api.github.com", checks.url, doc="where the API is")
    magic_link = argument(
        False,
        checks.flag,
        doc="the change's branch is the merge (`refs/pull/N/merge`) in the repository, not the branch in the fork",
    )
    repository_type = argument(
        "https", checks.one_of(*_ADDRESSES), doc="which of its addresses the change's `repository` is"
    )
    github_property_whitelist = argument(
        (),
        checks.list_of(checks.text),
        doc="""patterns (`github.base.*`) of what becomes properties of the change: what the API says of the pull
        request, names joined by dots""",
    )
    category = category_argument()
    project = argument(None, checks.optional(checks.text), doc="of the changes; None: the repository's full name")
    name: Any = argument(
        None,
        checks.optional(checks.name),
        doc="unique among change sources; None: `GitHubPullrequestPoller:OWNER/REPO`",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.name is None:
            self.name = f"GitHubPullrequestPoller:{self.owner}/{self.repo}"
        self.__headers: Mapping[str, str] = {}
        self.__unwanted: dict[str, str] = {}

    async def poll(self) -> None:
        """Look for pull requests with new heads once."""
        token = await self.render(self.token)
        if token is not None and (not isinstance(token, str) or not token):
            raise PollError("the token must be a text that is not empty")
        self.__headers = {"User-Agent": "Buildbot"} | ({} if token is None else {"Authorization": f"token {token}"})
        try:
            await self.__poll()
        except HttpError as problem:
            raise PollError(str(problem)) from None
        except (KeyError, TypeError, ValueError) as problem:
            raise PollError(f"GitHub's answer is not what was expected: {type(problem).__name__} {problem}") from None

    async def __poll(self) -> None:
        heads: dict[str, str] = await self.get_position({})
        pulls = await self.__list("pulls")
        problems = Problems("GitHub")
        for pull in sorted(pulls, key=lambda each: int(each["number"])):
            if self.stopping:
                return
            number = str(pull["number"])
            with problems.of(number):
                change = await self.__news(pull, heads)
                if change is not None:
                    now = {**heads, number: str(change["revision"])}  # which may be newer than the list
                    await self.advance([change], kept(now, [pull["number"] for pull in pulls]))
                    heads = now
        problems.tell()

    async def __news(self, pull: Mapping[str, Any], heads: Mapping[str, str]) -> dict[str, Any] | None:
        """The change that a pull request of the list is; None if it is known, or not wanted."""
        number, head = str(pull["number"]), str(pull["head"]["sha"])
        if self.branches is not None and pull["base"]["ref"] not in self.branches:
            return None
        if head == await self.__last(heads, number) or self.__unwanted.get(number, ...) == pull["updated_at"]:
            return None
        change = await self.__change(number)
        if change is None:  # until something happens to it: it may get a label, for example
            self.__unwanted[number] = pull["updated_at"]
        return change

    async def __last(self, heads: Mapping[str, str], number: str) -> str | None:
        """The head of a pull request that became a change; also the one that Buildbot 4 has written down."""
        if number in heads:
            return heads[number]
        state = self.master.db.state
        objectid = await state.getObjectId(self.name, self.state_class)
        last: str | None = await state.getState(objectid, f"pull_request{number}", None)
        return last

    async def __change(self, number: str) -> dict[str, Any] | None:
        """The change that a pull request is; None if it is not wanted."""
        pull = (await self.__ask(self.__url(f"pulls/{number}"))).json()
        if not await passes(self.pullrequest_filter, pull):
            return None
        commits = await self.__list(f"pulls/{number}/commits")
        head = next((each for each in commits if each["sha"] == pull["head"]["sha"]), {}).get("commit") or {}
        files = await self.__list(f"pulls/{number}/files")
        base, fork = pull["base"]["repo"], pull["head"]["repo"] or pull["base"]["repo"]
        title = f"GitHub Pull Request #{number} ({pull['commits']} commit{'s' if pull['commits'] != 1 else ''})"
        change = {
            "author": person(head.get("author") or {"name": (pull.get("user") or {}).get("login")}),
            "committer": person(head.get("committer")),
            "files": [each["filename"] for each in files],
            "comments": "\n".join(filter(None, (title, pull["title"], pull["body"]))),
            "revision": pull["head"]["sha"],
            "when_timestamp": moment(pull["updated_at"]),
            "branch": f"refs/pull/{number}/merge" if self.magic_link else pull["head"]["ref"],
            "repository": (base if self.magic_link else fork)[_ADDRESSES[self.repository_type]],
            "revlink": pull["html_url"],
            "project": base["full_name"] if self.project is None else self.project,
            "properties": {
                "pullrequesturl": pull["html_url"],
                **chosen("github", pull, self.github_property_whitelist),
            },
        }
        return categorised(change, self.category)

    def __url(self, path: str) -> str:
        return f"{self.baseURL.rstrip('/')}/repos/{quote(self.owner)}/{quote(self.repo)}/{path}"

    async def __ask(self, url: str) -> Answer:
        return (await self.master.httpservice.request("GET", url, headers=self.__headers)).require(200)

    async def __list(self, path: str) -> list[dict[str, Any]]:
        """All pages of a list."""
        url, found = self.__url(path), []
        for _ in range(_MAX_PAGES):
            answer = await self.__ask(url)
            found += answer.json()
            following = _NEXT.search(answer.headers.get("link", ""))
            if following is None:
                break
            if not following[1].startswith(self.baseURL.rstrip("/") + "/"):
                raise ValueError("the next page of a list is on another server")  # which is not to get the token
            url = following[1]
        return found
