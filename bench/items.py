"""What is measured: each item is one job that all actors do in their own way."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Item:
    """One job.

    Attributes:
        name: what ``--only`` and the JSON file call it.
        title: what the table calls it.
        callers: how many call at the same time, one measurement each; the first is always one.
        units: how many things one call does; rates count things.
        group: calls per commit of the raw loop that the concurrent callers are compared with; 0 where the raw loop
            has no such variant.
        raw: whether there is a raw loop.
        upstream: whether upstream has the operation.
        ids: pending requests that one call uses up.
        finished, pending: how many complete and pending requests there are meanwhile; None leaves them as they are.
        slow: whether one call takes upstream a good part of a second or more.
    """

    name: str
    title: str
    callers: tuple[int, ...] = (1, 50)
    units: int = 1
    group: int = 100
    raw: bool = True
    upstream: bool = True
    ids: int = 0
    finished: int | None = None
    pending: int | None = None
    slow: bool = False

    @property
    def reads(self) -> bool:
        """Whether it writes nothing."""
        return self.group == 0


ITEMS = (
    Item("addChange", "addChange", pending=0),
    Item("addBuildset_1", "addBuildset, 1 builder", pending=0),
    Item("addBuildset_10", "addBuildset, 10 builders", pending=0, slow=True),
    Item("claim_1", "claim + complete, 1 id", ids=1),
    Item("claim_100", "claim + complete, 100 ids a call", callers=(1,), units=100, group=10, ids=100, slow=True),
    Item("setState", "setState"),
    Item("getBuild", "getBuild", group=0),
    Item("dataGetBuild", "data.get of a build", group=0),
    Item("getState", "getState", group=0),
    Item("getChange", "getChange, not cached", group=0),
    Item("getChange_cached", "getChange, cached", callers=(1,), group=0, raw=False),
    Item("lifecycle", "a build's life", callers=(1, 10), ids=1, slow=True),
    Item("pending_100", "getBuildRequests, 100 pending", callers=(1,), group=0, finished=100_000, pending=100),
    Item("pending_10000", "getBuildRequests, 10,000 pending", callers=(1,), group=0, finished=100_000, pending=10_000),
)

BY_NAME = {item.name: item for item in ITEMS}


def chosen(only: str) -> list[Item]:
    """The items whose name begins with one of some prefixes, separated by commas; all for the empty text.

    Raises ValueError for a prefix that no item has.
    """
    prefixes = [prefix for prefix in only.split(",") if prefix]
    for prefix in prefixes:
        if not any(item.name.startswith(prefix) for item in ITEMS):
            raise ValueError(f"no item begins with {prefix!r}; there are {', '.join(BY_NAME)}")
    return [item for item in ITEMS if not prefixes or item.name.startswith(tuple(prefixes))]
