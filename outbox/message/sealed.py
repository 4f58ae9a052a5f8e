"""Texts and values that are sealed, one by one: `sealed:1:<name of the key>:<base64>`.

A sealed value holds all that opening it takes, but for the keyring: the wrapped key of its message, a nonce, and
what AES-GCM made of it. The name of its column is part of what is authenticated, so a value that is moved to
another column does not open.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from typing import Any

from outbox.message.keyring import NAME_LENGTH, WRAPPED_BYTES, DataKey, Keyring, opening

_START = "sealed:"
PREFIX = f"{_START}1:"
_CLEAR = f"{_START}0:"
START = len(PREFIX) + NAME_LENGTH + 1
"""Where in a sealed text the base64 begins."""

_NONCE_BYTES = 12
_TAG_BYTES = 16
_OVERHEAD = WRAPPED_BYTES + _NONCE_BYTES + _TAG_BYTES


class Opened(str):
    """A text that was sealed. What is written in its place is to be sealed, too: `like`."""

    key: DataKey | None = None


class Unreadable(Opened):
    """What is shown in the place of a text that can't be opened: `why`, in parentheses."""

    why: str
    missing: bool = False  # its key is not there; else it was changed


def is_sealed(value: Any) -> bool:
    """Whether it is a sealed text."""
    return isinstance(value, str) and value.startswith(PREFIX)


def kept_clear(text: str) -> str:
    """A text that is not to be sealed, so that it is not taken for a sealed one: `shown_clear` is the way back."""
    return f"{_CLEAR}{text}" if text.startswith(_START) else text


def shown_clear(text: str) -> str:
    """A text that is not sealed, as it was before `kept_clear`."""
    return text.removeprefix(_CLEAR)


def key_name(value: str) -> str:
    """The name of the key that a sealed text was sealed with."""
    return value[len(PREFIX) : START - 1]


def room(length: int) -> int:
    """How many bytes of UTF-8 a column of `length` characters holds, sealed."""
    return (length - START) // 4 * 3 - _OVERHEAD


def seal(text: str, purpose: str, key: DataKey, length: int | None = None) -> str:
    """`text`, sealed; cut to what a column of `length` characters holds. `purpose`: the name of the column."""
    plain = text.encode("utf-8", "surrogatepass")
    if length is not None and len(plain) > (most := room(length)):
        plain = plain[: most - 3].decode("utf-8", "ignore").encode() + "…".encode()
    nonce = os.urandom(_NONCE_BYTES)
    whole = key.wrapped + nonce + key.cipher.encrypt(nonce, plain, purpose.encode())
    return f"{PREFIX}{key.name}:{base64.urlsafe_b64encode(whole).decode()}"


def open_text(value: str, purpose: str) -> str:
    """A sealed text in clear: `Opened`, or `Unreadable`. Never raises, since it is one of many."""
    name = key_name(value)
    ring = opening(name)
    if ring is None:
        return _unreadable(missing_key(name), missing=True)
    try:
        whole = base64.b64decode(value[START:], altchars=b"-_", validate=True)
        key = ring.unwrap(name, whole[:WRAPPED_BYTES])
        plain = _decrypted(key, whole[WRAPPED_BYTES:], purpose).decode("utf-8", "surrogatepass")
    except (ValueError, binascii.Error):  # UnicodeError is one
        return _unreadable(CHANGED)
    opened = Opened(plain)
    opened.key = key.wrapped_by(ring)
    return opened


def open_json(value: str, purpose: str) -> Any:
    """The same of a value that was sealed as JSON."""
    text = open_text(value, purpose)
    return text if isinstance(text, Unreadable) else json.loads(text)


def seal_json(value: Any, purpose: str, key: DataKey) -> str:
    """A value as JSON, sealed."""
    return seal(json.dumps(value, ensure_ascii=False), purpose, key)


def like(before: Any, text: str | None, purpose: str, length: int | None = None) -> str | None:
    """`text`, sealed if what it replaces was sealed."""
    key = before.key if isinstance(before, Opened) else None
    return text if text is None or key is None else seal(text, purpose, key, length)


def json_like(before: Any, value: Any, purpose: str) -> Any:
    """The same for JSON. `before`: a text of the same row."""
    key = before.key if isinstance(before, Opened) else None
    return value if value is None or key is None else seal_json(value, purpose, key)


def wrapped_again(value: str, ring: Keyring) -> str | None:
    """A sealed text with its key wrapped by the newest of `ring`; None where that can't be. Nothing is decrypted."""
    try:
        whole = base64.b64decode(value[START:], altchars=b"-_", validate=True)
        key = ring.unwrap(key_name(value), whole[:WRAPPED_BYTES]).wrapped_by(ring)
    except (ValueError, KeyError):
        return None
    return f"{PREFIX}{key.name}:{base64.urlsafe_b64encode(key.wrapped + whole[WRAPPED_BYTES:]).decode()}"


def missing_key(name: str) -> str:
    """What to say of a key that is not there."""
    return f"sealed with the key {name}, which is not in OUTBOX_ENCRYPTION_KEYS"


CHANGED = "sealed, and changed since: it does not open"


def _decrypted(key: DataKey, rest: bytes, purpose: str) -> bytes:
    from cryptography.exceptions import InvalidTag

    try:
        return key.cipher.decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], purpose.encode())
    except InvalidTag:
        raise ValueError(CHANGED) from None


def _unreadable(why: str, *, missing: bool = False) -> Unreadable:
    text = Unreadable(f"({why})")
    text.why, text.missing = why, missing
    return text
