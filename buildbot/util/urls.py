"""URLs as they may be shown."""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

#: of a web address the user may be a token, which is as secret as a password
_WEB_LOGIN = re.compile(r"\b((?:https?|ftps?)://)[^/?#\s]*@", re.IGNORECASE)
_PASSWORD = re.compile(r"\b([a-z][a-z0-9+.-]*://[^/?#\s:]*):[^/?#\s]*@", re.IGNORECASE)
#: of CVS: ``:pserver:user:password@host:/path``
_CVS_PASSWORD = re.compile(
    r"(:(?:[gkp]?server|sserver|sspi|ext|extssh)(?:;[^:\s]*)?:[^:@/\s]*):[^@/\s]*@", re.IGNORECASE
)


def without_password(text: str) -> str:
    """``text`` with no password in the URLs in it, nor in repositories of CVS.

    HTTP and FTP URLs lose the user, too. Other URLs (``ssh://git@host/``) keep it.
    """
    if "@" not in text:
        return text
    return _CVS_PASSWORD.sub(r"\1@", _PASSWORD.sub(r"\1@", _WEB_LOGIN.sub(r"\1", text)))


def without_only_password(url: str) -> str:
    """A URL without its password, but with its user."""
    return _PASSWORD.sub(r"\1@", url)


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
