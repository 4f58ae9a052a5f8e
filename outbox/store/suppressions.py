"""The addresses that get no mail: asked at each claim, written where a server says that an address does not exist."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from outbox.delivery.suppression import Follows, Suppressed, Why, stopping
from outbox.store.databases import of
from outbox.store.event_models import OutboxSuppression
from outbox.store.insert_once import inserted, once
from outbox.store.models import OutboxDelivery, OutboxMessage, table_of
from outbox.store.types import DbNow

_delivery = table_of(OutboxDelivery)
_message = table_of(OutboxMessage)
_suppression = table_of(OutboxSuppression)

_UNIQUE = ("digest", "scope", "reason")
_LIST = (_suppression.c.scope, _suppression.c.reason, _suppression.c.since, _suppression.c.until)


class Cause(NamedTuple):
    """Where a suppression comes from."""

    actor: str  # a person, or the source of the event
    note: str | None = None
    event_id: int | None = None  # of `outbox_event`


def in_force() -> sa.ColumnElement[bool]:
    """Of a suppression: it has not ended."""
    return sa.or_(_suppression.c.until.is_(None), _suppression.c.until > DbNow())


def is_listed() -> sa.ColumnElement[bool]:
    """Of a delivery: its address may be suppressed, in whatever scope."""
    listed = sa.exists().where(_suppression.c.digest == _delivery.c.digest, in_force())
    return sa.and_(sa.not_(_delivery.c.unsuppressed), listed)


def stopped(connection: sa.Connection, ids: Sequence[int]) -> dict[int, Suppressed]:
    """Of these deliveries, those that must not be sent, with what stops each."""
    rows = connection.execute(
        sa.select(_delivery.c.id, _message.c.kind, _message.c.category, *_LIST)
        .select_from(
            _delivery.join(_message, _message.c.id == _delivery.c.message_id).join(
                _suppression, _suppression.c.digest == _delivery.c.digest
            )
        )
        .where(_delivery.c.id.in_(ids), sa.not_(_delivery.c.unsuppressed), in_force())
        .order_by(_delivery.c.id, _suppression.c.id)
    )
    entries: dict[tuple[int, Any, Any], list[Suppressed]] = {}
    for row in rows:
        entries.setdefault((row.id, row.kind, row.category), []).append(suppressed(row))
    found = {id: stopping(of_one, kind, category) for (id, kind, category), of_one in entries.items()}
    return {id: one for id, one in found.items() if one is not None}


def suppressed(row: Any) -> Suppressed:
    """The entry in a row with its scope, reason, since and until."""
    return Suppressed(row.scope, Why(row.reason), row.since, row.until)


def suppress(
    connection: sa.Connection,
    digest: str,
    address: str | None,
    follows: Follows,
    cause: Cause,
    *,
    seconds: float | None,
) -> bool:
    """Put an address on the list, or keep it there for longer; whether it is new there. `seconds`: None for good."""
    values: dict[str, Any] = {
        "address": address,
        "event_id": cause.event_id,
        "note": None if cause.note is None else cause.note[:500],
        "actor": cause.actor[:255],
        "until": sa.null() if seconds is None else DbNow(seconds),
    }
    entry: dict[str, Any] = {"digest": digest, "scope": follows.scope, "reason": follows.reason.value}
    mine = sa.and_(*(_suppression.c[name] == value for name, value in entry.items()))
    ended = sa.and_(_suppression.c.until.is_not(None), _suppression.c.until <= DbNow())
    again = _suppression.update().where(mine, ended).values(**values, since=DbNow())
    if connection.execute(again).rowcount:
        return True
    before = connection.execute(sa.select(_suppression.c.id).where(mine)).first()
    if before is None:
        insert = once(of(connection), _suppression, _UNIQUE, {**entry, **values, "since": DbNow()})
        if inserted(connection, insert, {}) is not None:
            return True
    longer = _suppression.update().where(mine, _suppression.c.until.is_not(None))
    connection.execute(longer.values(until=values["until"], event_id=cause.event_id, note=values["note"]))
    return False
