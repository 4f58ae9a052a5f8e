"""The queue where something is damaged or an answer was lost."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from outbox.core.clock import monotonic
from outbox.core.events import Events
from outbox.delivery.blame import Blame
from outbox.delivery.breaker import Breaker
from outbox.delivery.evidence import Refusals
from outbox.delivery.retry import RetryPolicy
from outbox.delivery.states import State
from outbox.models import OutboxDelivery, OutboxMessage, table_of
from outbox.store.claimed import Claimed
from outbox.store.databases.values import IDLE_TRANSACTION_SECONDS
from outbox.store.queue import Queue
from outbox.store.record import OutcomeStore
from outbox.worker.dispatcher import Dispatcher
from outbox.worker.lease_guard import LeaseGuard
from outbox.worker.prefetch import PrefetchBuffer
from outbox.worker.recorder import Recorder
from outbox.worker.terms import Terms
from tests.db.test_queue import LEASE, make_due, outcome, put, rows
from tests.servers.databases import Database

TERMS = Terms(RetryPolicy(), lease=LEASE, send_timeout=40, dot_timeout=20, suppress=False, transport="relay:25")


class AnswersLost(Queue):
    """The database takes a claim, and the connection is lost before it says so."""

    lose = True

    def claim(self, worker_id: int, token: int, limit: int, **how: Any) -> list[Claimed]:
        answer = super().claim(worker_id, token, limit, **how)
        if self.lose:
            raise sa.exc.OperationalError("COMMIT", None, ConnectionError("server closed the connection"))
        return answer


def dispatcher(queue: Queue, engine: sa.Engine) -> tuple[Dispatcher, PrefetchBuffer]:
    """One that claims into a buffer that nobody empties."""
    buffer = PrefetchBuffer(Blame(Breaker(), Refusals(10)), monotonic)
    tokens = iter(range(1, 100))
    recorder = Recorder(OutcomeStore(engine), 1, lambda outcome, lost: None)
    lease_guard = LeaseGuard(20, monotonic())
    chance = lambda: 0.5  # noqa: E731
    return Dispatcher(
        queue,
        buffer,
        recorder,
        TERMS,
        Events(),
        lease_guard,
        monotonic=monotonic,
        chance=chance,
        token=lambda: next(tokens),
    ), buffer


def test_a_claim_whose_answer_was_lost_is_made_again(engine: sa.Engine) -> None:
    """Nobody knows of the lease: the next claim takes the mail at once, not after the lease's end."""
    queue = AnswersLost(engine, environment="", lease=LEASE)
    worker = queue.register(host="here", pid=1, version="1", connections=4)
    put(engine, "a@example.org", "b@example.org")
    work, buffer = dispatcher(queue, engine)
    with pytest.raises(sa.exc.OperationalError):
        work.claim(worker, 10)
    assert [row.state for row in rows(engine)] == ["sending", "sending"]
    queue.lose = False
    assert work.claim(worker, 10) == 2
    assert [leased.claimed.recipient for leased in buffer.empty()] == ["a@example.org", "b@example.org"]
    assert [row.rescues for row in rows(engine)] == [0, 0]


def test_only_ones_own_claim_is_abandoned(engine: sa.Engine) -> None:
    """What another claim or another worker holds stays leased."""
    queue = Queue(engine, environment="", lease=LEASE)
    worker = queue.register(host="here", pid=1, version="1", connections=4)
    put(engine)
    queue.claim(worker, 7, 10)
    assert queue.abandon_claim(worker, 8) == 0
    assert queue.abandon_claim(worker + 1, 7) == 0
    assert queue.abandon_claim(worker, 7) == 1


def test_a_message_whose_row_is_gone_stops_no_other(engine: sa.Engine) -> None:
    """A delivery without its message is claimed as damaged; the rest of the claim is as usual."""
    queue = Queue(engine, environment="production", lease=LEASE)
    worker = queue.register(host="here", pid=1, version="1", connections=4)
    lost, kept = put(engine, "lost@example.org"), put(engine, "kept@example.org")
    with engine.begin() as connection:
        connection.execute(table_of(OutboxMessage).update().values(environment="production"))
        unchecked(connection)
        connection.execute(
            table_of(OutboxDelivery)
            .update()
            .values(message_id=kept + 100)
            .where(table_of(OutboxDelivery).c.message_id == lost)
        )
    claimed = queue.claim(worker, 7, 10)
    assert {one.recipient: bool(one.message.damage) for one in claimed} == {
        "lost@example.org": True,
        "kept@example.org": False,
    }


@pytest.mark.databases("sqlite")
@pytest.mark.parametrize(
    "damage",
    [
        "options = '{broken'",
        "created_at = 'yesterday'",
        "expires_at = 'tomorrow'",
        "skeleton = 'text'",
        "options = '[1]'",
        "on_uncertain = 'retr'",
    ],
)
def test_a_message_that_cannot_be_read_stops_no_other(engine: sa.Engine, damage: str) -> None:
    """SQLite stores anything anywhere: one unreadable value damages one message."""
    queue = Queue(engine, environment="", lease=LEASE)
    worker = queue.register(host="here", pid=1, version="1", connections=4)
    broken = put(engine, "broken@example.org")
    put(engine, "kept@example.org")
    with engine.begin() as connection:
        connection.exec_driver_sql("PRAGMA ignore_check_constraints = ON")
        connection.exec_driver_sql(f"UPDATE outbox_message SET {damage} WHERE id = {broken}")
    claimed = queue.claim(worker, 7, 10)
    assert {one.recipient: bool(one.message.damage) for one in claimed} == {
        "broken@example.org": True,
        "kept@example.org": False,
    }


def unchecked(connection: sa.Connection) -> None:
    """Let foreign keys be broken in this transaction, as a partial restore does."""
    match connection.dialect.name:
        case "postgresql":
            connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
        case "sqlite":
            connection.exec_driver_sql("PRAGMA defer_foreign_keys = ON")
            connection.exec_driver_sql("COMMIT")
            connection.exec_driver_sql("PRAGMA foreign_keys = OFF")
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        case _:
            connection.exec_driver_sql("SET SESSION foreign_key_checks = 0")


@pytest.mark.databases("postgresql", "mariadb")
def test_the_server_ends_a_workers_idle_transaction(engine: sa.Engine) -> None:
    """A worker that stands still within a transaction does not keep its row locks for ever."""
    names = {"postgresql": "idle_in_transaction_session_timeout", "mysql": "idle_transaction_timeout"}
    name = names.get(engine.dialect.name, names["mysql"])
    show = f"SHOW {name}" if engine.dialect.name == "postgresql" else f"SELECT @@SESSION.{name}"
    for _ in range(2):  # also after a transaction was rolled back
        with engine.connect() as connection:
            assert str(connection.exec_driver_sql(show).scalar()) in {f"{IDLE_TRANSACTION_SECONDS}s", "10"}


def test_giving_back_keeps_the_mark_of_an_earlier_lease(engine: sa.Engine) -> None:
    """Whoever claims it after a release still learns that the server may have it."""
    queue, outcome_store = Queue(engine, environment="", lease=LEASE), OutcomeStore(engine)
    worker = queue.register(host="here", pid=1, version="1", connections=4)
    put(engine)
    (first,) = queue.claim(worker, 7, 10)
    assert queue.mark(first)
    make_due(engine)
    (second,) = queue.claim(worker, 8, 10)
    assert (second.rescued, second.marked) == (True, True)
    outcome_store.record(worker, [outcome(second, State.QUEUED, None)])
    (third,) = queue.claim(worker, 9, 10)
    assert (third.rescued, third.marked) == (False, True)


@pytest.mark.databases("postgresql", "mariadb")
def test_what_another_worker_takes_over_meanwhile_stays_its_own(database: Database, engine: sa.Engine) -> None:
    """A supervisor releases what a dead child held, and its lease runs out right then: the other keeps its lease."""
    dead, other = (Queue(engine, environment="", lease=LEASE) for _ in range(2))
    dead_id, other_id = (one.register(host="h", pid=1, version="1", connections=1) for one in (dead, other))
    put(engine, "a@example.org", "b@example.org")
    assert len(dead.claim(dead_id, 1, 10)) == 2
    make_due(engine)
    taken: list[int] = []

    def looked(connection: sa.Connection, cursor: object, statement: str, *_: object) -> None:
        if not taken and statement.startswith("SELECT outbox_delivery.id"):  # and nothing is written yet
            taken.append(0)
            taken.extend(one.id for one in other.claim(other_id, 2, 10))

    sa.event.listen(engine, "after_cursor_execute", looked)
    try:
        assert dead.release_leases(dead_id, for_good=True) == 0
    finally:
        sa.event.remove(engine, "after_cursor_execute", looked)
    assert len(taken) == 3
    assert other.claim(other_id, 3, 10) == []
    assert {(row.state, row.token, row.worker_id) for row in rows(engine)} == {("sending", 2, other_id)}
