"""A keyed hash of an address: what suppressions are compared by, and what is left of a person who was erased."""

from __future__ import annotations

import hashlib
import unicodedata
from contextlib import suppress

LENGTH = 32
"""Characters of a digest: 128 bits, hexadecimal."""

ERASED = "erased@erased.invalid"
"""Stored in the place of the address of a person who was erased; nothing is ever sent there."""


def normal_form(address: str) -> str:
    """The form in which two addresses are one mailbox: in lower case and NFC, the domain in ASCII where it can be.

    Tags and dots stay: `ann+shop@` may have unsubscribed where `ann@` has not.
    """
    local, at, domain = address.strip().rpartition("@")
    local = unicodedata.normalize("NFC", local).lower()
    domain = unicodedata.normalize("NFC", domain).lower().rstrip(".")
    if not domain.isascii():
        import idna  # not at the top: most addresses are ASCII

        with suppress(UnicodeError):
            domain = idna.encode(domain, uts46=True).decode("ascii")
    return f"{local}{at}{domain}"


def digest(address: str, key: bytes) -> str:
    """LENGTH hexadecimal characters. `key`: of OUTBOX_ADDRESS_KEY, up to 64 bytes."""
    return hashlib.blake2b(normal_form(address).encode(), digest_size=LENGTH // 2, key=key).hexdigest()
