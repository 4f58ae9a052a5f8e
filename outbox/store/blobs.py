"""Big parts, stored once per content.

Those of sealed messages are sealed with a key of their own, and stored once for all of these, under a keyed hash: a
dump tells neither what they are nor that they are something known.
"""

from __future__ import annotations

import hashlib

import sqlalchemy as sa

from outbox.core.errors import OutboxError
from outbox.message import sealed_bytes
from outbox.message.values import Blob
from outbox.store.databases import of
from outbox.store.models import OutboxBlob, table_of
from outbox.store.posting import Posting
from outbox.store.types import DbNow

_blob = table_of(OutboxBlob)

PATIENCE = 5
"""How often to look again for a row that another transaction made and took away meanwhile."""


SEALED = "s:"
"""How the digest of a sealed blob begins."""


def digest_of(blob: Blob, posting: Posting) -> str:
    """What the blob is stored under."""
    if posting.keyring is None:
        return blob.digest
    hashed = hashlib.blake2b(blob.data, digest_size=31, key=posting.address_key).hexdigest()
    return f"{SEALED}{hashed}"


def keep_blob(connection: sa.Connection, blob: Blob, posting: Posting) -> str:
    """See that the blob is stored and stays until this transaction ends; its digest."""
    digest = digest_of(blob, posting)
    database = of(connection)
    there = sa.select(_blob.c.digest).where(_blob.c.digest == digest)
    present = database.keep(there)  # a purge must not take it between here and the reference to it
    values = {"digest": digest, "size": len(blob.data), "created_at": DbNow()}
    for turn in range(PATIENCE):
        # where one that finds nothing locks the gap, it follows a plain one, or the insert
        may_lock = not database.locks_gaps or turn > 0 or connection.execute(there).first() is not None
        if may_lock and connection.execute(present).first() is not None:
            return digest
        if "data" not in values:
            ring = posting.keyring
            values["data"] = blob.data if ring is None else sealed_bytes.seal(blob.data, "blob", ring.new())
        connection.execute(database.insert_unless_there(_blob, ["digest"]).values(values))
    raise OutboxError(f"blob {digest} was purged while a message that needs it was enqueued. Enqueue it again.")
