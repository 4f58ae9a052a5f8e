"""What waits for digests, by name, what of it could not be made, and having it made again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from outbox.operations import audit
from outbox.operations.tables import DIGEST_ITEM
from outbox.operations.times import spelled
from outbox.store.types import DbNow

COUNTED = 100_000
"""Items that are looked at."""

_LATE_SECONDS = 300.0  # from when on one should know that a digest is due and not made


@dataclass(frozen=True, slots=True)
class DigestCount:
    """One digest."""

    name: str
    recipients: int
    items: int
    failing: int  # items of which a message was tried and could not be made
    given_up: int  # of these, what is not tried again before another item comes
    next_at: datetime | None  # when the next message is made
    late_seconds: float  # since that should have happened; 0.0: it is still to come
    error: str | None  # the newest


def waiting(connection: sa.Connection, environment: str, most: int = COUNTED) -> list[DigestCount]:
    """By name; of `most` items at most."""
    some = sa.select(DIGEST_ITEM).where(DIGEST_ITEM.c.environment == environment).limit(most).subquery()
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
    ).all()
    if not rows:
        return []
    now = connection.execute(sa.select(DbNow())).scalar_one()
    return [
        DigestCount(
            row.name,
            row.recipients,
            row.items,
            row.failing,
            row.given_up,
            row.next_at,
            late_seconds=0.0 if row.next_at is None else max(0.0, (now - row.next_at).total_seconds()),
            error=_error(connection, environment, row.name) if row.failing else None,
        )
        for row in rows
    ]


def problems_of(found: Iterable[DigestCount]) -> Iterator[str]:
    """What nobody makes any more."""
    for one in found:
        if one.given_up:
            are = "item of it waits" if one.given_up == 1 else "items of it wait"
            yield (
                f"the digest {one.name} could not be made and is given up, {one.given_up:,} {are}: `outbox-digests` "
                "shows why"
            )


def notes_of(found: Iterable[DigestCount]) -> Iterator[str]:
    """What fails, or is late."""
    for one in found:
        if one.failing > one.given_up:
            yield f"the digest {one.name} fails, and is tried again later: `outbox-digests` shows why"
        elif one.late_seconds > _LATE_SECONDS:
            yield (
                f"the digest {one.name} has been due for {spelled(one.late_seconds)}: does a worker of this "
                "application know it?"
            )


def run_again(connection: sa.Connection, environment: str, name: str, *, by: str, note: str | None = None) -> int:
    """Have what was given up made at once; how many items. Raises ValueError where `by` names nobody."""
    mine = (DIGEST_ITEM.c.environment == environment, DIGEST_ITEM.c.name == name, DIGEST_ITEM.c.due_at.is_(None))
    count = connection.execute(DIGEST_ITEM.update().where(*mine).values(due_at=DbNow(), attempts=0)).rowcount
    audit.write(connection, "run-digests", by=by, count=count, filters=f"digest {name}", note=note)
    return count


def _error(connection: sa.Connection, environment: str, name: str) -> str | None:
    of = (DIGEST_ITEM.c.environment == environment, DIGEST_ITEM.c.name == name, DIGEST_ITEM.c.error.is_not(None))
    newest = sa.select(DIGEST_ITEM.c.error).where(*of).order_by(DIGEST_ITEM.c.id.desc()).limit(1)
    return connection.execute(newest).scalar()
