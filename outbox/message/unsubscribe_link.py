"""The links in List-Unsubscribe: each signed, and good for one address and one scope, without a session. Pure.

A token holds both, under a mask that is made of its signature, so that no log on the way has the address in clear. It
works as long as its key does: people unsubscribe by old messages, too.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

PURPOSE = "unsubscribe link"
"""For `secret_keys.derived`."""

_SIGNATURE = 16  # octets
_LONGEST = 700  # characters of a token: an address of 320 octets, a scope of 80


@dataclass(frozen=True, slots=True)
class Unsubscribing:
    """Who does not want what."""

    address: str
    scope: str  # as `delivery.suppression` has them

    @property
    def payload(self) -> bytes:
        """What is signed."""
        return f"{self.scope}\0{self.address}".encode()


def token(wanted: Unsubscribing, key: bytes) -> str:
    """Letters, digits, hyphens and underscores. The same for the same address and scope."""
    signature = _signature(wanted.payload, key)
    sealed = signature + _masked(wanted.payload, signature, key)
    return base64.urlsafe_b64encode(sealed).decode("ascii").rstrip("=")


def read(token: str, keys: Sequence[bytes]) -> Unsubscribing | None:
    """What a token of ours says; None for any other. `keys`: all are accepted."""
    if len(token) > _LONGEST or not token.isascii():
        return None
    try:
        sealed = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    signature, hidden = sealed[:_SIGNATURE], sealed[_SIGNATURE:]
    for key in keys:
        payload = _masked(hidden, signature, key)
        if hmac.compare_digest(signature, _signature(payload, key)):
            scope, _, address = payload.decode().partition("\0")
            return Unsubscribing(address, scope)
    return None


def _signature(payload: bytes, key: bytes) -> bytes:
    return hmac.digest(key, b"sign\0" + payload, "sha256")[:_SIGNATURE]


def _masked(text: bytes, signature: bytes, key: bytes) -> bytes:
    """`text` under a mask, or what is under it."""
    mask = bytearray()
    for number in count():
        if len(mask) >= len(text):
            break
        mask += hmac.digest(key, b"mask\0" + number.to_bytes(4, "big") + signature, "sha256")
    return bytes(one ^ other for one, other in zip(text, mask, strict=False))
