"""What is due now, and since when: what workers may take, apart from what is paused."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from outbox.delivery.states import Lane
from outbox.operations.tables import DELIVERY
from outbox.store.databases import of
from outbox.store.held import Held
from outbox.store.types import DbNow

PAUSED_SEEN = 20_000
"""Rows looked at, at the head of each index range, where some of what is due is paused."""

_SLOTS = {lane.slot(retry=retry): lane for lane in Lane for retry in (False, True)}


@dataclass(frozen=True, slots=True)
class Due:
    """Counts stop at the cap, and where some are paused at PAUSED_SEEN in each of the six index ranges."""

    free: dict[Lane, int]
    held: int
    oldest: dict[Lane, float | None]  # seconds since the oldest free one came due


def look_at_due(connection: sa.Connection, now: datetime, held: Held, cap: int) -> Due:
    """Look once, by the index."""
    if held.narrow:
        return _searched_all(connection, now, held, cap)
    due = {lane: _due(connection, lane, cap) for lane in Lane}
    if held.everything:
        return Due(dict.fromkeys(Lane, 0), min(sum(due.values()), cap + 1), dict.fromkeys(Lane))
    return Due(due, 0, {lane: _oldest(connection, now, lane) for lane in Lane})


def count_to(connection: sa.Connection, cap: int, *where: sa.ColumnElement[bool]) -> int:
    """How many deliveries there are; it stops at `cap` + 1."""
    inner = sa.select(sa.literal(1).label("one")).select_from(DELIVERY).where(*where).limit(cap + 1).subquery()
    return int(connection.execute(sa.select(sa.func.count()).select_from(inner)).scalar_one())


def _due(connection: sa.Connection, lane: Lane, cap: int) -> int:
    return count_to(connection, cap, DELIVERY.c.lane.in_(_slots_of(lane)), DELIVERY.c.due_at <= DbNow())


def _slots_of(lane: Lane) -> list[int]:
    return [slot for slot, its in _SLOTS.items() if its is lane]


def _oldest(connection: sa.Connection, now: datetime, lane: Lane) -> float | None:
    """Seconds since the oldest due mail of the lane came due: its two slots, each at its head."""
    ages = []
    for slot in _slots_of(lane):
        due_at = connection.execute(_head(connection, slot).with_only_columns(DELIVERY.c.due_at).limit(1)).scalar()
        if due_at is not None:
            ages.append(max(0.0, (now - due_at).total_seconds()))
    return max(ages, default=None)


def _searched_all(connection: sa.Connection, now: datetime, held: Held, cap: int) -> Due:
    free, paused = dict.fromkeys(Lane, 0), 0
    oldest: dict[Lane, float | None] = dict.fromkeys(Lane)
    for slot, lane in _SLOTS.items():
        seen = _searched(connection, held, slot)
        free[lane] = min(free[lane] + seen.free, cap + 1)
        paused = min(paused + int(seen.paused), cap + 1)  # MariaDB sums to a Decimal
        if seen.first is not None:
            oldest[lane] = max(oldest[lane] or 0.0, (now - seen.first).total_seconds())
    return Due(free, paused, oldest)


def _searched(connection: sa.Connection, held: Held, slot: int) -> sa.Row[tuple[int, int, datetime | None]]:
    head = _head(connection, slot).limit(PAUSED_SEEN).subquery("head")
    paused = held.passed_over(head)
    told = sa.select(
        head.c.due_at, sa.case((sa.false() if paused is None else paused, 1), else_=0).label("paused")
    ).subquery("told")
    free = sa.case((told.c.paused == 0, told.c.due_at))
    return connection.execute(
        sa.select(
            sa.func.count(free).label("free"),
            sa.func.coalesce(sa.func.sum(told.c.paused), 0).label("paused"),
            sa.func.min(free, type_=DELIVERY.c.due_at.type).label("first"),
        )
    ).one()


def _head(connection: sa.Connection, slot: int) -> sa.Select[tuple[datetime, int, str, int, int | None]]:
    return (
        sa.select(DELIVERY.c.due_at, DELIVERY.c.message_id, DELIVERY.c.domain, DELIVERY.c.id, DELIVERY.c.batch_id)
        .where(of(connection).begins_with(DELIVERY.c.lane, slot), DELIVERY.c.due_at <= DbNow())
        .order_by(DELIVERY.c.lane, DELIVERY.c.due_at)
    )
