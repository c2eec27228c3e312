"""Login by an account elsewhere: OAuth 2 authorization codes, with ``state`` and PKCE (RFC 7636).

The browser is sent to the provider with a random ``state`` that a signed cookie remembers, and comes back with both
and a code; a request with only one of them was made up by somebody else. PKCE's verifier is a signature of the
state, so whichever master the browser comes back to can make it again.
"""

from __future__ import annotations

import hmac
import json
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from hashlib import sha256
from typing import Any
from urllib.parse import quote, urlencode

from twisted.logger import Logger

from buildbot.util import clock
from buildbot.util.httpclient import Answer, HttpClient, HttpError, UnexpectedAnswerError
from buildbot.www.auth import AuthBase, LoggedIn, LoginContext, UserInfo, UserInfoProviderBase
from buildbot.www.http.messages import Request, Response
from buildbot.www.sessions import cookie

_log = Logger()

_COOKIE = "tenfold_login"
#: how long people may take at the provider
_LOGIN_S = 600
_JSON = {"Accept": "application/json"}


class OAuth2Auth(AuthBase):
    """What the providers have in common; derive from it for another one.

    Args:
        clientId, clientSecret: what the provider calls this installation. Its redirect URL, to be told to the
            provider, is ``<buildbotURL>auth/login``.
        autologin: pages send visitors to the provider without being asked.
    """

    name = ""
    faIcon = ""
    authUri = ""
    tokenUri = ""
    resourceEndpoint = ""
    scope = ""
    #: further parameters of the provider's page
    authUriAdditionalParams: Mapping[str, str] = {}
    #: whether the provider wants the client's secret by HTTP Basic
    getTokenUseAuthHeaders = False

    def __init__(
        self,
        clientId: str,
        clientSecret: str,
        autologin: bool = False,
        userInfoProvider: UserInfoProviderBase | None = None,
    ) -> None:
        super().__init__(userInfoProvider)
        self._client_id = clientId
        self._client_secret = clientSecret
        self._autologin = autologin

    def getConfigDict(self) -> dict[str, Any]:
        """As ``AuthBase.getConfigDict``."""
        return {"name": self.name, "oauth2": True, "fa_icon": self.faIcon, "autologin": self._autologin}

    async def get_user(self, api: Api) -> UserInfo:
        """What the provider says about the user; raises HttpError."""
        raise NotImplementedError

    async def login(self, request: Request, desk: LoginContext) -> LoggedIn | Response:
        """As ``AuthBase.login``."""
        given = dict(request.parameters())
        if "state" not in given:
            return await self._send_away(given.get("redirect", ""), desk)
        redirect = await self._redirect_of(request, given["state"], desk)
        if redirect is None:
            return Response.text(
                400, "This login was not begun in this browser, or more than ten minutes ago. Try again."
            )
        if "code" not in given:
            return Response.text(403, f"{self.name} refused the login: {given.get('error', 'it gave no code')[:100]}")
        try:
            token = await self._token(given["code"], await desk.sign("pkce", given["state"]), desk)
            user = await self.get_user(Api(desk.master.httpservice, self.resourceEndpoint, token))
        except (HttpError, KeyError, TypeError) as problem:
            _log.error("login by {name} failed: {problem!r}", name=self.name, problem=problem)
            return Response.text(
                502, f"The login failed, since {self.name} did not answer as expected. The log says more."
            )
        return LoggedIn(user, redirect)

    async def _send_away(self, redirect: str, desk: LoginContext) -> Response:
        state = secrets.token_urlsafe(24)
        verifier = await desk.sign("pkce", state)
        challenge = urlsafe_b64encode(sha256(verifier.encode()).digest()).decode().rstrip("=")
        parameters = {
            "client_id": self._client_id,
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

    async def _redirect_of(self, request: Request, state: str, desk: LoginContext) -> str | None:
        """Where to go after the login that this browser has begun with ``state``; None if it has not."""
        remembered, _, signature = cookie(request, desk.sessions.cookie_name(_COOKIE)).rpartition(".")
        if not remembered or not hmac.compare_digest(
            signature.encode(), (await desk.sign("login", remembered)).encode()
        ):
            return None
        expected, redirect, until = json.loads(urlsafe_b64decode(remembered + "=" * (-len(remembered) % 4)))
        same = hmac.compare_digest(expected.encode(), state.encode())
        return redirect if same and clock.now() <= until else None

    async def _token(self, code: str, verifier: str, desk: LoginContext) -> str:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": desk.url,
            "code_verifier": verifier,
        }
        auth = None
        if self.getTokenUseAuthHeaders:
            auth = (quote(self._client_id), quote(self._client_secret))
        else:
            form |= {"client_id": self._client_id, "client_secret": self._client_secret}
        http: HttpClient = desk.master.httpservice
        answer = await http.request("POST", self.tokenUri, data=form, auth=auth, headers=_JSON)
        found = answer.require(200).json()
        token = found.get("access_token") if isinstance(found, dict) else None
        if not isinstance(token, str):
            raise UnexpectedAnswerError(f"{answer.where} gave no access_token", answer.status)
        return token


class Api:
    """The provider's API, with a user's token."""

    def __init__(self, http: HttpClient, base: str, token: str) -> None:
        self._http = http
        self._base = base.rstrip("/")
        self._headers = {**_JSON, "Authorization": f"Bearer {token}"}

    async def _get(self, path: str) -> Answer:
        return (await self._http.request("GET", self._base + path, headers=self._headers)).require(200)

    async def object(self, path: str) -> dict[str, Any]:
        """The JSON object at a path; HttpError if there is none."""
        answer = await self._get(path)
        found = answer.json()
        if not isinstance(found, dict):
            raise UnexpectedAnswerError(f"{answer.where} gave no object", answer.status)
        return found

    async def list(self, path: str) -> list[dict[str, Any]]:
        """The JSON objects of the list at a path, up to a hundred; HttpError if there is none."""
        answer = await self._get(path)
        found = answer.json()
        if isinstance(found, dict):
            found = found.get("values")
        if not isinstance(found, list):
            raise UnexpectedAnswerError(f"{answer.where} gave no list", answer.status)
        return [each for each in found if isinstance(each, dict)]


class GitHubAuth(OAuth2Auth):
    """GitHub, or a GitHub Enterprise server. A user's organisations are groups.

    Args:
        serverURL: of an Enterprise server.
        getTeamsMembership: teams are groups too, as ``organisation/team``.
        apiVersion, debug: taken for the sake of existing configurations; what is asked for is the same.
    """

    name = "GitHub"
    faIcon = "fa-github"
    scope = "user:email read:org"

    def __init__(
        self,
        clientId: str,
        clientSecret: str,
        serverURL: str | None = None,
        autologin: bool = False,
        apiVersion: int = 4,
        getTeamsMembership: bool = False,
        debug: bool = False,
        userInfoProvider: UserInfoProviderBase | None = None,
    ) -> None:
        super().__init__(clientId, clientSecret, autologin, userInfoProvider)
        server = (serverURL or "https://github.com").rstrip("/")
        self.authUri = f"{server}/login/oauth/authorize"
        self.tokenUri = f"{server}/login/oauth/access_token"
        self.resourceEndpoint = f"{server}/api/v3" if serverURL else "https://api.github.com"
        self._teams = getTeamsMembership

    async def get_user(self, api: Api) -> UserInfo:
        """As ``OAuth2Auth.get_user``."""
        user = await api.object("/user")
        groups = [each["login"] for each in await api.list("/user/orgs?per_page=100")]
        if self._teams:
            teams = await api.list("/user/teams?per_page=100")
            groups += [f"{each['organization']['login']}/{each['slug']}" for each in teams]
        # Addresses that nobody has confirmed would give anybody's roles.
        emails = [each for each in await api.list("/user/emails") if each.get("verified") and each.get("primary")]
        email = emails[0]["email"] if emails else None
        return {"username": user["login"], "full_name": user.get("name"), "email": email, "groups": groups}


class GitLabAuth(OAuth2Auth):
    """A GitLab server. The groups that a user is a member of are groups, by their full paths.

    Args:
        instanceUri: its URL.
    """

    name = "GitLab"
    faIcon = "fa-git"
    scope = "read_user read_api"

    def __init__(
        self,
        instanceUri: str,
        clientId: str,
        clientSecret: str,
        autologin: bool = False,
        userInfoProvider: UserInfoProviderBase | None = None,
    ) -> None:
        super().__init__(clientId, clientSecret, autologin, userInfoProvider)
        server = instanceUri.rstrip("/")
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
        email = user["email"]
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
