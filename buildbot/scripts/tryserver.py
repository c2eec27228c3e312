"""``buildbot tryserver``"""

from __future__ import annotations

import os
import sys
import time
from hashlib import md5
from pathlib import Path

import click

_MOST_BYTES = 100_000_000


@click.command("tryserver")
@click.option(
    "--jobdir", required=True, type=click.Path(file_okay=False, path_type=Path), help="The directory of the scheduler."
)
def command(jobdir: Path) -> None:
    """Read a job from standard input and put it into a directory that a Try_Jobdir scheduler watches.

    `buildbot try --connect=ssh` runs this on the master's machine. The directory is a maildir: it has `new`, `cur` and
    `tmp`.
    """
    missing = [name for name in ("new", "tmp") if not (jobdir / name).is_dir()]
    if missing:
        raise click.ClickException(
            f"'{jobdir}' is no maildir: it has no {' and no '.join(missing)}; make one with: mkdir -p "
            f"'{jobdir}'/{{new,cur,tmp}}"
        )
    job = sys.stdin.buffer.read(_MOST_BYTES + 1)
    if len(job) > _MOST_BYTES:
        raise click.ClickException(f"the job has more than {_MOST_BYTES} bytes")
    if not job:
        raise click.ClickException("there is no job on standard input")
    try:
        deliver(jobdir, job)
    except OSError as reason:
        raise click.ClickException(f"'{jobdir}' cannot be written: {reason.strerror}") from None


def deliver(jobdir: Path, job: bytes) -> None:
    """Put a job into a maildir; a scheduler that watches the maildir sees all of the job or nothing.

    Raises:
        OSError: it cannot be written.
    """
    digest = md5(job, usedforsecurity=False).hexdigest()
    name = f"{time.time():.6f}-{digest}"
    temporary = jobdir / "tmp" / name
    with temporary.open("xb") as file:
        file.write(job)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(jobdir / "new" / name)
