"""The page's files.

They are known by name before the first request, so no path leads outside. The index refers to the other files in a
directory whose name is a digest of all of them (``page/<digest>/…``). The content at such an address never changes, so
browsers keep it for good; they check the index itself at every visit.
"""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path

from buildbot.www.http.compression import MIN_BYTES, accepted
from buildbot.www.http.messages import Request, Response

PAGE = Path(__file__).parent / "page"

#: the text in the index before the names of its files
PREFIX = "page/"

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".json": "application/json",
    ".webmanifest": "application/manifest+json",
    ".txt": "text/plain; charset=utf-8",
}

#: the page runs only its own scripts, and connects only to its own server
_POLICY = (
    "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'; object-src 'none'"
)
_PAGE_HEADERS = (("Content-Security-Policy", _POLICY), ("Referrer-Policy", "same-origin"))


@dataclass(frozen=True, slots=True)
class File:
    """A file, ready to be sent."""

    content_type: str
    content: bytes
    zipped: bytes | None
    etag: str


class StaticFiles:
    """Answers GET and HEAD for the page.

    Args:
        root: the directory of the files; ``index.html`` in it is the page.
    """

    def __init__(self, root: Path = PAGE) -> None:
        self._root = root
        self._stamp: tuple[tuple[str, int, int], ...] = ()
        self._files: dict[str, File] = {}
        self._digest = ""

    def handle(self, request: Request, segments: tuple[str, ...]) -> Response | None:
        """The file at a decoded path, or None if there is none."""
        if segments in (("",), ("index.html",)):
            # Only here it is checked whether the files on disk have changed.
            self._refresh()
            return send_file(request, self._files.get("index.html"), "no-cache", *_PAGE_HEADERS)
        if not self._files:
            self._refresh()
        if segments[0] != "page" or len(segments) < 2:
            # Browsers and old links request icons at the root.
            name = segments[-1] if segments[-1] in ("icon.svg", "robots.txt", "manifest.webmanifest") else ""
            return send_file(request, self._files.get(name), "no-cache") if name else None
        if segments[1] == self._digest:
            name = "/".join(segments[2:])
            return send_file(request, self._files.get(name), "public, max-age=31536000, immutable")
        # A page that was opened before an update gets the present files.
        name = "/".join(segments[2:] if len(segments) > 2 and _is_digest(segments[1]) else segments[1:])
        return send_file(request, self._files.get(name), "no-cache")

    def _refresh(self) -> None:
        paths = sorted(path for path in self._root.rglob("*") if path.is_file())
        stamp = tuple((str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in paths)
        if stamp == self._stamp:
            return
        contents = {path.relative_to(self._root).as_posix(): path.read_bytes() for path in paths}
        digest = hashlib.sha256()
        for name, content in contents.items():
            digest.update(f"{name}\0{len(content)}\0".encode() + content)
        self._digest = digest.hexdigest()[:16]
        if "index.html" in contents:
            index = contents["index.html"].replace(b'"' + PREFIX.encode(), f'"{PREFIX}{self._digest}/'.encode())
            contents["index.html"] = index
        self._files = {name: make_file(name, content) for name, content in contents.items()}
        self._stamp = stamp


def send_file(request: Request, file: File | None, caching: str, *headers: tuple[str, str]) -> Response | None:
    """The response with a file; None if there is none."""
    if file is None:
        return None
    sent = (
        ("Content-Type", file.content_type),
        ("Cache-Control", caching),
        ("ETag", file.etag),
        ("Vary", "Accept-Encoding"),
        ("X-Content-Type-Options", "nosniff"),
        *headers,
    )
    if file.etag in (request.header("if-none-match") or ""):
        return Response(304, sent)
    if file.zipped is not None and "gzip" in accepted(request):
        return Response(200, (*sent, ("Content-Encoding", "gzip")), file.zipped)
    return Response(200, sent, file.content)


def _is_digest(segment: str) -> bool:
    return len(segment) == 16 and all(letter in "0123456789abcdef" for letter in segment)


def make_file(name: str, content: bytes) -> File:
    """A file made ready to be sent."""
    suffix = name[name.rfind(".") :] if "." in name else ""
    zipped = gzip.compress(content, mtime=0) if suffix != ".png" and len(content) >= MIN_BYTES else None
    return File(
        _TYPES.get(suffix, "application/octet-stream" if suffix else "text/plain; charset=utf-8"),
        content,
        zipped,
        f'"{hashlib.sha256(content).hexdigest()[:20]}"',
    )
