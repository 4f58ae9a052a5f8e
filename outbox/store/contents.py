"""What a message says, read piece by piece as it is sent: its big parts, and a text too long to come with a claim."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import Engine

from outbox.core.errors import DamagedMessageError
from outbox.message.sealed_bytes import HEADER, open_part, sealed_length
from outbox.store.blobs import SEALED
from outbox.store.databases import of
from outbox.store.messages import StoredMessage
from outbox.store.models import OutboxBlob, OutboxMessage
from outbox.store.reading import reading
from outbox.store.sealing import as_stored


class Contents:
    """Those of one database. Safe to use from several threads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._database = of(engine)

    def blob_size(self, digest: str) -> int:
        """Bytes of a big part. Raises DamagedMessageError where it is gone."""
        return int(self._of_blob(OutboxBlob.size, digest))

    def blob_part(self, digest: str, start: int, length: int) -> bytes:
        """Some of a big part, from byte `start` on. Raises DamagedMessageError where it is gone."""

        def read(start: int, length: int) -> bytes:
            found = self._some(OutboxBlob.data, start, length, OutboxBlob.digest == digest)
            if found is None:
                raise _missing(digest)
            return found

        if not digest.startswith(SEALED):
            return read(start, length)
        return open_part(read(0, HEADER), start, length, self.blob_size(digest), "blob", read)

    def text_part(self, message: StoredMessage, start: int, length: int) -> bytes:
        """Some of a long text, from byte `start` on. Raises DamagedMessageError where it is no longer what it was."""
        skeleton = OutboxMessage.skeleton
        is_sealed = message.data_key is not None
        size = sealed_length(message.skeleton_size) if is_sealed else message.skeleton_size
        whole = (OutboxMessage.id == message.pk, sa.func.length(as_stored(skeleton), type_=sa.BigInteger()) == size)

        def read(start: int, length: int) -> bytes:
            found = self._some(skeleton, start, length, *whole)
            if found is None:
                raise DamagedMessageError("its text is missing, or was changed while it was sent")
            return found

        if not is_sealed:
            return read(start, length)
        return open_part(read(0, HEADER), start, length, message.skeleton_size, "skeleton", read)

    def _some(self, column: Any, start: int, length: int, *where: sa.ColumnElement[bool]) -> bytes | None:
        part = sa.func.substr(as_stored(column), start + 1, length, type_=sa.LargeBinary())
        with reading(self._engine) as connection:
            found = connection.execute(self._database.latest(sa.select(part).where(*where))).scalar()
        return None if found is None else bytes(found)

    def _of_blob(self, what: Any, digest: str) -> Any:
        with reading(self._engine) as connection:
            statement = sa.select(what).where(OutboxBlob.digest == digest)
            value = connection.execute(self._database.latest(statement)).scalar()
        if value is None:
            raise _missing(digest)
        return value


def _missing(digest: str) -> DamagedMessageError:
    return DamagedMessageError(f"blob {digest} is missing: was outbox_blob purged by hand, or restored in part?")
