"""How much mail ended, and how, in equal spans of time: what a chart shows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from outbox.core.clock import monotonic
from outbox.delivery.states import State
from outbox.operations.tables import DELIVERY

SETTLED = timedelta(minutes=1)
"""Seconds after its end from which a span is not expected to change: what ended in it was committed."""

Known = dict[tuple[datetime, timedelta], tuple[int, int]]
"""Spans that were counted before, by start and width: sent and failed."""


@dataclass(frozen=True, slots=True)
class Span:
    """What ended from `start` on, for as long as its chart's spans are wide."""

    start: datetime
    sent: int | None  # None: not counted, the time was up
    failed: int | None


def flow(
    connection: sa.Connection,
    now: datetime,
    *,
    width: timedelta,
    number: int,
    known: Known,
    seconds: float = 0.03,
) -> list[Span]:
    """The last `number` spans of `width`, the oldest first; the last one is not over yet.

    `now`: the database's time. `known`: filled here with spans that are over, so that the next call need not count them
    again. After `seconds` no more are counted: the newest ones come first, and the next call goes on.
    """
    deadline = monotonic() + seconds
    spans: list[Span] = []
    for start in _starts(now, width, number):
        counted = known.get((start, width))
        if counted is None and (not spans or monotonic() < deadline):
            counted = _counted(connection, start, start + width)
            if start + width + SETTLED < now:
                known[start, width] = counted
        spans.append(Span(start, *(counted or (None, None))))
    _forget(known, now, width, number)
    return spans[::-1]


def _starts(now: datetime, width: timedelta, number: int) -> Iterator[datetime]:
    """The newest first, on multiples of the width."""
    step = width.total_seconds()
    newest = now.timestamp() // step * step
    for back in range(number):
        yield datetime.fromtimestamp(newest - back * step, UTC)


def _counted(connection: sa.Connection, start: datetime, end: datetime) -> tuple[int, int]:
    rows = connection.execute(
        sa.select(DELIVERY.c.state, sa.func.count())
        .where(DELIVERY.c.finished_at >= start, DELIVERY.c.finished_at < end)
        .group_by(DELIVERY.c.state)
    )
    found = {state: int(count) for state, count in rows}
    return found.get(State.SENT.value, 0), found.get(State.FAILED.value, 0)


def _forget(known: Known, now: datetime, width: timedelta, number: int) -> None:
    for start, its_width in [*known]:
        if its_width == width and start + width * (number + 1) < now:
            known.pop((start, its_width), None)
