"""Passwords of users: stored as argon2 hashes; hashes from a Buildbot database stay as they are there."""

from __future__ import annotations

import hashlib
import hmac
import re
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argon2 import PasswordHasher

#: Buildbot's hashes: a salt of 16 digits, and SHA-1 of password and salt
_BUILDBOT = re.compile(r"([0-9a-f]{16})([0-9a-f]{40})")


def encrypt(password: str) -> str:
    """The argon2id hash of a password, with its parameters and a salt of its own, for ``bb_password``."""
    return _hasher().hash(password)


def check_passwd(guess: str, stored: str) -> bool:
    """Whether a hash is of this password; false for a text that is no hash."""
    imported = _BUILDBOT.fullmatch(stored)
    if imported:
        salt, digest = imported.groups()
        return hmac.compare_digest(hashlib.sha1((guess + salt).encode()).hexdigest(), digest)
    from argon2.exceptions import InvalidHashError, VerificationError

    try:
        return _hasher().verify(stored, guess)
    except (VerificationError, InvalidHashError):
        return False


@cache
def _hasher() -> PasswordHasher:
    from argon2 import PasswordHasher  # not at the top: few masters know passwords

    return PasswordHasher()


def is_hash(text: str) -> bool:
    """Whether a text is a hash that `check_passwd` knows: argon2's or Buildbot's."""
    return _BUILDBOT.fullmatch(text) is not None or text.startswith("$argon2")
