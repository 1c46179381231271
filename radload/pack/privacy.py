"""Names that may leave the private folder: keyed pseudonyms. The key stays there.

An unkeyed hash of a patient number is reversed by trying all numbers; HMAC with a secret key (RFC 2104) is not.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

KEY_BYTES = 32
LEAST_KEY_BYTES = 16
PSEUDONYM_HEX = 32  # 128 bits: no two of 10**9 identities collide


def new_key() -> bytes:
    """A fresh pseudonym key from the operating system's generator."""
    return secrets.token_bytes(KEY_BYTES)


def parse_key(text: str) -> bytes:
    """A key from its hexadecimal digits, white space around and between them left out. Raises ValueError for anything else."""
    key = bytes.fromhex("".join(text.split()))
    if len(key) < LEAST_KEY_BYTES:
        raise ValueError(f"a key of {len(key)} bytes")
    return key


def key_id(key: bytes) -> str:
    """Which key it is, without telling it: the first 16 hex digits of its SHA-256."""
    return hashlib.sha256(key).hexdigest()[:16]


def pseudonym(key: bytes, domain: str, identity: str) -> str:
    """HMAC-SHA256 of `identity` in `domain` ("patient", "study", "series"), 128 bits in hex.

    The domain keeps equal identities of different kinds apart.
    """
    message = domain.encode() + b"\0" + identity.encode("utf-8", "surrogateescape")
    return hmac.new(key, message, hashlib.sha256).hexdigest()[:PSEUDONYM_HEX]


def printable(text: str) -> str:
    """`text` as valid Unicode: bytes of a file name that are no UTF-8 become \\xNN."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
