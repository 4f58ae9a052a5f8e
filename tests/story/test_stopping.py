"""How a worker ends: in good order when it is told to, whatever the server does."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import sqlalchemy as sa

from outbox import Message, operations
from tests.servers.databases import Database
from tests.story.conftest import MakeStage
from tests.story.stage import Relay, Stage, until
from tests.wire.actions import SILENCE, Later, Take
from tests.wire.server import SmtpServer

SLACK = 8.0
"""Seconds on top of the grace period: five for the database, the rest for a busy machine."""

_WAITING = sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'outbox_delivery'::regclass")


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Fails if the block takes longer."""
    started = time.monotonic()
    yield
    taken = time.monotonic() - started
    assert taken <= seconds, f"took {taken:.1f} s"


def test_an_idle_worker_ends_at_once(stage: Stage) -> None:
    """SIGTERM: exit code 0 within seconds, and its row says that it stopped."""
    worker = stage.start()
    with at_most(SLACK):
        worker.signal(signal.SIGTERM)
        assert worker.wait(30) == 0
    row = stage.row(worker)
    assert row is not None
    assert row.stopped_at is not None


def test_ctrl_c_is_a_stop_as_well(sqlite_database: Database, relay: Relay, make_stage: MakeStage) -> None:
    """SIGINT: exit code 0, no traceback."""
    stage = make_stage(sqlite_database, relay.port)
    worker = stage.start()
    worker.signal(signal.SIGINT)
    assert worker.wait(30) == 0
    assert "Traceback" not in worker.log()


@pytest.mark.parametrize("ask", operations.Ask)
@pytest.mark.quick("postgresql")
def test_a_worker_that_is_asked_to_end(stage: Stage, ask: operations.Ask) -> None:
    """Asked on the pages, it ends in good order by itself; asked to drain, after what is due, and paused is not due."""
    worker = stage.start()
    if ask is operations.Ask.DRAIN:
        stage.send(3)
    row = stage.row(worker)
    assert row is not None
    with stage.database.engine.begin() as connection:
        assert operations.ask_to_end(connection, row.id, ask, by="ann@example.org")
    assert worker.wait(60) == 0
    row = stage.row(worker)
    assert row is not None
    assert row.stopped_at is not None
    if ask is operations.Ask.DRAIN:
        assert stage.states() == {"sent": 3}


@pytest.mark.parametrize(
    ("step", "on_uncertain", "state", "counted"),
    [
        ("data", "retry", "queued", 0),  # the server can't have it
        ("data", "hold", "queued", 0),
        ("dot", "retry", "queued", 1),  # nobody can know: sent again
        ("dot", "hold", "uncertain", 1),  # nobody can know: a person decides
    ],
)
def test_a_hung_server_does_not_hold_up_the_stop(
    sqlite_database: Database, make_stage: MakeStage, step: str, on_uncertain: str, state: str, counted: int
) -> None:
    """It exits with 0 within the grace period, and each row says what is known of its mail."""
    with SmtpServer({step: SILENCE}) as server:
        stage = make_stage(
            sqlite_database,
            server.port,
            OUTBOX_LEASE_SECONDS="120",
            OUTBOX_SHUTDOWN_SECONDS="1",
            OUTBOX_CONNECTIONS="2",
        )
        stage.send_together(5, on_uncertain=on_uncertain)
        worker = stage.fork()
        server.wait_until(lambda: server.steps[step], 20, f"{step} under way")
        with at_most(1 + SLACK):
            worker.signal(signal.SIGTERM)
            assert worker.wait(30) == 0
        rows = stage.deliveries()
        assert sorted(row.state for row in rows) == sorted([state] + ["queued"] * 4)
        assert sum(row.attempts for row in rows) == counted
        assert all(row.token is None for row in rows)
        assert server.messages == []


def test_mail_under_way_is_finished(sqlite_database: Database, make_stage: MakeStage) -> None:
    """What the server is about to take when the stop comes is sent; what no connection has begun is given back."""
    with SmtpServer() as server:
        stage = make_stage(sqlite_database, server.port, OUTBOX_LEASE_SECONDS="120", OUTBOX_CONNECTIONS="1")
        worker = stage.fork()
        stage.send()
        stage.settle()  # from now on it claims more than the one that shows whether the relay is there
        server.script = {"dot": Take(Later(1.0, "250 2.0.0 ok"))}
        stage.send_together(6)
        server.wait_for(2)
        assert stage.states()["sending"] > 1
        worker.signal(signal.SIGTERM)
        assert worker.wait(30) == 0
        assert len(server.messages) == 2
        assert stage.states() == {"sent": 2, "queued": 5}
        assert all(row.attempts == (row.state == "sent") for row in stage.deliveries())


@pytest.mark.databases("postgresql")
def test_a_claim_that_is_under_way_is_given_back(database: Database, relay: Relay, make_stage: MakeStage) -> None:
    """Told to stop with no time to spare while the database is slow: nothing stays under lease."""
    stage = make_stage(database, relay.port, OUTBOX_LEASE_SECONDS="600", OUTBOX_SHUTDOWN_SECONDS="0.01")
    worker = stage.start()
    with stage.transaction() as session:
        session.execute(sa.text("LOCK TABLE outbox_delivery IN SHARE ROW EXCLUSIVE MODE"))
        stage.outbox.enqueue(Message("Late", recipients=["ann@example.org"], body="x\n"))
        session.flush()
        until(lambda: session.execute(_WAITING).scalar(), "the claim waits")
        worker.signal(signal.SIGTERM)
        until(lambda: "status=worker-stopping" in worker.log(), "the stop begins")
        session.commit()
    assert worker.wait(30) == 0, worker.log()
    assert stage.states() == {"queued": 1}


def test_a_second_signal_ends_it_at_once(sqlite_database: Database, make_stage: MakeStage) -> None:
    """With a minute of grace and a hung server, the second SIGTERM does not wait."""
    with SmtpServer({"dot": SILENCE}) as server:
        stage = make_stage(sqlite_database, server.port, OUTBOX_LEASE_SECONDS="300", OUTBOX_SHUTDOWN_SECONDS="60")
        stage.send()
        worker = stage.start()
        server.wait_until(lambda: server.steps["dot"], 20, "a mail under way")
        worker.signal(signal.SIGTERM)
        until(lambda: "status=worker-stopping" in worker.log(), "the first signal is heard")
        with at_most(30):  # of a minute
            worker.signal(signal.SIGTERM)
            assert worker.wait(30) == 128 + signal.SIGTERM


def test_a_stop_at_any_moment_is_heard(sqlite_database: Database, relay: Relay, make_stage: MakeStage) -> None:
    """Signals that come while the worker starts, sends or idles all end it, with 0 or by the signal itself."""
    stage = make_stage(sqlite_database, relay.port)
    stage.send_together(30)
    for number in range(6):
        worker = stage.fork(ready=number % 2 == 0)
        worker.signal(signal.SIGTERM)
        assert worker.wait(30) in {0, -signal.SIGTERM}
    stage.fork()
    assert stage.settle() == {"sent": 30}
    assert len(relay.copies()) == len(relay.taken()) == 30
