"""What handlers and webhooks are still to do: how much, what keeps failing, and having it done again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from outbox.operations import audit
from outbox.operations.tables import EFFECT
from outbox.store.effect_queue import DISABLED
from outbox.store.types import DbNow


@dataclass(frozen=True, slots=True)
class Effect:
    """One call of a handler or webhook that is not done."""

    id: int
    name: str
    type: str  # "sent", "bounced", …; "disabled": the webhook is called no more
    delivery_id: int | None
    event_id: int | None
    attempts: int
    due_at: datetime | None  # None: given up
    error: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class EffectCount:
    """How much one handler or webhook has still to do."""

    name: str
    waiting: int
    failing: int  # of these, what has failed at least once
    given_up: int
    disabled: bool
    oldest_seconds: float  # since the oldest of it was recorded


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which effects; all conditions hold."""

    environment: str
    name: str | None = None
    ids: Sequence[int] = ()
    given_up: bool = False  # only these


def listed(connection: sa.Connection, chosen: Chosen, limit: int) -> list[Effect]:
    """Those, the newest first."""
    rows = connection.execute(sa.select(EFFECT).where(*_conditions(chosen)).order_by(EFFECT.c.id.desc()).limit(limit))
    return [
        Effect(
            row.id,
            row.name,
            row.type,
            row.delivery_id,
            row.event_id,
            row.attempts,
            row.due_at,
            row.error,
            row.created_at,
        )
        for row in rows
    ]


def count(connection: sa.Connection, chosen: Chosen, cap: int) -> int:
    """How many they are; `cap` at most."""
    some = sa.select(EFFECT.c.id).where(*_conditions(chosen)).limit(cap).subquery()
    return int(connection.execute(sa.select(sa.func.count()).select_from(some)).scalar_one())


def counts(connection: sa.Connection, environment: str, cap: int) -> list[EffectCount]:
    """By name, those that fail first; of `cap` effects at most."""
    some = sa.select(EFFECT).where(EFFECT.c.environment == environment).limit(cap).subquery()
    real, waits = some.c.type != DISABLED, some.c.due_at.is_not(None)
    rows = connection.execute(
        sa.select(
            some.c.name,
            sa.func.count(sa.case((waits, 1))).label("waiting"),
            sa.func.count(sa.case((sa.and_(waits, some.c.error.is_not(None)), 1))).label("failing"),
            sa.func.count(sa.case((sa.and_(real, some.c.due_at.is_(None)), 1))).label("given_up"),
            sa.func.count(sa.case((some.c.type == DISABLED, 1))).label("disabled"),
            sa.func.min(some.c.created_at).label("oldest"),
        ).group_by(some.c.name)
    ).all()
    if not rows:
        return []
    now = connection.execute(sa.select(DbNow())).scalar_one()
    found = [
        EffectCount(
            row.name,
            row.waiting,
            row.failing,
            row.given_up,
            bool(row.disabled),
            max(0.0, (now - row.oldest).total_seconds()),
        )
        for row in rows
    ]
    return sorted(found, key=lambda one: (-one.given_up, -one.failing, one.name))


def run_again(connection: sa.Connection, chosen: Chosen, *, by: str, note: str | None = None) -> int:
    """Have them called soon, as if for the first time; how many. A webhook that was disabled is called again.

    Raises ValueError where `by` names nobody.
    """
    conditions = _conditions(chosen)
    off = connection.execute(EFFECT.delete().where(*conditions, EFFECT.c.type == DISABLED)).rowcount
    again = EFFECT.update().where(*conditions, EFFECT.c.type != DISABLED)
    count = connection.execute(again.values(due_at=DbNow(), attempts=0)).rowcount
    _note(connection, "run-effects", chosen, count + off, by, note)
    return int(count)


def drop(connection: sa.Connection, chosen: Chosen, *, by: str, note: str | None = None) -> int:
    """Never have them called; how many. Raises ValueError where `by` names nobody."""
    count = connection.execute(EFFECT.delete().where(*_conditions(chosen), EFFECT.c.type != DISABLED)).rowcount
    _note(connection, "drop-effects", chosen, count, by, note)
    return int(count)


def remove_old(connection: sa.Connection, environment: str, older_than: float) -> None:
    """Remove what was given up and recorded so many seconds ago."""
    old = (EFFECT.c.created_at < DbNow(-older_than), EFFECT.c.due_at.is_(None), EFFECT.c.type != DISABLED)
    some = sa.select(EFFECT.c.id).where(EFFECT.c.environment == environment, *old).limit(1_000)
    ids = list(connection.execute(some).scalars())
    if ids:
        connection.execute(EFFECT.delete().where(EFFECT.c.id.in_(ids), *old))


def _conditions(chosen: Chosen) -> list[sa.ColumnElement[bool]]:
    conditions: list[Any] = [EFFECT.c.environment == chosen.environment]
    if chosen.name is not None:
        conditions.append(EFFECT.c.name == chosen.name)
    if chosen.ids:
        conditions.append(EFFECT.c.id.in_(list(chosen.ids)))
    if chosen.given_up:
        conditions.append(EFFECT.c.due_at.is_(None))
    return conditions


def _note(connection: sa.Connection, action: str, chosen: Chosen, count: int, by: str, note: str | None) -> None:
    words = [f"effect {' '.join(str(id) for id in chosen.ids)}"] if chosen.ids else []
    words += [f"name {chosen.name}"] if chosen.name is not None else []
    filters = audit.cut(", ".join(words) or "given up", audit.MOST_FILTERS)
    audit.write(connection, action, by=by, count=count, filters=filters, note=note)
