"""Effects that are due: taken under a lease, and removed in the transaction that does them."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import sqlalchemy as sa

from outbox.delivery.batch_states import BatchState
from outbox.delivery.happened import BATCH_DONE, BatchEvent, MailEvent
from outbox.delivery.reply import Reply
from outbox.delivery.suppression import SUBSCRIPTION
from outbox.store.batch_model import OutboxBatch
from outbox.store.effect_model import OutboxEffect
from outbox.store.event_models import OutboxEvent
from outbox.store.leased_queue import Due, LeasedQueue
from outbox.store.models import OutboxAttempt, OutboxDelivery, OutboxMessage, table_of
from outbox.store.sealed_message import given_key
from outbox.store.types import DbNow

DISABLED = "disabled"
"""The type of the row that says that a webhook is called no more."""

SCOPED = ("link", "mail", "application")
"""Sources of events whose category is a scope of ours, and which need no delivery."""

_effect = table_of(OutboxEffect)
_delivery = table_of(OutboxDelivery)
_message = table_of(OutboxMessage)
_attempt = table_of(OutboxAttempt)
_event = table_of(OutboxEvent)
_batch = table_of(OutboxBatch)


class EffectQueue(LeasedQueue):
    """The effects of one environment."""

    _table = _effect

    def __init__(self, engine: sa.Engine, environment: str) -> None:
        super().__init__(engine, environment)
        # keys are unique for a name, and environments that share a database have the same names
        self._disabled = f"{DISABLED}:{sha256(environment.encode()).hexdigest()[:32]}"

    def disable(self, name: str, error: str) -> None:
        values = {
            "environment": self._environment,
            "name": name,
            "type": DISABLED,
            "effect_key": self._disabled,
            "error": error[:500],
            "created_at": DbNow(),
        }
        try:
            with self._engine.begin() as connection:
                connection.execute(_effect.insert().values(values))
        except sa.exc.IntegrityError:
            pass  # it is already

    def _read(self, connection: sa.Connection, ids: Sequence[int]) -> list[Due]:
        return [_due_of(row) for row in connection.execute(_with_what_they_are_about(ids)).all()]

    def _change(self, due: Due, **values: Any) -> None:
        with self._engine.begin() as connection:
            connection.execute(_effect.update().where(*_held(due)).values(values))

    def _due(self, name: str) -> sa.Select[Any]:
        other = _effect.alias()
        off = sa.exists().where(
            other.c.name == name, other.c.effect_key == self._disabled, other.c.environment == self._environment
        )
        return super()._due(name).where(~off)


def done(connection: sa.Connection, due: Due) -> bool:
    """Remove it, in the transaction that does it; False where it is not ours any more: then it must not commit."""
    return connection.execute(_effect.delete().where(*_held(due))).rowcount == 1


def _held(due: Due) -> tuple[sa.ColumnElement[bool], ...]:
    return (_effect.c.id == due.id, _effect.c.attempts == due.attempts)


def _with_what_they_are_about(ids: Sequence[int]) -> sa.Select[Any]:
    attempt = sa.and_(_attempt.c.delivery_id == _effect.c.delivery_id, _attempt.c.token == _effect.c.token)
    return (
        sa.select(
            _effect,
            _message.c.message_id,
            _message.c.key,
            _message.c.options,
            _message.c.kind,
            _message.c.category,
            _message.c.metadata,
            _delivery.c.recipient,
            _delivery.c.reason,
            _attempt.c.at.label("attempted_at"),
            _attempt.c.transport,
            *(_attempt.c[name].label(f"attempt_{name}") for name in ("code", "enhanced", "reply")),
            *(_event.c[name].label(f"event_{name}") for name in ("at", "code", "enhanced", "reply", "source")),
            _event.c.category.label("event_category"),
            _event.c.recipient.label("event_recipient"),
            *(_batch.c[name].label(f"batch_{name}") for name in _OF_BATCH),
        )
        .select_from(
            _effect.outerjoin(_delivery, _delivery.c.id == _effect.c.delivery_id)
            .outerjoin(_message, _message.c.id == _delivery.c.message_id)
            .outerjoin(_attempt, attempt)
            .outerjoin(_event, _event.c.id == _effect.c.event_id)
            .outerjoin(_batch, _batch.c.id == _effect.c.batch_id)
        )
        .where(_effect.c.id.in_(ids))
        .order_by(_effect.c.id)
    )


_OF_BATCH = ("name", "kind", "state", "messages", "deliveries", "counts", "done_at")


def _due_of(row: Any) -> Due:
    if row.type == BATCH_DONE:
        return Due(row.id, row.attempts, None if row.batch_name is None else _of_batch(row))
    scope = row.event_category if row.event_source in SCOPED else None
    alone = scope is not None and row.delivery_id is None
    if (row.message_id is None and not alone) or (alone and row.event_recipient is None):
        return Due(row.id, row.attempts, None)
    reported = row.event_id is not None
    code, enhanced, text = (
        (row.event_code, row.event_enhanced, row.event_reply)
        if reported
        else (row.attempt_code, row.attempt_enhanced, row.attempt_reply)
    )
    happened = MailEvent(
        id=row.effect_key,
        type=row.type,
        at=(row.event_at if reported else row.attempted_at) or row.created_at,
        delivery_id=row.delivery_id,
        recipient=row.event_recipient if alone else row.recipient,
        message_id=row.message_id,
        key=given_key(row.key, row.options),
        kind=_kind(scope) if scope and alone else row.kind,
        category=SUBSCRIPTION if alone else row.category,
        metadata=row.metadata,
        reply=None if code is None and enhanced is None and text is None else Reply(code, enhanced, text or ""),
        reason=None if reported else row.reason,
        transport=row.transport,
        source=row.event_source,
        scope=scope,
    )
    return Due(row.id, row.attempts, happened)


def _of_batch(row: Any) -> BatchEvent:
    return BatchEvent(
        id=row.effect_key,
        type=row.type,
        at=row.batch_done_at or row.created_at,
        batch=row.batch_name,
        kind=row.batch_kind,
        is_cancelled=row.batch_state == BatchState.CANCELLED.value,
        messages=row.batch_messages,
        deliveries=row.batch_deliveries,
        counts=dict(row.batch_counts or {}),
    )


def _kind(scope: str) -> str | None:
    what, _, kind = scope.partition(":")
    return kind if what == "kind" else None
