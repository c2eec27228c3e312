"""Rules, roles and decisions that people write themselves, by the methods that Buildbot gives them."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, inlineCallbacks, succeed

from buildbot.config.errors import ConfigErrors
from buildbot.plugins import util
from buildbot.test.fake.fakedb import FakeMaster
from buildbot.www.authz import named
from buildbot.www.authz.access import AccessRequest
from buildbot.www.authz.authz import Authz, Forbidden
from buildbot.www.authz.endpointmatchers import AnyControlEndpointMatcher, EndpointMatcherBase, Match
from buildbot.www.authz.roles import RolesFromBase, RolesFromOwner
from buildbot.www.sessions import Visitor
from tests.unit.www.test_login import ROLES, USERS, a_farm, a_form, serving

JOE, ANN = Visitor({"username": "joe"}), Visitor({"username": "ann"})


class OnlyOpen(EndpointMatcherBase):
    """A rule for stopping builds of the builder "open", in the old style of coroutines."""

    def __init__(self, pattern: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pattern = pattern

    @inlineCallbacks
    def match_BuildEndpoint_stop(self, epobject: Any, epdict: Any, options: Any) -> Generator[Deferred[Any], Any, Any]:
        build: Any = yield epobject.get({}, epdict)
        builder: Any = yield self.master.data.get({}, ("builders", build["builderid"]))
        if not self.authz.match(builder["name"], self.pattern):
            return None
        return Match(self.master, build=build)


async def allowed(authz: Authz, master: FakeMaster, visitor: Visitor, path: str, action: str = "stop") -> str:
    """The refusal of a visitor, or "yes"."""
    authz.attach(master, False)
    try:
        await authz.check(visitor, AccessRequest(tuple(path.split("/")), action), master.data)
    except Forbidden as refused:
        assert refused.status == 403
        return refused.message
    return "yes"


@pytest.mark.parametrize("path", ["builds/1", "builders/open/builds/1", "builders/1/builds/1"])
async def test_method_of_an_endpoint(master: FakeMaster, path: str) -> None:
    """A method with an endpoint's name is asked about that endpoint only, by each of its paths."""
    secret = await a_farm(master)
    authz = util.Authz([OnlyOpen("op*", role="insiders"), util.AnyControlEndpointMatcher(role="anyone")], [ROLES])
    assert await allowed(authz, master, JOE, path) == "you need to have role 'insiders'"
    assert await allowed(authz, master, ANN, path) == "yes"
    assert await allowed(authz, master, JOE, f"builds/{secret}") == "yes"
    assert await allowed(authz, master, JOE, path, "rebuild") == "yes"


async def test_owner_of_a_match(master: FakeMaster) -> None:
    """The user who forced the build of a match has the role of owners."""
    await a_farm(master)
    authz = util.Authz([OnlyOpen("*", role="owner")], [util.RolesFromOwner(role="owner")])
    assert await allowed(authz, master, JOE, "builds/1") == "yes"
    assert await allowed(authz, master, ANN, "builds/1") == "you need to have role 'owner'"
    assert await Match(master, buildrequest=await master.data.get({}, ("buildrequests", 2))).getOwner() == "ann"
    assert await Match(master, buildset={"bsid": 1}).getOwner() == "joe"
    assert await Match(master).getOwner() is None


@pytest.mark.parametrize(
    "found", [lambda match: match, succeed, lambda match: later(match)], ids=["value", "Deferred", "coroutine"]
)
async def test_match(master: FakeMaster, found: Callable[[Any], Any]) -> None:
    """``match`` is asked about each request, with its path, action and arguments, and may answer directly, by a
    Deferred or as a coroutine.
    """
    asked = []

    class Mine(EndpointMatcherBase):
        def match(self, ep: Any, action: str = "get", options: Any = None) -> Any:
            asked.append((ep, action, dict(options)))
            return found(Match(self.master) if action == "cancel" else None)

    authz = util.Authz([Mine("insiders"), Mine("insiders", defaultDeny=False)], [ROLES])
    authz.attach(master, False)
    await authz.check(JOE, AccessRequest(("builds", "1", "steps"), "follow"), master.data)
    await authz.check(JOE, AccessRequest(("builds", "1"), "stop", {"reason": "x"}), master.data)
    assert asked == [(("builds", "1", "steps"), "GET", {})] * 2 + [(("builds", "1"), "stop", {"reason": "x"})] * 2
    assert await allowed(authz, master, JOE, "buildrequests/1", "cancel") == "you need to have role 'insiders'"
    assert await allowed(authz, master, ANN, "buildrequests/1", "cancel") == "yes"


async def later(value: Any) -> Any:
    return value


async def test_a_rule_made_narrower(master: FakeMaster) -> None:
    """A subclass may ask the rule that it inherits from, which answers with a match or None."""
    secret = await a_farm(master)

    class NotOnSundays(util.StopBuildEndpointMatcher):  # type: ignore[misc, name-defined]
        sunday = False

        @inlineCallbacks
        def match(self, *args: Any, **kwargs: Any) -> Any:
            found = yield super().match(*args, **kwargs)
            return found if self.sunday else None

    rule = NotOnSundays(builder="open", role="insiders")
    authz = util.Authz([rule], [ROLES])
    assert await allowed(authz, master, JOE, "builds/1") == "yes"
    rule.sunday = True
    assert await allowed(authz, master, JOE, "builds/1") == "you need to have role 'insiders'"
    assert await allowed(authz, master, JOE, f"builds/{secret}") == "yes"
    assert await allowed(authz, master, JOE, "builds/1", "rebuild") == "yes"


async def test_own_roles(master: FakeMaster) -> None:
    """A role matcher has the master, and may be a coroutine; one of owners gets the owner."""

    class FromMaster(RolesFromBase):
        async def getRolesFromUser(self, userDetails: Any) -> Any:  # type: ignore[override]
            return [f"of {len(await self.master.data.get({}, ('builders',)))}"] if "username" in userDetails else []

    class FirstLetter(RolesFromOwner):
        def getRolesFromUser(self, userDetails: Any, owner: str | None = None) -> Any:
            return [self.role] if owner and userDetails["username"][0] == owner[0] else []

    await a_farm(master)
    rules = [util.StopBuildEndpointMatcher(role="kin", defaultDeny=False), AnyControlEndpointMatcher(role="of 2")]
    authz = util.Authz(rules, [FromMaster(), FirstLetter("kin")])
    assert await allowed(authz, master, JOE, "workers/1") == "yes"
    assert await allowed(util.Authz(rules[:1], [FirstLetter("kin")]), master, Visitor(), "builds/1") != "yes"
    authz = util.Authz([util.StopBuildEndpointMatcher(role="kin")], [FirstLetter("kin")])
    assert await allowed(authz, master, Visitor({"username": "jane"}), "builds/1") == "yes"
    assert await allowed(authz, master, ANN, "builds/1") == "you need to have role 'kin'"


async def test_own_decision(master: FakeMaster) -> None:
    """``assertUserAllowed`` decides about every way in, and may leave the rest to the rules."""

    class Strict(Authz):
        def assertUserAllowed(self, ep: Any, action: str, options: Any, userDetails: Any) -> Any:
            if action == "GET" and ep[0] == "workers" and userDetails.get("username") != "ann":
                raise Forbidden(b"workers are ann's")
            return super().assertUserAllowed(ep, action, options, userDetails)

    secret = await a_farm(master)
    await a_form(master)
    rules = [util.ViewBuildsEndpointMatcher(builder="secret", role="insiders")]
    async with serving(master, auth=util.UserPasswordAuth(USERS), authz=Strict(rules, [ROLES])) as client:
        assert await client.get("/api/v2/workers") == 403
        assert await client.get("/sse/listen/workers/*/*") == 403
        assert await client.get("/api/v2/builds/1") == 200
        assert await client.get(f"/api/v2/builds/{secret}") == 403
        assert (await client.call("builds/1", "stop"))[0] == 403
        await client.login("ann", "pw2")
        assert await client.get("/api/v2/workers") == 200
        assert await client.get(f"/api/v2/builds/{secret}") == 200
        assert (await client.call("builds/1", "stop"))[0] == 200


async def test_a_page_offers_an_action_that_only_the_server_can_decide(master: FakeMaster) -> None:
    """The page cannot know the answer of the user's own rule: it offers the button, and the server decides."""
    await a_farm(master)
    rules = [OnlyOpen("open", role="insiders"), util.RebuildBuildEndpointMatcher(role="insiders")]
    rights = await util.Authz(rules, [ROLES]).rights(JOE, master.data)
    assert rights["builds/stop"] == {"all": True, "own": True}
    assert rights["builds/rebuild"] == {"all": False, "own": False}


def test_names_of_endpoints(master: FakeMaster) -> None:
    """Endpoints have the names that Buildbot gives them, and their variables too."""
    text = (Path(__file__).parent / "endpoint_names.txt").read_text(encoding="utf-8")
    for path, name in (line.split() for line in text.splitlines() if not line.startswith("#")):
        filled = re.sub(r"(\w?):\w+", lambda found: "1" if found[1] in ("", "n") else "x", path.lstrip("/"))
        endpoint = named.endpoint_at(master, tuple(filled.split("/")))
        assert endpoint is not None, path
        assert endpoint.name == name
        assert list(endpoint.variables) == re.findall(r"(?<=:)\w+", path)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: util.ForceBuildEndpointMatcher(), "ForceBuildEndpointMatcher: argument 'role' is missing"),
        (lambda: util.AnyEndpointMatcher(rol="x"), "AnyEndpointMatcher: unknown argument 'rol'; did you mean 'role'?"),
        (lambda: util.AnyEndpointMatcher("x", 1), "AnyEndpointMatcher: defaultDeny must be True or False, not 1 (int)"),
        (lambda: util.StopBuildEndpointMatcher(7, role="x"), "StopBuildEndpointMatcher: builder must be a string"),
        (lambda: util.Authz(["x"]), "Authz: allowRules element 1 must be a matcher such as util.AnyEndpointMatcher"),
        (lambda: util.Authz([], [dict]), "Authz: roleMatchers element 1 must be a matcher such as util.RolesFromG"),
        (lambda: util.Authz(stringsMatcher="re"), "Authz: stringsMatcher must be a function, not 're' (str)"),
        (lambda: util.RolesFromEmails(admins="joe"), "RolesFromEmails: admins must be a list, not 'joe' (str)"),
        (lambda: util.RolesFromUsername("a", ["joe"]), "RolesFromUsername: roles must be a list, not 'a' (str)"),
        (lambda: util.RolesFromGroups(None), "RolesFromGroups: groupPrefix must be a string, not None"),
        (lambda: util.UserPasswordAuth(["hush"]), "UserPasswordAuth: users must be a dictionary of name to password"),
        (lambda: util.HTPasswdAuth("nowhere"), "HTPasswdAuth: passwdFile must be a file; there is none 'nowhere'"),
        (lambda: util.RemoteUserAuth(headerRegex="x"), "RemoteUserAuth: headerRegex must have a group named username"),
        (lambda: util.GitHubAuth("us", "hush", apiVersion=5), "GitHubAuth: apiVersion must be one of 3, 4, not 5"),
        (lambda: util.GitLabAuth("x", "us", "hush"), "GitLabAuth: instanceUri must be a URL that starts with http"),
        (lambda: util.GoogleAuth("us", 7), "GoogleAuth: clientSecret must be a text that is not empty, not a value of"),
        (
            lambda: util.NoAuth(userInfoProvider=7),
            "NoAuth: userInfoProvider must be an object with a method getUserInf",
        ),
        (lambda: util.AvatarGitHub(client_id="us"), "AvatarGitHub: client_id and client_secret must be given together"),
        (lambda: Twisted(), "Twisted: getLoginResource is not called here: derive from util.CustomAuth"),
    ],
)
def test_mistakes(make: Callable[[], Any], message: str) -> None:
    """A mistake names class, argument, value and the allowed values."""
    with pytest.raises(ConfigErrors) as caught:
        make()
    assert caught.value.errors[0].startswith(message)
    assert "hush" not in str(caught.value)


class Twisted(util.CustomAuth):  # type: ignore[misc, name-defined]
    """An auth that would answer with a resource of Twisted's web server."""

    def getLoginResource(self) -> Any:
        raise AssertionError("nobody calls this")


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("auth", "AuthBase CustomAuth HTPasswdAuth NoAuth RemoteUserAuth UserInfoProviderBase UserPasswordAuth"),
        ("authz", "Authz fnmatchStrMatcher reStrMatcher"),
        ("authz.authz", "Authz Forbidden"),
        (
            "authz.endpointmatchers",
            "AnyControlEndpointMatcher AnyEndpointMatcher EnableSchedulerEndpointMatcher EndpointMatcherBase "
            "ForceBuildEndpointMatcher Match RebuildBuildEndpointMatcher StopBuildEndpointMatcher",
        ),
        (
            "authz.roles",
            "RolesFromBase RolesFromDomain RolesFromEmails RolesFromGroups RolesFromOwner RolesFromUsername",
        ),
        ("avatar", "AvatarBase AvatarGitHub AvatarGravatar"),
        ("ldapuserinfo", "LdapUserInfo"),
        ("oauth2", "BitbucketAuth GitHubAuth GitLabAuth GoogleAuth KeyCloakAuth OAuth2Auth"),
        ("plugin", "Application"),
        ("resource", "Redirect"),
    ],
)
def test_import_paths(module: str, names: str) -> None:
    """Configurations find everything under Buildbot's paths, and the same under the plugin's name."""
    found = import_module(f"buildbot.www.{module}")
    for name in names.split():
        assert getattr(util, name, getattr(found, name)) is getattr(found, name)
