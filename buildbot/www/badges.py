"""Badges: small pictures with the state of a builder's newest build, for other pages to show.

``/plugins/badges/BUILDER.svg``, or ``.png`` where CairoSVG is installed. A badge is a Jinja template, of this package
or of the directory ``templates`` beside ``master.cfg``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateError, TemplateNotFound
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from buildbot.config.badges import check_badges, of_request
from buildbot.data.interfaces import Master
from buildbot.util.results import Results
from buildbot.www.http.messages import Request, Response

_log = Logger()

NAME = "badges"
_OURS = Path(__file__).parent / "templates" / NAME
#: directories of an installation's own templates; Buildbot's documentation and program differ about the name
_OWN = ("templates", "template")
#: widths of the characters of DejaVu Sans from blank to tilde, in thousandths of the font size
_WIDTHS = (
    318, 401, 460, 838, 636, 950, 780, 275, 390, 390, 500, 838, 318, 361, 318, 337, 636, 636, 636, 636, 636, 636, 636,
    636, 636, 636, 337, 337, 838, 838, 838, 531, 1000, 684, 686, 698, 770, 632, 575, 775, 752, 295, 295, 656, 557, 863,
    748, 787, 603, 787, 695, 635, 611, 732, 684, 989, 685, 611, 685, 390, 337, 390, 838, 500, 500, 613, 635, 550, 635,
    615, 352, 635, 634, 278, 278, 579, 278, 974, 634, 612, 635, 635, 411, 521, 392, 634, 592, 818, 592, 592, 525, 636,
    337, 636, 838,
)  # fmt: skip
#: of other characters: letters of other scripts are about as wide, those of East Asia wider
_OTHER, _WIDE, _FIRST_WIDE = 640, 1000, "\u1100"


def width_of(text: str, size: float) -> float:
    """The width of a text in DejaVu Sans, in pixels."""
    thousandths = 0
    for each in text:
        place = ord(each) - 32
        if 0 <= place < len(_WIDTHS):
            thousandths += _WIDTHS[place]
        else:
            thousandths += _WIDE if each >= _FIRST_WIDE else _OTHER
    return round(thousandths * size / 1000, 2)


class Badges:
    """Answers ``/plugins/badges/…``.

    Args:
        master: the master, for its builds.
        options: ``c['www']['plugins']['badges']``.
    """

    def __init__(self, master: Master, options: object) -> None:
        self._master = master
        self._options = check_badges(options)
        basedir: str | Path | None = getattr(master, "basedir", None)
        directories = [] if basedir is None else [Path(basedir) / name for name in _OWN]
        self._templates = Environment(
            loader=FileSystemLoader([*directories, _OURS]),
            autoescape=True,
            undefined=StrictUndefined,
        )

    async def handle(self, request: Request, name: str) -> Response:
        """The badge of a file's name."""
        builder, dot, kind = name.rpartition(".")
        if not dot or kind not in ("svg", "png"):
            return Response.text(404, "A badge is BUILDER.svg or BUILDER.png")
        try:
            options = of_request(self._options, dict(request.parameters()))
        except ValueError as reason:
            return Response.text(400, str(reason))
        try:
            svg = self._drawn(options, await self._state(builder))
        except TemplateNotFound as missing:
            return Response.text(404, f"There is no template {missing.name!r} of badges")
        except TemplateError as problem:
            _log.error("badges: {name}: {problem}", name=options["template_name"], problem=problem)
            return Response.text(500, "The template of this badge has a mistake. The log says more.")
        if kind == "png":
            return await self._png(svg)
        # It is a document that contains parts of its address.
        policy = ("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; sandbox")
        return _picture("image/svg+xml; charset=utf-8", svg.encode()).with_headers(policy)

    async def _state(self, builder: str) -> str:
        """The state of a builder: ``running``, the result of its newest build, or ``unknown``."""
        newest = {"order": ["-number"], "limit": 1, "fields": ["complete", "results"]}
        builds = await self._master.data.get(newest, ("builders", builder, "builds")) if builder else []
        if not builds:
            return "unknown"
        return Results[builds[0]["results"]] if builds[0]["complete"] else "running"

    def _drawn(self, options: Mapping[str, Any], state: str) -> str:
        template: str = options["template_name"]
        style: str = options["style"]
        left: str = options["left_text"]
        size: float = options["font_size"]
        return self._templates.get_template(template.replace("{style}", style)).render(
            config=options,
            left={"text": left, "color": options["left_color"], "width": width_of(left, size)},
            right={"text": state, "color": options["color_scheme"][state], "width": width_of(state, size)},
        )

    async def _png(self, svg: str) -> Response:
        try:
            from cairosvg import svg2png
        except (ImportError, OSError):  # the package, or the library that it needs
            return Response.text(501, "PNG needs CairoSVG where the master runs: pip install 'tenfold[badges]'")
        reactor = self._master.reactor
        return _picture("image/png", await deferToThreadPool(reactor, reactor.getThreadPool(), svg2png, svg.encode()))


def _picture(kind: str, content: bytes) -> Response:
    return Response(
        200,
        (("Content-Type", kind), ("Cache-Control", "no-cache"), ("X-Content-Type-Options", "nosniff")),
        content,
    )
