"""The deliveries of one batch in one state, portion by portion along their index, whatever else the batch has."""

from __future__ import annotations

import sqlalchemy as sa

from outbox.delivery.states import State
from outbox.operations.tables import BATCH, DELIVERY
from outbox.store.databases import of

ORDER = (DELIVERY.c.batch_id, DELIVERY.c.state, DELIVERY.c.id)


def behind(connection: sa.Connection, batch_pk: int, state: State, after: int) -> list[sa.ColumnElement[bool]]:
    """Those behind the id `after`; to be ordered by ORDER."""
    begins = of(connection).begins_with
    return [begins(DELIVERY.c.batch_id, batch_pk), begins(DELIVERY.c.state, state.value), DELIVERY.c.id > after]


def only_one(connection: sa.Connection, name: str, environment: str | None) -> int | None:
    """The key of the batch with this name; None where there is none, or several in different environments."""
    named = sa.select(BATCH.c.id).where(BATCH.c.name == name).limit(2)
    if environment is not None:
        named = named.where(BATCH.c.environment == environment)
    found = connection.execute(named).scalars().all()
    return found[0] if len(found) == 1 else None
