"""What is gathered for digests: written with the events, and taken by the message that tells a recipient of all.

There is no row for a window: each item is due when the window would end that it would open, and with the first that is
due go all that are there. So nothing is locked when an item is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from outbox.delivery.happened import DIGEST_DUE, DigestDue
from outbox.message.digest import digest
from outbox.message.sealed import Unreadable
from outbox.store.databases import of
from outbox.store.digest_model import OutboxDigestItem
from outbox.store.leased_queue import Due, LeasedQueue
from outbox.store.models import table_of
from outbox.store.sealing import as_stored, opened_json
from outbox.store.types import DbNow

_item = table_of(OutboxDigestItem)

_AT_ONCE = 500  # rows that are deleted by one statement


class Taken(NamedTuple):
    """All of one recipient."""

    items: list[Any]  # as the application gave them, the oldest first; no more than it wants
    omitted: int  # how many more there were
    since: Any  # when the first was gathered


def add(
    connection: sa.Connection,
    environment: str,
    name: str,
    recipient: str,
    item: Any,
    *,
    window: float,
    address_key: bytes,
) -> None:
    """Write one, in the caller's transaction. `window`: seconds; `address_key`: of `message.digest`."""
    hashed = digest(recipient, address_key)
    values = {"environment": environment, "name": name, "recipient": recipient, "digest": hashed, "item": [item]}
    connection.execute(_item.insert().values(created_at=DbNow(), due_at=DbNow(window)), values)


def take(connection: sa.Connection, due: DigestDue, limit: int) -> Taken | None:
    """Remove all that wait for one recipient; None where another worker was first.

    Raises where one is at it, and where what is sealed can't be opened.
    """
    mine = (
        _item.c.environment == due.environment,
        _item.c.name == due.name,
        _item.c.digest == due.digest,
    )
    columns = _item.c.id, _item.c.attempts, _item.c.created_at
    rows = connection.execute(sa.select(*columns).where(*mine).order_by(_item.c.id)).all()
    if not any((row.id, row.attempts) == (due.item_id, due.attempts) for row in rows):
        return None
    first = sa.select(as_stored(_item.c.item)).where(_item.c.id.in_([row.id for row in rows[:limit]]))
    items = [readable(one) for one in connection.execute(first.order_by(_item.c.id)).scalars()]
    removed = 0
    for start in range(0, len(rows), _AT_ONCE):
        ids = [row.id for row in rows[start : start + _AT_ONCE]]
        removed += connection.execute(_item.delete().where(_item.c.id.in_(ids))).rowcount
    if removed != len(rows):
        raise RuntimeError("another worker is making the same digest")
    return Taken(items, len(rows) - len(items), min(row.created_at for row in rows))


def readable(stored: Any) -> Any:
    """An item as the application gave it. Raises LookupError where it is sealed and can't be opened."""
    opened = opened_json(stored, "item")
    if isinstance(opened, Unreadable):
        raise LookupError(opened.why)
    return opened[0]


class DigestQueue(LeasedQueue):
    """The digests of one environment: a call for each recipient for whom an item is due."""

    _table = _item

    def disable(self, name: str, error: str) -> None:
        """Nobody asks for it."""

    def _read(self, connection: sa.Connection, ids: Sequence[int]) -> list[Due]:
        columns = _item.c.id, _item.c.name, _item.c.recipient, _item.c.digest, _item.c.attempts
        rows = connection.execute(sa.select(*columns).where(_item.c.id.in_(ids)).order_by(_item.c.id)).all()
        leads = {row.digest: row for row in reversed(rows)}  # of several that are due, the oldest stands for all
        return [
            Due(
                row.id,
                row.attempts,
                DigestDue(
                    *(f"digest:{row.id}", DIGEST_DUE, self._environment, row.name, row.recipient, row.digest),
                    *(row.id, row.attempts),
                ),
            )
            for row in sorted(leads.values(), key=lambda row: int(row.id))
        ]

    def _change(self, due: Due, **values: Any) -> None:
        event = due.event
        if not isinstance(event, DigestDue):
            return
        same = (
            _item.c.environment == self._environment,
            _item.c.name == event.name,
            _item.c.digest == event.digest,
        )
        held = sa.or_(_item.c.id == due.id, _item.c.attempts > 0)
        with self._engine.begin() as connection:
            still = sa.select(_item.c.id).where(_item.c.id == due.id, _item.c.attempts == due.attempts)
            if connection.execute(of(connection).lock(still)).first() is not None:
                connection.execute(_item.update().where(*same, held).values(values))
