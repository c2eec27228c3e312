"""The page that browsers load: one of two, with the configuration in it.

The page of this package is its files. Buildbot's page, ``c['www'] = {'ui': 'buildbot-www'}``, is an installed package
of the page's authors, unmodified; views are further packages.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from buildbot.data.interfaces import Master
from buildbot.www import jsonbody, wsgi
from buildbot.www.avatar import NOBODY, AvatarGravatar, Avatars, nobody
from buildbot.www.gate import Gate
from buildbot.www.http.messages import Request, Response
from buildbot.www.plugin import installed, static_files
from buildbot.www.sessions import Visitor
from buildbot.www.settings import Settings
from buildbot.www.ui.static import File, StaticFiles, make_file, send_file
from buildbot.www.wsgi import Dashboards

if TYPE_CHECKING:
    from buildbot.www.badges import Badges

_BADGES = "badges"
_CONFIG_PLACE = " <!-- BUILDBOT_CONFIG_PLACEHOLDER -->"
_THEME_PLACE = re.compile(
    "<!-- BUILDBOT_THEME_CSS_PLACEHOLDER_BEGIN -->.*<!-- BUILDBOT_THEME_CSS_PLACEHOLDER_END -->", re.DOTALL
)
#: names of the colours of Buildbot's page that ``theme`` may set, with their defaults
THEME = {
    "bb-sidebar-background-color": "#30426a",
    "bb-sidebar-header-background-color": "#273759",
    "bb-sidebar-header-text-color": "#fff",
    "bb-sidebar-title-text-color": "#627cb7",
    "bb-sidebar-footer-background-color": "#273759",
    "bb-sidebar-button-text-color": "#b2bfdc",
    "bb-sidebar-button-hover-background-color": "#1b263d",
    "bb-sidebar-button-hover-text-color": "#fff",
    "bb-sidebar-button-current-background-color": "#273759",
    "bb-sidebar-button-current-text-color": "#b2bfdc",
    "bb-sidebar-stripe-hover-color": "#e99d1a",
    "bb-sidebar-stripe-current-color": "#8c5e10",
}
#: the characters of a colour; others could end the style
_COLOUR = re.compile(r"[\w#%(),. /+*-]+")
#: the page differs for each visitor, and must not be older than the session
_PRIVATE = ("Cache-Control", "private, no-cache")


class Pages:
    """Answers GET of the files of the page.

    Args:
        settings: of the server.
        gate: knows the visitor.
        www: ``c['www']``, for ``ui``, ``plugins``, ``theme``, ``avatar_methods``.
    """

    def __init__(self, settings: Settings, gate: Gate, www: Mapping[str, Any]) -> None:
        self._settings = settings
        self._gate = gate
        self._theme = {**THEME, **{name: value for name, value in (www.get("theme") or {}).items() if name in THEME}}
        self._avatars = Avatars(www.get("avatar_methods", [AvatarGravatar()]), settings.buildbot_url, gate.master)
        self._public = dict(settings.public)
        if www.get("ui") is not None and "ui_default_config" in self._public:
            # Buildbot's page stays blank if one of these is set.
            given = self._public["ui_default_config"]
            kept = {name: value for name, value in given.items() if not name.startswith("Home.")}
            self._public["ui_default_config"] = kept
        packages = installed()
        self._own = StaticFiles()
        self._base = PackageFiles(static_files(packages["base"])) if www.get("ui") == "buildbot-www" else None
        plugins = www.get("plugins") or {}
        self._badges = _badges(gate.master, plugins[_BADGES]) if _BADGES in plugins else None
        self._dashboards = Dashboards(
            gate.master, plugins.get(wsgi.NAME), settings.buildbot_url, bool(www.get("debug", False))
        )
        chosen = {name: packages[name] for name in plugins if name in packages and name not in ("base", _BADGES)}
        self._plugins = {name: PackageFiles(static_files(entry)) for name, entry in chosen.items()}

    async def handle(self, request: Request, segments: tuple[str, ...], visitor: Visitor) -> Response | None:
        """The reply to a decoded path, or None if there is nothing."""
        if segments == ("config",):
            config = jsonbody.compact(await self._config(visitor))
            return Response(200, (("Content-Type", "application/json"), _PRIVATE), config)
        if segments == ("avatar",):
            return await self._avatars.handle(request)
        if "/".join(segments) == NOBODY:
            return nobody()
        if segments[:2] == ("plugins", _BADGES) and self._badges is not None and len(segments) > 2:
            return await self._badges.handle(request, "/".join(segments[2:]))
        if segments[:2] == ("plugins", wsgi.NAME) and len(segments) > 3 and self._dashboards.has(segments[2]):
            return await self._dashboards.handle(request, segments[2], visitor)
        if request.method not in ("GET", "HEAD"):
            return None
        if segments[0] == "plugins":
            files = self._plugins.get(segments[1]) if len(segments) > 2 else None
            return None if files is None else files.handle(request, "/".join(segments[2:]))
        if self._base is None:
            return self._own.handle(request, segments)
        if segments in (("",), ("index.html",)):
            headers = (("Content-Type", "text/html; charset=utf-8"), _PRIVATE, ("X-Content-Type-Options", "nosniff"))
            return Response(200, headers, index_page(self._base, await self._config(visitor), self._theme))
        # The page requests its icon with a slash too many.
        return self._base.handle(request, "/".join(segments).lstrip("/"))

    async def _config(self, visitor: Visitor) -> dict[str, Any]:
        return {
            **self._public,
            "auth": self._gate.auth.getConfigDict(),
            "user": visitor.public,
            "user_may": await self._gate.rights(visitor),
        }


def _badges(master: Master, options: object) -> Badges:
    from buildbot.www.badges import Badges  # not at the top: it imports Jinja

    return Badges(master, options)


class PackageFiles:
    """The files of an installed package, known by name from the start, so that no path leads outside.

    Args:
        root: the directory of the files.
    """

    def __init__(self, root: Path) -> None:
        self._paths = {path.relative_to(root).as_posix(): path for path in root.rglob("*") if path.is_file()}
        self._files: dict[str, File] = {}

    def handle(self, request: Request, name: str) -> Response | None:
        """The file of that name, or None."""
        if name not in self._paths or name == "index.html":
            return None
        if name not in self._files:
            self._files[name] = make_file(name, self._paths[name].read_bytes())
        # The name of an asset changes with its content.
        return send_file(request, self._files[name], _KEEP if name.startswith("assets/") else "no-cache")

    def text(self, name: str) -> str:
        """The content of a file."""
        return self._paths[name].read_text(encoding="utf-8")


def index_page(files: PackageFiles, config: Mapping[str, Any], theme: Mapping[str, str]) -> bytes:
    """The page of Buildbot, with what it is told in it.

    Args:
        files: of its package.
        config: what it is told.
        theme: colours, by the names of `THEME`.
    """
    # A text in the configuration must not end the script.
    told = json.dumps(config).replace("<", "\\u003c")
    script = f'<script id="bb-config">\n    window.buildbotFrontendConfig = {told};\n</script>'
    colours = "".join(f"--{name}: {value}; " for name, value in theme.items() if _COLOUR.fullmatch(str(value)))
    style = f"<style>:root {{ {colours}}}</style>"
    index = files.text("index.html").replace(_CONFIG_PLACE, script)
    return _THEME_PLACE.sub(lambda _: style, index).encode()


_KEEP = "public, max-age=31536000, immutable"
