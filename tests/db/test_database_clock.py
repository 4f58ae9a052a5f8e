"""What a step of the database's clock leaves behind, and how a heartbeat fixes it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from outbox.delivery.states import State
from outbox.models import OutboxDelivery, OutboxWorker
from outbox.store.enqueue import Posting, enqueue
from outbox.store.outcome import Outcome
from outbox.store.queue import Queue
from outbox.store.record import OutcomeStore
from outbox.store.types import DbNow
from tests.db.test_queue import DEFERRED, composed, outcome

HOUR = 3600.0
LEASE = 60.0
DEAD_AFTER = 3.0  # less than what counts as a step: the tests move one clock at a time


class Time:
    """A monotonic clock that can be held back: the database's then looks stepped forward."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def put(engine: sa.Engine, recipient: str, send_at: datetime | None = None) -> None:
    with Session(engine) as session:
        enqueue(session, composed(recipient), Posting(send_at=send_at))
        session.commit()


def due_in(engine: sa.Engine) -> dict[str, float]:
    """Seconds from now until each delivery is due, by its recipient."""
    with engine.connect() as connection:
        rows = connection.execute(sa.select(OutboxDelivery.recipient, OutboxDelivery.due_at, DbNow().label("now")))
        return {row.recipient: (row.due_at - row.now).total_seconds() for row in rows}


def written_an_hour_ahead(engine: sa.Engine, *, asked_for: str) -> None:
    """As rows look when the clock has been stepped back by an hour; what was asked for was asked for all the same."""
    with Session(engine) as session:
        for row in session.scalars(sa.select(OutboxDelivery)):
            row.updated_at += timedelta(seconds=HOUR)
            if row.recipient != asked_for and row.due_at is not None:
                row.due_at += timedelta(seconds=HOUR)
        session.commit()


def test_after_a_step_back_what_was_due_is_due(engine: sa.Engine) -> None:
    """Mail that was due and mail to be retried is due now, a lease begins anew, a time asked for stays."""
    queue = Queue(engine, environment="", lease=LEASE)
    worker = queue.register(host="here", pid=1, version="1", connections=1)
    put(engine, "retried@example.org")
    OutcomeStore(engine).record(worker, [outcome(queue.claim(worker, 7, 1)[0], State.QUEUED, DEFERRED, delay=50.0)])
    put(engine, "held@example.org")
    queue.claim(worker, 8, 1)
    put(engine, "asked@example.org", datetime.now(UTC) + timedelta(seconds=2 * HOUR))
    put(engine, "due@example.org")
    written_an_hour_ahead(engine, asked_for="asked@example.org")
    assert queue.claim(worker, 9, 10) == []

    queue.beat(worker, {})
    waits = due_in(engine)
    assert waits["due@example.org"] <= 0
    assert waits["retried@example.org"] <= 0
    assert LEASE - 10 < waits["held@example.org"] <= LEASE
    assert 2 * HOUR - 60 < waits["asked@example.org"] <= 2 * HOUR
    queue.beat(worker, {})
    assert 2 * HOUR - 60 < due_in(engine)["asked@example.org"] <= 2 * HOUR
    assert {one.recipient for one in queue.claim(worker, 9, 10)} == {"due@example.org", "retried@example.org"}


def two_workers(engine: sa.Engine, time: Time) -> tuple[Queue, int, int]:
    """The queue, its two workers, and one message in it."""
    queue = Queue(engine, environment="", lease=LEASE, monotonic=time)
    worker = queue.register(host="here", pid=1, version="1", connections=1)
    other = queue.register(host="there", pid=2, version="1", connections=1)
    put(engine, "held@example.org")
    return queue, worker, other


def stepped_back(engine: sa.Engine, time: Time) -> None:
    """The database's clock was an hour ahead until now, and everything was written by it."""
    written_an_hour_ahead(engine, asked_for="")
    with Session(engine) as session:
        for row in session.scalars(sa.select(OutboxWorker)):
            row.heartbeat_at += timedelta(seconds=HOUR)
        session.commit()
    time.seconds += HOUR


def test_a_step_back_that_nobody_has_noticed_makes_nobody_dead(engine: sa.Engine) -> None:
    """A heartbeat lies in the future because of the step, and not because its worker has died before it."""
    time = Time()
    queue, worker, other = two_workers(engine, time)
    (held,) = queue.claim(other, 8, 1)
    stepped_back(engine, time)
    assert queue.rescue(dead_after=DEAD_AFTER) == []
    assert queue.beat(worker, {}) == pytest.approx(-HOUR, abs=5)
    assert queue.rescue(dead_after=DEAD_AFTER) == []
    assert queue.mark(held)
    assert LEASE - 10 < due_in(engine)["held@example.org"] <= LEASE
    time.seconds += DEAD_AFTER + 1.0
    queue.beat(worker, {})
    assert queue.rescue(dead_after=DEAD_AFTER) == [other]


@pytest.mark.parametrize("lease", [LEASE, -1.0], ids=["held", "run out"])
def test_what_was_rescued_before_a_step_back_waits_for_nobody(engine: sa.Engine, lease: float) -> None:
    """Its worker is dead, and nobody looks at that one again: a new lease would hold it up to its end."""
    time = Time()
    queue, worker, other = two_workers(engine, time)
    queue.claim(other, 8, 1)
    with Session(engine) as session:
        delivery = session.scalars(sa.select(OutboxDelivery)).one()
        delivery.due_at, delivery.updated_at = (
            moment + timedelta(seconds=lease - LEASE) for moment in (delivery.due_at, delivery.updated_at) if moment
        )
        session.get_one(OutboxWorker, other).heartbeat_at -= timedelta(seconds=30)
        session.commit()
    assert queue.rescue(dead_after=20.0) == [other]
    stepped_back(engine, time)
    assert queue.beat(worker, {}) == pytest.approx(-HOUR, abs=5)
    assert due_in(engine)["held@example.org"] <= 0
    assert [one.rescues for one in queue.claim(worker, 9, 10)] == [1]


def test_what_is_given_back_after_a_step_back_is_due(engine: sa.Engine) -> None:
    """It was due when it was claimed; by the clock as it is now that is in an hour."""
    time = Time()
    queue = Queue(engine, environment="", lease=LEASE, monotonic=time)
    worker = queue.register(host="here", pid=1, version="1", connections=1)
    put(engine, "held@example.org")
    (held,) = queue.claim(worker, 8, 1)
    stepped_back(engine, time)
    queue.beat(worker, {})
    held.due_at += timedelta(seconds=HOUR)
    assert OutcomeStore(engine).record(worker, [Outcome.released(held)]) == set()
    assert due_in(engine)["held@example.org"] <= 0


def test_a_step_forward_ends_no_lease(engine: sa.Engine) -> None:
    """What others hold is neither claimed nor rescued before they, too, have had the time to beat; then it is."""
    with engine.connect() as connection:
        now = connection.execute(sa.select(DbNow())).scalar_one()
    time = Time()
    queue, worker, other = two_workers(engine, time)
    (held,) = queue.claim(other, 8, 1)
    with engine.begin() as connection:  # an hour later by the database's clock, and by nothing else
        earlier = now - timedelta(seconds=HOUR)
        ended = earlier + timedelta(seconds=LEASE)
        connection.execute(sa.update(OutboxDelivery).values(due_at=ended, updated_at=earlier))
        connection.execute(sa.update(OutboxWorker).where(OutboxWorker.id == other).values(heartbeat_at=earlier))
    time.seconds -= HOUR
    assert queue.claim(worker, 9, 10) == []
    assert queue.rescue(dead_after=DEAD_AFTER) == []  # between a step and the heartbeat that notices it
    assert queue.beat(worker, {}) == pytest.approx(HOUR, abs=5)
    assert LEASE - 10 < due_in(engine)["held@example.org"] <= LEASE
    assert queue.rescue(dead_after=DEAD_AFTER) == []
    assert queue.mark(held)
    time.seconds += DEAD_AFTER + 1.0
    assert queue.rescue(dead_after=DEAD_AFTER) == [other]
