"""Who looked at what a message says: noted in the audit before it is shown, and only once in an hour."""

from __future__ import annotations

import sqlalchemy as sa

from outbox.operations import audit
from outbox.operations.conditions import MAX_ID
from outbox.operations.tables import AUDIT
from outbox.store.types import DbNow

READ = "read"
"""The audit's word for a look; the other words are changes."""

QUIET_SECONDS = 3600.0
"""Whoever loads the page again within this time leaves no second row."""


def note_look(connection: sa.Connection, id: int, what: str, *, by: str) -> bool:
    """Note that `by` is about to see `what` ("body", "attachment 1") of the delivery `id`.

    Whether a row was written: not if the same person saw the same within QUIET_SECONDS. Raises ValueError where `by`
    names nobody.
    """
    what = audit.cut(what, audit.MOST_FILTERS)
    same = sa.select(AUDIT.c.filters).where(
        AUDIT.c.id >= audit.looked_at_from(connection),
        AUDIT.c.action == READ,
        AUDIT.c.delivery_ids == f" {min(id, MAX_ID)} ",
        AUDIT.c.actor == audit.cut(by, audit.MOST_BY),
        AUDIT.c.at > DbNow(-QUIET_SECONDS),
    )
    if what in connection.execute(same).scalars().all():  # not compared in SQL: they may be sealed
        return False
    audit.write(connection, READ, by=by, count=1, filters=what, delivery_ids=[id])
    return True
