"""Managing users over the network, and by `buildbot user`."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from twisted.cred.credentials import UsernamePassword
from twisted.internet.utils import getProcessOutputAndValue
from twisted.spread import pb

from bench.upstream_env import NoUpstreamError, UpstreamEnvironment
from buildbot.config.errors import ConfigErrors
from buildbot.plugins import util
from buildbot.process.properties import Secret
from buildbot.process.servicemanager import ServiceManager
from buildbot.scripts import user as user_command
from buildbot.test.running import Running
from buildbot.util.metrics import Metrics
from buildbot.util.passwords import check_passwd
from tests.importing.old_master import ENVIRONMENT
from tests.support.reactor import reactor

OWN_PORT = "tcp:0:interface=127.0.0.1"

#: the client of Buildbot 4.3 hands its password over as text, which Twisted's own respond() does not take
OTHERS_CLIENT = """
import sys
from twisted.spread import pb
respond = pb.respond
pb.respond = lambda challenge, password: respond(challenge, password.encode())
from buildbot.scripts import runner
sys.argv[0] = "buildbot"
runner.run()
"""


class _Master(Running):
    def __init__(self, master: Any) -> None:
        super().__init__(master)
        self.namedServices: dict[str, Any] = {}
        self.metrics = Metrics()


def _services(master: Any) -> ServiceManager:
    """The services of a master that has only what they ask for."""
    return ServiceManager(master)


class Managed:
    """A master with a user manager."""

    def __init__(self, master: Any) -> None:
        self.master = _Master(master)
        self.services = _services(self.master)

    @property
    def port(self) -> int:
        return int(getattr(self.master.client_ports.address(OWN_PORT), "port", 0))

    async def configure(self, *managers: Any) -> None:
        await self.services.configure(managers)

    async def ask(self, *args: Any, user: bytes = b"me", password: bytes = b"pw") -> Any:
        """What the manager answers to ``commandline``."""
        factory: Any = pb.PBClientFactory()
        connection = reactor.connectTCP("127.0.0.1", self.port, factory)
        try:
            perspective = await factory.login(UsernamePassword(user, password))
            return await perspective.callRemote("commandline", *args)
        finally:
            connection.disconnect()

    async def user(self, identifier: str) -> Any:
        users = self.master.db.users
        uid = await users.identifierToUid(identifier)
        return None if uid is None else await users.getUser(uid, no_cache=True)


@asynccontextmanager
async def managed(master: Any, *managers: Any) -> AsyncIterator[Managed]:
    """A master that runs these managers, or the usual one."""
    farm = Managed(master)
    await farm.services.startService()
    await farm.configure(*(managers or [util.CommandlineUserManager("me", "pw", OWN_PORT)]))
    try:
        yield farm
    finally:
        await farm.services.stopService()


async def test_what_is_done(master: Any) -> None:
    """Users are added, changed, shown and removed; passwords are stored as hashes, whichever form they come in."""
    async with managed(master) as farm:
        infos = [{"git": "Ada <a@x>", "identifier": "ada"}, {"svn": "bob"}]
        assert await farm.ask("add", None, None, [], infos) == "added ada (uid 1)\nadded bob (uid 2)"
        assert await farm.ask("update", "ada", "open sesame", [], [{"identifier": "ada", "email": "a@x"}]) == (
            "updated ada (uid 1)"
        )
        shown = await farm.ask("get", None, None, ["ada"], [])
        assert sorted(shown.splitlines()) == [
            "bb_username: ada", "email: a@x", "git: Ada <a@x>", "identifier: ada", "uid: 1",
        ]  # fmt: skip
        stored = (await farm.user("ada"))["bb_password"]
        assert stored.startswith("$argon2") and check_passwd("open sesame", stored)
        old = "63a9ecab608131aa356ec8ce3cc6c677c02f2234b0d369cd67268566"
        await farm.ask("update", "ada", old, [], [{"identifier": "ada"}])
        assert (await farm.user("ada"))["bb_password"] == old
        assert await farm.ask("remove", None, None, ["bob"], []) == "removed bob"
        assert await farm.user("bob") is None


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("drop", None, None, [], []), "bad op 'drop', use 'add', 'remove', 'update', or 'get'"),
        ((1, None, None, [], []), "op must be a text, not 1"),
        (("get", None, None, ["nobody"], []), "there is no user 'nobody'"),
        (("remove", None, None, ["nobody"], []), "there is no user 'nobody'"),
        (("get", None, None, [], []), "ids must be a list that is not empty"),
        (("get", None, None, [None], []), "an identifier must be a text, not None"),
        (("add", None, None, [], ["x"]), "info must be dictionaries, not 'x'"),
        (("add", None, None, [], [{"identifier": "x"}]), "a new user needs an attribute, such as git"),
        (("add", None, None, [], [{"git": 5}]), "git must be a text, not 5"),
        (("update", None, None, [], [{"git": "x"}]), "an update needs the identifier of the user"),
        (("update", None, None, [], [{"identifier": "nobody", "git": "x"}]), "there is no user 'nobody'"),
        (("update", "x", None, [], [{"identifier": "nobody", "git": "x"}]), "password must be a text, not None"),
    ],
)
async def test_refused(args: tuple[Any, ...], said: str, master: Any) -> None:
    """What cannot be done is said to the client."""
    async with managed(master) as farm:
        with pytest.raises(pb.RemoteError) as caught:
            await farm.ask(*args)
        assert said in str(caught.value)


async def test_login(master: Any) -> None:
    """Nobody comes in with another password; that may be a secret. One that is connected is refused after the end."""

    class Secrets:
        async def get(self, name: str) -> Any:
            return type("Details", (), {"value": name.upper(), "key": name, "source": "test"})()

    async with managed(master) as farm:
        with pytest.raises(pb.RemoteError):
            await farm.ask("get", None, None, ["ada"], [], password=b"guess")
        farm.master.namedServices["secrets"] = Secrets()
        await farm.configure(util.CommandlineUserManager("you", Secret("word"), OWN_PORT))
        answer = await farm.ask("add", None, None, [], [{"git": "x"}], user=b"you", password=b"WORD")
        assert answer == "added x (uid 1)"
        (manager,) = farm.services
        assert isinstance(manager, util.CommandlineUserManager)
    with pytest.raises(pb.Error, match="does not manage users any more"):
        await manager.obey("get", None, None, ["x"], [])


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((), "argument 'username' is missing"),
        (("me", "", 1), "passwd must be a text that is not empty"),
        (("me", "pw", 0), "port must be a port or an endpoint description, not 0"),
    ],
)
def test_mistakes(arguments: tuple[Any, ...], complaint: str) -> None:
    """They are found when the configuration is read."""
    with pytest.raises(ConfigErrors) as caught:
        util.CommandlineUserManager(*arguments)
    assert complaint in "; ".join(caught.value.errors)


@pytest.fixture(params=["own", "buildbot 4.3"])
def command(request: pytest.FixtureRequest) -> Callable[..., list[str]]:
    """Makes the command line of ``buildbot user``."""
    if request.param == "own":
        return lambda *arguments: [str(Path(sys.executable).with_name("buildbot")), "user", *arguments]
    environment = UpstreamEnvironment(ENVIRONMENT)
    try:
        environment.prepare("sqlite")
    except NoUpstreamError as reason:
        pytest.skip(f"no Buildbot 4.3 to test with: {reason}")
    return lambda *arguments: [str(environment.python), "-P", "-c", OTHERS_CLIENT, "user", *arguments]


async def test_programs(master: Any, command: Callable[..., list[str]]) -> None:
    """``buildbot user``, ours and that of Buildbot 4.3."""

    async def run(*arguments: str) -> tuple[int, str]:
        where = ["--master", f"127.0.0.1:{farm.port}", "--username", "me", "--passwd", "pw"]
        program, *words = command(*where, *arguments)
        output, errors, code = await getProcessOutputAndValue(program, words)
        return code, (output + errors).decode()

    async with managed(master) as farm:
        assert await run("--op=add", "--info=git=ada") == (0, "added ada (uid 1)\n")
        login = ["--bb_username=ada", "--bb_password=sesame", "--info=ada:svn=ada2"]
        assert await run("--op=update", *login) == (0, "updated ada (uid 1)\n")
        user = await farm.user("ada")
        assert user["svn"] == "ada2" and check_passwd("sesame", user["bb_password"])
        code, said = await run("--op=get", "--ids=ada")
        assert code == 0 and "svn: ada2" in said
        assert await run("--op=remove", "--ids=ada") == (0, "removed ada\n")
        assert "there is no user 'ada'" in (await run("--op=get", "--ids=ada"))[1]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Any]:
    """What would be asked, as ``(host, port, user, password, method, op, …)``."""
    calls: list[Any] = []

    def ask(*args: Any) -> str:
        calls.append(args)
        return "done"

    monkeypatch.setattr(user_command, "ask", ask)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / ".buildbot").mkdir()
    return calls


@pytest.mark.parametrize(
    ("text", "arguments", "found"),
    [
        ("user_master = 'ci:1'; user_username = 'u'; user_passwd = 'p'", [], ("ci", 1, "u", "p")),
        ("master = 'ci:1'; user_username = 'u'; user_passwd = 'p'", [], ("ci", 1, "u", "p")),
        ("user_master = 'ci:1'; user_username = 'u'; user_passwd = 'p'", ["-u", "v"], ("ci", 1, "v", "p")),
        ("user_master = 'ci:1'", ["-m", "h:2", "-u", "a", "-p", "b"], ("h", 2, "a", "b")),
    ],
)
def test_defaults(asked: list[Any], text: str, arguments: list[str], found: Any) -> None:
    """``.buildbot/options`` says where the manager is; the command line counts more."""
    Path(".buildbot/options").write_text(text)
    result = CliRunner().invoke(user_command.command, [*arguments, "--op=get", "--ids=ada"])
    assert (result.exit_code, result.output) == (0, "done\n")
    assert asked == [(*found, "commandline", "get", None, None, ["ada"], [])]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-m", "here", "-u", "a", "--op=get", "--ids=x"], "--master must be HOST:PORT, not 'here'"),
        (["-m", "h:1", "--op=get", "--ids=x"], "--master needs a --username"),
        (["-u", "a", "--op=get", "--ids=x"], "--username and --passwd go with --master"),
        (["--op=get"], "--op get needs --ids"),
        (["--op=get", "--ids=x", "--info=git=x"], "--op get takes no --info"),
        (["--op=add", "--ids=x", "--info=git=x"], "--op add takes no --ids"),
        (["--op=update", "--info=git=x"], "update needs identifier:type=value"),
        (["--op=drop"], "'drop' is not one of"),
        (["--op=add", "--info=git=x", "--bb_password=p"], "--bb_password goes with --bb_username"),
    ],
)
def test_wrong_arguments(asked: list[Any], arguments: list[str], said: str) -> None:
    """Nothing is asked, and the error says what is wrong."""
    result = CliRunner().invoke(user_command.command, arguments)
    assert result.exit_code == 2 and said in result.output and asked == []


def test_options_of_a_wrong_kind(asked: list[Any]) -> None:
    """What is no text in ``.buildbot/options`` is named."""
    Path(".buildbot/options").write_text("user_master = 5")
    result = CliRunner().invoke(user_command.command, ["--op=get", "--ids=x"])
    assert result.exit_code == 1 and "user_master must be a text, not 5" in result.output


def test_a_directory_counts_more(asked: list[Any], tmp_path: Path) -> None:
    """A master's directory that is named is meant, whatever ``.buildbot/options`` says."""
    Path(".buildbot/options").write_text("user_master = 'ci:1'; user_username = 'u'; user_passwd = 'p'")
    result = CliRunner().invoke(user_command.command, [str(tmp_path / "none"), "--op=get", "--ids=x"])
    assert result.exit_code == 1 and asked == []
