"""Signed addresses for what comes back: `bounce+TOKEN@OUTBOX_BOUNCE_DOMAIN`. Pure.

A token names a message (the recipient is then in the report) or one delivery. It has 40 hexadecimal digits whatever it
names, so that mail servers may change their case, and tells nobody how many messages there are: the number is hidden
by a mask that is made of the signature. With another key, or for another environment, it is as good as none.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

LOCAL = "bounce"
"""The user or alias whose mail is for `outbox-bounce`."""

_SIGNATURE, _NUMBER = 12, 8  # octets
_TOKEN = re.compile(rf"(?<![0-9a-z])[0-9a-f]{{{2 * (_SIGNATURE + _NUMBER)}}}(?![0-9a-z])", re.IGNORECASE)
_MOST_LOOKED_AT = 20  # tokens in one report; a stranger may write as many as he likes


@dataclass(frozen=True, slots=True)
class Named:
    """What a valid token stands for: one of the two."""

    message_pk: int | None = None
    delivery_id: int | None = None


class BounceAddresses:
    """Makes and reads them. `keys`: the first signs, all are accepted."""

    def __init__(self, domain: str, keys: Sequence[bytes], environment: str = "") -> None:
        self._domain = domain
        self._keys = tuple(keys)
        self._environment = environment.encode()

    def of_message(self, message_pk: int) -> str:
        """The token for all recipients of a message."""
        return self._signed(self._keys[0], message_pk << 1).hex()

    def of_delivery(self, delivery_id: int) -> str:
        """The token for one recipient of a message."""
        return self._signed(self._keys[0], delivery_id << 1 | 1).hex()

    def address(self, token: str) -> str:
        """The address with this token."""
        return f"{LOCAL}+{token}@{self._domain}"

    def read(self, texts: Iterable[str]) -> Named | None:
        """What the first valid token in `texts` stands for; None: there is none."""
        looked_at = 0
        for text in texts:
            for found in _TOKEN.finditer(text):
                if (named := self._verified(bytes.fromhex(found[0]))) is not None:
                    return named
                looked_at += 1
                if looked_at == _MOST_LOOKED_AT:
                    return None
        return None

    def _verified(self, token: bytes) -> Named | None:
        for key in self._keys:
            number = int.from_bytes(_masked(key, token[:_SIGNATURE], token[_SIGNATURE:]), "big")
            if hmac.compare_digest(token, self._signed(key, number)):
                return Named(delivery_id=number >> 1) if number & 1 else Named(message_pk=number >> 1)
        return None

    def _signed(self, key: bytes, number: int) -> bytes:
        plain = number.to_bytes(_NUMBER, "big")
        signature = hmac.digest(key, b"number\0" + plain + self._environment, "sha256")[:_SIGNATURE]
        return signature + _masked(key, signature, plain)


def _masked(key: bytes, signature: bytes, number: bytes) -> bytes:
    mask = hmac.digest(key, b"mask\0" + signature, "sha256")
    return bytes(one ^ other for one, other in zip(number, mask, strict=False))
