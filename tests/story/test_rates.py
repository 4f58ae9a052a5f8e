"""Rates and quotas, held by all workers of a database together: real workers, and a relay that counts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from outbox import Message
from tests.servers.databases import Database
from tests.story.conftest import MakeStage
from tests.story.stage import Relay, until
from tests.story.test_clock import Faked, clock, faked

__all__ = ["clock", "faked"]

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
def test_a_rate_and_a_quota_hold_for_four_workers(faked: Faked, relay: Relay, make_stage: MakeStage) -> None:
    """Five a second and 100 in any 24 hours, across midnight: no more go, those of high priority first; the rest waits.

    A permit that a worker could not give back counts as used. A busy machine brings two to the relay at once that were
    permitted one after the other.
    """
    stage = make_stage(faked.database, relay.port, OUTBOX_RATE="5/second", OUTBOX_PER_DAY="100")
    faked.clock.step(seconds_to_midnight() - 10)
    stage.send_together(260)
    high = set(stage.send_together(40, priority="high"))
    for _ in range(4):
        stage.start(**faked.workers, ready=False)
    until(lambda: len(relay.taken()) >= 95, "the quota is used up, or nearly so", 90)
    faked.clock.step(seconds_to_midnight() + 2 * 3_600)
    until(lambda: sum(one["alive"] for one in stage.status(**faked.workers)["workers"]) == 4, "all go on", 30)
    until(lambda: not stage.states()["sending"], "nothing is under way any more", 20)
    taken = relay.taken()
    assert 95 <= len(taken) <= 100
    assert most_in([one.at for one in taken], 1.0) <= 5 + 2
    ahead = 20  # what workers have reserved for the same second goes in no order between them
    assert high <= {one.id for one in taken[: 40 + ahead]}
    assert {row.attempts for row in stage.deliveries() if row.state == "queued"} == {0}
    assert {row.attempts for row in stage.deliveries() if row.state == "sent"} == {1}


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
    assert {row.attempts for row in stage.deliveries() if row.state == "queued"} == {0}
