"""Who takes part: actors with their databases, for the time of a block."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench import samples
from bench.actor import Actor
from bench.contents_tenfold import TenfoldContents
from bench.contents_upstream import UpstreamContents
from bench.databases import new_database
from bench.process import ROOT, python
from bench.upstream_env import NoUpstreamError, upstream_database


@contextmanager
def comparison(backend: str, directory: Path, upstream: bool) -> Iterator[dict[str, Actor]]:
    """``tenfold``, ``raw`` and, where it can be installed, ``upstream``. Raises NoServerError."""
    with ExitStack() as stack:
        actors = {}
        for name in ("tenfold", "raw"):
            actors[name] = stack.enter_context(ours(name, backend, directory))
        if upstream:
            try:
                actors["upstream"] = stack.enter_context(_upstream(backend, directory))
            except NoUpstreamError as reason:
                print(f"{backend}: without upstream: {reason}", file=sys.stderr)
        yield actors


@contextmanager
def ours(name: str, backend: str, directory: Path, finished: int = samples.FINISHED) -> Iterator[Actor]:
    """``tenfold`` or ``raw`` on a new database of our schema with so many finished requests."""
    with new_database(backend, name, directory) as url:
        subprocess.run(python("bench.actors.schema", url), cwd=ROOT, check=True)
        contents = TenfoldContents(url, finished)
        contents.found()
        contents.settle()
        actor = Actor(name, python(f"bench.actors.{name}", url, str(finished)), contents, ROOT)
        try:
            yield actor
        finally:
            actor.close()


@contextmanager
def _upstream(backend: str, directory: Path) -> Iterator[Actor]:
    with upstream_database(backend, "upstream", directory) as made:
        contents = UpstreamContents(made.url)
        contents.found()
        contents.settle()
        arguments = [str(ROOT), made.theirs, str(made.elsewhere / f"master-{backend}")]
        actor = Actor("upstream", made.command("upstream.py", *arguments), contents, made.elsewhere)
        try:
            yield actor
        finally:
            actor.close()
