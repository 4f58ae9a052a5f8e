"""What the status sees, the same on every database."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from outbox import operations
from outbox.delivery.states import Lane, State
from outbox.models import OutboxAttempt, OutboxWorker
from outbox.operations import Alarms, Status, pauses
from outbox.operations.status import drain_seconds
from outbox.store.enqueue import Posting
from outbox.store.pauses import What
from outbox.store.queue import Queue
from outbox.store.types import DbNow
from tests.db.mails import put, worker
from tests.servers.databases import Database

ALARM = 300.0
DEAD = 20.0


def look(engine: sa.Engine, **options: Any) -> Status:
    """The status by usual settings."""
    with engine.connect() as connection:
        return operations.status(connection, **{"dead_after": DEAD, "alarms": Alarms(oldest=ALARM), **options})


def relay(state: str = "closed", **facts: Any) -> dict[str, Any]:
    """A worker's health."""
    said = {"name": "mail.example.org:587", "state": state, "since_seconds": None, "error": None}
    return {"transport": {**said, "next_probe_seconds": None, **facts}}


def test_an_empty_outbox_is_healthy(engine: sa.Engine) -> None:
    """All six states are counted, nothing is due, nobody has to be there."""
    seen = look(engine)
    assert seen.states == dict.fromkeys(State, 0)
    assert (seen.due_now, seen.oldest_due_seconds, seen.workers, seen.problems) == (0, None, [], [])
    assert seen.healthy


def test_every_state_is_counted_to_the_cap(engine: sa.Engine) -> None:
    """One more than the cap means "more"."""
    for number, state in enumerate(State, start=1):
        for _ in range(number):
            put(engine, state=state)
    assert look(engine).states == {state: number for number, state in enumerate(State, start=1)}
    assert look(engine, count_cap=3).states[State.CANCELLED] == 4


def test_the_oldest_due_mail_is_told_by_lane(engine: sa.Engine) -> None:
    """Retries and lost leases are due too; what is dated into the future is not."""
    put(engine, ago=50, posting=Posting(lane=Lane.HIGH))
    put(engine, ago=100, delivery={"lane": Lane.NORMAL.slot(retry=True)})
    put(engine, ago=200, state=State.SENDING, delivery={"lane": Lane.NORMAL.slot(retry=False)})
    put(engine, ago=-500, posting=Posting(lane=Lane.BULK))
    seen = look(engine)
    assert seen.due_now == 3
    assert seen.oldest_due_seconds == pytest.approx(200, abs=20)
    assert seen.oldest_due_by_lane[Lane.HIGH] == pytest.approx(50, abs=20)
    assert seen.oldest_due_by_lane[Lane.BULK] is None


def test_mail_that_waits_too_long_is_a_problem(engine: sa.Engine) -> None:
    """From OUTBOX_ALARM_OLDEST_SECONDS on."""
    worker(engine)
    put(engine, ago=ALARM - 60)
    assert look(engine).healthy
    put(engine, ago=ALARM + 60)
    assert [problem[:15] for problem in look(engine).problems] == ["the oldest due "]


def test_due_mail_without_a_living_worker_is_a_problem(engine: sa.Engine) -> None:
    """A dead or stopped worker is none; mail for later needs none yet."""
    worker(engine, heartbeat=DEAD + 60)
    worker(engine, stopped_at=sa.func.current_timestamp())
    put(engine, ago=-500)
    assert look(engine).healthy
    put(engine)
    (problem,) = look(engine).problems
    assert "no worker is alive" in problem
    assert "mailhost pid 4711" in problem
    worker(engine)
    assert look(engine).healthy


def test_a_lost_lease_without_worker_is_a_problem_too(engine: sa.Engine) -> None:
    """The only worker was killed while it sent: nothing is queued, and yet nobody sends."""
    put(engine, state=State.SENDING, ago=10)
    assert "no worker is alive" in look(engine).problems[0]


def test_workers_are_shown_with_their_heartbeat(engine: sa.Engine) -> None:
    """The living first; those that ended in good order, or long ago, no more."""
    dead = worker(engine, heartbeat=300, pid=1)
    living = worker(engine, heartbeat=3, pid=2)
    worker(engine, heartbeat=90_000)
    seen = look(engine)
    assert [(one.id, one.alive) for one in seen.workers] == [(living, True), (dead, False)]
    assert seen.workers[1].heartbeat_age == pytest.approx(300, abs=20)
    assert seen.workers[0].uptime == pytest.approx(3600, abs=20)


def test_a_relay_that_is_down_is_a_problem_with_its_remedy(engine: sa.Engine) -> None:
    """Told once, however many workers say so; times go on since the heartbeat."""
    health = relay("open", since_seconds=100.0, error="auth: 535 5.7.8 bad password", next_probe_seconds=30.0)
    worker(engine, heartbeat=10, health=health)
    worker(engine, heartbeat=10, health=health)
    seen = look(engine)
    (problem,) = seen.problems
    assert problem.startswith("relay mail.example.org:587: down for 1 min")
    assert "535 5.7.8 bad password." in problem
    assert "Check MAIL_USERNAME and MAIL_PASSWORD" in problem
    assert seen.problem_kinds == ["transport-down"]
    transport = seen.transports[0]
    assert transport.since is not None
    assert (seen.at - transport.since).total_seconds() == pytest.approx(110, abs=10)
    assert transport.next_probe_seconds == pytest.approx(20, abs=10)


def test_a_worker_is_judged_by_its_own_limit(engine: sa.Engine) -> None:
    """As the other workers do: the one who looks may have other settings."""
    patient = worker(engine, heartbeat=60, pid=1, dead_after=3600.0)
    eager = worker(engine, heartbeat=10, pid=2, dead_after=1.0)
    assert [(one.id, one.alive) for one in look(engine).workers] == [(patient, True), (eager, False)]
    with engine.connect() as connection:
        heartbeats = operations.gauges(connection, dead_after=DEAD).heartbeats
    assert {one.id: one.alive for one in heartbeats} == {patient: True, eager: False}


def test_what_a_dead_worker_said_of_its_transport_is_no_problem(engine: sa.Engine) -> None:
    """It was true once."""
    worker(engine, heartbeat=DEAD + 60, health=relay("open", error="gone"))
    assert look(engine).healthy


@pytest.mark.parametrize("health", [None, [], {"transport": None}, {"transport": [{}, 7]}, relay(since_seconds="x")])
def test_odd_health_is_no_error(sqlite_database: Database, health: Any) -> None:
    """A worker of another version may write something else."""
    worker(sqlite_database.worker_engine, health=health)
    look(sqlite_database.worker_engine)


def test_a_worker_without_database_says_so(engine: sa.Engine) -> None:
    """It could still write its heartbeat, so the trouble is worth a look."""
    worker(engine, health={**relay(), "database": "deadlock"})
    assert "trouble with the database: deadlock" in look(engine).problems[0]


def test_mail_of_another_environment_is_a_problem_aloud(engine: sa.Engine) -> None:
    """Before a worker refused it and after; not where a worker of that environment is there for it."""
    put(engine, posting=Posting(environment="production"))
    worker_id = worker(engine, environment="staging")
    for _ in range(2):
        seen = look(engine, environment="staging")
        assert seen.foreign == {"production": 1}
        assert any("environment 'production'" in problem for problem in seen.problems)
        Queue(engine, environment="staging", lease=60.0).claim(worker_id, 1, 10)
    worker(engine, environment="production")
    assert look(engine, environment="staging").healthy


def test_uncertain_mail_and_suppression_are_notes(engine: sa.Engine) -> None:
    """To be known, but no reason to wake anybody: the worker does its duty."""
    put(engine, state=State.UNCERTAIN)
    worker(engine, health={**relay(), "suppressed": True})
    seen = look(engine)
    assert seen.healthy
    assert [note.split()[0] for note in seen.notes] == ["MAIL_SUPPRESS_SEND", "1"]
    assert look(engine, suppressed=True).suppressed


def test_rates_count_what_was_sent(engine: sa.Engine) -> None:
    """In the last minute, hour and day."""
    for ago in (5, 600, 7200, 200_000):
        put(engine, state=State.SENT, ago=ago)
    put(engine, state=State.FAILED)
    seen = look(engine)
    assert (seen.sent_last_minute, seen.sent_last_hour, seen.sent_last_day) == (1, 2, 3)


def test_failures_are_grouped_by_cause_and_domain(engine: sa.Engine) -> None:
    """Of the last day, the largest group first: enhanced code, else code, else the reason."""
    enhanced = {"code": 550, "enhanced": "5.1.1", "reply": "no such user", "reason": "refused"}
    for ago in (100, 4000):
        put(engine, "a@one.example", state=State.FAILED, ago=ago, delivery=enhanced)
    put(engine, "a@two.example", state=State.FAILED, delivery={"code": 554, "reason": "refused"})
    put(engine, "a@two.example", state=State.FAILED, delivery={"reason": "expired"})
    put(engine, "a@two.example", state=State.FAILED, ago=100_000, delivery=enhanced)
    seen = look(engine)
    groups = [(group.error, group.domain, group.count) for group in seen.failures]
    assert groups == [("5.1.1", "one.example", 2), ("554", "two.example", 1), ("expired", "two.example", 1)]
    assert seen.failures[0].reply == "no such user"
    assert seen.failures[0].transport is None
    assert (seen.failures[0].last - seen.failures[0].first).total_seconds() == pytest.approx(3900, abs=20)


def test_a_group_names_who_replied(engine: sa.Engine) -> None:
    """The relay of the last attempt of the newest delivery, with its words; the domain is the recipients'."""
    said = {"code": 550, "enhanced": "5.1.1", "reason": "refused"}
    put(engine, "a@one.example", state=State.FAILED, delivery={**said, "reply": "z: of the older one"})
    (id,) = put(engine, "b@one.example", state=State.FAILED, delivery={**said, "reply": "no such user"})
    tried = {"delivery_id": id, "phase": "rcpt", "verdict": "permanent", "reply": "", "duration": 0.1, "counted": True}
    with engine.begin() as connection:
        for transport in ("old:25", "mail:587"):
            connection.execute(sa.insert(OutboxAttempt).values(at=DbNow(), transport=transport, **tried))
    (group,) = look(engine).failures
    assert (group.domain, group.transport, group.reply) == ("one.example", "mail:587", "no such user")


def test_a_worker_that_ended_in_good_order_is_no_more_shown(engine: sa.Engine) -> None:
    """`retire` is what the daemon does last."""
    queue = Queue(engine, environment="", lease=60.0)
    id = queue.register(host="here", pid=1, version="1", connections=1)
    assert [one.id for one in look(engine).workers] == [id]
    queue.retire(id)
    assert look(engine).workers == []
    with engine.connect() as connection:
        assert connection.execute(sa.select(OutboxWorker.stopped_at)).scalar_one() is not None


def test_paused_mail_is_not_stuck(engine: sa.Engine) -> None:
    """What waits because somebody wants it so is counted apart, raises no alarm, and is named with who and why."""
    worker(engine)
    put(engine, "a@example.org", "b@example.com", ago=ALARM + 900, posting=Posting(kind="newsletter"))
    put(engine, "c@example.com", ago=ALARM + 600)
    put(engine, "d@example.org", ago=50)
    with engine.begin() as connection:
        pauses.pause(connection, What.KIND, "newsletter", by="ann", reason="wrong link", seconds=3600)
        pauses.pause(connection, What.DOMAIN, "example.com", by="ben", seconds=3600)
    seen = look(engine)
    assert seen.healthy
    assert (seen.due_now, seen.held) == (1, 3)
    assert seen.oldest_due_seconds == pytest.approx(50, abs=20)
    assert [str(one) for one in seen.pauses] == ["kind newsletter", "domain example.com"]
    assert any("kind newsletter" in note and "by ann" in note and "wrong link" in note for note in seen.notes)
    put(engine, "e@example.org", ago=ALARM + 60)
    assert not look(engine).healthy


def test_a_pause_of_all_leaves_nothing_due(engine: sa.Engine) -> None:
    """Nobody need be there to send it, and a transport that is down need not be repaired now."""
    put(engine, ago=ALARM + 900)
    worker(engine, health=relay("open", error="connection refused"))
    assert len(look(engine).problems) == 2
    with engine.begin() as connection:
        pauses.pause(connection, What.ALL, by="ann", seconds=3600)
    seen = look(engine)
    assert (seen.due_now, seen.held, seen.oldest_due_seconds, seen.problems) == (0, 1, None, [])


def test_a_pause_of_the_transport_holds_what_goes_by_it(engine: sa.Engine) -> None:
    """As long as no worker has another."""
    put(engine, ago=ALARM + 900)
    worker(engine, health=relay("open"))
    with engine.begin() as connection:
        pauses.pause(connection, What.TRANSPORT, "mail.example.org:587", by="ann", seconds=3600)
    assert look(engine).problems == []
    worker(engine, pid=2, health=relay(name="other.example.org:25"))
    assert "oldest due" in look(engine).problems[0]


def test_rates_and_the_time_to_drain(engine: sa.Engine) -> None:
    """Sent and failed in the last minute, hour and day; what is due by the last minute's rate, else the hour's."""
    for ago in (10, 20, 1800, 7200, 200_000):
        put(engine, state=State.SENT, ago=ago)
        put(engine, state=State.FAILED, ago=ago + 45)
    put(engine, *(f"r{number}@example.org" for number in range(4)))
    worker(engine)
    seen = look(engine)
    assert (seen.sent_last_minute, seen.sent_last_hour, seen.sent_last_day) == (2, 3, 4)
    assert (seen.failed_last_minute, seen.failed_last_hour, seen.failed_last_day) == (1, 3, 4)
    assert seen.drain_seconds == pytest.approx(120.0)
    assert drain_seconds(6, 0, 3) == pytest.approx(7200.0)
    assert drain_seconds(0, 1, 1) is drain_seconds(1, 0, 0) is None


def test_a_worker_says_how_fast_it_is(engine: sa.Engine) -> None:
    """Mails each second; None where it has not said."""
    worker(engine, health={"per_second": 12.5})
    worker(engine, pid=5000)
    assert [one.per_second for one in look(engine).workers] == [12.5, None]


def test_deferred_mail_by_cause(engine: sa.Engine) -> None:
    """What waits for another try is grouped by cause and domain; what is new, sent or held by a worker is not."""
    greylisted = {"code": 450, "enhanced": "4.7.1", "reply": "later", "reason": "deferred", "due_at": DbNow(60.0)}
    for number, lane in enumerate((1, 3, 3, 5)):
        put(engine, f"a{number}@slow.example", delivery=greylisted | {"lane": lane}, message_id=f"<{number}@x>")
    busy = {"lane": 3, "code": 421, "reply": "busy"}
    put(engine, "b@other.example", delivery=busy | {"due_at": DbNow(60.0)}, message_id="<b@x>")
    put(engine, "due@other.example", delivery=busy, message_id="<due@x>")
    put(engine, "new@slow.example", message_id="<n@x>")
    put(engine, "c@slow.example", state=State.SENDING, delivery=greylisted | {"lane": 3}, message_id="<c@x>")
    put(
        engine,
        "d@slow.example",
        state=State.FAILED,
        delivery=greylisted | {"lane": 3, "due_at": None},
        message_id="<d@x>",
    )
    with engine.connect() as connection:
        found = [(group.error, group.domain, group.count, group.reply) for group in operations.deferred(connection)]
    assert found == [("4.7.1", "slow.example", 4, "later"), ("421", "other.example", 1, "busy")]
