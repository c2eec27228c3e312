"""The dialect for senders that only report news: it lets pollers poll at once."""

from __future__ import annotations

from collections.abc import Sequence

from buildbot.resources.changesources import ChangeSourceDict
from buildbot.www.hooks.dialect import Delivery, Dialect, RefusedDeliveryError, form
from buildbot.www.http.messages import Request


class PollerDialect(Dialect):
    """Lets pollers poll, each on the master that runs it."""

    takes_get = True

    async def receive(self, request: Request) -> Delivery:
        """As ``Dialect.receive``; the changes come later, from the pollers."""
        wanted = form(request).get("poller", [])
        known: list[ChangeSourceDict] = await self.data.get({}, ("changesources",))
        sources = {each["name"]: each["changesourceid"] for each in known}
        given: Sequence[str] | None = self.options.get("allowed")
        allowed = list(sources) if given is None else given
        missing = [name for name in wanted if name not in sources or name not in allowed]
        if missing:
            raise RefusedDeliveryError(f"Could not find pollers: {', '.join(missing)}")
        for name in wanted or [name for name in sources if name in allowed]:
            await self.data.control("poll", {}, ("changesources", sources[name]))
        return Delivery()
