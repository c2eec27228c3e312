"""Passwords of users, under the name that the specification gives their place."""

from __future__ import annotations

from buildbot.util.passwords import check_passwd, encrypt

__all__ = ["check_passwd", "encrypt"]
