"""What a message says, read piece by piece as it is sent: its big parts, and a text too long to come with a claim."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import Engine

from outbox.core.errors import DamagedMessageError
from outbox.store.databases import of
from outbox.store.messages import StoredMessage
from outbox.store.models import OutboxBlob, OutboxMessage
from outbox.store.reading import reading


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
        return bytes(self._of_blob(sa.func.substr(OutboxBlob.data, start + 1, length, type_=sa.LargeBinary()), digest))

    def text_part(self, message: StoredMessage, start: int, length: int) -> bytes:
        """Some of a long text, from byte `start` on. Raises DamagedMessageError where it is no longer what it was."""
        skeleton = OutboxMessage.skeleton
        part = sa.select(sa.func.substr(skeleton, start + 1, length, type_=sa.LargeBinary())).where(
            OutboxMessage.id == message.pk, sa.func.length(skeleton) == message.skeleton_size
        )
        with reading(self._engine) as connection:
            found = connection.execute(self._database.latest(part)).scalar()
        if found is None:
            raise DamagedMessageError("its text is missing, or was changed while it was sent")
        return bytes(found)

    def _of_blob(self, what: Any, digest: str) -> Any:
        with reading(self._engine) as connection:
            statement = sa.select(what).where(OutboxBlob.digest == digest)
            value = connection.execute(self._database.latest(statement)).scalar()
        if value is None:
            raise DamagedMessageError(f"blob {digest} is missing: was outbox_blob purged by hand, or restored in part?")
        return value
