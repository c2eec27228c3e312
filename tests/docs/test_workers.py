"""The examples in docs/workers.md and docs/latent-workers.md are what a master.cfg may say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from buildbot.config.loader import load_config
from buildbot.worker import libvirt

DOCS = Path(__file__).parents[2] / "docs"
EXAMPLES = [
    pytest.param(example, id=f"{name} {number}")
    for name in ("workers.md", "latent-workers.md")
    for number, example in enumerate(re.findall(r"```python\n(.*?)```", (DOCS / name).read_text(), re.S), 1)
]
HEAD = """
from buildbot.plugins import util, worker
c = BuildmasterConfig = {}
"""
TAIL = """
c.setdefault("workers", [worker.Worker("w", "p")])
c.setdefault("protocols", {"pb": {"port": 9989}})
c["builders"] = [util.BuilderConfig(
    name="b", workernames=[each.name for each in c["workers"]], factory=util.BuildFactory(),
    canStartBuild=globals().get("with_disk"),
)]
"""


@pytest.mark.parametrize("example", EXAMPLES)
def test_example(example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is read without a mistake, as if libvirt's package and the certificates that they name were there."""
    monkeypatch.setattr(libvirt, "find_spec", lambda name: True)
    example = re.sub(r"ssl:(\d+)[^\"]*", r"tcp:\1", example)
    (tmp_path / "master.cfg").write_text(HEAD + example + TAIL)
    assert load_config(tmp_path, "master.cfg").workers
