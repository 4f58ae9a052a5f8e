"""Remove what was reported long ago, and suppressions that ended long ago."""

from __future__ import annotations

import sqlalchemy as sa

from outbox.delivery.suppression import DISABLED_SECONDS
from outbox.operations.tables import EVENT, SUPPRESSION
from outbox.store.databases import of
from outbox.store.types import DbNow


def purge_events(connection: sa.Connection, older_than: float, limit: int) -> int:
    """Remove up to `limit` rows of each, recorded or ended over `older_than` seconds ago; the greater number.

    Along the indexes on these times. Events stay for a day at least: a second one within that time may suppress.
    """
    old = EVENT.c.recorded_at < DbNow(-max(older_than, DISABLED_SECONDS))
    events = _remove(connection, EVENT, EVENT.c.recorded_at, old, limit)
    return max(events, _remove(connection, SUPPRESSION, SUPPRESSION.c.until, _ended(older_than), limit))


def _ended(older_than: float) -> sa.ColumnElement[bool]:
    return SUPPRESSION.c.until < DbNow(-older_than)


def _remove(
    connection: sa.Connection, table: sa.Table, by: sa.Column[object], where: sa.ColumnElement[bool], limit: int
) -> int:
    """In two statements, so that a suppression that was made longer meanwhile stays."""
    ids = sa.select(table.c.id).where(where).order_by(by).limit(limit)
    found = list(connection.execute(of(connection).skip_locked(ids, to_delete=True)).scalars())
    if found:
        connection.execute(table.delete().where(table.c.id.in_(found), where))
    return len(found)
