"""What MySQL and MariaDB take in one statement: `max_allowed_packet`.

A longer one costs the connection, and with it the caller's transaction. So nothing longer is sent: big parts go in
pieces, and a text that is too long is refused before.
"""

from __future__ import annotations

from collections.abc import Iterator
from weakref import WeakKeyDictionary

import sqlalchemy as sa

from outbox.core.errors import MessageTooLargeError
from outbox.message.values import BASE64_CUT, Blob, Composed
from outbox.store.dialect import MYSQL_FAMILY

_REST = 64 * 1024
"""Bytes for the rest of the statement."""

_ESCAPED = 2
"""Drivers escape bytes, or write them in hexadecimal digits."""

_limits: WeakKeyDictionary[sa.Dialect, int] = WeakKeyDictionary()
"""By the dialect, which is one for each engine: asked once."""


def longest_value(packet: int) -> int:
    """How many bytes of one value a statement of `packet` bytes can carry for certain."""
    return max(0, packet - _REST) // _ESCAPED


def packet_for(size: int) -> int:
    """The `max_allowed_packet` that a value of `size` bytes needs."""
    return size * _ESCAPED + _REST


def limit(connection: sa.Connection) -> int | None:
    """The longest value in bytes that can be written in one statement; None: whatever fits into memory."""
    dialect = connection.dialect
    if dialect.name not in MYSQL_FAMILY:
        return None
    if dialect not in _limits:
        packet = int(connection.exec_driver_sql("SELECT @@max_allowed_packet").scalar_one())
        _limits[dialect] = longest_value(packet)
    return _limits[dialect]


def size_of(composed: Composed) -> int:
    """Bytes of a message's row, but for what is short. Headers are in the skeleton and, decoded, beside it."""
    utf8 = 0 if composed.utf8 is None else 2 * len(composed.utf8.header)
    return len(composed.skeleton) + utf8 + sum(len(name) + 4 * len(value) for name, value in composed.headers)


def check(connection: sa.Connection, composed: Composed) -> None:
    """Raises MessageTooLargeError where the text of the message is too long for one statement."""
    most, size = limit(connection), size_of(composed)
    if most is None or size <= most:
        return
    needed = -(-packet_for(size) // 2**20)
    raise MessageTooLargeError(
        "body",
        f"text, HTML and headers are {size:,} bytes, and the database takes {most:,} at most in one statement "
        "(its max_allowed_packet)",
        f"Attach what is long: attachments are written in pieces. Or set max_allowed_packet to {needed} MiB or more.",
    )


def pieces(connection: sa.Connection, blobs: tuple[tuple[int, Blob], ...]) -> Iterator[tuple[int, Blob]]:
    """The blobs in the order of their places, none longer than what can be written at once.

    Cut where lines of base64 end: the pieces together are the same bytes on the wire as the whole.
    """
    most = limit(connection)
    for offset, blob in blobs:
        if most is None or len(blob.data) <= most:
            yield offset, blob
        else:
            step = max(1, most // BASE64_CUT) * BASE64_CUT
            for start in range(0, len(blob.data), step):
                yield offset, Blob(blob.data[start : start + step])
