"""Users of a directory server, which is in memory here."""

from __future__ import annotations

from typing import Any

import pytest

from buildbot.config.errors import ConfigErrors
from buildbot.plugins import util
from buildbot.test.fake.fakedb import FakeMaster
from buildbot.www import ldapuserinfo
from tests.unit.www.test_login import serving

ldap3 = pytest.importorskip("ldap3")

ARGUMENTS: dict[str, Any] = {
    "uri": "ldaps://ldap.example.org",
    "bindUser": "cn=reader",
    "bindPw": "hush",
    "accountBase": "ou=people,dc=x",
    "accountPattern": "(&(objectClass=person)(uid=%(username)s))",
    "accountFullName": "cn",
    "accountEmail": "mail",
}
GROUPS = {"groupBase": "ou=groups,dc=x", "groupMemberPattern": "(member=%(dn)s)", "groupName": "cn"}
AVATARS = {"avatarPattern": "(mail=%(email)s)", "avatarData": "photo"}
JOE = "uid=joe (1),ou=people,dc=x"


def person(uid: str, **more: Any) -> dict[str, Any]:
    return {"objectClass": "person", "uid": uid, "cn": uid.title(), "mail": f"{uid}@x.org", **more}


@pytest.fixture(autouse=True)
def directory(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """A directory; every connection to it is remembered."""
    opened: list[Any] = []

    def connect(uri: str, user: str | None, password: str | None, tls: Any) -> Any:
        assert (uri, user, password, tls) == ("ldaps://ldap.example.org", "cn=reader", "hush", None)
        connection = ldap3.Connection(ldap3.Server("x"), user=user, password=password, client_strategy=ldap3.MOCK_SYNC)
        add = connection.strategy.add_entry
        add("cn=reader", {"userPassword": "hush", "cn": "reader"})
        add(JOE, person("joe", title="Dr.", photo=b"\x89PNG..."))
        add("uid=ann,ou=people,dc=x", person("ann", photo="https://x.org/ann.png"))
        add("uid=bob,ou=people,dc=x", person("bob", photo="<script>"))
        add("cn=devs,ou=groups,dc=x", {"cn": "devs", "member": [JOE, "uid=ann,ou=people,dc=x"]})
        add("cn=admins,ou=groups,dc=x", {"cn": "admins", "member": "uid=ann,ou=people,dc=x"})
        assert connection.bind()
        opened.append(connection)
        return connection

    monkeypatch.setattr(ldapuserinfo, "connect", connect)
    return opened


async def test_users(directory: list[Any]) -> None:
    """A user has a full name, an address, groups and the configured attributes; the connection is closed."""
    info = util.LdapUserInfo(**ARGUMENTS, **GROUPS, accountExtraFields=["title", "room"])
    joe = await info.getUserInfo("joe")
    assert joe == {"full_name": "Joe", "email": "joe@x.org", "groups": ["devs"], "title": "Dr.", "room": None}
    assert sorted((await info.getUserInfo("ann"))["groups"]) == ["admins", "devs"]
    assert await util.LdapUserInfo(**ARGUMENTS).getUserInfo("bob") == {"full_name": "Bob", "email": "bob@x.org"}
    assert all(connection.closed for connection in directory)


@pytest.mark.parametrize("name", ["nobody", "*", "joe)(uid=*", "joe\0", "*)(|(uid=ann)"])
async def test_names_are_no_filters(name: str) -> None:
    """A login name is never a filter: it finds no other user."""
    assert await util.LdapUserInfo(**ARGUMENTS, **GROUPS).getUserInfo(name) == {}


async def test_login(master: FakeMaster) -> None:
    """A user who logs in has the directory's attributes, and the same object gives the pictures."""
    info = util.LdapUserInfo(*ARGUMENTS.values(), **GROUPS, **AVATARS)
    auth = util.UserPasswordAuth({"joe": "pw"}, userInfoProvider=info)
    async with serving(master, auth=auth, avatar_methods=[info]) as client:
        assert await client.login("joe", "pw") == 302
        assert await client.user() == {"username": "joe", "full_name": "Joe", "email": "joe@x.org", "groups": ["devs"]}
        status, headers, body = await client.ask("GET", "/avatar?email=joe@x.org")
        assert (status, headers["content-type"], body) == (200, "image/png", b"\x89PNG...")
        assert (await client.ask("GET", "/avatar?email=ann@x.org"))[1]["location"] == "https://x.org/ann.png"
        for unknown in ("bob@x.org", "*", ""):
            assert (await client.ask("GET", f"/avatar?email={unknown}"))[1]["content-type"] == "image/svg+xml"


@pytest.mark.parametrize("alone", [True, False], ids=["pictures", "users"])
async def test_a_secret_password(master: FakeMaster, directory: list[Any], alone: bool) -> None:
    """The password may be a secret, whichever of the two the directory is asked for."""
    asked: list[Any] = []

    async def rendered(value: Any) -> str:
        asked.append(value)
        return "hush"

    setattr(master, "rendered", rendered)  # noqa: B010
    info = util.LdapUserInfo(**{**ARGUMENTS, "bindPw": util.Secret("ldap")}, **AVATARS)
    auth = util.UserPasswordAuth({"joe": "pw"}, userInfoProvider=None if alone else info)
    async with serving(master, auth=auth, avatar_methods=[info] if alone else []) as client:
        if alone:
            assert (await client.ask("GET", "/avatar?email=joe@x.org"))[1]["content-type"] == "image/png"
        else:
            assert await client.login("joe", "pw") == 302
            assert (await client.user())["full_name"] == "Joe"
    assert asked == [info.bindPw] and len(directory) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"uri": "http://x"},
            "LdapUserInfo: uri must be an address such as 'ldaps://ldap.example.org', not",
        ),
        ({"accountPattern": "(uid=joe)"}, "LdapUserInfo: accountPattern must have %(username)s in it, not '(uid=joe)'"),
        ({"accountPattern": "(uid=%(user)s)"}, "LdapUserInfo: accountPattern must be a filter with %(username)s in it"),
        (
            {"groupBase": "ou=x"},
            "LdapUserInfo: groupBase, groupMemberPattern, groupName must be given together; groupM",
        ),
        (
            {"avatarData": "x"},
            "LdapUserInfo: avatarPattern, avatarData must be given together; avatarP",
        ),
        ({"bindPw": 7}, "LdapUserInfo: bindPw must be a string, not a value of type int"),
        ({"accountExtraFields": "title"}, "LdapUserInfo: accountExtraFields must be a list, not 'title' (str)"),
    ],
)
def test_mistakes(change: dict[str, Any], message: str) -> None:
    """A mistake names class, argument, value and the allowed values."""
    with pytest.raises(ConfigErrors) as caught:
        util.LdapUserInfo(**{**ARGUMENTS, **change})
    assert caught.value.errors[0].startswith(message)


def test_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without ldap3 it is a mistake of the configuration that names the package to install."""
    monkeypatch.setattr(ldapuserinfo, "ldap3", None)
    with pytest.raises(ConfigErrors, match=r"pip install 'tenfold\[ldap\]'"):
        util.LdapUserInfo(**ARGUMENTS)
