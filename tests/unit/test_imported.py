"""What a master imports: each module takes memory in every master, and time at every start."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from buildbot.master import openMaster

#: packages that an ordinary master does not need before something asks for them
UNUSED = (
    # templates, passwords, metrics, requests to other servers, workers over MessagePack, WebSockets
    *("jinja2", "markupsafe", "argon2", "prometheus_client", "treq", "twisted.web", "requests", "msgpack"),
    "wsproto",
    # drivers of other databases, migrations
    *("psycopg", "pymysql", "MySQLdb", "alembic", "sqlalchemy.dialects.postgresql", "sqlalchemy.dialects.mysql"),
    # kinds that the configuration does not name
    *("buildbot.steps", "buildbot.reporters", "buildbot.statistics", "buildbot.machine", "buildbot.importing"),
    *("buildbot.changes.gitpoller", "buildbot.schedulers.timed", "buildbot.worker.ec2", "buildbot.manhole"),
    *("buildbot.www.hooks.github", "buildbot.www.badges", "buildbot.www.oauth2", "buildbot.www.ldapuserinfo"),
    *("docker", "boto3", "openstack", "ldap3", "cairosvg", "twisted.conch", "twisted.mail", "twisted.words"),
    # of Python, for mistakes and figures
    *("difflib", "statistics", "unittest", "pydoc", "xml"),
)
CONFIG = """
from buildbot.plugins import schedulers, util, worker

c = BuildmasterConfig = {
    "db_url": "sqlite:///state.sqlite",
    "buildbotURL": "http://127.0.0.1:1/",
    "www": {"port": "tcp:0:interface=127.0.0.1"},
    "protocols": {"pb": {"port": "tcp:0:interface=127.0.0.1"}},
    "workers": [worker.Worker("w", "pw")],
    "builders": [util.BuilderConfig(name="b", workernames=["w"], factory=util.BuildFactory())],
    "schedulers": [schedulers.ForceScheduler(name="force", builderNames=["b"])],
}
"""
PROGRAM = """
import os, sys
from pathlib import Path
from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred
from buildbot.master import BuildMaster

master = BuildMaster(Path(sys.argv[1]), "master.cfg", reactor=reactor)

async def run():
    await master.start()
    print(*sys.modules, sep="\\n", flush=True)
    await master.stop()
    reactor.stop()

def failed(failure):
    failure.printTraceback()
    os._exit(1)

reactor.callWhenRunning(lambda: ensureDeferred(run()).addErrback(failed))
reactor.run()
"""


async def test_ordinary_master(tmp_path: Path) -> None:
    """A master with a web server, a worker and a builder on SQLite imports what it needs, and little else."""
    made = await openMaster(f"sqlite:///{tmp_path / 'state.sqlite'}", name="made", upgrade=True)
    await made.close()
    (tmp_path / "master.cfg").write_text(CONFIG)
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    imported = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    assert "buildbot.www.site" in imported
    found = [name for name in imported for each in UNUSED if name == each or name.startswith(f"{each}.")]
    assert found == []
