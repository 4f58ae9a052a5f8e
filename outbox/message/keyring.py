"""The keys that what is stored is sealed with: the newest wraps the key of each message, all of them unwrap."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from outbox.core.errors import ConfigurationError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
WRAPPED_BYTES = 40
"""Of a key of KEY_BYTES, wrapped (RFC 3394)."""

NAME_LENGTH = 8
"""Characters of a key's name."""

NOT_INSTALLED = (
    "OUTBOX_ENCRYPTION_KEYS is set, and the package `cryptography`, which it needs, is not installed. Install it: "
    "pip install 'flask-outbox[crypto]'."
)

_known: dict[str, Keyring] = {}  # by the name of a key: what this process can open
_address_keys: dict[bytes, None] = {}  # of `message.digest`, where recipients are sealed


class DataKey:
    """The key of one message, or of one big part, in clear and wrapped. Safe to use from several threads."""

    __slots__ = ("_plain", "cipher", "name", "wrapped")

    def __init__(self, plain: bytes, name: str, wrapped: bytes, cipher: AESGCM) -> None:
        self._plain = plain
        self.name = name  # of the key that wraps it
        self.wrapped = wrapped
        self.cipher = cipher

    def __repr__(self) -> str:
        return f"<DataKey wrapped by {self.name}>"

    def wrapped_by(self, ring: Keyring) -> DataKey:
        """The same key, wrapped by the newest of `ring`."""
        return self if self.name == ring.newest else ring.wrap(self._plain)


@dataclass(frozen=True, slots=False)
class Keyring:
    """The keys of one application, the newest first; all of them unwrap. No key in the `repr`."""

    keys: tuple[bytes, ...] = field(repr=False)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """What the keys are called, where they are spoken of: a hash, which tells nothing of the key."""
        return tuple(name_of(key) for key in self.keys)

    @property
    def newest(self) -> str:
        """The name of the key that wraps."""
        return self.names[0]

    def new(self) -> DataKey:
        """A fresh key, wrapped by the newest."""
        return self.wrap(os.urandom(KEY_BYTES))

    def wrap(self, plain: bytes) -> DataKey:
        """`plain`, wrapped by the newest."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        from cryptography.hazmat.primitives.keywrap import aes_key_wrap

        return DataKey(plain, self.newest, aes_key_wrap(self.keys[0], plain), AESGCM(plain))

    def unwrap(self, name: str, wrapped: bytes) -> DataKey:
        """Raises ValueError where `wrapped` was changed, KeyError where the key is not there."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap

        key = self.keys[self.names.index(name)] if name in self.names else None
        if key is None:
            raise KeyError(name)
        try:
            plain = aes_key_unwrap(key, wrapped)
        except InvalidUnwrap:
            raise ValueError("its key was changed") from None
        return DataKey(plain, name, wrapped, AESGCM(plain))

    def introduce(self, address_key: bytes) -> None:
        """Let this process open what these keys have sealed, wherever it is read.

        `address_key`: of `message.digest`, by which a sealed recipient is found.
        """
        _known.update(dict.fromkeys(self.names, self))
        _address_keys[address_key] = None


def opening(name: str) -> Keyring | None:
    """A keyring with the key `name`, of those that this process knows."""
    return _known.get(name)


def address_keys() -> tuple[bytes, ...]:
    """By which sealed recipients are to be looked for, too; none where nothing is sealed."""
    return tuple(_address_keys)


def forget() -> None:
    """Let this process open nothing any more; for tests."""
    _known.clear()
    _address_keys.clear()


def name_of(key: bytes) -> str:
    """What a key is called."""
    return hashlib.sha256(b"outbox key name" + key).hexdigest()[:NAME_LENGTH]


def keyring_of(keys: Sequence[bytes]) -> Keyring | None:
    """Of OUTBOX_ENCRYPTION_KEYS; None where there are none. Raises ConfigurationError without `cryptography`."""
    if not keys:
        return None
    try:
        import cryptography  # noqa: F401 - an extra
    except ImportError:
        raise ConfigurationError([NOT_INSTALLED]) from None
    return Keyring(tuple(keys))


def parse_key(text: str) -> bytes:
    """A key from URL-safe base64. Raises ValueError, which does not quote it."""
    try:
        key = base64.b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("holds a key that is not URL-safe base64") from None
    if len(key) != KEY_BYTES:
        raise ValueError(f"holds a key of {len(key)} bytes instead of {KEY_BYTES}")
    return key


def new_key() -> str:
    """A random key, as OUTBOX_ENCRYPTION_KEYS takes it."""
    return base64.urlsafe_b64encode(os.urandom(KEY_BYTES)).decode()
