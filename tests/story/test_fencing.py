"""Workers that stand still or die: who holds a mail sends it, and nobody else."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.servers.databases import Database
from tests.story.conftest import MakeStage
from tests.story.stage import Relay, Stage, stand_still, until
from tests.wire.actions import Later, Take, turns
from tests.wire.server import SmtpServer


@pytest.mark.parametrize(
    ("lease", "dead_after"),
    [("6", "600"), ("600", "2")],
    ids=["the lease runs out", "the heartbeat stops"],
)
@pytest.mark.quick("postgresql")
def test_a_worker_that_stood_still_touches_nothing_it_lost(
    database: Database, make_stage: MakeStage, lease: str, dead_after: str
) -> None:
    """SIGSTOP, another worker takes over, SIGCONT: the first sends none of it again and changes no row."""
    settings = {"OUTBOX_LEASE_SECONDS": lease, "OUTBOX_DEAD_AFTER_SECONDS": dead_after, "OUTBOX_CONNECTIONS": "1"}
    if lease == "6":
        settings["OUTBOX_HEARTBEAT_SECONDS"] = "1"
    with SmtpServer({"dot": Take(Later(0.05, "250 2.0.0 ok"))}) as server:
        stage = make_stage(database, server.port, **settings)
        stage.send_together(60)
        first = stage.fork()
        server.wait_for(3)
        stand_still(first, stage.engine)
        second = stage.fork(ready=True)
        assert stage.settle() == {"sent": 60}
        before = [(row.id, row.state, row.attempts, row.updated_at) for row in stage.deliveries()]
        taken = len(server.messages)
        second.signal(signal.SIGTERM)
        assert second.wait(30) == 0
        first.signal(signal.SIGCONT)
        stage.send()
        server.wait_for(taken + 1, 30)
        stage.settle()
        assert len(server.messages) == taken + 1
        assert [(row.id, row.state, row.attempts, row.updated_at) for row in stage.deliveries()][:60] == before
        assert taken <= 61  # the one that was under way when it was stopped


def test_a_slow_server_is_waited_for_within_the_lease(sqlite_database: Database, make_stage: MakeStage) -> None:
    """Two workers and replies to the final dot that take nearly as long as is allowed: nothing is sent twice."""
    settings = {"OUTBOX_LEASE_SECONDS": "3", "OUTBOX_CONNECTIONS": "1"}  # 1.2 s for the reply
    with SmtpServer({"dot": Take(Later(1.0, "250 2.0.0 ok"))}) as server:
        stage = make_stage(sqlite_database, server.port, **settings)
        stage.send_together(8)
        stage.fork(), stage.fork()
        assert stage.settle() == {"sent": 8}
        assert len(server.messages) == 8
        assert not any(attempt.fenced for attempt in stage.attempts())


@pytest.mark.quick("postgresql")
def test_the_mail_of_a_killed_worker_goes_on_by_its_heartbeat(
    database: Database, relay: Relay, make_stage: MakeStage
) -> None:
    """kill -9, with a lease of an hour: another worker has its mail as soon as the heartbeat is missed."""
    stage = make_stage(database, relay.port, OUTBOX_LEASE_SECONDS="3600", OUTBOX_CONNECTIONS="2")
    with SmtpServer({"dot": Later(30.0, "250 2.0.0 too late")}) as slow:
        first = stage.fork(MAIL_PORT=str(slow.port))
        ids = stage.send_together(20)
        slow.wait_until(lambda: slow.steps["dot"], 20, "a mail under way")
        first.signal(signal.SIGKILL)
        killed = time.monotonic()
        first.wait(10)
        stage.fork()
        assert stage.settle() == {"sent": 20}
        assert time.monotonic() - killed < 60  # of an hour
    assert sorted(one.id for one in relay.taken()) == sorted(ids)


@pytest.mark.long
def test_by_default_the_mail_of_a_killed_worker_goes_on_within_half_a_minute(
    sqlite_database: Database, relay: Relay, make_stage: MakeStage
) -> None:
    """No setting but the relay's: kill -9, started again as a supervisor would, and within 30 s all is sent."""
    stage = make_stage(sqlite_database, relay.port, quick=False)
    with SmtpServer({"dot": turns(None, Later(60.0, "250 too late"), last_stays=True)}) as slow:
        first = stage.start(MAIL_PORT=str(slow.port))
        ids = stage.send_together(80)
        slow.wait_until(lambda: slow.steps["dot"] >= 5, 20, "four mails under way")
        until(lambda: stage.states()["sending"] >= 60, "a window of mail leased ahead")
        first.signal(signal.SIGKILL)
        killed = time.monotonic()
        first.wait(10)
        stage.start()
        assert stage.settle(40) == {"sent": 80}
        assert time.monotonic() - killed < 30
        assert len(slow.messages) == 1
    assert len(relay.taken()) == 79
    assert {one.id for one in relay.taken()} < set(ids)


@pytest.mark.quick("postgresql")
def test_a_killed_worker_costs_no_attempt(stage: Stage, relay: Relay) -> None:
    """Whatever it held has been tried once when it arrives, and is only known to have been rescued."""
    stage.send_together(40)
    first = stage.fork()
    until(lambda: len(relay.taken()) > 5, "mail flows")
    first.signal(signal.SIGKILL)
    first.wait(10)
    stage.fork()
    assert stage.settle() == {"sent": 40}
    assert {row.attempts for row in stage.deliveries()} == {1}
    assert sum(relay.copies().values()) - len(relay.copies()) <= 4


@pytest.mark.quick("postgresql")
def test_two_workers_with_different_limits_send_nothing_twice(database: Database, make_stage: MakeStage) -> None:
    """One says that it is dead after 1 s, the other beats every 3 s: as while a setting is rolled out."""
    with SmtpServer({"dot": Take(Later(0.3, "250 2.0.0 ok"))}) as server:
        stage = make_stage(database, server.port, OUTBOX_LEASE_SECONDS="60", OUTBOX_CONNECTIONS="2")
        slow = stage.fork(ready=True, OUTBOX_HEARTBEAT_SECONDS="3", OUTBOX_DEAD_AFTER_SECONDS="12")
        stage.send_together(30)
        until(lambda: stage.states()["sending"] >= 25, "the slow one holds nearly all")
        eager = stage.fork(ready=True, OUTBOX_HEARTBEAT_SECONDS="0.25", OUTBOX_DEAD_AFTER_SECONDS="1")
        assert stage.settle() == {"sent": 30}
        assert len(server.messages) == 30
        assert {row.rescues for row in stage.deliveries()} == {0}
        for worker in (slow, eager):
            row = stage.row(worker)
            assert row is not None
            assert row.stopped_at is None


@pytest.mark.parametrize("how", ["STORY_SLEPT", "STORY_STOPPED"], ids=["suspended", "a virtual machine stopped"])
@pytest.mark.parametrize(("lease", "dead_after"), [("60", "2"), ("3", "600")], ids=["the heartbeat", "the lease"])
def test_a_machine_that_slept_sends_nothing_that_others_took_over(
    sqlite_database: Database, make_stage: MakeStage, tmp_path: Path, how: str, lease: str, dead_after: str
) -> None:
    """Its monotonic clock stood still meanwhile: it wakes, and its leases look as good as before."""
    settings = {"OUTBOX_CONNECTIONS": "2", "OUTBOX_LEASE_SECONDS": lease, "OUTBOX_DEAD_AFTER_SECONDS": dead_after}
    uncounted = tmp_path / "uncounted"
    uncounted.write_text("0")
    with SmtpServer({"dot": Take(Later(0.1, "250 2.0.0 ok"))}) as server:
        stage = make_stage(sqlite_database, server.port, **settings)
        sleeper = stage.fork(**{how: str(uncounted)})
        stage.send_together(32)
        server.wait_for(3)
        stand_still(sleeper, stage.engine)
        began = time.time()
        stage.fork(ready=True)
        assert stage.settle() == {"sent": 32}
        taken = len(server.messages)
        uncounted.write_text(str(time.time() - began))
        before = stage.row(sleeper)
        assert before is not None
        sleeper.signal(signal.SIGCONT)
        until(lambda: stage.row(sleeper).heartbeat_at > before.heartbeat_at, "it beats")  # type: ignore[union-attr]
        stage.send()
        server.wait_for(taken + 1)
        assert stage.settle() == {"sent": 33}
        assert len(server.messages) == taken + 1
        assert taken <= 34  # what was under way when it fell asleep
