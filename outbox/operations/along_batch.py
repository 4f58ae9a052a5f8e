"""The deliveries of one batch in one state, portion by portion along their index, whatever else the batch has."""

from __future__ import annotations

import sqlalchemy as sa

from outbox.delivery.states import State
from outbox.operations.conditions import batches_named
from outbox.operations.tables import DELIVERY
from outbox.store.databases import of

ORDER = (DELIVERY.c.batch_id, DELIVERY.c.state, DELIVERY.c.id)


def behind(connection: sa.Connection, batch_pk: int, state: State, after: int) -> list[sa.ColumnElement[bool]]:
    """Those behind the id `after`; to be ordered by ORDER."""
    begins = of(connection).begins_with
    return [begins(DELIVERY.c.batch_id, batch_pk), begins(DELIVERY.c.state, state.value), DELIVERY.c.id > after]


def only_one(connection: sa.Connection, name: str, environment: str | None) -> int | None:
    """The key of the batch with this name; None where there is none, or several in different environments."""
    found = connection.execute(batches_named(name, environment).limit(2)).scalars().all()
    return found[0] if len(found) == 1 else None
