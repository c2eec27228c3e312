"""Passwords in files of Apache's ``htpasswd``."""

from __future__ import annotations

import hmac
from base64 import b64encode
from hashlib import md5, sha1
from pathlib import Path

import bcrypt
from twisted.logger import Logger

_log = Logger()

_ALPHABET = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
#: the bytes of the digest for the characters of an apr1 hash
_APR1_ORDER = ((0, 6, 12), (1, 7, 13), (2, 8, 14), (3, 9, 15), (4, 10, 5))


def check(path: Path, username: str, password: str) -> bool:
    """Whether the file has this user with this password.

    Raises:
        OSError: the file cannot be read.
    """
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        name, colon, stored = line.strip().partition(":")
        if colon and name == username and not name.startswith("#"):
            # further fields are of htdigest or of administrators' notes
            return matches(password, stored.partition(":")[0])
    return False


def matches(password: str, stored: str) -> bool:
    """Whether ``stored`` is a hash of ``password``; False for an unknown format."""
    given = password.encode()
    if stored.startswith(("$2y$", "$2a$", "$2b$")):
        try:
            # bcrypt uses 72 bytes; htpasswd cuts a longer password, the library refuses it
            return bcrypt.checkpw(given[:72], stored.encode())
        except ValueError:
            return False
    if stored.startswith("$apr1$"):
        made = apr1(given, stored.split("$")[2].encode())
    elif stored.startswith("{SHA}"):
        made = "{SHA}" + b64encode(sha1(given).digest()).decode()
    else:
        _log.error("htpasswd: a hash of an unknown kind; use htpasswd -B (bcrypt)")
        return False
    return hmac.compare_digest(made.encode(), stored.encode())


def apr1(password: bytes, salt: bytes) -> str:
    """Apache's variant of the MD5 crypt, as ``$apr1$salt$hash``."""
    salt = salt[:8]
    inner = md5(password + salt + password).digest()
    start = password + b"$apr1$" + salt
    start += (inner * (len(password) // 16 + 1))[: len(password)]
    length = len(password)
    while length:
        start += b"\0" if length & 1 else password[:1]
        length >>= 1
    digest = md5(start).digest()
    for turn in range(1000):
        text = password if turn & 1 else digest
        text += salt if turn % 3 else b""
        text += password if turn % 7 else b""
        digest = md5(text + (digest if turn & 1 else password)).digest()
    numbers = [((digest[a] << 16) | (digest[b] << 8) | digest[c], 4) for a, b, c in _APR1_ORDER]
    letters = [_ALPHABET[(number >> 6 * i) & 63] for number, count in [*numbers, (digest[11], 2)] for i in range(count)]
    return f"$apr1${salt.decode()}${''.join(letters)}"
