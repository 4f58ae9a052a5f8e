"""Effects that are due: taken under a lease, and removed in the transaction that does them.

The lease is the number of attempts, counted before the call: a call that breaks its process is counted, too, and one
whose effect was taken by another meanwhile finds that number changed and commits nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import sqlalchemy as sa

from outbox.delivery.batch_states import BatchState
from outbox.delivery.happened import BATCH_DONE, BatchEvent, Happened, MailEvent
from outbox.delivery.reply import Reply
from outbox.delivery.suppression import SUBSCRIPTION
from outbox.store.batch_model import OutboxBatch
from outbox.store.databases import of
from outbox.store.effect_model import OutboxEffect
from outbox.store.event_models import OutboxEvent
from outbox.store.models import OutboxAttempt, OutboxDelivery, OutboxMessage, table_of
from outbox.store.reading import reading
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


@dataclass(frozen=True, slots=True)
class Due:
    """One effect under lease."""

    id: int
    attempts: int
    event: Happened | None = field(repr=False)
    """None: the message or batch that it is about was purged."""


class EffectQueue:
    """Those of one environment. Safe to use from several threads."""

    def __init__(self, engine: sa.Engine, environment: str) -> None:
        self._engine = engine
        self._environment = environment
        # keys are unique for a name, and environments that share a database have the same names
        self._disabled = f"{DISABLED}:{sha256(environment.encode()).hexdigest()[:32]}"

    def look(self, names: Sequence[str]) -> list[str]:
        """Those of `names` for which something is due. Takes no lock."""
        if not names:
            return []
        due = [sa.select(sa.literal(name).label("name")).where(sa.exists(self._due(name))) for name in names]
        with reading(self._engine) as connection:
            return list(connection.execute(sa.union_all(*due)).scalars())

    def claim(self, name: str, limit: int, lease: float) -> list[Due]:
        """Take some for `lease` seconds, the oldest first."""
        with self._engine.begin() as connection:
            due = self._due(name).order_by(_effect.c.due_at, _effect.c.id).limit(limit)
            ids = list(connection.execute(of(connection).skip_locked(due)).scalars())
            if not ids:
                return []
            taken = {"due_at": DbNow(lease), "attempts": _effect.c.attempts + 1}
            connection.execute(_effect.update().where(_effect.c.id.in_(ids)).values(taken))
            return [_due_of(row) for row in connection.execute(_read(ids)).all()]

    def give_back(self, due: Iterable[Due]) -> None:
        """As if they had never been taken."""
        for one in due:
            self._change(one, due_at=DbNow(), attempts=_effect.c.attempts - 1)

    def fail(self, due: Due, error: str, delay: float | None) -> None:
        """Due again in `delay` seconds; None: given up."""
        self._change(due, due_at=None if delay is None else DbNow(delay), error=error[:500])

    def disable(self, name: str, error: str) -> None:
        """Call this one no more, until a person says so; what it was to be told of stays."""
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

    def _change(self, due: Due, **values: Any) -> None:
        with self._engine.begin() as connection:
            connection.execute(_effect.update().where(*_held(due)).values(values))

    def _due(self, name: str) -> sa.Select[Any]:
        other = _effect.alias()
        off = sa.exists().where(
            other.c.name == name, other.c.effect_key == self._disabled, other.c.environment == self._environment
        )
        where = (_effect.c.name == name, _effect.c.environment == self._environment, _effect.c.due_at <= DbNow())
        return sa.select(_effect.c.id).where(*where, ~off)


def done(connection: sa.Connection, due: Due) -> bool:
    """Remove it, in the transaction that does it; False where it is not ours any more: then it must not commit."""
    return connection.execute(_effect.delete().where(*_held(due))).rowcount == 1


def _held(due: Due) -> tuple[sa.ColumnElement[bool], ...]:
    return (_effect.c.id == due.id, _effect.c.attempts == due.attempts)


def _read(ids: Sequence[int]) -> sa.Select[Any]:
    """With what they are about."""
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
