"""Authorization: ``c['www']['authz']``."""

from __future__ import annotations

from buildbot.www.authz.authz import Authz, Forbidden, fnmatchStrMatcher, reStrMatcher

__all__ = ["Authz", "Forbidden", "fnmatchStrMatcher", "reStrMatcher"]
