"""A master.cfg is run as Python, beside its own modules; each failure is reported once, with its place."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from buildbot.config import ConfigErrors, load_config
from tests.unit.config.support import GOOD, load, mistakes


def test_missing_file(tmp_path: Path) -> None:
    """A file that is not there is named, with the sample if there is one."""
    with pytest.raises(ConfigErrors, match=r"master\.cfg' does not exist$"):
        load_config(tmp_path)
    (tmp_path / "master.cfg.sample").touch()
    with pytest.raises(ConfigErrors, match=r"does not exist; copy master\.cfg\.sample to master\.cfg and edit it"):
        load_config(tmp_path)


def test_directory(tmp_path: Path) -> None:
    """A path that is no readable file is a mistake that says so."""
    (tmp_path / "master.cfg").mkdir()
    with pytest.raises(ConfigErrors, match="cannot be read: Is a directory"):
        load_config(tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("c = {\n", "master.cfg:5: syntax error: '{' was never closed\n    c = {"),
        (
            "if True:\nx = 1\n",
            "master.cfg:6: syntax error: expected an indented block after 'if' statement on line 5\n    x = 1",
        ),
        ("x = '\0'\n", "master.cfg:1: syntax error: source code string cannot contain null bytes"),
        ("return 3\n", "master.cfg:5: syntax error: 'return' outside function\n    return 3"),
    ],
)
def test_syntax(tmp_path: Path, text: str, said: str) -> None:
    """A syntax error names file and line and shows the line."""
    assert mistakes(tmp_path, text) == [said]


def test_nothing_defined(tmp_path: Path) -> None:
    """A file without BuildmasterConfig says how to begin."""
    assert mistakes(tmp_path, "c = {}", whole=True) == [
        "master.cfg: does not define BuildmasterConfig; begin with c = BuildmasterConfig = {}"
    ]


def test_wrong_kind(tmp_path: Path) -> None:
    """BuildmasterConfig is a dictionary."""
    assert mistakes(tmp_path, "BuildmasterConfig = []", whole=True) == [
        "master.cfg: BuildmasterConfig must be a dictionary, not list"
    ]


def test_one_mistake_is_said_once(tmp_path: Path) -> None:
    """Mistakes that only follow from a failed line are not reported."""
    text = """\
        more = [Worker('v')]
        c['workers'] += more
        names = [worker.name for worker in more]
        c['builders'].append(BuilderConfig('d', workernames=names, factory=Factory()))
        c['builders'].append(BuilderConfig('e', workernames=['v'], factory=Factory()))
        c['schedulers'] = [Scheduler('s', ['b', 'd', 'e'])]
        """
    assert mistakes(tmp_path, text) == ["master.cfg:5: Worker needs 'password'"]


def test_partly_filled_list(tmp_path: Path) -> None:
    """A list from which one element is missing is known to be incomplete, its other elements are checked."""
    text = """\
        workers = []
        workers.append(Worker('v', pasword='x'))
        workers.append(Worker('u', ''))
        c['workers'] = workers
        c['builders'] = [BuilderConfig('d', workernames=['v', 'u'], factory=Factory())]
        """
    assert mistakes(tmp_path, text) == [
        "master.cfg:6: Worker has no argument 'pasword'",
        "master.cfg:7: worker 'u' needs a password",
    ]


def test_loop(tmp_path: Path) -> None:
    """A loop that fails leaves what it fills incomplete."""
    text = """\
        for name in ('x', 'y'):
            c['builders'].append(BuilderConfig(name, workernames=['w'], factory=Factory(name)))
        c['schedulers'] = [Scheduler('s', ['x', 'y'])]
        """
    assert mistakes(tmp_path, text) == ["master.cfg:6: TypeError: Factory() takes no arguments"]


def test_module_beside(tmp_path: Path) -> None:
    """Modules beside the file can be imported; a mistake in one names its own line."""
    (tmp_path / "own_parts.py").write_text("from buildbot.config import error\ndef check():\n    error('no good')\n")
    text = "import own_parts\nown_parts.check()\nimport own_missing\n"
    assert mistakes(tmp_path, text) == [
        "own_parts.py:3: no good",
        "master.cfg:7: ModuleNotFoundError: No module named 'own_missing'",
    ]


def test_module_is_read_anew(tmp_path: Path) -> None:
    """A change of a module beside the file is seen by the next load, even within one second."""
    module = tmp_path / "own_title.py"
    text = "import own_title\nc['title'] = own_title.title\n"
    for title in ("one", "two"):
        module.write_text(f"title = {title!r}\n")
        assert load(tmp_path, text).title == title


def test_bytecode(tmp_path: Path) -> None:
    """Python stores the bytecode of kinds when a configuration uses them first, and none of modules beside it."""
    (tmp_path / "mine.py").write_text("title = 'x'\n")
    text = "import mine\nfrom buildbot.plugins import steps\nsteps.CMake('.')\nc['title'] = mine.title\n"
    (tmp_path / "master.cfg").write_text(GOOD + text)
    program = "from pathlib import Path; from buildbot.config import load_config; print(load_config(Path()).title)"
    stored = tmp_path / "stored"
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parents[3]),
        "PYTHONPYCACHEPREFIX": str(stored),
        "PYTHONDONTWRITEBYTECODE": "",
    }
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, check=True, stdout=subprocess.PIPE
    )
    assert done.stdout == b"x\n"
    assert list(stored.rglob("cmake.*.pyc"))
    assert not list(stored.rglob("mine.*.pyc"))


def test_reloading_everything_beside_it(tmp_path: Path) -> None:
    """A configuration may reload every module whose file lies beside it, itself included, which runs once only."""
    (tmp_path / "mine.py").write_text("names = []\n")
    text = """\
        import importlib, os, sys
        import mine
        mine.names.append("once")
        for module in list(sys.modules.values()):
            if (getattr(module, "__file__", None) or "").startswith(os.path.dirname(os.path.abspath(__file__))):
                importlib.reload(module)
        c["title"] = " ".join(mine.names) or "reloaded"
        """
    assert load(tmp_path, text).title == "reloaded"


def test_files_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """Files that a configuration names are those of its directory, wherever it is loaded from."""
    (tmp_path / "passwords").write_text("ann:x\n")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    text = """\
        from buildbot.plugins import util
        c["title"] = open("passwords").read().strip()
        c["www"] = {"auth": util.HTPasswdAuth("passwords"), "change_hook_auth": ["file:passwords"]}
        """
    config = load(tmp_path, text)
    assert config.title == "ann:x"
    assert Path(config.www["auth"].passwdFile) == tmp_path / "passwords"
    assert config.www["change_hook_auth"][0].filename == str(tmp_path / "passwords")
    assert config.warnings == ()
    assert capfd.readouterr() == ("", "")
    assert Path.cwd() == tmp_path / "elsewhere"


def test_failure_puts_modules_back(tmp_path: Path) -> None:
    """After a load that fails, the modules of the running configuration are the imported ones."""
    module = tmp_path / "own_kept.py"
    module.write_text("value = 1\n")
    load(tmp_path, "import own_kept\n")
    before = sys.modules["own_kept"]
    module.write_text("value = 2\n")
    mistakes(tmp_path, "import own_kept\nc['titel'] = ''\n")
    assert sys.modules["own_kept"] is before
    assert str(tmp_path) not in sys.path


def test_syntax_error_in_module(tmp_path: Path) -> None:
    """A syntax error in a module beside the file names that module."""
    (tmp_path / "own_broken.py").write_text("x = (\n")
    assert mistakes(tmp_path, "import own_broken\n") == ["own_broken.py:1: syntax error: '(' was never closed"]


def test_exit(tmp_path: Path) -> None:
    """A file that ends the process does not end it."""
    assert mistakes(tmp_path, "raise SystemExit(3)\n") == ["master.cfg:5: the file ends the process (SystemExit: 3)"]


def test_names(tmp_path: Path) -> None:
    """The file knows its directory and itself, and its classes have a module."""
    text = """\
        from __future__ import annotations
        import dataclasses, os
        @dataclasses.dataclass
        class Mine:
            x: ClassVar = 3
        assert os.path.dirname(__file__) == basedir
        c = BuildmasterConfig = {'title': basedir}
        """
    (tmp_path / "master.cfg").write_text("\n".join(line[8:] for line in text.splitlines()))
    assert load_config(tmp_path).title == str(tmp_path)


def test_raising_everything_at_once(tmp_path: Path) -> None:
    """`ConfigErrors` raised by the file's own code is taken over."""
    text = "from buildbot.config import ConfigErrors\nraise ConfigErrors(['a', 'b'])\n"
    assert mistakes(tmp_path, text) == ["a", "b"]


def test_other_file(tmp_path: Path) -> None:
    """The configuration file may have another name, which messages use."""
    (tmp_path / "other.py").write_text(GOOD + "c['titel'] = 1\n")
    with pytest.raises(ConfigErrors) as caught:
        load_config(tmp_path, "other.py")
    assert caught.value.errors == ["other.py:5: c['titel'] is unknown; did you mean 'title'?"]
