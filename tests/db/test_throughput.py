"""What ended in equal spans of time, the same on every database."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa

from outbox import operations
from outbox.delivery.states import State
from outbox.operations import Known, Span
from tests.db.mails import put

WIDTH = timedelta(hours=1)


@pytest.fixture
def now(engine: sa.Engine) -> datetime:
    """By the database's clock, read once, so that no test falls into two hours."""
    with engine.connect() as connection:
        return operations.database_time(connection)


def spans(engine: sa.Engine, now: datetime, known: Known, *, seconds: float = 60.0) -> list[Span]:
    with engine.connect() as connection:
        return operations.flow(connection, now, width=WIDTH, number=4, known=known, seconds=seconds)


def counts(found: list[Span]) -> list[tuple[int | None, int | None]]:
    return [(span.sent, span.failed) for span in found]


def middle(now: datetime, hours: int) -> float:
    """Seconds since the middle of the span that began `hours` before this one (of this one: of what is over of it)."""
    over = (now - hour(now)).total_seconds()
    return over / 2 if hours == 0 else over + hours * 3600 - 1800


def hour(now: datetime) -> datetime:
    return now.replace(minute=0, second=0, microsecond=0)


def test_sent_and_failed_by_span(engine: sa.Engine, now: datetime) -> None:
    """What was sent and what failed is counted where it ended; what is queued or cancelled is not."""
    for hours, state in ((1, State.SENT), (1, State.SENT), (1, State.FAILED), (2, State.CANCELLED), (3, State.SENT)):
        put(engine, state=state, ago=middle(now, hours))
    put(engine, state=State.QUEUED)
    put(engine, state=State.SENT, ago=middle(now, 4))
    found = spans(engine, now, {})
    assert [span.start for span in found] == [hour(now) - back * WIDTH for back in (3, 2, 1, 0)]
    assert counts(found) == [(1, 0), (0, 0), (2, 1), (0, 0)]


def test_spans_that_are_over_are_counted_once(engine: sa.Engine, now: datetime) -> None:
    """What is known of a span that is over is not asked again; the one that runs is."""
    known: Known = {}
    spans(engine, now, known)
    assert hour(now) not in {start for start, _ in known}
    known[hour(now) - 3 * WIDTH, WIDTH] = (7, 8)
    put(engine, state=State.SENT, ago=middle(now, 0))
    found = counts(spans(engine, now, known))
    assert (found[0], found[-1]) == ((7, 8), (1, 0))


def test_time_that_is_up(engine: sa.Engine, now: datetime) -> None:
    """The newest span is counted in any case; the next call goes on with the others."""
    known: Known = {}
    assert counts(spans(engine, now, known, seconds=0.0)) == [(None, None)] * 3 + [(0, 0)]
    assert counts(spans(engine, now, known)) == [(0, 0)] * 4


def test_what_is_known_does_not_pile_up(engine: sa.Engine, now: datetime) -> None:
    """Spans that no chart shows any more are forgotten."""
    old = (hour(now) - timedelta(days=3), WIDTH)
    known: Known = {old: (1, 1)}
    spans(engine, now, known)
    assert old not in known
