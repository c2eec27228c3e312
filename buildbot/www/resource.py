"""What answers of people's own avatar methods may be, under the name that configurations import."""

from __future__ import annotations


class Redirect(Exception):
    """The browser is sent elsewhere.

    Args:
        url: where to.
    """

    def __init__(self, url: str | bytes) -> None:
        super().__init__(url)
        self.url = url.decode() if isinstance(url, bytes) else url
