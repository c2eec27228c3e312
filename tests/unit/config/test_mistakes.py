"""Every mistake in a configuration is reported with the key and, where it can be known, the line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.config.support import load, mistakes


def test_good(tmp_path: Path) -> None:
    """A configuration without mistakes is accepted without a word."""
    config = load(tmp_path, "")
    assert [builder.name for builder in config.builders] == ["b"]
    assert [worker.name for worker in config.workers] == ["w"]
    assert config.warnings == ()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        # Keys
        ("c['titel'] = 'x'", "c['titel'] is unknown; did you mean 'title'?"),
        ("c['qwertz'] = 'x'", "c['qwertz'] is unknown"),
        ("c['slaves'] = []", "c['slaves'] is unknown: it is now called workers"),
        ("c['slavePortnum'] = 1", "c['slavePortnum'] is unknown: write c['protocols'] = {'pb': {'port': …}}"),
        ("c['status'] = []", "c['status'] is unknown: status targets became services"),
        (
            "c['secretsProviders'] = [1]",
            "c['secretsProviders'] element 1 must be a provider such as secrets.SecretInAFile(dirname), not 1 (int)",
        ),
        # Projects and codebases
        ("c['projects'] = [1]", "c['projects'] element 1 must be a util.Project, not 1 (int)"),
        (
            "c['projects'] = [Project('p'), Project('p')]",
            "c['projects'] has two entries named 'p'; names must be unique",
        ),
        (
            "c['projects'] = [Project('a b')]",
            "project 'a b': name: 'a b' is not 1 to 70 letters, digits, '.', '_' or '-' "
            "that begin with no digit or '.'",
        ),
        ("c['projects'] = [Project(3)]", "project 3: name must be text, not int"),
        ("c['projects'] = [Project('p', description=3)]", "project 'p': description must be a string, not 3 (int)"),
        (
            "c['projects'] = [Project('p', description_format='html')]",
            "project 'p': description_format must be one of 'markdown', not 'html' (str)",
        ),
        (
            "c['codebases'] = [Codebase('c', 'tenfold')]; c['projects'] = [Project('tenfolds')]",
            "c['codebases'] 'c' names project 'tenfold', which is not in c['projects']; did you mean 'tenfolds'?",
        ),
        (
            "c['projects'] = [Project('p')]; c['codebases'] = [Codebase('c', 'p'), Codebase('c', 'p')]",
            "c['codebases'] has two entries named 'c'; names must be unique",
        ),
        (
            "c['builders'][0] = BuilderConfig(name='b', workernames=['w'], factory=Factory(), project='q')",
            "c['builders'] 'b' names project 'q', which is not in c['projects']",
        ),
        # Values of single keys
        ("c['title'] = 3", "c['title'] must be a string, not 3 (int)"),
        ("c['titleURL'] = 'x'", "c['titleURL'] must be a URL that starts with http:// or https://, not 'x'"),
        (
            "c['buildbotURL'] = 'ftp://x/'",
            "c['buildbotURL'] must be a URL that starts with http:// or https://, not 'ftp://x/'",
        ),
        ("c['multiMaster'] = 1", "c['multiMaster'] must be True or False, not 1 (int)"),
        (
            "c['collapseRequests'] = 'no'",
            "c['collapseRequests'] must be True, False or a function, not 'no' (str)",
        ),
        ("c['changeHorizon'] = -1", "c['changeHorizon'] must be at least 0, not -1"),
        ("c['changeHorizon'] = '9'", "c['changeHorizon'] must be a whole number, not '9' (str)"),
        (
            "c['logCompressionMethod'] = 'gzip'",
            "c['logCompressionMethod'] must be one of 'raw', 'gz', 'bz2', 'lz4', 'br', 'zstd', "
            "not 'gzip' (str); did you mean 'gz'?",
        ),
        ("c['logEncoding'] = 'utf-9'", "c['logEncoding'] is not an encoding that Python knows: 'utf-9'"),
        ("c['logMaxSize'] = 0", "c['logMaxSize'] must be at least 1, not 0"),
        (
            "c['buildbotNetUsageData'] = 'all'",
            "c['buildbotNetUsageData'] must be None, 'basic', 'full', 'custom' or a function, not 'all' (str)",
        ),
        ("c['properties'] = ['a']", "c['properties'] must be a dictionary, not ['a'] (list)"),
        ("c['properties'] = {1: 'a'}", "c['properties'] must have strings as keys, not 1 (int)"),
        (
            "c['properties'] = {'a': object}",
            "c['properties'] ['a'] is not a JSON value: Object of type type is not JSON serializable",
        ),
        (
            "c['validation'] = {'branches': 'x'}",
            "c['validation'] ['branches'] is unknown; did you mean 'branch'?; there are branch, revision, "
            "property_name, property_value",
        ),
        (
            "c['validation'] = {'branch': '('}",
            "c['validation'] ['branch'] must be a regular expression, not '(' (str) (missing ), unterminated "
            "subpattern at position 0)",
        ),
        (
            "c['validation'] = {'branch': b'x'}",
            "c['validation'] ['branch'] must be a regular expression of text, not of bytes",
        ),
        (
            "c['logEncoding'] = 'latin-1'",
            "c['logEncoding'] must be 'utf-8', not 'latin-1': workers send text; set unicode_encoding in the worker's "
            "buildbot.tac",
        ),
        ("c['services'] = [1]", "c['services'] element 1 must be a service such as a reporter, not 1 (int)"),
        (
            "c['machines'] = [1]",
            "c['machines'] element 1 must be a machine such as machine.generic.GenericLatentMachine(…), not 1 (int)",
        ),
        (
            "c['www'] = {'plugins': {'waterfal_view': {}}}",
            "c['www'] ['plugins']['waterfal_view'] is not installed; did you mean 'waterfall_view'?",
        ),
        ("c['www'] = {'plugins': {'profiler': True}}", "c['www'] ['plugins']['profiler'] is not installed"),
        ("c['codebaseGenerator'] = 1", "c['codebaseGenerator'] must be a function, not 1 (int)"),
        ("c['revlink'] = 1", "c['revlink'] must be a function, not 1 (int)"),
        (
            "c['user_managers'] = [1]",
            "c['user_managers'] element 1 must be a user manager such as util.CommandlineUserManager(…), not 1 (int)",
        ),
        ("c['select_next_worker'] = 1", "c['select_next_worker'] must be a function, not 1 (int)"),
        ("c['prioritizeBuilders'] = 1", "c['prioritizeBuilders'] must be a function, not 1 (int)"),
        # Database
        (
            "c['db_url'] = 'state'",
            "c['db_url'] is not a database URL; write it like 'sqlite:///state.sqlite' or "
            "'dialect://user:password@host/database'",
        ),
        ("c['db'] = 'sqlite://'", "c['db'] must be a dictionary, not 'sqlite://' (str)"),
        (
            "c['db'] = {'db_url': 3}",
            "c['db'] ['db_url'] must be a database URL such as 'sqlite:///state.sqlite', not 3",
        ),
        ("c['db'] = {'url': 'x'}", "c['db'] ['url'] is unknown; did you mean 'db_url'?"),
        # Ports
        (
            "c['protocols'] = {'pb': {'port': 70000}}",
            "c['protocols'] ['pb']['port'] must be between 1 and 65535, not '70000' (in 70000)",
        ),
        (
            "c['protocols'] = {'pb': {'port': 'nine'}}",
            "c['protocols'] ['pb']['port'] must be a number or an endpoint such as 'tcp:8010', not 'nine'",
        ),
        (
            "c['protocols'] = {'pb': {'port': True}}",
            "c['protocols'] ['pb']['port'] must be a number or an endpoint such as 'tcp:8010', not True",
        ),
        ("c['protocols'] = {'pb': {}}", "c['protocols'] ['pb'] needs a port: {'pb': {'port': 9989}}"),
        ("c['protocols'] = {'pb': 9989}", "c['protocols'] ['pb'] must be a dictionary, not 9989 (int)"),
        ("c['protocols'] = {'bp': {'port': 9}}", "c['protocols'] ['bp'] is unknown; did you mean 'pb'?"),
        (
            "c['protocols'] = {'pb': {'port': 9989, 'prot': 1}}",
            "c['protocols'] ['pb']['prot'] is unknown; did you mean 'port'?",
        ),
        ("c['www'] = {'port': -1}", "c['www'] ['port'] must be between 1 and 65535, not '-1' (in -1)"),
        (
            "c['www'] = {'port': 9989}",
            "c['www'] ['port'] 9989 is also the port of c['protocols']['pb']; they must differ",
        ),
        # Web server
        ("c['www'] = 8010", "c['www'] must be a dictionary, not 8010 (int)"),
        ("c['www'] = {'prot': 8010}", "c['www'] ['prot'] is unknown; did you mean 'port'?"),
        (
            "c['www'] = {'auth': object}",
            "c['www'] ['auth'] must be an auth such as util.UserPasswordAuth({…}), not <class 'object'> (type)",
        ),
        ("c['www'] = {'authz': []}", "c['www'] ['authz'] must be a util.Authz(…), not [] (list)"),
        (
            "c['www'] = {'ui': 'buildbot'}",
            "c['www'] ['ui'] must be one of 'buildbot-www', not 'buildbot' (str); did you mean 'buildbot-www'?",
        ),
        (
            "c['www'] = {'cookie_expiration_time': 60}",
            "c['www'] ['cookie_expiration_time'] must be a datetime.timedelta above zero, not 60 (int)",
        ),
        (
            "c['www'] = {'change_hook_dialects': {'githib': True}}",
            "c['www'] ['change_hook_dialects'] 'githib' is unknown; did you mean 'github'?; there are base, github, "
            "gitlab, gitea, bitbucketcloud, bitbucketserver, bitbucket, gitorious, poller",
        ),
        (
            "c['www'] = {'change_hook_dialects': {'github': {'secrets': 's'}}}",
            "c['www'] ['change_hook_dialects'] 'github': has no option 'secrets'; did you mean 'secret'?",
        ),
        (
            "c['www'] = {'change_hook_dialects': {'github': {'strict': True}}}",
            "c['www'] ['change_hook_dialects'] 'github': is strict and has no secret",
        ),
        (
            "c['www'] = {'change_hook_auth': ['nope:x']}",
            "c['www'] ['change_hook_auth'] element 1 makes no credentials checker: 'nope:x' (nope)",
        ),
        (
            "c['www'] = {'change_hook_auth': [1]}",
            "c['www'] ['change_hook_auth'] element 1 must be a credentials checker, or a text such as "
            "'file:passwords', not 1 (int)",
        ),
        ("c['www'] = {'allowed_origins': '*'}", "c['www'] ['allowed_origins'] must be a list, not '*' (str)"),
        (
            "c['www'] = {'allowed_origins': ['*', 1]}",
            "c['www'] ['allowed_origins'] element 2 must be a string, not 1 (int)",
        ),
        # Lists of things
        ("c['workers'] = 'w'", "c['workers'] must be a list, not 'w' (str)"),
        (
            "c['workers'] = ['w']",
            "c['workers'] element 1 must be a worker such as worker.Worker('name', 'password'), not 'w' (str)",
        ),
        (
            "c['schedulers'] = [3]",
            "c['schedulers'] element 1 must be a scheduler such as schedulers.SingleBranchScheduler(…), not 3 (int)",
        ),
        (
            "c['change_source'] = 3",
            "c['change_source'] element 1 must be a change source such as changes.GitPoller(…), not 3 (int)",
        ),
        ("c['builders'] = ['b']", "c['builders'] element 1 must be a util.BuilderConfig, not 'b' (str)"),
        (
            "c['change_source'] = ChangeSource('')",
            "c['change_source'] element 1 has no name; give it a string that is not empty",
        ),
        # Names that are used twice
        (
            "c['workers'] = [Worker('w', 'x'), Worker('w', 'y')]",
            "c['workers'] has two entries named 'w'; names must be unique",
        ),
        (
            "c['schedulers'] = [Scheduler('s', ['b']), Scheduler('s', ['b'])]",
            "c['schedulers'] has two entries named 's'; names must be unique",
        ),
        (
            "c['change_source'] = [ChangeSource('p'), ChangeSource('p')]",
            "c['change_source'] has two entries named 'p'; names must be unique",
        ),
        ("c['builders'] += c['builders']", "c['builders'] has two entries named 'b'; names must be unique"),
        # References to missing objects
        (
            "c['schedulers'] = [Scheduler('s', ['bb'])]",
            "c['schedulers'] scheduler 's' names builder 'bb', which is not in c['builders']; did you mean 'b'?",
        ),
        (
            "c['builders'].append(BuilderConfig('d', workernames=['x'], factory=Factory()))",
            "c['builders'] builder 'd' names worker 'x', which is not in c['workers']",
        ),
        (
            "c['builders'].append(BuilderConfig('d/', 'w', builddir='b', factory=Factory()))",
            "c['builders'] builders 'b' and 'd/' have the same builddir 'b'",
        ),
    ],
)
def test_mistake(tmp_path: Path, line: str, message: str) -> None:
    """One mistake gives one message, which names the line that it is in."""
    expected_line = 4 if line.startswith("c['builders'] += ") else 5
    assert mistakes(tmp_path, line) == [f"master.cfg:{expected_line}: {message}"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            "BuilderConfig(workername='w', factory=Factory())",
            "a builder's name must be a string that is not empty, not None (NoneType)",
        ),
        (
            "BuilderConfig('_d', workername='w', factory=Factory())",
            "builder '_d': names that begin with '_' are reserved",
        ),
        (
            "BuilderConfig('d', factory=Factory())",
            "builder 'd' has no workers; name at least one in workernames",
        ),
        (
            "BuilderConfig('d', workernames=3, factory=Factory(), workername='w')",
            "builder 'd': workernames must be a list of names, not 3 (int)",
        ),
        (
            "BuilderConfig('d', workernames=[3, 'w'], factory=Factory())",
            "builder 'd': a worker must be given by its name, not 3 (int)",
        ),
        ("BuilderConfig('d', 'w')", "builder 'd' has no factory; give it factory=util.BuildFactory([...])"),
        (
            "BuilderConfig('d', 'w', factory=[])",
            "builder 'd': factory must be a util.BuildFactory, not [] (list)",
        ),
        (
            "BuilderConfig('d', 'w', factory=Factory(), slavenames=['w'])",
            "builder 'd': slavenames is now called workernames",
        ),
        (
            "BuilderConfig('d', 'w', factory=Factory(), workdirname='x')",
            "builder 'd': unknown argument 'workdirname'; did you mean 'workername'?",
        ),
        (
            "BuilderConfig('d', 'w', factory=Factory(), tags='x')",
            "builder 'd': tags must be a list, not 'x' (str)",
        ),
        (
            "BuilderConfig('d', 'w', factory=Factory(), env=3)",
            "builder 'd': env must be a dictionary, not 3 (int)",
        ),
        (
            "BuilderConfig('d', 'w', factory=Factory(), nextBuild=3)",
            "builder 'd': nextBuild must be a function, not 3 (int)",
        ),
        (
            "BuilderConfig('d', 'w', factory=Factory(), collapseRequests='x')",
            "builder 'd': collapseRequests must be True, False or a function, not 'x' (str)",
        ),
        (
            "BuilderConfig('d', 'w', factory=Factory(), description=1)",
            "builder 'd': description must be a string, not 1 (int)",
        ),
        (
            "BuilderConfig('d', 'w', factory=Factory(), locks=['x'])",
            "builder 'd': locks element 1 must be what a lock's access(…) gives, not 'x' (str)",
        ),
    ],
)
def test_builder(tmp_path: Path, call: str, message: str) -> None:
    """A builder's mistakes name the line of its own call, not of the list it is in."""
    text = f"c['builders'] = [\n    {call}\n]\n"
    assert mistakes(tmp_path, text) == [f"master.cfg:6: {message}"]


def test_line_of_the_call(tmp_path: Path) -> None:
    """The line of an object without one is that of its call, found by class and name; of two with one name the last."""
    text = """\
        c['workers'] = [
            Worker('w', 'x'),
            Worker('v', 'x'),
            Worker(name='w', password='y'),
        ]
        c['schedulers'] = []
        c['schedulers'].append(
            Scheduler('s', ['nobody']),
        )
        """
    assert mistakes(tmp_path, text) == [
        "master.cfg:8: c['workers'] has two entries named 'w'; names must be unique",
        "master.cfg:12: c['schedulers'] scheduler 's' names builder 'nobody', which is not in c['builders']",
    ]


def test_all_at_once(tmp_path: Path) -> None:
    """Mistakes of every kind are reported together, those of running the file first."""
    text = """\
        c['titel'] = 'x'
        c['change_source'] = ChangeSource()
        c['title'] = undefined
        c['workers'].append(Worker('v', ''))
        c['www'] = {'port': 70000, 'plugin': {}}
        """
    assert mistakes(tmp_path, text) == [
        "master.cfg:6: ChangeSource needs 'name'",
        "master.cfg:7: NameError: name 'undefined' is not defined",
        "master.cfg:8: worker 'v' needs a password",
        "master.cfg:5: c['titel'] is unknown; did you mean 'title'?",
        "master.cfg:9: c['www'] ['port'] must be between 1 and 65535, not '70000' (in 70000)",
        "master.cfg:9: c['www'] ['plugin'] is unknown; did you mean 'plugins'?",
    ]


def test_every_element_of_a_list(tmp_path: Path) -> None:
    """Mistakes of all elements are reported, at any place of a statement; those that follow from them are not."""
    text = """\
        names = ['b']
        c['schedulers'] = [
            Scheduler('a'),
            Scheduler('x', names),
            Scheduler('b', builder=1),
            *[Scheduler(name) for name in names],
        ]
        c['change_source'] = [ChangeSource('p', undefined), ChangeSource(nome='q')]
        c['builders'].extend([BuilderConfig('d', 'w', factory=Factory(1)), BuilderConfig('e', 'w', factory=undefined)])
        c['schedulers'].append(Scheduler('y', ['d']))
        more = {'a': Worker('v'), 'b': Worker(3, '')}
        c['workers'] += more.values()
        c['schedulers'].append(Scheduler('z', [each.name for each in more]))
        """
    assert mistakes(tmp_path, text) == [
        "master.cfg:7: Scheduler needs 'builderNames'",
        "master.cfg:9: Scheduler has no argument 'builder'",
        "master.cfg:12: NameError: name 'undefined' is not defined",
        "master.cfg:12: ChangeSource has no argument 'nome'",
        "master.cfg:13: TypeError: Factory() takes no arguments",
        "master.cfg:13: NameError: name 'undefined' is not defined",
        "master.cfg:15: Worker needs 'password'",
        "master.cfg:15: worker 3 needs a password",
    ]


def test_a_missing_name_is_said_once(tmp_path: Path) -> None:
    """Shortly, at the first line that uses it."""
    text = """\
        from buildbot.plugins import *
        first = util.Qwertz("a")
        second = util.Qwertz("b")
        c['schedulers'] = [util.Qwertz("c"), util.Qwertz("d")]
        c['services'] = [reporters.MailNotifie("e")]
        """
    assert mistakes(tmp_path, text) == [
        "master.cfg:6: AttributeError: buildbot.plugins.util has no 'Qwertz'",
        "master.cfg:9: AttributeError: buildbot.plugins.reporters has no 'MailNotifie'; did you mean MailNotifier?",
    ]


def test_assigned_fields_are_checked(tmp_path: Path) -> None:
    """Later assignments to a builder's fields are checked as its arguments were."""
    text = """\
        c['builders'][0].tags = 'x'
        c['builders'][0].workernames = ['v']
        c['builders'][0].properties = 5
        """
    assert mistakes(tmp_path, text) == [
        "builder 'b': tags must be a list, not 'x' (str)",
        "builder 'b': properties must be a dictionary, not 5 (int)",
        "master.cfg:4: c['builders'] builder 'b' names worker 'v', which is not in c['workers']",
    ]


def test_no_port_for_workers(tmp_path: Path) -> None:
    """Workers that have no port to connect to are a mistake."""
    text = """\
        from tests.unit.config.parts import Worker
        c = BuildmasterConfig = {"workers": [Worker("w", "x")]}
        """
    assert mistakes(tmp_path, text, whole=True) == [
        "master.cfg:2: c['workers'] needs a port that workers connect to: c['protocols'] = {'pb': {'port': 9989}}"
    ]


@pytest.mark.parametrize(("more", "found"), [
    ("", ["master.cfg:3: c['change_source'] 'PBChangeSource:None' needs a port that programs connect to: "
          "give it port=…, or c['protocols'] = {'pb': {'port': 9989}}"]),
    ("c['protocols'] = {'msgpack_experimental_v7': {'port': 9990}}", ["PBChangeSource:None' needs a port"]),
    ("c['protocols'] = {'pb': {'port': 9989}}", []),
    ("c['protocols'] = missing", ["name 'missing' is not defined"]),
])  # fmt: skip
def test_no_port_for_changes(tmp_path: Path, more: str, found: list[str]) -> None:
    """A change source that programs log in to at the workers' port needs one for PB; one with its own port does not."""
    text = f"""\
        from buildbot.plugins import changes
        c = BuildmasterConfig = {{}}
        c["change_source"] = [changes.PBChangeSource(), changes.PBChangeSource(port=9991)]
        {more}
        """
    if not found:
        load(tmp_path, text)
        return
    said = mistakes(tmp_path, text, whole=True)
    assert len(said) == 1 and found[0] in said[0]


def test_secrets_are_not_shown(tmp_path: Path) -> None:
    """A database URL that cannot be read is not repeated: it may hold a password."""
    (said,) = mistakes(tmp_path, "c['db_url'] = 'postgresql//joe:geheim@host/x'")
    assert "geheim" not in said


def test_db_twice(tmp_path: Path) -> None:
    """The database is set in one place."""
    said = mistakes(tmp_path, "c['db_url'] = 'sqlite://'\nc['db'] = {'db_url': 'sqlite://'}")
    assert said == ["master.cfg:6: c['db'] ['db_url'] and c['db_url'] are both set; keep one"]
