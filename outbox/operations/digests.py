"""What waits for digests, by name."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from outbox.operations.tables import DIGEST_ITEM

COUNTED = 100_000
"""Items that are looked at."""


@dataclass(frozen=True, slots=True)
class DigestCount:
    """One digest."""

    name: str
    recipients: int
    items: int
    failing: int  # items of which a message was tried and could not be made
    given_up: int  # of these, what is not tried again before another item comes
    next_at: datetime | None  # when the next message is made


def waiting(connection: sa.Connection, environment: str) -> list[DigestCount]:
    """By name; of COUNTED items at most."""
    some = sa.select(DIGEST_ITEM).where(DIGEST_ITEM.c.environment == environment).limit(COUNTED).subquery()
    rows = connection.execute(
        sa.select(
            some.c.name,
            sa.func.count(some.c.digest.distinct()).label("recipients"),
            sa.func.count().label("items"),
            sa.func.count(some.c.error).label("failing"),
            sa.func.count(sa.case((some.c.due_at.is_(None), 1))).label("given_up"),
            sa.func.min(some.c.due_at).label("next_at"),
        )
        .group_by(some.c.name)
        .order_by(some.c.name)
    )
    return [DigestCount(*row) for row in rows]
