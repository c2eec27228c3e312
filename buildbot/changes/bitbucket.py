"""BitbucketPullrequestPoller: finds pull requests of Bitbucket Cloud that are new or have new commits.

The position of the source is the head of each pull request that became a change, by its number. It moves in the
transaction that adds the change.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import quote

from buildbot.changes.base import PollError, PollingChangeSource, categorised, category_argument
from buildbot.changes.pullrequests import Problems, chosen, kept, moment, passes, wanted
from buildbot.config import checks
from buildbot.config.arguments import REQUIRED, argument
from buildbot.util.httpclient import HttpError

_MAX_PAGES = 100


def _login(value: Any) -> Any:
    if value is not None and not (isinstance(value, (tuple, list)) and len(value) == 2):
        raise ValueError(f"must be (user, password), not {type(value).__name__}")
    return value


class BitbucketPullrequestPoller(PollingChangeSource):
    """Polls a repository of Bitbucket Cloud for open pull requests; each head that one has is a change.

    The first poll tells of all that are open.
    """

    #: where the API is
    api_url: ClassVar[str] = "https://api.bitbucket.org/2.0"
    state_class = "BitbucketPullrequestPoller"
    positional: ClassVar[tuple[str, ...]] = ("owner", "slug")
    owner = argument(REQUIRED, checks.name, doc="the workspace that has the repository")
    slug = argument(REQUIRED, checks.name, doc="the repository, as in its address")
    branch = argument(
        None,
        checks.optional(checks.either(checks.name, checks.list_of(checks.name), otherwise="a name or a list of names")),
        doc="only pull requests of this branch, or of these; None: of all",
    )
    useTimestamps = argument(
        True, checks.flag, doc="date changes by when the pull request was changed, otherwise by when it was found"
    )
    category = category_argument()
    project = argument("", checks.text, doc="of the changes")
    pullrequest_filter = argument(
        True, wanted, doc="`f(pull request)` says whether to take it, given what the API says of it; True: all"
    )
    auth = argument(None, _login, renderable=True, doc="`(user, password)`, for private repositories")
    bitbucket_property_whitelist = argument(
        (),
        checks.list_of(checks.text),
        doc="patterns (`bitbucket.source.*`) of what becomes properties of the change: what the API says, with dots",
    )
    name: Any = argument(None, checks.optional(checks.name), doc="unique among change sources; None: `OWNER/SLUG`")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.name is None:
            self.name = f"{self.owner}/{self.slug}"
        self.__unwanted: dict[str, str] = {}
        self.__login: tuple[str, str] | None = None

    async def poll(self) -> None:
        """Look for pull requests with new heads once."""
        auth = await self.render(self.auth)
        self.__login = (auth[0], auth[1]) if auth is not None else None
        try:
            await self.__poll()
        except HttpError as problem:
            raise PollError(str(problem)) from None
        except (KeyError, TypeError, ValueError) as problem:
            raise PollError(
                f"Bitbucket's answer is not what was expected: {type(problem).__name__} {problem}"
            ) from None

    async def __poll(self) -> None:
        heads: dict[str, str] = await self.get_position({})
        pulls = await self.__open_ones()
        branches = [self.branch] if isinstance(self.branch, str) else self.branch
        problems = Problems("Bitbucket")
        for pull in sorted(pulls, key=lambda each: int(each["id"])):
            if self.stopping:
                return
            number = str(pull["id"])
            with problems.of(number):
                head = str(pull["source"]["commit"]["hash"])
                if branches is not None and pull["source"]["branch"]["name"] not in branches:
                    continue
                if heads.get(number) == head or self.__unwanted.get(number, ...) == pull["updated_on"]:
                    continue
                if not await passes(self.pullrequest_filter, pull):
                    self.__unwanted[number] = pull["updated_on"]
                    continue
                now = {**heads, number: head}
                await self.advance([await self.__change(pull)], kept(now, [each["id"] for each in pulls]))
                heads = now
        problems.tell()

    async def __open_ones(self) -> list[dict[str, Any]]:
        """All open pull requests."""
        url = f"{self.api_url}/repositories/{quote(self.owner)}/{quote(self.slug)}/pullrequests?state=OPEN"
        found: list[dict[str, Any]] = []
        for _ in range(_MAX_PAGES):
            page = await self.__ask(url)
            found += page["values"]
            if not page.get("next"):
                break
            url = page["next"]
        return found

    async def __ask(self, url: str) -> Any:
        if not url.startswith(f"{self.api_url}/"):
            raise ValueError("it leads to another server")  # which is not to get the password
        return (await self.master.httpservice.request("GET", url, auth=self.__login)).require(200).json()

    async def __change(self, pull: Mapping[str, Any]) -> dict[str, Any]:
        source = pull["source"]
        commit = await self.__ask(source["commit"]["links"]["self"]["href"])  # the list has shortened hashes
        link = pull["links"]["html"]["href"]
        change = {
            "author": (pull["author"] or {}).get("display_name") or "unknown",
            "files": [],
            "comments": pull["title"],
            "revision": commit["hash"],
            "when_timestamp": moment(pull["updated_on"]) if self.useTimestamps else None,
            "branch": source["branch"]["name"],
            "repository": (source["repository"] or pull["destination"]["repository"])["links"]["html"]["href"],
            "revlink": link,
            "project": self.project,
            "properties": {"pullrequesturl": link, **chosen("bitbucket", pull, self.bitbucket_property_whitelist)},
        }
        return categorised(change, self.category)
