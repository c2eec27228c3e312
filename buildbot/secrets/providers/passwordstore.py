"""A provider of secrets in ``pass``, the standard Unix password manager."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from twisted.internet.utils import getProcessOutputAndValue

from buildbot.config import checks
from buildbot.config.arguments import argument
from buildbot.config.errors import error
from buildbot.secrets.providers.base import SecretProviderBase

#: seconds that ``pass`` may take; gpg may wait for an agent
TIMEOUT_S = 60.0


class SecretInPass(SecretProviderBase):
    """Secrets in a password store: the value is the first line of the output of ``pass NAME``."""

    positional = ("gpgPassphrase", "dirname")

    gpgPassphrase = argument(None, checks.optional(checks.text), doc="the passphrase of the store's key")
    dirname = argument(None, checks.optional(checks.name), doc="the directory of the store; None: `~/.password-store`")

    def checkConfig(self, *args: Any, **kwargs: Any) -> None:
        """Report a missing program or store."""
        super().checkConfig(*args, **kwargs)
        dirname = self.by_name(args, kwargs).get("dirname")
        if shutil.which("pass") is None:
            error("SecretInPass: pass does not exist in PATH")
        if isinstance(dirname, str) and not Path(dirname).is_dir():
            error(f"SecretInPass: directory {dirname} does not exist")

    async def get(self, entry: str) -> str | None:
        """The first line of the program's output; None if the program fails."""
        if not entry or entry.startswith("-"):  # it would be an option
            return None
        environment = dict(os.environ)
        if self.dirname is not None:
            environment["PASSWORD_STORE_DIR"] = self.dirname
        if self.gpgPassphrase:
            environment["PASSWORD_STORE_GPG_OPTS"] = f"--passphrase {self.gpgPassphrase}"
        running = getProcessOutputAndValue("pass", [entry], env=environment, reactor=self.master.reactor)
        output, _, status = await running.addTimeout(TIMEOUT_S, self.master.reactor)
        if status != 0:
            return None
        first: str = output.decode("utf-8", "replace").partition("\n")[0]
        return first
