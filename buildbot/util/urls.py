"""URLs as they may be shown."""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

#: of a web address the user may be a token, which is as secret as a password
_WEB_LOGIN = re.compile(r"\b((?:https?|ftps?)://)[^/?#\s]*@", re.IGNORECASE)
_PASSWORD = re.compile(r"\b([a-z][a-z0-9+.-]*://[^/?#\s:]*):[^/?#\s]*@", re.IGNORECASE)


def without_password(text: str) -> str:
    """``text`` with no password in the URLs in it.

    HTTP and FTP URLs lose the user, too. Other URLs (``ssh://git@host/``) keep it.
    """
    return _PASSWORD.sub(r"\1@", _WEB_LOGIN.sub(r"\1", text)) if "@" in text else text


def web_login(url: str) -> tuple[str, str | None] | None:
    """User and password in an HTTP URL, the password None if it has only a user; None if it has no login."""
    try:
        parts = urlsplit(url)
    except ValueError:  # not a URL
        return None
    if parts.scheme not in ("http", "https") or not (parts.username or parts.password):
        return None
    return unquote(parts.username or ""), None if parts.password is None else unquote(parts.password)


def public_url(url: str) -> str:
    """A URL without password, and without query and fragment, which may hold tokens."""
    return without_password(url.partition("#")[0].partition("?")[0])
