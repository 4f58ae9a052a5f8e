"""What was reported after the relay's 250, for people: of one delivery, of one address, and how much of it lately."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from outbox.delivery.reported import EventType
from outbox.delivery.suppression import ALL, described
from outbox.operations.tables import EVENT, SUPPRESSION
from outbox.store.suppressions import in_force
from outbox.store.types import DbNow

HOUR = 3_600.0
MOST = 100
"""Events of one delivery that are shown; a report may be repeated for days."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event. All text is as hostile as it was."""

    id: int
    type: EventType
    source: str  # the way in: "smtp", "report", or a provider
    at: datetime  # when it happened, as reported
    recorded_at: datetime
    recipient: str | None  # as reported
    delivery_id: int | None
    proven: bool  # who reports it is known; what is not proven has no effect
    tied: str | None  # how its delivery was found
    code: int | None
    enhanced: str | None
    soft: bool  # a bounce that its source calls temporary: it suppresses nothing
    reply: str | None
    category: str | None  # the source's word for the cause
    suppressed: str | None = None  # "all mail": what is suppressed because of it, now

    @property
    def what(self) -> str:
        """The server's words, or the source's word for the cause: "5.1.1 no such user"."""
        said = " ".join(str(part) for part in (self.enhanced or self.code, self.reply) if part)
        return said or self.category or ""

    def __str__(self) -> str:
        type = f"{self.type} (temporary)" if self.soft else str(self.type)
        said = f"{type}: {self.what}" if self.what else type
        return said if self.proven else f"{said} (reported, not proven)"


_SCOPE = sa.select(sa.func.min(SUPPRESSION.c.scope)).where(
    SUPPRESSION.c.digest == EVENT.c.digest, SUPPRESSION.c.event_id == EVENT.c.id, in_force()
)


def of_delivery(connection: sa.Connection, id: int) -> list[Event]:
    """Those about the delivery `id`, the oldest first; the newest MOST of them."""
    return _found(connection, EVENT.c.delivery_id == id, limit=MOST)[::-1]


def of_address(connection: sa.Connection, digest: str, limit: int = 20) -> list[Event]:
    """The newest about an address, newest first."""
    return _found(connection, EVENT.c.digest == digest, limit=limit)


def of_last_hour(connection: sa.Connection, cap: int) -> dict[EventType, int]:
    """How many were recorded, by type; each is counted to `cap` + 1. Along the index on the time."""
    return by_type(lately(connection, cap, HOUR))


def lately(connection: sa.Connection, cap: int, seconds: float) -> dict[tuple[EventType, str], int]:
    """How many were recorded within so many seconds, by type and source; `cap` + 1 are looked at, the newest."""
    newest = sa.select(EVENT.c.type, EVENT.c.source).where(EVENT.c.recorded_at >= DbNow(-seconds))
    some = newest.order_by(EVENT.c.recorded_at.desc()).limit(cap + 1).subquery()
    counted = sa.select(some.c.type, some.c.source, sa.func.count()).group_by(some.c.type, some.c.source)
    return {(EventType(type), source): count for type, source, count in connection.execute(counted)}


def by_type(counted: dict[tuple[EventType, str], int]) -> dict[EventType, int]:
    """The same from all sources."""
    found: dict[EventType, int] = {}
    for (type, _), count in counted.items():
        found[type] = found.get(type, 0) + count
    return found


def suppressed(connection: sa.Connection, cap: int) -> int:
    """Suppressions in force, to `cap` + 1."""
    inner = sa.select(SUPPRESSION.c.id).where(in_force()).limit(cap + 1).subquery()
    return int(connection.execute(sa.select(sa.func.count()).select_from(inner)).scalar_one())


def _found(connection: sa.Connection, *where: sa.ColumnElement[bool], limit: int) -> list[Event]:
    columns = [EVENT.c[name] for name in Event.__dataclass_fields__ if name != "suppressed"]
    found = sa.select(*columns, _SCOPE.scalar_subquery().label("suppressed")).where(*where)
    rows: Sequence[Any] = connection.execute(
        found.order_by(EVENT.c.recorded_at.desc(), EVENT.c.id.desc()).limit(limit)
    ).all()
    return [_event(row._asdict()) for row in rows]


def _event(values: dict[str, Any]) -> Event:
    scope = values.pop("suppressed")
    return Event(
        **(values | {"type": EventType(values["type"])}), suppressed=None if scope is None else described(scope or ALL)
    )
