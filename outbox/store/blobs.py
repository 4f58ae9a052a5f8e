"""Big parts, stored once per content."""

from __future__ import annotations

import sqlalchemy as sa

from outbox.core.errors import OutboxError
from outbox.message.values import Blob
from outbox.store.databases import of
from outbox.store.models import OutboxBlob, table_of
from outbox.store.types import DbNow

_blob = table_of(OutboxBlob)

PATIENCE = 5
"""How often to look again for a row that another transaction made and took away meanwhile."""


def keep_blob(connection: sa.Connection, blob: Blob) -> str:
    """See that the blob is stored and stays until this transaction ends; its digest."""
    digest = blob.digest
    database = of(connection)
    there = sa.select(_blob.c.digest).where(_blob.c.digest == digest)
    present = database.keep(there)  # a purge must not take it between here and the reference to it
    values = {"digest": digest, "size": len(blob.data), "data": blob.data, "created_at": DbNow()}
    for turn in range(PATIENCE):
        # where one that finds nothing locks the gap, it follows a plain one, or the insert
        may_lock = not database.locks_gaps or turn > 0 or connection.execute(there).first() is not None
        if may_lock and connection.execute(present).first() is not None:
            return digest
        connection.execute(database.insert_unless_there(_blob, ["digest"]).values(values))
    raise OutboxError(f"blob {digest} was purged while a message that needs it was enqueued. Enqueue it again.")
