"""The public path of `Redirect`, which users' avatar methods raise."""

from __future__ import annotations


class Redirect(Exception):
    """The browser is sent elsewhere.

    Args:
        url: the target.
    """

    def __init__(self, url: str | bytes) -> None:
        super().__init__(url)
        self.url = url.decode() if isinstance(url, bytes) else url
