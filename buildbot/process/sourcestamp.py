"""Source stamps for steps and users' functions."""

from __future__ import annotations

from typing import Any


class SourceStamp(dict[str, Any]):
    """A source stamp of the Data API; its fields are attributes, too, as users' functions expect."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"a source stamp has no {name!r}; it has {', '.join(self)}") from None
