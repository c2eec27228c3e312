"""The servers whose streams are measured, for the time of a block."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.bulk import Bulk
from bench.databases import new_database
from bench.http_data import Size, fill_upstream
from bench.http_servers import Server
from bench.process import ROOT, python
from bench.upstream_env import upstream_database

_CONFIG = """\
c = BuildmasterConfig = {{
    "multiMaster": True,
    "db_url": {url!r},
    "buildbotURL": "http://127.0.0.1:{port}/",
    "www": {{"port": {port}}},
}}
"""
#: upstream's has builders and workers to build with, and little else
_SMALL = Size(builds=100, changes=10, logs=10, pending=0, running=0)


@contextmanager
def database(backend: str, directory: Path, missed: int = 0) -> Iterator[str]:
    """The URL of a new database of our schema whose log holds so many events of builds."""
    with new_database(backend, "stream", directory) as url:
        subprocess.run(python("bench.actors.schema", url), cwd=ROOT, check=True)
        if missed:
            bulk = Bulk(url)
            # with spaces, for a colon before a word would be a parameter
            body = json.dumps({"buildid": 1, "number": 1, "builderid": 1, "state_string": "s" * 250})
            columns = {
                "seq": "i",
                "routing_keys": "'builds/1/update'",
                "body": f"'{body}'",
                "masterid": "1",
                "group_token": "''",
                "created_at": str(int(time.time())),
            }
            bulk.run("DELETE FROM events")
            bulk.fill("events", missed, columns)
            bulk.run(f"UPDATE clock SET seq = {missed}, trimmed = 0")
            bulk.settle()
            bulk.close()
        yield url


@contextmanager
def tenfold(url: str, name: str, directory: Path) -> Iterator[Server]:
    """A master of ours on a database."""
    port, basedir = _free_port(), directory / f"stream-{name}"
    basedir.mkdir(exist_ok=True)
    (basedir / "master.cfg").write_text(_CONFIG.format(url=url, port=port))
    with _running("tenfold", python("bench.actors.stream_tenfold", str(basedir)), ROOT, port) as server:
        yield server


@contextmanager
def null(directory: Path) -> Iterator[Server]:
    """The server that does nothing else."""
    port = _free_port()
    with _running("null", python("bench.actors.stream_null", str(port)), ROOT, port) as server:
        yield server


@contextmanager
def upstream(backend: str, directory: Path) -> Iterator[Server]:
    """Theirs, on a database of its own. Raises NoUpstreamError."""
    with upstream_database(backend, "stream_upstream", directory) as made:
        bulk = Bulk(made.url)
        fill_upstream(bulk, _SMALL)
        bulk.settle()
        bulk.close()
        port = _free_port()
        arguments = [str(ROOT), made.theirs, str(made.elsewhere / f"stream-{backend}"), str(port)]
        with _running("upstream", made.command("stream_upstream.py", *arguments), made.elsewhere, port) as server:
            yield server


@contextmanager
def _running(name: str, command: list[str], directory: Path, port: int) -> Iterator[Server]:
    server = Server(name, command, directory, port)
    try:
        yield server
    finally:
        server.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
