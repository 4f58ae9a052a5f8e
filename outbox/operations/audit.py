"""Who changed what, and when: one row for each change by a person, written in the change's own transaction.

Who read what a message says has a row, too (`looks.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from outbox.operations.tables import AUDIT
from outbox.operations.times import storable
from outbox.store.models import new_id
from outbox.store.types import DbNow

FEW = 50
"""Up to so many, the ids of the deliveries are kept; of more only how many."""

MOST_BY = 255
MOST_FILTERS = 1_000
MOST_NOTE = 500
LOOKED_AT = 20_000
"""Rows searched for what was done to one delivery."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One change."""

    id: int
    at: datetime
    action: str  # "requeue", "cancel", "mark-sent", "purge", "pause", "resume", …; "read": `looks`
    by: str
    count: int  # deliveries (purge: messages; pause, resume: pauses)
    filters: str  # what was asked for, in the words of the filter
    note: str | None
    delivery_ids: tuple[int, ...]  # where they were FEW


class Trail:
    """The row of one change that may take several transactions: written with the first, added to by the others."""

    def __init__(self, action: str, *, by: str, filters: str = "", note: str | None = None) -> None:
        """Raises ValueError where `by` names nobody."""
        if not by.strip():
            raise ValueError("say who does it: `by` is empty")
        self._row: dict[str, Any] = {
            "action": action,
            "actor": cut(by, MOST_BY),
            "filters": cut(filters, MOST_FILTERS),
            "note": None if not note else cut(note, MOST_NOTE),
        }
        self._id: int | None = None
        self._count = 0
        self._ids: list[int] = []

    def add(self, connection: sa.Connection, count: int, delivery_ids: Sequence[int] = ()) -> None:
        """`count` more were changed in this transaction; of nothing no row is written."""
        if not count:
            return
        self._count += count
        self._ids = [*self._ids, *delivery_ids][: FEW + 1]
        values = {"count": self._count, "delivery_ids": _kept(self._ids)}
        if self._id is None:
            inserted = connection.execute(AUDIT.insert().values(**self._row, **values, at=DbNow()))
            self._id = new_id(inserted)
        else:
            connection.execute(AUDIT.update().where(AUDIT.c.id == self._id).values(**values))


def write(
    connection: sa.Connection,
    action: str,
    *,
    by: str,
    count: int,
    filters: str = "",
    note: str | None = None,
    delivery_ids: Sequence[int] = (),
) -> None:
    """Note one change in the transaction that makes it. Raises ValueError where `by` names nobody."""
    Trail(action, by=by, filters=filters, note=note).add(connection, count, delivery_ids)


def recent(
    connection: sa.Connection,
    limit: int = 50,
    *,
    before: int | None = None,
    by: str | None = None,
    action: str | None = None,
    delivery_id: int | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    without: str | None = None,
) -> list[Entry]:
    """The newest entries, newest first; with `before`, those with a smaller id (the next page).

    All conditions must hold: `by` and `action`, whole; `delivery_id`, changed by name or in a small group; the time.
    They are looked for among LOOKED_AT changes. `without`: an action that is left out ("read", so that what people saw
    does not hide what they changed).
    """
    conditions = list(_conditions(by, action, delivery_id, since, until))
    statement = sa.select(AUDIT).order_by(AUDIT.c.id.desc()).limit(limit).where(*conditions)
    if without is not None:
        statement = statement.where(AUDIT.c.action != without)
    if before is not None:
        statement = statement.where(AUDIT.c.id < before)
    if conditions:
        statement = statement.where(AUDIT.c.id >= looked_at_from(connection, before))
    return [_entry(row) for row in connection.execute(statement)]


def _conditions(
    by: str | None, action: str | None, delivery_id: int | None, since: datetime | None, until: datetime | None
) -> Iterator[sa.ColumnElement[bool]]:
    for column, word in ((AUDIT.c.actor, by), (AUDIT.c.action, action)):
        if word:
            yield column == word if storable(word) else sa.false()
    if delivery_id is not None:
        yield AUDIT.c.delivery_ids.contains(f" {int(delivery_id)} ")
    if since is not None:
        yield AUDIT.c.at >= since
    if until is not None:
        yield AUDIT.c.at <= until


def of_delivery(connection: sa.Connection, delivery_id: int, limit: int = 50) -> list[Entry]:
    """What was done to this delivery by name or in a small group, newest first, among the newest LOOKED_AT changes."""
    return recent(connection, limit, delivery_id=delivery_id)


def looked_at_from(connection: sa.Connection, before: int | None = None) -> int:
    """The id of the oldest of LOOKED_AT rows: the newest ones, or those before `before`."""
    if before is None:
        before = (connection.execute(sa.select(sa.func.max(AUDIT.c.id))).scalar() or 0) + 1
    return int(before) - LOOKED_AT


def remove_old(connection: sa.Connection, older_than: float, limit: int) -> int:
    """Remove up to `limit` entries that are over `older_than` seconds old, in one look at the oldest. How many.

    Whichever worker does it: the audit is one for all environments of a database.
    """
    oldest = sa.select(AUDIT.c.id, AUDIT.c.at).order_by(AUDIT.c.id).limit(limit).subquery()
    old = connection.execute(sa.select(oldest.c.id).where(oldest.c.at < DbNow(-older_than))).scalars().all()
    if old:
        connection.execute(AUDIT.delete().where(AUDIT.c.id.in_(old)))
    return len(old)


def cut(text: str, most: int) -> str:
    """`text` in a form that every database takes, at most `most` characters."""
    if not storable(text):
        text = text.replace("\0", "").encode("utf-8", "replace").decode()
    return text if len(text) <= most else text[: most - 1] + "…"


def _kept(ids: Sequence[int]) -> str | None:
    return f" {' '.join(str(id) for id in ids)} " if 0 < len(ids) <= FEW else None


def _entry(row: Any) -> Entry:
    ids = tuple(int(id) for id in (row.delivery_ids or "").split())
    return Entry(row.id, row.at, row.action, row.actor, row.count, row.filters, row.note, ids)
