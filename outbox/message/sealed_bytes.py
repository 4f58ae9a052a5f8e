"""Bytes that are sealed in segments, so that some of them can be read without the rest.

A header (magic, name of the key, wrapped key, start of the nonces), then segments of SEGMENT bytes, each with its tag.
A nonce says which segment it is and whether it is the last: none can be left out, moved or cut off.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from outbox.core.errors import DamagedMessageError
from outbox.message.keyring import NAME_LENGTH, WRAPPED_BYTES, DataKey, Keyring, opening
from outbox.message.sealed import CHANGED, missing_key

MAGIC = b"\0sealed1"
SEGMENT = 64 * 1024
"""Bytes in clear."""

_NAME = len(MAGIC)
_WRAPPED = _NAME + NAME_LENGTH
_SALT = _WRAPPED + WRAPPED_BYTES
_SALT_BYTES = 7
HEADER = _SALT + _SALT_BYTES
_TAG_BYTES = 16
_LOCKED = SEGMENT + _TAG_BYTES


class SealedWithoutKeyError(DamagedMessageError):
    """The key is not there: it may come back, and what was sealed is not lost."""


def is_sealed(data: bytes) -> bool:
    """Whether these are sealed bytes, or their beginning."""
    return data[:_NAME] == MAGIC


def key_name(data: bytes) -> str:
    """The name of the key that sealed bytes were sealed with."""
    return data[_NAME:_WRAPPED].decode("ascii", "replace")


def seal(data: bytes, purpose: str, key: DataKey) -> bytes:
    """`data`, sealed. `purpose`: the name of the column."""
    salt = os.urandom(_SALT_BYTES)
    pieces = [MAGIC, key.name.encode(), key.wrapped, salt]
    starts = range(0, len(data), SEGMENT) or range(1)
    for number, start in enumerate(starts):
        nonce = _nonce(salt, number, last=number == len(starts) - 1)
        pieces.append(key.cipher.encrypt(nonce, data[start : start + SEGMENT], purpose.encode()))
    return b"".join(pieces)


def clear_length(length: int) -> int:
    """How many bytes are sealed in `length` bytes."""
    rest = length - HEADER
    return rest - -(-rest // _LOCKED) * _TAG_BYTES


def sealed_length(length: int) -> int:
    """How many bytes `length` bytes are, sealed."""
    return HEADER + length + max(1, -(-length // SEGMENT)) * _TAG_BYTES


def open_all(data: bytes, purpose: str) -> bytes:
    """What is sealed in `data`. Raises DamagedMessageError."""
    return open_part(
        data[:HEADER], 0, clear_length(len(data)), clear_length(len(data)), purpose, lambda a, n: data[a : a + n]
    )


def open_part(
    header: bytes, start: int, length: int, size: int, purpose: str, read: Callable[[int, int], bytes]
) -> bytes:
    """`length` bytes from `start` on, of `size` in all. `read(start, length)`: of the sealed bytes.

    Raises DamagedMessageError.
    """
    key = _key(header)
    end = min(start + length, size)
    first, last = start // SEGMENT, max(0, end - 1) // SEGMENT
    final = max(0, size - 1) // SEGMENT
    locked = read(HEADER + first * _LOCKED, (last - first + 1) * _LOCKED)
    clear = []
    for number in range(first, last + 1):
        segment = locked[(number - first) * _LOCKED : (number - first + 1) * _LOCKED]
        clear.append(_opened(key, _nonce(header[_SALT:HEADER], number, last=number == final), segment, purpose))
    begin = start - first * SEGMENT
    return b"".join(clear)[begin : begin + max(0, end - start)]


def header_again(header: bytes, ring: Keyring) -> bytes | None:
    """The header with its key wrapped by the newest of `ring`; None where that can't be."""
    try:
        key = ring.unwrap(key_name(header), header[_WRAPPED:_SALT]).wrapped_by(ring)
    except (ValueError, KeyError):
        return None
    return MAGIC + key.name.encode() + key.wrapped + header[_SALT:HEADER]


def _key(header: bytes) -> DataKey:
    name = key_name(header)
    ring = opening(name)
    if ring is None:
        raise SealedWithoutKeyError(f"it is {missing_key(name)}")
    try:
        return ring.unwrap(name, header[_WRAPPED:_SALT])
    except ValueError:
        raise DamagedMessageError(f"it is {CHANGED}") from None


def _opened(key: DataKey, nonce: bytes, segment: bytes, purpose: str) -> bytes:
    from cryptography.exceptions import InvalidTag

    try:
        return key.cipher.decrypt(nonce, segment, purpose.encode())
    except (InvalidTag, ValueError):
        raise DamagedMessageError(f"it is {CHANGED}") from None


def _nonce(salt: bytes, number: int, *, last: bool) -> bytes:
    return salt + number.to_bytes(4, "big") + (b"\1" if last else b"\0")
