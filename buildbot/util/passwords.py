"""Passwords of users: kept only as argon2 hashes."""

from __future__ import annotations

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

_hasher = PasswordHasher()


def encrypt(password: str) -> str:
    """The argon2id hash of a password, with its parameters and a salt of its own: what ``bb_password`` holds."""
    return _hasher.hash(password)


def check_passwd(guess: str, stored: str) -> bool:
    """Whether a password is the one that a hash was made of; false too for what is no hash."""
    try:
        return _hasher.verify(stored, guess)
    except (VerificationError, InvalidHashError):
        return False
