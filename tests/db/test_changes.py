"""What a person may do to mail, the same on every database."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from outbox import operations
from outbox.delivery.states import EDGES, Lane, State
from outbox.models import OutboxDelivery, OutboxMessage
from outbox.operations import Filter
from outbox.operations.tables import DELIVERY
from outbox.operations.transitions import locked, next_matching
from outbox.store.enqueue import Posting
from outbox.store.types import DbNow
from tests.db.mails import beside, put, states

CHANGES = {State.QUEUED: operations.requeue, State.CANCELLED: operations.cancel, State.SENT: operations.mark_sent}


@pytest.fixture
def connection(engine: sa.Engine) -> Iterator[sa.Connection]:
    """To look with."""
    with engine.connect() as connection:
        yield connection


@pytest.mark.parametrize("target", CHANGES, ids=str)
def test_a_change_touches_only_the_states_it_may(engine: sa.Engine, target: State) -> None:
    """Each goes by the table of edges; what a worker holds is never touched, asked for by name or not."""
    before = {put(engine, state=state)[0]: state for state in State}
    with engine.begin() as connection:
        changed = CHANGES[target](connection, Filter(ids=tuple(before)), by="ann")
    able = {id for id, state in before.items() if (state, target) in EDGES and state is not State.SENDING}
    assert changed == len(able) > 0
    assert states(engine) == {id: target if id in able else state for id, state in before.items()}


def test_requeue_starts_afresh(engine: sa.Engine, connection: sa.Connection) -> None:
    """Due now, no tries counted, no mark, among the new mail of its lane; its last reply stays to be read."""
    past = {"attempts": 9, "rescues": 3, "marked_at": DbNow(-50), "reason": "unknown", "reply": "gone", "lane": 5}
    (id,) = put(engine, state=State.UNCERTAIN, ago=90, delivery=past, posting=Posting(lane=Lane.BULK))
    with engine.begin() as writing:
        assert operations.requeue(writing, Filter(ids=(id,)), by="ann") == 1
    row = connection.execute(sa.select(OutboxDelivery, DbNow().label("now"))).one()
    assert (row.state, row.attempts, row.rescues, row.marked_at, row.reason) == ("queued", 0, 0, None, None)
    assert (row.lane, row.finished_at, row.reply) == (Lane.BULK.slot(retry=False), None, "gone")
    assert 0 <= (row.now - row.due_at).total_seconds() < 20


def test_requeue_of_expired_mail_lets_it_be_sent(engine: sa.Engine, connection: sa.Connection) -> None:
    """A person wants it sent, so what had expired does not expire again; what had not keeps its date."""
    expired = put(engine, "a@example.org", state=State.FAILED, posting=Posting(max_age=-60.0))
    fresh = put(engine, "b@example.org", state=State.FAILED, posting=Posting(max_age=60.0))
    with engine.begin() as writing:
        assert operations.requeue(writing, Filter(ids=(*expired, *fresh)), by="ann") == 2
    assert operations.show(connection, expired[0]).expires_at is None  # type: ignore[union-attr]
    assert operations.show(connection, fresh[0]).expires_at is not None  # type: ignore[union-attr]


def test_requeue_leaves_redacted_mail_alone(engine: sa.Engine) -> None:
    """Its body is gone: there is nothing to send."""
    (id,) = put(engine, state=State.FAILED)
    with engine.begin() as connection:
        connection.execute(sa.update(OutboxMessage).values(redacted_at=DbNow()))
        assert operations.requeue(connection, Filter(ids=(id,)), by="ann") == 0
    assert states(engine)[id] == State.FAILED


def test_a_limit_is_kept(engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """At most so many, the oldest first, over more than one batch."""
    monkeypatch.setattr("outbox.operations.transitions.BATCH", 2)
    ids = put(engine, *(f"r{number}@example.org" for number in range(7)))
    with engine.begin() as connection:
        assert operations.cancel(connection, Filter(states=(State.QUEUED,)), by="ann", limit=5) == 5
    assert [id for id, state in sorted(states(engine).items()) if state == State.QUEUED] == ids[5:]


@pytest.mark.parametrize("change", CHANGES.values())
def test_an_empty_filter_changes_nothing(connection: sa.Connection, change: Any) -> None:
    """Nobody means all mail by saying nothing."""
    with pytest.raises(ValueError, match="empty filter"):
        change(connection, Filter(), by="ann")


def test_in_batches_takes_nothing_twice(engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mail that fails again while the rest is requeued is not requeued a second time."""
    monkeypatch.setattr("outbox.operations.transitions.BATCH", 2)
    put(engine, *(f"r{number}@example.org" for number in range(5)), state=State.FAILED)
    wanted, done = Filter(states=(State.FAILED,)), 0
    for batch in operations.in_batches(engine, wanted, State.QUEUED, by="ann"):
        done += len(batch.changed)
        with engine.begin() as connection:  # a worker that is quick, and a server that refuses
            connection.execute(sa.update(OutboxDelivery).values(state="failed", due_at=None, finished_at=DbNow()))
    assert done == 5


def test_what_changed_meanwhile_is_left_alone(engine: sa.Engine) -> None:
    """Between the look and the change; the report names what was changed, and nothing else."""
    first, second = (put(engine, state=State.FAILED)[0] for _ in range(2))
    wanted = operations.eligible(Filter(states=(State.FAILED,)), State.QUEUED)
    assert wanted is not None
    with engine.connect() as connection:
        rows = next_matching(connection, wanted, 0, 10)
    with engine.begin() as connection:
        assert operations.mark_sent(connection, Filter(ids=(second,)), by="bea") == 1
    with engine.begin() as connection:
        still = locked(connection, rows, DELIVERY.c.state == State.FAILED.value)
    assert [row.id for row in rows] == [first, second]
    assert [row.id for row in still] == [first]
    [batch] = operations.in_batches(engine, Filter(ids=(first, second)), State.QUEUED, by="ann")
    assert list(batch.changed) == [first]


def test_the_preview_is_what_is_changed(engine: sa.Engine, connection: sa.Connection) -> None:
    """`eligible` narrows a filter to what the change will touch."""
    for state in State:
        put(engine, state=state)
    wanted = operations.eligible(Filter(domain="example.org"), State.QUEUED)
    assert wanted is not None
    assert {row.state for row in operations.find(connection, wanted)} == {
        State.FAILED,
        State.UNCERTAIN,
        State.CANCELLED,
    }
    assert operations.eligible(Filter(states=(State.SENT,)), State.QUEUED) is None


def test_two_persons_at_once_count_each_mail_once(engine: sa.Engine) -> None:
    """The second asks for the same mail before the first has committed: it is changed once, by the first."""
    put(engine, *(f"r{number}@example.org" for number in range(50)), state=State.FAILED)

    def requeue() -> int:
        with engine.begin() as connection:
            return operations.requeue(connection, Filter(states=(State.FAILED,)), by="ann")

    with engine.begin() as first:
        assert operations.requeue(first, Filter(states=(State.FAILED,)), by="ann") == 50
        with beside(requeue) as second:
            first.commit()
    assert second == [0]
    assert set(states(engine).values()) == {"queued"}


def test_a_batch_with_a_name_that_nothing_can_store_has_nothing(engine: sa.Engine) -> None:
    """PostgreSQL refuses such a text; it is no error to ask for it."""
    wanted = Filter(batch="march\x00", states=(State.QUEUED,), environment="")
    put(engine, "ann@example.org")
    with engine.begin() as connection:
        assert operations.cancel(connection, wanted, by="ann") == 0
