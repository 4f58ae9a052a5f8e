"""Pauses: what of the queue is held back for now, by whom and why. Workers read them, operators set them.

What is paused stays queued with its due time; `operations.pauses` sets and lifts them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import sqlalchemy as sa

from outbox.dialect import DbNow
from outbox.models import OutboxPause, table_of

_pause = table_of(OutboxPause)


class What(StrEnum):
    """What a pause holds back."""

    ALL = "all"
    KIND = "kind"
    DOMAIN = "domain"  # of the recipient
    TRANSPORT = "transport"  # `host:port`: the workers that send by it claim nothing


@dataclass(frozen=True, slots=True)
class Pause:
    """One pause that is in force."""

    id: int
    what: What
    value: str  # the kind, domain or transport; "" for all
    reason: str
    by: str  # who set it
    since: datetime
    until: datetime | None  # None: until somebody lifts it

    def __str__(self) -> str:
        return f"{self.what} {self.value}".rstrip()


def active(connection: sa.Connection, now: datetime | None = None) -> list[Pause]:
    """The pauses in force at `now` (by default by the database's clock), the oldest first."""
    moment = DbNow() if now is None else sa.literal(now, _pause.c.until.type)
    rows = connection.execute(
        sa.select(_pause)
        .where(sa.or_(_pause.c.until.is_(None), _pause.c.until > moment))
        .order_by(_pause.c.since, _pause.c.id)
    )
    return [
        Pause(row.id, What(row.what), row.value, row.reason, row.actor, since=row.since, until=row.until)
        for row in rows
    ]
