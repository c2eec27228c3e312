"""Login by an account elsewhere: OAuth 2 authorization codes, with ``state`` and PKCE (RFC 7636).

The browser is sent to the provider with a random ``state``, which is also in a signed cookie. It comes back with both
and a code; a request with only one of them is a forgery. PKCE's verifier is a signature of the state, so any master
that the browser comes back to can make it again.
"""

from __future__ import annotations

import hmac
import json
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any, ClassVar, TypeVar
from urllib.parse import quote, urlencode

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.threads import blockingCallFromThread, deferToThreadPool
from twisted.logger import Logger

from buildbot.config import checks
from buildbot.config.arguments import REQUIRED, argument
from buildbot.data.interfaces import Master
from buildbot.util import clock
from buildbot.util.httpclient import Answer, HttpClient, HttpError, UnexpectedAnswerError
from buildbot.util.jsontext import JSON
from buildbot.www.auth import AuthBase, LoggedIn, LoginContext, UserInfo
from buildbot.www.http.messages import Request, Response
from buildbot.www.rendering import rendered
from buildbot.www.sessions import cookie

_log = Logger()

T = TypeVar("T")

_COOKIE = "tenfold_login"
#: how long people may take at the provider
_LOGIN_S = 600
_JSON = {"Accept": "application/json"}


def _secret(value: object) -> str:
    if not isinstance(value, str) or not value:
        # A wrong value may be a secret, too.
        raise ValueError(f"must be a text that is not empty, not a value of type {type(value).__name__}")
    return value


class OAuth2Auth(AuthBase):
    """Base class of the providers; derive from it for another one, with ``get_user``.

    Its redirect URL, to be told to the provider, is ``<buildbotURL>auth/login``.
    """

    positional: ClassVar[tuple[str, ...]] = ("clientId", "clientSecret", "autologin", "userInfoProvider")
    clientId = argument(REQUIRED, checks.name, renderable=True, doc="the client id that the provider gave you")
    clientSecret = argument(REQUIRED, _secret, renderable=True, doc="the secret that the provider gave with the id")
    autologin = argument(False, checks.boolean, doc="whether pages send visitors to the provider without being asked")
    ssl_verify = argument(True, checks.boolean, doc="whether the provider's certificate is checked")

    name = ""
    faIcon = ""
    authUri = ""
    tokenUri = ""
    resourceEndpoint = ""
    scope = ""
    #: further parameters of the provider's page
    authUriAdditionalParams: Mapping[str, str] = {}
    #: whether the client's secret is sent by HTTP Basic
    getTokenUseAuthHeaders = False

    def getConfigDict(self) -> dict[str, Any]:
        """As ``AuthBase.getConfigDict``."""
        return {"name": self.name, "oauth2": True, "fa_icon": self.faIcon, "autologin": self.autologin}

    async def get_user(self, api: Api) -> UserInfo:
        """The attributes of the user, from the provider; raises HttpError.

        If a subclass has ``getUserInfoFromOAuthClient(client)``, that is called in a thread; it may use `get`.
        """
        ask = getattr(self, "getUserInfoFromOAuthClient", None)
        if ask is None:
            raise NotImplementedError
        return await api.in_thread(ask)

    def get(self, session: BlockingApi, path: str) -> JSON:
        """The JSON at a path of the provider, for ``getUserInfoFromOAuthClient``."""
        found: JSON = session.get(self.resourceEndpoint + path).json()
        return found

    async def login(self, request: Request, desk: LoginContext) -> LoggedIn | Response:
        """As ``AuthBase.login``."""
        given = dict(request.parameters())
        if "state" not in given:
            return await self.__send_away(given.get("redirect", ""), desk)
        redirect = await self.__redirect_of(request, given["state"], desk)
        if redirect is None:
            return Response.text(
                400, "This login was not begun in this browser, or more than ten minutes ago. Try again."
            )
        if "code" not in given:
            return Response.text(403, f"{self.name} refused the login: {given.get('error', 'it gave no code')[:100]}")
        try:
            token = await self.__token(given["code"], await desk.sign("pkce", given["state"]), desk)
            user = await self.get_user(Api(desk.master, self.resourceEndpoint, token, self.ssl_verify))
        except (HttpError, KeyError, TypeError) as problem:
            _log.error("login by {name} failed: {problem!r}", name=self.name, problem=problem)
            return Response.text(
                502, f"The login failed, since {self.name} did not answer as expected. The log says more."
            )
        return LoggedIn(user, redirect)

    async def __send_away(self, redirect: str, desk: LoginContext) -> Response:
        state = secrets.token_urlsafe(24)
        verifier = await desk.sign("pkce", state)
        challenge = urlsafe_b64encode(sha256(verifier.encode()).digest()).decode().rstrip("=")
        parameters = {
            "client_id": await rendered(desk.master, self.clientId),
            "redirect_uri": desk.url,
            "response_type": "code",
            "scope": self.scope,
            "state": state,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
            **self.authUriAdditionalParams,
        }
        memory = json.dumps([state, redirect[:1000], clock.now() + _LOGIN_S]).encode()
        remembered = urlsafe_b64encode(memory).decode().rstrip("=")
        value = f"{remembered}.{await desk.sign('login', remembered)}"
        where = f"{self.authUri}?{urlencode(parameters, quote_via=quote)}"
        return Response(302, (("Location", where), desk.sessions.set_cookie(_COOKIE, value, _LOGIN_S)))

    async def __redirect_of(self, request: Request, state: str, desk: LoginContext) -> str | None:
        """The part of the page to go to after this browser's login with ``state``; None if it began none."""
        remembered, _, signature = cookie(request, desk.sessions.cookie_name(_COOKIE)).rpartition(".")
        if not remembered or not hmac.compare_digest(
            signature.encode(), (await desk.sign("login", remembered)).encode()
        ):
            return None
        memory: tuple[str, str, int] = json.loads(urlsafe_b64decode(remembered + "=" * (-len(remembered) % 4)))
        expected, redirect, until = memory
        same = hmac.compare_digest(expected.encode(), state.encode())
        return redirect if same and clock.now() <= until else None

    async def __token(self, code: str, verifier: str, desk: LoginContext) -> str:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": desk.url,
            "code_verifier": verifier,
        }
        name, secret = [await rendered(desk.master, each) for each in (self.clientId, self.clientSecret)]
        auth = None
        if self.getTokenUseAuthHeaders:
            auth = (quote(name), quote(secret))
        else:
            form |= {"client_id": name, "client_secret": secret}
        http: HttpClient = desk.master.httpservice
        answer = await http.request("POST", self.tokenUri, data=form, auth=auth, headers=_JSON, verify=self.ssl_verify)
        found: JSON = answer.require(200).json()
        token = found.get("access_token") if isinstance(found, dict) else None
        if not isinstance(token, str):
            raise UnexpectedAnswerError(f"{answer.where} gave no access_token", answer.status)
        return token


class Api:
    """The provider's API, with a user's token."""

    def __init__(self, master: Master, base: str, token: str, verify: bool = True) -> None:
        self._reactor = master.reactor
        self._http: HttpClient = master.httpservice
        self._verify = verify
        self._base = base.rstrip("/")
        self._headers = {**_JSON, "Authorization": f"Bearer {token}"}

    async def fetch(self, url: str) -> Answer:
        """The answer at a URL; HttpError if there is none."""
        answer = await self._http.request("GET", url, headers=self._headers, verify=self._verify)
        return answer.require(200)

    async def in_thread(self, ask: Callable[[BlockingApi], T]) -> T:
        """The result of a function that blocks, run in a thread."""
        return await deferToThreadPool(self._reactor, self._reactor.getThreadPool(), ask, BlockingApi(self))

    def wait_for(self, url: str) -> Answer:
        """As ``fetch``, for a thread, which waits for it."""

        def fetch() -> Deferred[Answer]:
            return ensureDeferred(self.fetch(url))

        found: Answer = blockingCallFromThread(self._reactor, fetch)  # type: ignore[arg-type]  # Twisted's type has no answer
        return found

    async def _get(self, path: str) -> Answer:
        return await self.fetch(self._base + path)

    async def object(self, path: str) -> dict[str, Any]:
        """The JSON object at a path; HttpError if there is none."""
        answer = await self._get(path)
        found: JSON = answer.json()
        if not isinstance(found, dict):
            raise UnexpectedAnswerError(f"{answer.where} gave no object", answer.status)
        return found

    async def list(self, path: str) -> list[dict[str, Any]]:
        """The JSON objects of the list at a path, up to a hundred; HttpError if there is none."""
        answer = await self._get(path)
        found: JSON = answer.json()
        if isinstance(found, dict):
            found = found.get("values")
        if not isinstance(found, list):
            raise UnexpectedAnswerError(f"{answer.where} gave no list", answer.status)
        return [each for each in found if isinstance(each, dict)]


class BlockingApi:
    """The provider's API, with a user's token, for functions that run in a thread."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def get(self, url: str) -> Answer:
        """The answer at a URL, with ``json()`` and ``body``; HttpError if there is none."""
        return self._api.wait_for(url)


class GitHubAuth(OAuth2Auth):
    """GitHub, or a GitHub Enterprise server. A user's organisations are groups."""

    positional: ClassVar[tuple[str, ...]] = (
        "clientId",
        "clientSecret",
        "serverURL",
        "autologin",
        "apiVersion",
        "getTeamsMembership",
        "debug",
        "userInfoProvider",
    )
    serverURL = argument(None, checks.optional(checks.url), doc="of an Enterprise server")
    apiVersion = argument(
        3, checks.one_of(3, 4), doc="version of GitHub's API; the requests are the same in both, so 3 is used"
    )
    getTeamsMembership = argument(False, checks.boolean, doc="whether teams are groups too, as `organisation/team`")
    debug = argument(False, checks.boolean, doc="whether the attributes of users are logged")
    name = "GitHub"
    faIcon = "fa-github"
    scope = "user:email read:org"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        server = (self.serverURL or "https://github.com").rstrip("/")
        self.authUri = f"{server}/login/oauth/authorize"
        self.tokenUri = f"{server}/login/oauth/access_token"
        self.resourceEndpoint = f"{server}/api/v3" if self.serverURL else "https://api.github.com"

    async def get_user(self, api: Api) -> UserInfo:
        """As ``OAuth2Auth.get_user``."""
        user = await api.object("/user")
        groups = [each["login"] for each in await api.list("/user/orgs?per_page=100")]
        if self.getTeamsMembership:
            teams = await api.list("/user/teams?per_page=100")
            groups += [f"{each['organization']['login']}/{each['slug']}" for each in teams]
        # With an unconfirmed address a user could take the roles of another one.
        emails = [each for each in await api.list("/user/emails") if each.get("verified") and each.get("primary")]
        email = emails[0]["email"] if emails else None
        known = {"username": user["login"], "full_name": user.get("name"), "email": email, "groups": groups}
        if self.debug:
            _log.info("GitHub says of a user: {known}", known=known)
        return known


class GitLabAuth(OAuth2Auth):
    """A GitLab server. The groups that a user is a member of are groups, by their full paths."""

    positional: ClassVar[tuple[str, ...]] = ("instanceUri", "clientId", "clientSecret", "autologin", "userInfoProvider")
    instanceUri = argument(REQUIRED, checks.url, doc="its URL")
    name = "GitLab"
    faIcon = "fa-git"
    scope = "read_user read_api"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        server = (self.instanceUri or "").rstrip("/")
        self.authUri = f"{server}/oauth/authorize"
        self.tokenUri = f"{server}/oauth/token"
        self.resourceEndpoint = f"{server}/api/v4"

    async def get_user(self, api: Api) -> UserInfo:
        """As ``OAuth2Auth.get_user``."""
        user = await api.object("/user")
        # Without a level the list has every public group.
        groups = [each["full_path"] for each in await api.list("/groups?min_access_level=10&per_page=100")]
        email = user.get("email") if user.get("confirmed_at") else None
        known = {"username": user["username"], "full_name": user.get("name"), "email": email, "groups": groups}
        return known | {"avatar_url": user.get("avatar_url")}


class GoogleAuth(OAuth2Auth):
    """Google. The user name is the part of the e-mail address before the ``@``."""

    name = "Google"
    faIcon = "fa-google-plus"
    scope = "openid email profile"
    authUri = "https://accounts.google.com/o/oauth2/v2/auth"
    tokenUri = "https://oauth2.googleapis.com/token"
    resourceEndpoint = "https://openidconnect.googleapis.com/v1"

    async def get_user(self, api: Api) -> UserInfo:
        """As ``OAuth2Auth.get_user``."""
        user = await api.object("/userinfo")
        if not user.get("email") or user.get("email_verified") is not True:
            raise UnexpectedAnswerError("Google knows no confirmed e-mail address of the user", 200)
        email: str = user["email"]
        known = {"username": email.partition("@")[0], "full_name": user.get("name"), "email": email}
        return known | {"avatar_url": user.get("picture")}


class BitbucketAuth(OAuth2Auth):
    """Bitbucket Cloud. A user's workspaces are groups."""

    name = "Bitbucket"
    faIcon = "fa-bitbucket"
    scope = "account email"
    authUri = "https://bitbucket.org/site/oauth2/authorize"
    tokenUri = "https://bitbucket.org/site/oauth2/access_token"
    resourceEndpoint = "https://api.bitbucket.org/2.0"
    getTokenUseAuthHeaders = True

    async def get_user(self, api: Api) -> UserInfo:
        """As ``OAuth2Auth.get_user``."""
        user = await api.object("/user")
        emails = await api.list("/user/emails")
        emails = [each for each in emails if each.get("is_primary") and each.get("is_confirmed")]
        groups = [each["slug"] for each in await api.list("/workspaces?role=member&pagelen=100")]
        email = emails[0]["email"] if emails else None
        return {"username": user["username"], "full_name": user.get("display_name"), "email": email, "groups": groups}


class KeyCloakAuth(OAuth2Auth):
    """A realm of a Keycloak server. Groups are those that its ``groups`` mapper adds to the attributes of a user."""

    name = "Keycloak"
    faIcon = "fa-key"
    scope = "openid email profile"
    positional: ClassVar[tuple[str, ...]] = (
        "instance_uri",
        "realm",
        "client_id",
        "client_secret",
        "autologin",
        "userInfoProvider",
    )
    instance_uri = argument(REQUIRED, checks.url, doc="its URL")
    realm = argument(REQUIRED, checks.name, doc="the name of the realm")
    client_id = argument(REQUIRED, checks.name, renderable=True, doc="the client id of this installation in the realm")
    client_secret = argument(REQUIRED, _secret, renderable=True, doc="the secret of that client")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        given = self.by_name(args, kwargs)
        super().__init__(**given, clientId=given.get("client_id", "-"), clientSecret=given.get("client_secret", "-"))
        server = f"{(self.instance_uri or '').rstrip('/')}/realms/{quote(self.realm or '', safe='')}"
        self.authUri = f"{server}/protocol/openid-connect/auth"
        self.tokenUri = f"{server}/protocol/openid-connect/token"
        self.resourceEndpoint = f"{server}/protocol/openid-connect"

    async def get_user(self, api: Api) -> UserInfo:
        """As ``OAuth2Auth.get_user``."""
        user = await api.object("/userinfo")
        groups = [each for each in user.get("groups") or [] if isinstance(each, str)]
        email = user.get("email") if user.get("email_verified") is True else None
        return {"username": user["preferred_username"], "full_name": user.get("name"), "email": email, "groups": groups}
