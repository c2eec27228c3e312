"""The values that a configuration without mistakes has."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from buildbot.config import ConfigErrors, MasterConfig, error
from tests.unit.config.support import load


def test_defaults(tmp_path: Path) -> None:
    """An empty configuration is one: a master that serves others' data."""
    config = MasterConfig.from_values({"multiMaster": True}, tmp_path)
    assert (config.title, config.titleURL) == ("Buildbot", "http://localhost:8080/")
    assert config.db_url == "sqlite:///state.sqlite"
    assert (config.www.port, dict(config.protocols), dict(config.schedulers)) == (None, {}, {})
    assert config.warnings == ()


def test_idle(tmp_path: Path) -> None:
    """A master on its own that builds nothing is warned of."""
    assert MasterConfig.from_values({}, tmp_path).warnings == (
        "master.cfg: c['builders'] is empty; this master builds nothing",
        "master.cfg: c['workers'] is empty; this master builds nothing",
    )


def test_frozen(tmp_path: Path) -> None:
    """A configuration does not change."""
    config = load(tmp_path, "")
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.title = "x"  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.builders[0].name = "x"
    with pytest.raises(TypeError):
        config.protocols["pb"] = {}  # type: ignore[index]


def test_builders_may_be_completed_later(tmp_path: Path) -> None:
    """A field of a builder may be assigned to while the configuration is loaded; it counts as an argument."""
    text = """\
        class Own(BuilderConfig):
            note = "mine"
        own = Own('o', workername='w', factory=Factory())
        own.tags = ['a', 'a']
        own.workernames = 'w'
        own.description = "later"
        own.extra = 1
        c['builders'].append(own)
        """
    made = load(tmp_path, text).builders[1]
    assert (made.tags, made.workernames, made.description) == (("a",), ("w",), "later")
    assert (made.builddir, made.location) == ("o", "master.cfg:7")


def test_what_a_builder_holds_may_be_completed_later(tmp_path: Path) -> None:
    """Lists and dictionaries of a builder may be changed while the configuration is loaded, and are fixed then."""
    text = """\
        own = c['builders'][0]
        own.tags.append('t')
        own.workernames += ['w', 'w']
        own.env['A'] = '1'
        own.properties.update(p=1)
        own.defaultProperties['d'] = None
        """
    made = load(tmp_path, text).builders[0]
    assert (made.tags, made.workernames, made.env, made.properties) == (("t",), ("w",), {"A": "1"}, {"p": 1})
    assert (made.defaultProperties, made.locks) == ({"d": None}, ())
    with pytest.raises(TypeError):
        made.env["B"] = "2"  # type: ignore[index]


@pytest.mark.parametrize(
    "text",
    [
        "c['schedulers'] = [Scheduler('s', [])]",
        "c['multiMaster'] = True; c['schedulers'] = [Scheduler('s', ['elsewhere'])]",
        "c['schedulers'] = [Scheduler('s', lambda props: ['b'])]",
    ],
)
def test_schedulers_that_name_no_builder_of_this_master(tmp_path: Path, text: str) -> None:
    """No builder at all, one of another master, and names that are known only at run time are no mistakes."""
    assert list(load(tmp_path, text).schedulers) == ["s"]


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ("sqlite:///state.sqlite", "sqlite:///state.sqlite"),
        ("sqlite:///%(basedir)s/x.db", "sqlite:///{basedir}/x.db"),
        ("sqlite:////srv/x.db", "sqlite:////srv/x.db"),
        ("sqlite://", "sqlite://"),
        ("postgresql://joe:secret@host/ci", "postgresql://joe:secret@host/ci"),
        ("mysql://root@localhost/ci?unix_socket=/run/s", "mysql://root@localhost/ci?unix_socket=/run/s"),
    ],
)
def test_db_url(tmp_path: Path, given: str, made: str) -> None:
    """A database URL is kept as it is given; both ways to write it do the same."""
    expected = made.format(basedir=tmp_path)
    assert load(tmp_path, f"c['db_url'] = {given!r}").db_url == expected
    assert load(tmp_path, f"c['db'] = {{'db_url': {given!r}}}").db_url == expected


@pytest.mark.parametrize(
    ("given", "page", "workers"),
    [
        (8010, "tcp:8010:interface=127.0.0.1", "tcp:8010"),
        ("8010", "tcp:8010:interface=127.0.0.1", "tcp:8010"),
        ("tcp:8010:interface=0.0.0.0", "tcp:8010:interface=0.0.0.0", "tcp:8010:interface=0.0.0.0"),
        ("unix:/tmp/x", "unix:/tmp/x", "unix:/tmp/x"),
    ],
)
def test_ports(tmp_path: Path, given: object, page: str, workers: str) -> None:
    """A bare number is loopback for the page, which has no login, and everywhere for workers, which have."""
    assert load(tmp_path, f"c['www'] = {{'port': {given!r}}}").www["port"] == page
    assert load(tmp_path, f"c['protocols'] = {{'pb': {{'port': {given!r}}}}}").protocols["pb"]["port"] == workers


def test_no_page(tmp_path: Path) -> None:
    """Without a port there is no web server."""
    assert load(tmp_path, "c['www'] = {'port': None}").www.port is None


def test_urls(tmp_path: Path) -> None:
    """buildbotURL ends with a slash, and is the title's link where none is set."""
    config = load(tmp_path, "c['buildbotURL'] = 'https://ci.example.org/x'")
    assert config.buildbotURL == config.titleURL == "https://ci.example.org/x/"


def test_builder_values(tmp_path: Path) -> None:
    """A builder has every attribute, made from its name where nothing else was said."""
    text = """\
        c['builders'] = [
            BuilderConfig('linux / gcc', workername='w', workernames=['w'], factory=Factory(),
                          tags=['a', 'a', 'b'], env={'A': '1'},
                          properties={'p': 1}, defaultProperties={'q': 2}),
            {'name': 'old', 'workername': 'w', 'factory': Factory(), 'builddir': 'elsewhere'},
        ]
        """
    new, old = load(tmp_path, text).builders
    assert (new.name, new.workernames, new.tags) == ("linux / gcc", ("w",), ("a", "b"))
    assert (new.builddir, new.workerbuilddir) == ("linux_gcc", "linux_gcc")
    assert (dict(new.env), dict(new.properties), dict(new.defaultProperties)) == (
        {"A": "1"},
        {"p": 1},
        {"q": 2},
    )
    assert new.location == "master.cfg:6"
    assert (old.name, old.builddir, old.workerbuilddir) == ("old", "elsewhere", "elsewhere")


def test_keys_of_builds(tmp_path: Path) -> None:
    """Keys about all builds are kept as they were given; patterns are compiled."""
    text = """\
        import re
        from buildbot.plugins import util
        c['properties'] = {'p': 1, 'q': util.Interpolate('%(prop:p)s')}
        c['validation'] = {'branch': re.compile('[a-z]+$'), 'property_name': 'x'}
        c['logMaxSize'], c['logMaxTailSize'], c['logEncoding'] = 100, 10, 'UTF8'
        """
    config = load(tmp_path, text)
    assert config.properties["p"] == 1 and config.configfile == tmp_path / "master.cfg"
    assert {name: each.pattern for name, each in config.validation.items()} == {
        "branch": "[a-z]+$",
        "property_name": "x",
    }
    assert (config.logMaxSize, config.logMaxTailSize, config.logEncoding, config.warnings) == (100, 10, "utf-8", ())


@pytest.mark.parametrize(
    ("line", "warning"),
    [
        (
            "c['changeHorizon'] = 100",
            "c['changeHorizon'] has no effect in this version (how many changes are kept)",
        ),
        (
            "c['mq'] = {'type': 'wamp'}",
            "c['mq'] type 'wamp' is not used: masters that share a database find each other by it",
        ),
        (
            "c['db'] = {'engine_kwargs': {'pool_size': 3}}",
            "c['db'] ['engine_kwargs'] has no effect in this version",
        ),
        (
            "c['www'] = {'graphql': {}}",
            "c['www'] ['graphql'] has no effect in this version: GraphQL has been removed from Buildbot; use REST",
        ),
        (
            "c['www'] = {'port': 'tcp:8010'}",
            "c['www'] ['port'] is open to others and there is no login, so that everybody may look and nobody may "
            "control; set ['auth'], to util.NoAuth() if everybody may",
        ),
        (
            "c['protocols'] = {'pb': {'port': 1}, 'null': {}}",
            "c['protocols'] ['null'] has no effect: workers of the master's own need no port",
        ),
    ],
)
def test_warnings(tmp_path: Path, line: str, warning: str) -> None:
    """A key without effect is a warning, with its line."""
    assert load(tmp_path, line).warnings == (f"master.cfg:5: {warning}",)


@pytest.mark.parametrize(
    "line",
    [
        "c['services'] = []",
        "c['buildbotNetUsageData'] = None",
        "c['buildbotNetUsageData'] = 'basic'",
        "c['collapseRequests'] = False",
        "c['logEncoding'] = 'utf-8'",
        "c['changeHorizon'] = None",
        "c['logMaxSize'] = None",
        "c['caches'] = {}",
        "c['mq'] = {'type': 'simple'}",
        "c['manhole'] = None",
        "c['schedulers'] = [Scheduler('s', ['b'])]",
        "c['change_source'] = ChangeSource('p')",
        "c['change_source'] = [ChangeSource('p'), ChangeSource('q')]",
        "c['change_source'] = None",
        "c['properties'] = {}",
        "c['www'] = {'port': 8010, 'plugins': {'console_view': True}, 'allowed_origins': ['*']}",
    ],
)
def test_accepted(tmp_path: Path, line: str) -> None:
    """Values of existing configurations that switch a feature off are no reason for a warning."""
    assert load(tmp_path, line).warnings == ()


@pytest.mark.parametrize("name", ["waterfall_view", "grid_view"])
def test_views_of_the_other_page(tmp_path: Path, name: str) -> None:
    """A view of the page of buildbot-www has no effect on ours, which is said."""
    assert load(tmp_path, f"c['www'] = {{'plugins': {{'{name}': {{}}}}}}").warnings == (
        f"master.cfg:5: c['www'] ['plugins']['{name}'] has no effect: it is a view of the page that "
        "['ui'] = 'buildbot-www' gives",
    )


def test_error_outside() -> None:
    """Outside of a configuration a mistake is an exception."""
    with pytest.raises(ConfigErrors, match=r"^no good$"):
        error("no good")


def test_www_hides_values(tmp_path: Path) -> None:
    """The web server's settings do not show their values, which may be secrets."""
    config = load(tmp_path, "c['www'] = {'theme': {'secret': 'geheim'}}")
    assert "geheim" not in repr(config.www)
