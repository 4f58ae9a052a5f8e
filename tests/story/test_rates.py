"""Rates and quotas, held by all workers of a database together: real workers, and a relay that counts."""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from outbox import Message
from outbox.store.rate_models import OutboxRate
from tests.servers.databases import Database
from tests.story.conftest import MakeStage
from tests.story.stage import Relay, Stage, until
from tests.story.test_clock import Faked, faked
from tests.wire.actions import Later, turns
from tests.wire.server import SmtpServer

__all__ = ["faked"]

DAY = 86_400.0


def most_in(times: Sequence[float], seconds: float) -> int:
    """The most that came within any time of this length."""
    times = sorted(times)
    first = most = 0
    for last, at in enumerate(times):
        while at - times[first] >= seconds:
            first += 1
        most = max(most, last - first + 1)
    return most


def seconds_to_midnight() -> float:
    now = datetime.now(UTC)
    midnight = datetime.combine(now.date() + timedelta(days=1), datetime.min.time(), UTC)
    return (midnight - now).total_seconds()


@pytest.mark.long
@pytest.mark.timeout(500)
@pytest.mark.once("postgresql")
def test_a_rate_and_a_quota_hold_for_four_workers(faked: Faked, relay: Relay, make_stage: MakeStage) -> None:
    """Five a second and 100 in any 24 hours: exactly so many go, across midnight, those of high priority first.

    The rest waits and costs no attempt, until the first are a day old. A second is measured by MAIL, as it comes to the
    relay: that is what the rate paces; when its final dot comes depends on the relay's replies.
    """
    patient = {"OUTBOX_HEARTBEAT_SECONDS": "2", "OUTBOX_DEAD_AFTER_SECONDS": "20"}  # nobody dies here
    stage = make_stage(faked.database, relay.port, OUTBOX_RATE="5/second", OUTBOX_PER_DAY="100", **patient)
    faked.clock.step(seconds_to_midnight() - 10)
    stage.send_together(260)
    high = set(stage.send_together(40, priority="high"))
    for _ in range(4):
        stage.start(**faked.workers, ready=False)
    until(lambda: len(relay.taken()) >= 100, "the quota is used up", 300)
    until(lambda: not stage.states()["sending"], "nothing is under way any more", 20)
    assert stage.states() == {"sent": 100, "queued": 200}
    faked.clock.step(seconds_to_midnight() + 2 * 3_600)
    asked_again(stage)
    assert stage.states() == {"sent": 100, "queued": 200}
    taken = list(relay.taken())
    assert len(taken) == 100
    assert most_in([one.mail for one in taken], 1.0) <= 5 + 1
    ahead = 20  # what workers have reserved for the same second goes in no order between them
    assert high <= {one.id for one in taken[: 40 + ahead]}
    assert {row.attempts for row in stage.deliveries() if row.state == "queued"} == {0}
    assert {row.attempts for row in stage.deliveries() if row.state == "sent"} == {1}
    faked.clock.step(seconds_to_midnight() + DAY + 600)
    until(lambda: len(relay.taken()) > 100, "a day later it goes on", 60)


def asked_again(stage: Stage) -> None:
    """Wait until the workers have asked for permits some more times, and got none."""

    def last() -> object:
        with stage.engine.connect() as connection:
            return connection.execute(sa.select(OutboxRate.updated_at)).scalar_one()

    for _ in range(6):
        before = last()
        until(lambda before=before: last() != before, "a worker asks for a permit", 20)


@pytest.mark.parametrize(("unit", "most"), [("recipients", 10), ("messages", 2)])
def test_a_quota_counts_what_the_setting_says(
    unit: str, most: int, sqlite_database: Database, make_stage: MakeStage
) -> None:
    """Five recipients who share a transaction take five permits, or one; ten may go either way."""
    with SmtpServer() as server:
        stage = make_stage(sqlite_database, server.port, OUTBOX_PER_DAY=str(most), OUTBOX_RATE_UNIT=unit)
        with stage.transaction() as session:
            for number in range(4):
                to = [f"r{number}-{one}@example.org" for one in range(5)]
                stage.outbox.enqueue(Message("Mail", recipients=to, body="x\n"))
            session.commit()
        for _ in range(2):
            stage.fork()
        until(lambda: stage.states() == {"sent": 10, "queued": 10}, "what may go has gone", 30)
        asked_again(stage)
        assert stage.states() == {"sent": 10, "queued": 10}
        assert unit == "recipients" or server.steps["data"] == 2


def test_a_drain_ends_where_a_limit_holds_for_long(sqlite_database: Database, make_stage: MakeStage) -> None:
    """It says what waits, for which limit and until when, and does not wait for hours."""
    with SmtpServer() as server:
        limits = {"OUTBOX_PER_DAY": "4", "OUTBOX_DOMAIN_RATES": '{"slow.example": "1/day"}'}
        stage = make_stage(sqlite_database, server.port, **limits)
        stage.send_together(6)
        with stage.transaction() as session:
            for number in range(2):
                message = Message("Mail", recipients=[f"r{number}@slow.example"], body="x\n")
                stage.outbox.enqueue(message, priority="high")
            session.commit()
        done = stage.command("outbox-sender", "--drain")
        assert done.returncode == 0
        assert stage.states() == {"sent": 4, "queued": 4}
        assert "4 due deliveries are not sent now: " in done.stderr
        assert re.search(r"127.0.0.1:\d+ is held by rate \(4/day\) until \d{4}-", done.stderr)
        assert re.search(r"mail to slow.example is held by rate \(1/day\) until \d{4}-", done.stderr)


@pytest.mark.quick("postgresql")
def test_what_a_killed_worker_had_reserved_of_a_quota_is_free_again(database: Database, make_stage: MakeStage) -> None:
    """But for the message that may have gone."""
    with SmtpServer({"dot": turns(Later(60.0, "250 2.0.0 too late"), *30 * ["250 2.0.0 ok"])}) as server:
        stage = make_stage(database, server.port, OUTBOX_PER_DAY="20", OUTBOX_CONNECTIONS="1")
        stage.send_together(30)
        killed = stage.fork()
        until(lambda: server.steps["dot"], "the relay stands still after the final dot", 30)
        killed.signal(signal.SIGKILL)
        stage.fork()
        until(lambda: stage.states()["sent"] == 19, "what is left of the quota has gone", 60)
        asked_again(stage)
        assert stage.states()["sent"] == 19


def test_a_domain_with_a_rate_holds_up_nobody_else(
    sqlite_database: Database, relay: Relay, make_stage: MakeStage
) -> None:
    """Three messages in a day to one domain, all to the others, though that domain's mail is in front."""
    stage = make_stage(sqlite_database, relay.port, OUTBOX_DOMAIN_RATES='{"*.slow.example": "3/day"}')
    with stage.transaction() as session:
        for number in range(30):
            to = f"r{number}@mx.slow.example" if number < 20 else f"r{number}@example.org"
            stage.outbox.enqueue(Message("Mail", recipients=[to], body="x\n"))
        session.commit()
    for _ in range(2):
        stage.fork()
    until(lambda: stage.states() == {"sent": 13, "queued": 17}, f"what may go has gone: {stage.states()}", 30)
    assert sum(one.to.endswith("slow.example") for one in relay.taken()) == 3
    assert not any(row.attempts for row in stage.deliveries() if row.state == "queued")
