"""What is due, and of which environment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from outbox.delivery.lane_shares import SLOTS
from outbox.delivery.states import State
from outbox.store.models import OutboxDelivery, OutboxMessage, table_of
from outbox.store.reading import reading
from outbox.store.types import DbNow

_delivery = table_of(OutboxDelivery)
_message = table_of(OutboxMessage)


def due_now() -> sa.Select[int]:
    """The ids of what is due, of any environment."""
    return sa.select(_delivery.c.id).where(_in_any_slot(), _delivery.c.due_at <= DbNow())


def is_live() -> sa.ColumnElement[bool]:
    """Whether it is still to be sent."""
    return sa.and_(_in_any_slot(), _delivery.c.due_at.is_not(None))


def _in_any_slot() -> sa.ColumnElement[bool]:
    """Any is: named, so that the index serves, which begins with the lane."""
    return _delivery.c.lane.in_(SLOTS)


def live_routes(engine: sa.Engine) -> frozenset[str]:
    """The routes of what is still to be sent, of whatever environment and settings."""
    live = sa.select(_delivery.c.route).where(is_live()).distinct()
    with reading(engine) as connection:
        return frozenset(connection.execute(live).scalars())


def due_of(engine: sa.Engine, message_ids: Sequence[str]) -> list[int]:
    """The deliveries of these messages, by Message-ID, that wait and are due."""
    due = sa.select(_delivery.c.id).join(_message, _message.c.id == _delivery.c.message_id)
    due = due.where(
        _message.c.message_id.in_(message_ids), _delivery.c.state == State.QUEUED, _delivery.c.due_at <= DbNow()
    )
    with reading(engine) as connection:
        return list(connection.execute(due.order_by(_delivery.c.lane, _delivery.c.id)).scalars())


@dataclass(frozen=True, slots=True)
class Foreign:
    """A due delivery that belongs to another environment, and is left alone."""

    id: int
    message_id: str
    environment: str


def foreign(engine: sa.Engine, environment: str, limit: int) -> list[Foreign]:
    """What is due of other environments than this one, at most `limit`."""
    columns = (_delivery.c.id, _message.c.message_id, _message.c.environment)
    due = due_now().with_only_columns(*columns).join(_message, _message.c.id == _delivery.c.message_id)
    with reading(engine) as connection:
        rows = connection.execute(due.where(_message.c.environment != environment).limit(limit))
        return [Foreign(*row) for row in rows]


def is_of(environment: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
    """Whether a delivery belongs to the environment; one whose message is gone belongs to all."""
    stamp = sa.select(_message.c.environment).where(_message.c.id == _delivery.c.message_id).scalar_subquery()
    # one look by primary key for each row; an EXISTS might be turned into a scan of all messages
    return sa.func.coalesce(stamp, environment) == environment
