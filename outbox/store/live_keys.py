"""Keys that queued mail was sealed with, and that this process does not have."""

from __future__ import annotations

import sqlalchemy as sa

from outbox.message.keyring import opening
from outbox.message.sealed import is_sealed, key_name
from outbox.store.due import is_live
from outbox.store.models import OutboxDelivery, table_of
from outbox.store.sealing import as_stored

LOOKED_AT = 1_000
"""The next deliveries to become due: looking at all of a long queue would take too long at each start."""

_delivery = table_of(OutboxDelivery)


def missing_keys(connection: sa.Connection) -> list[str]:
    """Their names."""
    order = (_delivery.c.lane, _delivery.c.due_at, _delivery.c.id)
    recipient = as_stored(_delivery.c.recipient)
    live = sa.select(recipient).where(is_live()).order_by(*order).limit(LOOKED_AT)
    names = {key_name(one) for one in connection.execute(live).scalars() if is_sealed(one)}
    return sorted(name for name in names if opening(name) is None)
