"""The module that the packages of Buildbot's page and its views import."""

from __future__ import annotations

from importlib import resources
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

GROUP = "buildbot.www"


class Application:
    """The description of a package of files for browsers.

    Args:
        package_name: the package; its ``static`` directory is served.
        description: for people.
        ui: whether it has files for the page.
    """

    def __init__(self, package_name: str, description: str, ui: bool = True) -> None:
        self.package_name = package_name
        self.description = description
        self.ui = ui
        self.master: Any = None
        self.config: Any = None
        root = Path(str(resources.files(package_name)))
        self.static_dir = root / "static"
        version = root / "VERSION"
        self.version = version.read_text().strip() if version.is_file() else ""
        #: a Twisted resource in Buildbot; plugins that answer requests by themselves are not served here
        self.resource: Any = None

    def setMaster(self, master: Any) -> None:
        """The master that serves it."""
        self.master = master

    def setConfiguration(self, config: Any) -> None:
        """Take its value in ``c['www']['plugins']``."""
        self.config = config


def installed() -> dict[str, EntryPoint]:
    """The installed packages by name; ``base`` is the existing page."""
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def static_files(entry: EntryPoint) -> Path:
    """The directory of a package's files for browsers.

    A package of Buildbot's own is not imported: its import does work for Buildbot's server.
    """
    if entry.name == "wsgi_dashboards":
        found = find_spec(entry.module)
        assert found is not None and found.submodule_search_locations
        return Path(next(iter(found.submodule_search_locations))) / "static"
    return Path(entry.load().static_dir)
