"""Several workers know of a transport together: who finds it down tells the others, and one probes for all."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import sqlalchemy as sa

from outbox import Message
from outbox.models import OutboxTransport, table_of
from tests.servers.databases import Database
from tests.story.conftest import MakeStage
from tests.story.stage import Relay, Stage, now, until
from tests.story.test_transports import relays, states, two
from tests.wire.server import SmtpServer

__all__ = ["relays"]  # a fixture

WORKERS = 3
DOWN = "421 4.3.2 The system is going down"


def row(stage: Stage, name: str = "first") -> sa.Row[tuple[object, ...]]:
    """What the workers know together of a transport."""
    table = table_of(OutboxTransport)
    with stage.engine.connect() as connection:
        return connection.execute(sa.select(table).where(table.c.name == name)).one()


def workers(stage: Stage) -> None:
    """Three of them, at work."""
    for _ in range(WORKERS):
        stage.fork()
    until(lambda: all(stage.transport(worker) for worker in stage.workers), "all have said something")


@pytest.mark.long
@pytest.mark.databases("sqlite", "postgresql")
def test_one_worker_probes_for_all(database: Database, make_stage: MakeStage) -> None:
    """While the first is down it sees the probes of one worker, and is back after one that goes through."""
    with SmtpServer() as first, SmtpServer() as second:
        pace = {"OUTBOX_PROBE_SECONDS": "1", "OUTBOX_PROBE_MAX_SECONDS": "1"}
        stage = make_stage(database, 9, **two(first.port, second.port, **pace))
        workers(stage)
        stage.send(12)
        until(lambda: len(first.messages) == 12, "the first carries all")
        first.script["greeting"] = DOWN
        first.hang_up()
        stage.send(1)
        until(lambda: len(second.messages) == 1, "the second takes over")
        until(lambda: row(stage).state == "down", "the database has it")
        assert "going down" in str(row(stage).error)
        until(lambda: all(stage.transport(one)["state"] != "closed" for one in stage.workers), "all are told")
        stage.send_together(59)
        until(lambda: len(second.messages) == 60, "the second carries all")
        with stage.transaction() as session:  # what only the first may carry keeps it probed
            stage.outbox.enqueue(Message("x", recipients=["pinned@example.org"], body="x\n"), transport="first")
            session.commit()
        began, seen = now(), first.connections
        until(lambda: first.connections >= seen + 6, "it is probed")
        assert now() - began > 3.0, "one probe a second, not one by each worker"
        assert states(stage) == {"first": "down", "second": "up"}
        told = stage.status()["problems"]
        assert any("Meanwhile what may go by second" in one for one in told), told
        seen = first.connections
        del first.script["greeting"]
        until(lambda: row(stage).state == "up", "the first is back")
        assert first.connections <= seen + 2, "after one probe"
        until(lambda: all(stage.transport(one)["state"] == "closed" for one in stage.workers), "all are told")
        stage.send(6)
        stage.settle()
        assert stage.states() == {"sent": 79}
        assert len(second.messages) == 60, "what comes now goes by the first again"
        until(lambda: states(stage) == {"first": "up", "second": "up"}, "the status says so")


@pytest.mark.databases("postgresql")
@pytest.mark.long
def test_a_locked_row_stops_nobody(database: Database, relays: tuple[Relay, Relay], make_stage: MakeStage) -> None:
    """Somebody else holds the rows of the transports: each worker goes by what it finds out itself."""
    first, second = relays
    stage = make_stage(database, 9, **two(first.port, second.port))
    stage.send(2)
    workers(stage)
    until(lambda: len(first.taken()) == 2, "the first carries mail")
    with locked(stage):
        first.stop()
        stage.send_together(30)
        until(lambda: len(second.taken()) == 30, "the second takes over")
        first.start()
        until(lambda: stage.send(1) and len(first.taken()) > 2, "the first is used again", 40)
        stage.settle()
    assert first.copies().total() + second.copies().total() == sum(stage.states().values())


@pytest.mark.databases("sqlite", "postgresql")
def test_a_worker_that_starts_knows_what_the_others_found(database: Database, make_stage: MakeStage) -> None:
    """It probes at once, since a repair may be why it was started, and sends by the second meanwhile."""
    with SmtpServer({"greeting": DOWN}) as first, SmtpServer() as second:
        pace = {"OUTBOX_PROBE_SECONDS": "60", "OUTBOX_PROBE_MAX_SECONDS": "60"}
        stage = make_stage(database, 9, **two(first.port, second.port, **pace))
        stage.send(2)
        stage.fork()
        until(lambda: len(second.messages) == 2 and row(stage).state == "down", "the second carries mail")
        seen = first.connections
        del first.script["greeting"]
        stage.fork()
        until(lambda: stage.send(1) and row(stage).state == "up", "it has probed", 20)
        assert first.connections <= seen + 2
        stage.settle()


def test_one_that_is_back_is_found_without_mail(sqlite_database: Database, make_stage: MakeStage) -> None:
    """The second has carried all there was; a log-in shows that the first is back, and the status does not wait."""
    with SmtpServer({"greeting": DOWN}) as first, SmtpServer() as second:
        pace = {"OUTBOX_PROBE_SECONDS": "0.5", "OUTBOX_PROBE_MAX_SECONDS": "0.5"}
        stage = make_stage(sqlite_database, 9, **two(first.port, second.port, **pace))
        stage.send(2)
        for _ in range(2):
            stage.fork()
        stage.settle()
        until(lambda: states(stage) == {"first": "down", "second": "up"}, "the status says so")
        seen = first.connections
        until(lambda: first.connections >= seen + 2, "it is looked at, though nothing is due")
        assert states(stage)["first"] == "down"
        del first.script["greeting"]
        until(lambda: states(stage) == {"first": "up", "second": "up"}, "it is found back")
        assert not first.messages
        assert not stage.status()["problems"]
        stage.send(1)
        stage.settle()
        assert len(first.messages) == 1, "what comes now goes by the first again"


@pytest.mark.long
@pytest.mark.databases("sqlite", "postgresql")
def test_what_a_frozen_transport_may_have_taken_waits_for_it(
    database: Database, tmp_path_factory: pytest.TempPathFactory, make_stage: MakeStage
) -> None:
    """The first stands still (SIGSTOP) after the final dot: what it then holds is never offered to the second."""
    with (
        Relay(tmp_path_factory.mktemp("first"), delay=0.2) as first,
        Relay(tmp_path_factory.mktemp("second")) as second,
    ):
        stage = make_stage(database, 9, **two(first.port, second.port, OUTBOX_SEND_TIMEOUT_SECONDS="3"))
        stage.send_together(40)
        stage.fork()
        until(lambda: len(first.taken()) > 4, "the first takes some and has not said so")
        first.signal(signal.SIGSTOP)
        late = stage.send(1)
        until(lambda: late[0] in {one.id for one in second.taken()}, "new mail goes by the second")
        until(lambda: _sent_or_unknown(stage), "the others, too", 60)
        first.signal(signal.SIGCONT)
        stage.settle()
        assert stage.states() == {"sent": 41}
        assert not set(first.copies()) & set(second.copies()), "what the first may have taken went by the second"
        assert set(second.copies().values()) == {1}


def _sent_or_unknown(stage: Stage) -> bool:
    """Whether each message was sent, or may be with a relay that has not said so."""
    unknown = {one.delivery_id for one in stage.attempts() if one.verdict == "unknown"}
    return all(one.state == "sent" or one.id in unknown for one in stage.deliveries())


@contextmanager
def locked(stage: Stage) -> Iterator[None]:
    """Within it a transaction holds all rows of the transports."""
    held, over = threading.Event(), threading.Event()

    def hold() -> None:
        with stage.engine.begin() as connection:
            connection.execute(sa.select(table_of(OutboxTransport)).with_for_update()).all()
            held.set()
            over.wait(100)

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        assert held.wait(10)
        yield
    finally:
        over.set()
        thread.join()
