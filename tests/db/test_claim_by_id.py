"""A claim of certain deliveries, as a task names them: the same lease, fence and pauses as any other claim."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from outbox.delivery.states import State
from outbox.models import OutboxDelivery
from outbox.store.held import Held
from outbox.store.queue import Queue
from tests.db.mails import put

LIMIT = 10


@pytest.fixture
def queue(engine: sa.Engine) -> Queue:
    """A queue with a lease of a minute."""
    return Queue(engine, environment="", lease=60.0)


@pytest.fixture
def worker(queue: Queue) -> int:
    """A registered worker."""
    return queue.register(host="here", pid=1, version="1", connections=4)


def test_only_what_is_named_is_leased(engine: sa.Engine, queue: Queue, worker: int) -> None:
    """In the order of a claim, with the message; the rest stays as it is."""
    first, second, other = (put(engine, f"{name}@example.org", ago=10.0 - n)[0] for n, name in enumerate("abc"))
    claimed = queue.claim(worker, 7, LIMIT, ids=[second, first, 999_999])
    assert [(one.id, one.token, one.recipient) for one in claimed] == [
        (first, 7, "a@example.org"),
        (second, 7, "b@example.org"),
    ]
    assert claimed[0].message.message_id == "<1@example.org>"
    assert claimed[0].message.skeleton
    with engine.connect() as connection:
        found = connection.execute(
            sa.select(OutboxDelivery.state, OutboxDelivery.worker_id).order_by(OutboxDelivery.id)
        )
        states = [tuple(row) for row in found]
    assert states == [(State.SENDING, worker), (State.SENDING, worker), (State.QUEUED, None)]
    assert [one.id for one in queue.claim(worker, 8, LIMIT)] == [other]


def test_a_second_task_for_the_same_finds_nothing(engine: sa.Engine, queue: Queue, worker: int) -> None:
    """Whatever a broker delivers twice."""
    ids = put(engine, "a@example.org", "b@example.org")
    assert len(queue.claim(worker, 7, LIMIT, ids=ids)) == 2
    assert queue.claim(worker, 8, LIMIT, ids=ids) == []


@pytest.mark.parametrize("state", [state for state in State if state is not State.QUEUED])
def test_what_is_not_due_is_left_alone(engine: sa.Engine, queue: Queue, worker: int, state: State) -> None:
    """Sent, failed, cancelled, held by another: a late task changes nothing."""
    if state is State.SENDING:
        ids = put(engine, "a@example.org")
        queue.claim(worker, 6, LIMIT)
    else:
        ids = put(engine, "a@example.org", state=state)
    assert queue.claim(worker, 7, LIMIT, ids=ids) == []


def test_what_is_due_later_or_paused_is_left_alone(engine: sa.Engine, queue: Queue, worker: int) -> None:
    """By the clock of the database, and as a person has said."""
    later = put(engine, "a@example.org", ago=-60.0)
    paused = put(engine, "a@slow.example")
    queue.hold(Held(domains=frozenset({"slow.example"})))
    assert queue.claim(worker, 7, LIMIT, ids=later + paused) == []
    queue.hold(Held(everything=True))
    assert queue.claim(worker, 8, LIMIT, ids=paused) == []
    queue.hold(Held())
    assert [one.id for one in queue.claim(worker, 9, LIMIT, ids=later + paused)] == paused


def test_no_more_than_the_limit_at_a_time(engine: sa.Engine, queue: Queue, worker: int) -> None:
    """The rest is claimed by the next."""
    ids = put(engine, "a@example.org", "b@example.org", "c@example.org")
    assert len(queue.claim(worker, 7, 2, ids=ids)) == 2
    assert len(queue.claim(worker, 8, 2, ids=ids)) == 1
