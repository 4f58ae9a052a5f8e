"""The statements of a claim."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from outbox.delivery.lane_shares import SLOTS
from outbox.delivery.states import State
from outbox.store.databases import Database
from outbox.store.due import due_now
from outbox.store.held import sticks
from outbox.store.messages import MESSAGE_COLUMNS, parts_of
from outbox.store.models import OutboxDelivery, OutboxMessage, table_of
from outbox.store.sealing import as_stored
from outbox.store.suppressions import is_listed
from outbox.store.types import DbNow

_delivery = table_of(OutboxDelivery)
_message = table_of(OutboxMessage)


def _due(
    slot: sa.ColumnElement[int], due_at: sa.ColumnElement[Any], id_: sa.ColumnElement[Any], mine: Any, on: Database
) -> sa.Select[Any]:
    """What is due of one index range behind a place, in order."""
    behind = on.is_behind((_delivery.c.due_at, _delivery.c.id), (due_at, id_))
    return (
        sa.select(*_columns())
        .where(on.begins_with(_delivery.c.lane, slot), _delivery.c.due_at <= DbNow(), behind, _free(), mine)
        .order_by(_delivery.c.lane, _delivery.c.due_at, _delivery.c.id)
    )


def _columns() -> list[sa.ColumnElement[Any]]:
    """Of a delivery, what its claim reads."""
    names = ("id", "recipient", "lane", "due_at", "attempts", "deferrals", "rescues", "state", "marked_at", "route")
    return [
        *(as_stored(_delivery.c[name]) for name in (*names, "batch_id")),
        _delivery.c.message_id.label("message_pk"),
        is_listed().label("listed"),
    ]


def _free() -> sa.ColumnElement[bool]:
    """A lease that ran out because the clock was stepped is held by a worker that still sends."""
    return sa.or_(_delivery.c.state != State.SENDING.value, DbNow() < bound("latest", _delivery.c.due_at.type))


def bound(name: str, type_: sa.types.TypeEngine[Any]) -> sa.BindParameter[Any]:
    """A parameter, filled in when the statement runs."""
    return sa.bindparam(name, type_=type_)


def any_due(mine: sa.ColumnElement[bool]) -> sa.Select[Any]:
    """One look instead of one for each range: what an idle worker does twice a second."""
    return due_now().where(mine).limit(1)


def any_behind(mine: sa.ColumnElement[bool], database: Database) -> sa.CompoundSelect[Any]:
    """The same behind a place in each range: an idle worker's look where some is paused, however much."""
    due_type, id_type = _delivery.c.due_at.type, _delivery.c.id.type
    firsts = (
        _due(
            sa.literal_column(str(slot)),
            bound(f"due_{slot}", due_type),
            bound(f"id_of_{slot}", id_type),
            mine,
            database,
        )
        .with_only_columns(_delivery.c.id)
        .limit(sa.literal_column("1"))
        .subquery(f"first_{slot}")
        for slot in SLOTS
    )
    return sa.union_all(*(sa.select(first.c.id) for first in firsts))


def of_slot(mine: sa.ColumnElement[bool], database: Database) -> sa.Select[Any]:
    """What is due of one index range, as parameters say."""
    place = bound("due", _delivery.c.due_at.type), bound("id", _delivery.c.id.type)
    return _due(bound("slot", sa.SmallInteger()), *place, mine, database)


def head_of(mine: sa.ColumnElement[bool], database: Database) -> sa.Select[Any]:
    """The same, as many as there is room for, without what another claim has locked."""
    return database.skip_locked(of_slot(mine, database).limit(bound("room", sa.Integer())))


def _leased(transport: str | None) -> list[tuple[sa.ColumnElement[Any], Any]]:
    by = []
    if transport is not None:  # what it may have sent before stays with it
        by = [
            (_delivery.c.route, sa.case((sticks(_delivery), sa.literal(transport)), else_=_delivery.c.route)),
            (_delivery.c.transport, sa.literal(transport)),
        ]
    return [  # MariaDB takes them in their order: these must see the state before
        *by,
        (_delivery.c.rescues, _delivery.c.rescues + sa.case((_delivery.c.state == State.SENDING, 1), else_=0)),
        (_delivery.c.state, State.SENDING.value),
        (_delivery.c.token, bound("token", sa.BigInteger())),
        (_delivery.c.worker_id, bound("worker", sa.BigInteger())),
        (_delivery.c.due_at, DbNow(bound("lease", sa.Float()))),
        (_delivery.c.updated_at, DbNow()),
    ]


@functools.cache
def lease(transport: str | None) -> sa.Update:
    """Lease rows by their ids, to be sent by `transport`; None: there is but one."""
    ids: sa.BindParameter[Any] = sa.bindparam("ids", expanding=True)
    return _delivery.update().where(_delivery.c.id.in_(ids)).ordered_values(*_leased(transport))


def of_ids(mine: sa.ColumnElement[bool], database: Database) -> sa.Select[Any]:
    """What is due of those that are named, without what another claim has locked."""
    ids: sa.BindParameter[Any] = sa.bindparam("ids", expanding=True)
    named = sa.select(*_columns()).where(_delivery.c.id.in_(ids), _delivery.c.due_at <= DbNow(), _free(), mine)
    ordered = named.order_by(_delivery.c.lane, _delivery.c.due_at, _delivery.c.id)
    return database.skip_locked(ordered.limit(bound("limit", sa.Integer())))


def whole_claim(mine: sa.ColumnElement[bool], database: Database, transport: str | None) -> sa.Select[Any]:
    """Find, lease and read, in one round trip; what one range leaves free is there for the next."""
    due_type, id_type = _delivery.c.due_at.type, _delivery.c.id.type
    slots = sa.union_all(  # VALUES would be compiled each time
        *(
            sa.select(
                sa.literal_column(str(slot), sa.SmallInteger()).label("slot"),
                bound(f"share_{slot}", sa.Integer()).label("share"),
                bound(f"due_{slot}", due_type).label("due"),
                bound(f"id_of_{slot}", id_type).label("id"),
            )
            for slot in SLOTS
        )
    ).subquery("slots")
    due = _due(slots.c.slot, slots.c.due, slots.c.id, mine, database).limit(slots.c.share).correlate(slots)
    head = database.skip_locked(due).lateral("head")  # for each slot in turn, no further than to the limit
    picked = sa.select(head).select_from(slots.join(head, sa.true())).limit(bound("limit", sa.Integer())).cte("picked")
    return leased_and_read(picked, database, transport)


def leased_and_read(picked: sa.CTE, database: Database, transport: str | None) -> sa.Select[Any]:
    """What is picked, under lease and with its messages."""
    leased = _delivery.update().where(_delivery.c.id == picked.c.id).ordered_values(*_leased(transport)).cte("leased")
    return (
        sa.select(picked, *MESSAGE_COLUMNS, parts_of(_message.c.id, database).label("parts"), DbNow().label("now"))
        .select_from(picked.outerjoin(_message, _message.c.id == picked.c.message_pk))
        .add_cte(leased)
    )


def held_by(workers: Sequence[int]) -> sa.Select[Any]:
    held = sa.select(_delivery.c.id, _delivery.c.token)
    held = held.where(_delivery.c.state == State.SENDING, _delivery.c.worker_id.in_(workers))
    return held.order_by(_delivery.c.id)


def queued_of(connection: sa.Connection, message: int) -> int:
    """How many deliveries of a message are queued."""
    query = sa.select(sa.func.count()).where(_delivery.c.message_id == message, _delivery.c.state == State.QUEUED.value)
    return connection.execute(query).scalar_one()
