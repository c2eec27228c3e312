"""The settings of a master's process, in the file ``buildbot.tac`` of its directory.

The file is a program for ``twistd``, as in existing master directories. Here it is only parsed, not run: assignments of
literals to the names below are the settings, all other code is ignored.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

FILE = "buildbot.tac"


#: the program that `twistd -ny buildbot.tac` runs; `buildbot start` does not run it
_APPLICATION = """
import os

from twisted.application import service
from twisted.logger import ILogObserver, textFileLogObserver
from twisted.python.logfile import LogFile

from buildbot.master import BuildMaster

basedir = os.path.dirname(os.path.abspath(__file__))
application = service.Application('buildmaster')
log = LogFile('twistd.log', basedir, rotateLength=rotateLength or None, maxRotatedFiles=maxRotatedFiles)
application.setComponent(ILogObserver, textFileLogObserver(log))

m = BuildMaster(basedir, configfile, umask)
m.setServiceParent(application)
m.log_rotation.rotateLength = rotateLength
m.log_rotation.maxRotatedFiles = maxRotatedFiles
"""


class BadSettingsError(Exception):
    """``buildbot.tac`` cannot be read; the message says why."""


@dataclass(frozen=True)
class Settings:
    """The settings of a master's process.

    Attributes:
        configfile: name of the configuration file, relative to the master's directory.
        rotateLength: size in bytes at which twistd.log is rotated; 0: never.
        maxRotatedFiles: the number of rotated logs that are kept; None: all.
        umask: the process's umask; None: it is not changed.
    """

    configfile: str = "master.cfg"
    rotateLength: int = 10_000_000
    maxRotatedFiles: int | None = 10
    umask: int | None = None

    def render(self) -> str:
        """The text of a ``buildbot.tac`` with these settings."""
        return (
            "# Settings of this master's process, read by `buildbot start`.\n"
            "# The configuration file, relative to this directory.\n"
            f"configfile = {self.configfile!r}\n"
            "# Bytes at which twistd.log is rotated, 0: never; the number of old logs that are kept, None: all.\n"
            f"rotateLength = {self.rotateLength!r}\n"
            f"maxRotatedFiles = {self.maxRotatedFiles!r}\n"
            "# None: the umask is not changed.\n"
            f"umask = {self.umask!r}\n"
            f"{_APPLICATION}"
        )


def read(basedir: Path) -> Settings:
    """The settings of a master's directory; a setting that is missing has its default.

    Raises:
        BadSettingsError: the file cannot be read or parsed, or a value is of the wrong kind.
    """
    path = basedir / FILE
    try:
        tree = ast.parse(path.read_bytes(), str(path))
    except FileNotFoundError:
        return Settings()
    except OSError as reason:
        raise BadSettingsError(f"{path} cannot be read: {reason.strerror}") from None
    except (SyntaxError, ValueError) as reason:
        raise BadSettingsError(f"{path} is not Python: {reason}") from None
    found: dict[str, object] = {}
    for statement in tree.body:
        if not isinstance(statement, ast.Assign):
            continue
        try:
            value = ast.literal_eval(statement.value)
        except (ValueError, TypeError):
            # a computed value: none of the settings are computed
            continue
        found.update((target.id, value) for target in statement.targets if isinstance(target, ast.Name))
    defaults = Settings()
    configfile = found.get("configfile", defaults.configfile)
    if not isinstance(configfile, str):
        raise BadSettingsError(f"{path}: configfile must be a file name, not {configfile!r}")
    return Settings(
        configfile=configfile,
        rotateLength=_number(path, "rotateLength", found, defaults.rotateLength) or 0,
        maxRotatedFiles=_number(path, "maxRotatedFiles", found, defaults.maxRotatedFiles),
        umask=_number(path, "umask", found, None),
    )


def _number(path: Path, name: str, found: dict[str, object], default: int | None) -> int | None:
    value = found.get(name, default)
    if isinstance(value, str):
        # older files have numbers as text, umasks in octal
        try:
            value = int(value, 0) if value != "None" else None
        except ValueError:
            raise BadSettingsError(f"{path}: {name} must be a number, not {value!r}") from None
    if value is None or (isinstance(value, int) and value >= 0):
        return value
    raise BadSettingsError(f"{path}: {name} must be a number, not {value!r}")
