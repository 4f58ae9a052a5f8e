"""What a database takes in one statement: MySQL and MariaDB no more than `max_allowed_packet`.

A longer one costs the connection, and with it the caller's transaction. So nothing longer is sent: big parts go in
pieces, and a text that is too long is refused before.
"""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa

from outbox.core.errors import MessageTooLargeError
from outbox.message.values import BASE64_CUT, Blob, Composed
from outbox.store.databases import of


def size_of(composed: Composed) -> int:
    """Bytes of a message's row, but for what is short. Headers are in the skeleton and, decoded, beside it."""
    utf8 = 0 if composed.utf8 is None else 2 * len(composed.utf8.header)
    return len(composed.skeleton) + utf8 + sum(len(name) + 4 * len(value) for name, value in composed.headers)


def check(connection: sa.Connection, composed: Composed) -> None:
    """Raises MessageTooLargeError where the text of the message is too long for one statement."""
    database = of(connection)
    most = database.longest_value(connection)
    if most is None or (size := size_of(composed)) <= most:
        return
    raise MessageTooLargeError(
        "body",
        f"text, HTML and headers are {size:,} bytes, and the database takes {most:,} at most in one statement "
        "(its max_allowed_packet)",
        f"Attach what is long: attachments are written in pieces. {database.for_longer(size)}",
    )


def pieces(connection: sa.Connection, blobs: tuple[tuple[int, Blob], ...]) -> Iterator[tuple[int, Blob]]:
    """The blobs in the order of their places, none longer than what can be written at once.

    Cut where lines of base64 end: the pieces together are the same bytes on the wire as the whole.
    """
    most = of(connection).longest_value(connection)
    for offset, blob in blobs:
        if most is None or len(blob.data) <= most:
            yield offset, blob
        else:
            step = max(1, most // BASE64_CUT) * BASE64_CUT
            for start in range(0, len(blob.data), step):
                yield offset, Blob(blob.data[start : start + step])
