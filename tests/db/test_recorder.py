"""The recorder: what is durable is so only once the database has it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from outbox.delivery.reply import Phase, Reply, Result, Verdict
from outbox.delivery.states import State
from outbox.models import OutboxAttempt
from outbox.store.outcome import UNSTORABLE
from outbox.store.queue import Queue
from outbox.store.record import Outcome, OutcomeStore
from outbox.worker.recorder import Recorder
from outbox.worker.tickets import Unrecorded
from tests.db.test_queue import ACCEPTED, LEASE, make_due, outcome, put, rows
from tests.servers.process import polled

LIMIT = 20.0  # seconds
UNREADABLE = {"sqlite": "\ud800", "postgresql": "\x00", "mariadb": "\ud800"}  # what the driver or the server refuses


@pytest.fixture
def queue(engine: sa.Engine) -> Queue:
    return Queue(engine, environment="", lease=LEASE)


@pytest.fixture
def worker(queue: Queue) -> int:
    return queue.register(host="here", pid=1, version="1", connections=4)


@contextmanager
def running(recorder: Recorder) -> Iterator[None]:
    """It records meanwhile."""
    thread = threading.Thread(target=recorder.run)
    thread.start()
    try:
        yield
    finally:
        recorder.abandon()
        thread.join(LIMIT)
        assert not thread.is_alive()


def attempts(engine: sa.Engine) -> list[OutboxAttempt]:
    with Session(engine) as session:
        return list(session.scalars(sa.select(OutboxAttempt).order_by(OutboxAttempt.id)))


def rename(engine: sa.Engine, old: str, new: str) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql(f"ALTER TABLE outbox_attempt RENAME COLUMN {old} TO {new}")


def test_words_that_cannot_be_stored_cost_only_themselves(
    engine: sa.Engine, queue: Queue, worker: int, database_name: str
) -> None:
    """The outcome is recorded without them, the others as they are."""
    put(engine, "bad@example.org", "a@example.org", "b@example.org")
    bad, *good = queue.claim(worker, 7, 10)
    said = Result(Verdict.ACCEPTED, Phase.DOT, Reply(250, "2.0.0", f"ok {UNREADABLE[database_name]}"), 0.1)
    recorder = Recorder(OutcomeStore(engine), worker, lambda outcome, lost: None)
    with running(recorder):
        tickets = recorder.submit(outcome(bad, result=said), *(outcome(one) for one in good))
        assert all(ticket.durable(LIMIT) for ticket in tickets)
    assert [row.state for row in rows(engine)] == ["sent"] * 3
    replies = {one.delivery_id: one.reply for one in attempts(engine)}
    assert replies == {bad.id: UNSTORABLE, **{one.id: ACCEPTED.reply.text for one in good}}
    assert recorder.trouble is None


def test_an_error_of_the_database_costs_no_words(engine: sa.Engine, queue: Queue, worker: int) -> None:
    """It is repeated until it goes, as it is; until then nothing of it counts as durable."""
    put(engine, "a@example.org")
    (claimed,) = queue.claim(worker, 7, 10)
    rename(engine, "note", "remark")
    recorder = Recorder(OutcomeStore(engine), worker, lambda outcome, lost: None)
    with running(recorder):
        (ticket,) = recorder.submit(outcome(claimed))
        assert not recorder.sound(0) or not ticket.durable(0.5)
        with polled("the trouble is told", LIMIT) as wait_a_little:
            while recorder.trouble is None:
                wait_a_little()
        assert not ticket.durable(1.0)
        assert not recorder.flush(0)
        rename(engine, "remark", "note")
        assert ticket.durable(LIMIT)
        assert recorder.sound(LIMIT)
    assert [one.reply for one in attempts(engine)] == [ACCEPTED.reply.text]


def test_what_is_claimed_again_before_it_is_recorded_is_recorded_under_the_new_lease(
    engine: sa.Engine, queue: Queue, worker: int
) -> None:
    """After a database was away for longer than the lease: what the server took is not offered a second time."""
    put(engine, "taken@example.org", "given-back@example.org", "new@example.org")
    taken, released, _ = queue.claim(worker, 7, 10)
    recorder = Recorder(OutcomeStore(engine), worker, lambda outcome, lost: None)
    tickets = recorder.submit(outcome(taken), Outcome.released(released))
    make_due(engine)
    fresh = recorder.renew(queue.claim(worker, 8, 10))
    assert [one.recipient for one in fresh] == ["new@example.org"]
    with running(recorder):
        assert all(ticket.durable(LIMIT) for ticket in tickets)
    assert [(row.state, row.token) for row in rows(engine)] == [("sent", None), ("queued", None), ("sending", 8)]
    assert [(one.delivery_id, one.token, one.fenced) for one in attempts(engine)] == [(taken.id, 8, False)]


def test_what_is_recorded_before_it_is_claimed_again_is_given_back(
    engine: sa.Engine, queue: Queue, worker: int
) -> None:
    """The commit was not yet known here when the claim was: nobody works on that claim, so it must not stay."""
    put(engine, "a@example.org")
    (claimed,) = queue.claim(worker, 7, 10)
    again = []

    class Late(OutcomeStore):
        """A claim comes in between the commit and its answer."""

        def record(self, worker_id: int, outcomes: object) -> set[int]:
            lost = super().record(worker_id, outcomes)  # type: ignore[arg-type]
            if not again:
                again.extend(queue.claim(worker, 8, 10))
                assert recorder.renew(again) == []
            return lost

    recorder = Recorder(Late(engine), worker, lambda outcome, lost: None)
    with running(recorder):
        (ticket,) = recorder.submit(Outcome.released(claimed))
        assert ticket.durable(LIMIT)
        assert recorder.flush(LIMIT)
    assert [one.recipient for one in again] == ["a@example.org"]
    (row,) = rows(engine)
    assert (row.state, row.token) == ("queued", None)


@pytest.mark.databases("sqlite")
def test_a_connection_waits_for_all_that_it_did_on_the_network(engine: sa.Engine, queue: Queue, worker: int) -> None:
    """What was settled without the server takes no place of what the server took."""
    put(engine, *(f"{n}@example.org" for n in range(4)))
    first, second, third, fourth = queue.claim(worker, 7, 10)
    recorder = Recorder(OutcomeStore(engine), worker, lambda outcome, lost: None)
    local = Result(Verdict.PERMANENT, Phase.LOCAL, Reply(None, None, "expired"), 0.0)
    refused = replace(ACCEPTED, verdict=Verdict.PERMANENT, phase=Phase.RCPT)
    unrecorded = Unrecorded()
    tickets = recorder.submit(
        outcome(first),
        outcome(second, State.FAILED, refused),
        outcome(third, State.FAILED, local),
        Outcome.released(fourth),
    )
    for ticket in tickets:
        unrecorded.add(ticket)
    for settled in ((), (2, 3), (1, 2, 3)):
        for number in settled:
            tickets[number].settled = True
        assert not unrecorded.durable(0)
    tickets[0].settled = True
    assert unrecorded.durable(0)
