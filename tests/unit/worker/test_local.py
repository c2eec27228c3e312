"""The configuration of local workers, and the restart of their agents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from twisted.internet.error import ProcessTerminated
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from buildbot.config.errors import ConfigErrors
from buildbot.config.loader import load_config
from buildbot.interfaces import AgentHost
from buildbot.worker import local
from buildbot.worker.local import LocalWorker


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"password": "x"}, "LocalWorker 'w': password cannot be given: the master makes one"),
        ({"workdir": ""}, "LocalWorker 'w': workdir must be a text that is not empty, not ''"),
        ({"workdr": "x"}, "LocalWorker 'w': unknown argument 'workdr'; did you mean 'workdir'?"),
    ],
)
def test_mistakes(arguments: dict[str, Any], message: str) -> None:
    """A wrong argument is an error with a message."""
    with pytest.raises(ConfigErrors) as caught:
        LocalWorker("w", **arguments)
    assert message in str(caught.value)


def test_without_the_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the agent's package the configuration has an error, which names the package to install."""
    monkeypatch.setattr(local, "find_spec", lambda name: None)
    with pytest.raises(ConfigErrors, match=r"LocalWorker 'w' needs the package buildbot-worker.*tenfold\[worker\]"):
        LocalWorker("w")


def test_no_port_is_needed(tmp_path: Path) -> None:
    """A configuration with only local workers needs no port."""
    text = """
from buildbot.plugins import util, worker
c = BuildmasterConfig = {"workers": [worker.LocalWorker("w"), EXTRA]}
c["builders"] = [util.BuilderConfig(name="b", workername="w", factory=util.BuildFactory())]
"""
    (tmp_path / "master.cfg").write_text(text.replace(", EXTRA", ""))
    assert load_config(tmp_path, "master.cfg").workers[0].name == "w"
    (tmp_path / "master.cfg").write_text(text.replace("EXTRA", "worker.Worker('v', 'p')"))
    with pytest.raises(ConfigErrors, match="needs a port that workers connect to"):
        load_config(tmp_path, "master.cfg")


class FailingReactor(Clock):
    """A reactor whose processes end at once, or cannot be started."""

    status: int | None = 1
    spawned = 0

    def spawnProcess(self, protocol: Any, *args: Any, **kwargs: Any) -> Any:
        self.spawned += 1
        if self.status is None:
            raise OSError("no memory")
        protocol.transport = protocol.pid = None
        self.callLater(0, protocol.processEnded, Failure(ProcessTerminated(self.status)))
        return self

    pid = 0


async def test_an_agent_that_does_not_stay(tmp_path: Path) -> None:
    """It is started again, after delays that double up to a minute; one that was shut down is not."""
    reactor: Any = FailingReactor()
    worker = LocalWorker("w")
    host = AgentHost(reactor, tmp_path, 1)
    await worker.start_agent(host)
    for spawned in range(1, 9):
        assert reactor.spawned == spawned
        reactor.advance(0)
        reactor.advance(min(2.0 ** (spawned - 1), 60.0))
    reactor.status = None
    reactor.advance(0)
    reactor.advance(60)
    reactor.status = 0
    reactor.advance(60)
    reactor.advance(0)
    assert reactor.getDelayedCalls() == []
    await worker.start_agent(host)
    assert reactor.spawned == 12
    reactor.advance(0)
