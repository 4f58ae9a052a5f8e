"""Send queued mail now, or at another time: deferred and scheduled deliveries get another due time, nothing else.

Attempts and lane stay, pauses hold as before, and what a worker holds is never touched. A message that was never
offered to a relay gets the Date of its new time, since mail with an old Date looks delayed. One that may have
been offered keeps its bytes: the same on every attempt.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime

import sqlalchemy as sa

from outbox.delivery.states import State
from outbox.operations.audit import Trail
from outbox.operations.dates import Dates
from outbox.operations.filters import Filter
from outbox.operations.tables import DELIVERY, MESSAGE
from outbox.operations.transitions import BATCH, Batch, let_live, locked, next_matching
from outbox.store.enqueue import tell
from outbox.store.types import DbNow


def send_now(
    connection: sa.Connection,
    wanted: Filter,
    *,
    by: str,
    note: str | None = None,
    limit: int | None = None,
    wake: bool = True,
) -> int:
    """Make what is queued for later due at once. How many.

    `wake`: tell the workers at the commit, where the database can. Raises ValueError for an empty filter.
    """
    return sum(_changed(connection, to_send_now(wanted), _Change("send-now", None, wanted, by, note, wake), limit))


def reschedule(
    connection: sa.Connection,
    wanted: Filter,
    at: datetime,
    *,
    by: str,
    note: str | None = None,
    limit: int | None = None,
    wake: bool = True,
) -> int:
    """Make what is queued due at `at` (aware). How many.

    Mail that would have expired by then loses its expiry date. Raises ValueError for an empty filter, and for a time
    without zone.
    """
    if at.utcoffset() is None:
        raise ValueError(f"{at} has no time zone: use an aware datetime")
    change = _Change("reschedule", at, wanted, by, note, wake)
    return sum(_changed(connection, _queued(wanted), change, limit))


def send_now_in_batches(
    engine: sa.Engine, wanted: Filter, *, by: str, note: str | None = None, wake: bool = True
) -> Iterator[Batch]:
    """The same as `send_now` in a transaction for each BATCH, so that nobody waits long; what each changed."""
    change = _Change("send-now", None, wanted, by, note, wake)
    eligible = to_send_now(wanted)
    last: int | None = 0
    while eligible is not None and last is not None:
        with engine.begin() as connection:
            last, changed = change.step(connection, eligible, last, BATCH)
        yield Batch(changed)


def deliveries_of(
    connection: sa.Connection, message_pk: int | None, *, keys: Sequence[str] = (), environment: str = ""
) -> list[int]:
    """The ids of a message's deliveries; it is named by its primary key, or by one of `keys` within its environment."""
    named = (
        MESSAGE.c.id == message_pk
        if not keys
        else sa.and_(MESSAGE.c.key.in_(keys), MESSAGE.c.environment == environment)
    )
    joined = DELIVERY.join(MESSAGE, DELIVERY.c.message_id == MESSAGE.c.id)
    found = connection.execute(sa.select(DELIVERY.c.id).select_from(joined).where(named).order_by(DELIVERY.c.id))
    return list(found.scalars())


def to_send_now(wanted: Filter) -> Filter | None:
    """`wanted` without what is not queued for later; None if nothing can be left.

    `find` and `count` of it are the preview. Raises ValueError for an empty filter.
    """
    queued = _queued(wanted)
    return None if queued is None else replace(queued, waiting=True)


def _queued(wanted: Filter) -> Filter | None:
    if wanted.is_empty:
        raise ValueError("an empty filter matches all mail: name ids or say what to look for")
    if wanted.states and State.QUEUED not in wanted.states:
        return None
    return replace(wanted, states=(State.QUEUED,))


def _changed(connection: sa.Connection, eligible: Filter | None, change: _Change, limit: int | None) -> Iterator[int]:
    last: int | None = 0
    while eligible is not None and last is not None and (limit is None or limit > 0):
        last, changed = change.step(connection, eligible, last, BATCH if limit is None else min(limit, BATCH))
        if limit is not None:
            limit -= len(changed)
        yield len(changed)


class _Change:
    """One change by a person, which may take several transactions."""

    def __init__(self, action: str, at: datetime | None, wanted: Filter, by: str, note: str | None, wake: bool) -> None:
        """`at`: None for now."""
        words = str(wanted) if at is None else f"{wanted} at={at:%Y-%m-%dT%H:%M:%SZ}".lstrip()
        self._at = at
        self._wake = wake
        self._trail = Trail(action, by=by, filters=words, note=note)
        self._dates = Dates(by=by, filters=words)

    def step(self, connection: sa.Connection, eligible: Filter, after: int, size: int) -> tuple[int | None, list[int]]:
        """Change the next `size` that match, by id; the last id looked at (None: no more) and those that changed."""
        rows = next_matching(connection, eligible, after, size)
        due = DbNow() if self._at is None else sa.literal(self._at, DELIVERY.c.due_at.type)
        unchanged = () if self._at is not None else (DELIVERY.c.due_at > DbNow(),)
        still = locked(connection, rows, DELIVERY.c.state == State.QUEUED.value, *unchanged)
        changed = [row.id for row in still]
        if changed:
            moved = DELIVERY.update().where(DELIVERY.c.id.in_(changed)).values(due_at=due, updated_at=DbNow())
            connection.execute(moved)
            self._dates.follow(connection, {row.message_id for row in still})
            if self._at is not None:
                let_live(connection, {row.message_id for row in still}, self._at)
            elif self._wake:
                tell(connection)
        self._trail.add(connection, len(changed), changed)
        return (rows[-1].id if len(rows) == size else None), changed
