"""What the status calls degraded although workers and relay are up: judged by what comes out."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
import sqlalchemy as sa

from outbox import operations
from outbox.delivery.states import State
from outbox.models import OutboxAttempt, OutboxPause
from outbox.operations import Alarms, Filter, Status, Waits, pauses, status
from outbox.store.enqueue import Posting
from outbox.store.pauses import What, refuse
from outbox.store.types import DbNow
from tests.db.mails import put, worker

DENIED = {"code": 554, "enhanced": "5.7.1", "reply": "Relay access denied", "verdict": "permanent"}
LATER = {"code": 451, "enhanced": "4.7.1", "reply": "try again later", "verdict": "transient"}
TAKEN = {"code": 250, "enhanced": "2.0.0", "reply": "queued", "verdict": "accepted"}


def look(engine: sa.Engine, **options: Any) -> Status:
    """The status by usual settings."""
    with engine.connect() as connection:
        return status(connection, **{"dead_after": 20.0, **options})


def attempts(engine: sa.Engine, number: int, answer: dict[str, Any], *recipients: str, ago: float = 60.0) -> None:
    """So many attempts, one for each of `number` deliveries, with this answer."""
    delivery_ids = put(
        engine, *(recipients or [f"r{n}@d{n}.example" for n in range(number)]), state=State.SENT, ago=100_000.0
    )
    rows = [
        {
            "delivery_id": id,
            "phase": "rcpt",
            "duration": 0.1,
            "counted": True,
            "transport": "mail:25",
            **answer,
            "reply": answer["reply"].format(n=id),
        }
        for id in (delivery_ids * number)[:number]
    ]
    with engine.begin() as connection:
        connection.execute(sa.insert(OutboxAttempt).values(at=DbNow(-ago)), rows)


def growth(engine: sa.Engine, *halves: tuple[int, int]) -> None:
    """For each five minutes, the oldest first: how many were enqueued and are due, and how many were sent."""
    for place, (came, went) in enumerate(halves):
        ago = 300.0 * (len(halves) - place) - 150.0
        if went:
            put(engine, *(f"s{place}-{n}@example.org" for n in range(went)), state=State.SENT, ago=ago)
        if came:
            put(engine, *(f"q{place}-{n}@example.org" for n in range(came)), ago=ago)


def test_a_third_refused_is_a_problem_in_the_servers_words(engine: sa.Engine) -> None:
    """With the codes and words of most, though workers and relay are up."""
    worker(engine)
    attempts(engine, 14, TAKEN)
    attempts(engine, 7, DENIED)
    seen = look(engine)
    assert seen.problem_kinds == ["refused"]
    (problem,) = seen.problems
    assert problem.startswith("7 of 21 attempts in the last 15 min were refused, most of them by mail:25 for mail ")
    assert ": 554 5.7.1 Relay access denied. " in problem
    assert "`outbox-list --state failed --error 5.7.1`" in problem
    assert (seen.outcomes.sent, seen.outcomes.refused, seen.outcomes.deferred) == (14, 7, 0)


def test_fewer_than_a_third_or_than_twenty_are_none(engine: sa.Engine) -> None:
    """Nor is what was refused longer ago."""
    attempts(engine, 16, DENIED)
    assert look(engine).healthy
    attempts(engine, 34, TAKEN)
    assert look(engine).healthy
    attempts(engine, 500, DENIED, ago=1_000)
    assert look(engine).healthy
    assert not look(engine, alarms=Alarms(window=1_200.0)).healthy


def test_half_deferred_is_a_problem(engine: sa.Engine) -> None:
    """Transient replies, and faults of the relay within a transaction, are deferrals alike."""
    attempts(engine, 11, TAKEN)
    attempts(engine, 6, LATER)
    attempts(engine, 4, {**LATER, "verdict": "transport", "code": 421, "enhanced": None})
    assert look(engine).healthy
    attempts(engine, 1, {**LATER, "verdict": "unknown"})
    seen = look(engine)
    assert seen.problem_kinds == ["deferred"]
    assert "11 of 22 attempts" in seen.problems[0]
    assert "`outbox-list --state queued --error 4.7.1`" in seen.problems[0]
    assert (seen.deferred_last_minute, seen.deferred_last_hour) in {(0, 11), (11, 11)}


def test_the_group_is_the_largest_with_the_same_answer(engine: sa.Engine) -> None:
    """Addresses and numbers in a reply make no other answer; a domain that dominates is named, else the sender."""
    varied = {**DENIED, "reply": "<r{n}@one.example> not allowed, see ticket {n}"}
    attempts(engine, 12, varied, *(f"r{n}@one.example" for n in range(12)))
    attempts(engine, 10, {**DENIED, "reply": "spam"})
    group = look(engine).outcomes.group
    assert group is not None
    assert (group.count, group.domain) == (12, "one.example")
    attempts(engine, 13, {**DENIED, "reply": "spam"})
    seen = look(engine)
    assert seen.outcomes.group is not None
    assert (seen.outcomes.group.count, seen.outcomes.group.domain) == (23, None)
    assert "by mail:25 for mail from from@example.org: 554 5.7.1 spam." in seen.problems[0]


def test_shares_can_be_set_and_switched_off(engine: sa.Engine) -> None:
    """0: never."""
    attempts(engine, 30, DENIED)
    assert not look(engine, alarms=Alarms(refused=1.0)).healthy
    assert look(engine, alarms=Alarms(refused=0.0)).healthy
    assert look(engine, alarms=Alarms(outcomes=31)).healthy


def test_outcomes_of_lost_leases_and_of_connections_say_nothing_of_mail(engine: sa.Engine) -> None:
    """The one belongs to another attempt; after the others the same delivery is offered again, or the relay is down."""
    attempts(engine, 20, TAKEN)
    attempts(engine, 30, {**LATER, "fenced": True})
    attempts(engine, 30, {**LATER, "about": "connections", "verdict": "transport"})
    attempts(engine, 30, {**LATER, "phase": "connect", "verdict": "transport"})
    assert look(engine).healthy


@pytest.mark.parametrize(("seconds", "kinds"), [(None, ["paused"]), (90_000, ["paused"]), (80_000, [])])
def test_a_tenth_paused_for_long_is_a_problem(engine: sa.Engine, seconds: float | None, kinds: list[str]) -> None:
    """Without an end, or for more than a day: somebody may have forgotten it."""
    worker(engine)
    put(engine, *(f"r{n}@example.org" for n in range(17)), ago=10)
    put(engine, "a@slow.example", ago=10)
    with engine.begin() as connection:
        pauses.pause(connection, What.DOMAIN, "slow.example", by="ann", seconds=seconds)
    assert look(engine).problem_kinds == []
    put(engine, "b@slow.example", ago=10)
    seen = look(engine)
    assert seen.problem_kinds == kinds
    assert all("2 of 19 due" in problem and "domain slow.example by ann" in problem for problem in seen.problems)


def test_a_short_pause_beside_a_long_one_does_not_count_to_it(engine: sa.Engine) -> None:
    """Only what the long ones hold."""
    worker(engine)
    put(engine, *(f"r{n}@short.example" for n in range(30)), ago=10)
    put(engine, "a@long.example", ago=10)
    with engine.begin() as connection:
        pauses.pause(connection, What.DOMAIN, "short.example", by="ann", seconds=600)
        pauses.pause(connection, What.DOMAIN, "long.example", by="ann")
    seen = look(engine)
    assert (seen.held, seen.held_for_long, seen.problem_kinds) == (31, 1, [])


def test_a_pause_of_all_without_an_end_is_a_problem(engine: sa.Engine) -> None:
    """Even before mail is due."""
    worker(engine)
    with engine.begin() as connection:
        pauses.pause(connection, What.ALL, by="ann")
    (problem,) = look(engine).problems
    assert problem.startswith("all mail is paused without an end")


def test_a_pause_of_another_environment_is_not_ours(engine: sa.Engine) -> None:
    """Nor does it excuse a relay that is down for us."""
    worker(engine, health={"transport": {"name": "mail:25", "state": "open"}})
    with engine.begin() as connection:
        pauses.pause(connection, What.ALL, by="ann", environment="staging")
    assert look(engine).problem_kinds == ["transport-down"]
    assert look(engine, environment="staging").problem_kinds == ["paused"]


def test_a_quota_is_a_problem_of_its_own(engine: sa.Engine) -> None:
    """The relay is not down: it goes on by itself, and the remedy is another."""
    error = "mail: 454 4.7.0 Throttling failure: Daily message quota exceeded"
    said = {"name": "mail:587", "state": "open", "error": error, "about": "account", "since_seconds": 125.0}
    worker(engine, health={"transport": {**said, "next_probe_seconds": 50.0}})
    seen = look(engine)
    assert seen.problem_kinds == ["quota"]
    assert seen.problems[0].startswith("relay mail:587: held by a quota or rate limit for 2 min")
    assert "quota exceeded." in seen.problems[0]
    assert "ask the provider for a higher limit" in seen.problems[0]


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        ("connect: cannot connect to mail:25: [Errno 111] Connection refused", "25: Connection refused. Nothing"),
        ("connect: cannot connect to mail:25: [Errno 111] Connection refused", "MAIL_SERVER and MAIL_PORT"),
        ("resolve: the name mail cannot be resolved: no such host", "spelling of MAIL_SERVER"),
        ("auth: 535 5.7.8 Error: authentication failed", "MAIL_USERNAME and MAIL_PASSWORD"),
        ("tls: the certificate of mail is not accepted: self-signed certificate", "OUTBOX_TLS_CA_FILE"),
        ("rcpt: 554 5.7.1 Relay access denied", "MAIL_USERNAME"),
    ],
)
def test_each_kind_of_fault_has_its_remedy(engine: sa.Engine, error: str, remedy: str) -> None:
    """`down` is never said alone."""
    worker(engine, health={"transport": {"name": "mail:25", "state": "half-open", "error": error, "since_seconds": 29}})
    (problem,) = look(engine).problems
    assert problem.startswith("relay mail:25: down for ")
    assert remedy in problem
    assert "`outbox-check`" in problem


def test_no_time_to_drain_is_told_while_nothing_can_go(engine: sa.Engine) -> None:
    """The relay is down, all is paused, or no worker is there: the rate of before says nothing."""
    put(engine, state=State.SENT, ago=10)
    put(engine, "r@example.org")
    assert look(engine).drain_seconds is None
    up = worker(engine, health={"transport": {"name": "mail:25", "state": "closed"}})
    assert look(engine).drain_seconds == pytest.approx(60.0)
    with engine.begin() as connection:
        made = pauses.pause(connection, What.ALL, by="ann", seconds=60)
    assert look(engine).drain_seconds is None
    with engine.begin() as connection:
        pauses.resume(connection, made.what, by="ann")
        connection.execute(sa.text("UPDATE outbox_worker SET stopped_at = heartbeat_at WHERE id = :id"), {"id": up})
    worker(engine, pid=2, health={"transport": {"name": "mail:25", "state": "open"}})
    assert look(engine).drain_seconds is None


@pytest.mark.parametrize(
    ("halves", "grows"),
    [
        ([(0, 100), (40, 50), (60, 40)], True),  # ever more wait, and fewer go
        ([(0, 50), (0, 50), (200, 40)], False),  # much came at once, a short time ago: it has not grown for so long
        ([(100, 50), (40, 50), (20, 100)], False),  # more go than before
        ([(0, 100), (40, 50), (60, 0)], False),  # nothing goes: the oldest due mail tells
        ([(0, 100), (0, 50), (10, 40)], False),  # few
        ([(20, 100), (0, 50), (0, 40)], False),  # no more are due than before
    ],
)
def test_due_mail_that_grows_for_ten_minutes_is_a_problem(
    engine: sa.Engine, halves: list[tuple[int, int]], grows: bool
) -> None:
    """The time to send it all was shorter five minutes ago, and shorter still ten minutes ago."""
    worker(engine)
    growth(engine, *halves)
    seen = look(engine, alarms=Alarms(oldest=5_000.0, drain=1.0))
    assert seen.problem_kinds == (["backlog-growing"] if grows else [])


def test_mail_for_later_is_no_growth(engine: sa.Engine) -> None:
    """It is not due yet: as much comes due as goes, and more and more is scheduled."""
    worker(engine)
    put(engine, *(f"due{n}@example.org" for n in range(100)), ago=760.0)
    for ago in (750.0, 450.0, 150.0):
        put(engine, *(f"sent{n}@example.org" for n in range(40)), state=State.SENT, ago=ago)
        put(engine, *(f"later{n}@example.org" for n in range(30)), ago=ago, delivery={"due_at": DbNow(5_000.0)})
    assert look(engine, alarms=Alarms(oldest=5_000.0, drain=1.0)).healthy


def test_deferred_is_counted_beside_failed(engine: sa.Engine) -> None:
    """What waits after an attempt, counted or not; not what is dated into the future and was never attempted."""
    put(engine, "a@x.example", ago=-500, delivery={"lane": 3, "attempts": 2, "code": 451, "reply": "later"})
    put(engine, "b@x.example", ago=-500, delivery={"reason": "configuration", "code": 550, "reply": "not verified"})
    put(engine, "c@x.example", ago=-500, posting=Posting())
    seen = look(engine)
    assert seen.deferred == 2
    assert {(group.error, group.count) for group in seen.deferred_groups} == {("451", 1), ("550", 1)}


def test_a_scope_that_workers_stopped_is_a_problem(engine: sa.Engine) -> None:
    """With the server's words, how to let it go, and when it is tried again."""
    worker(engine)
    row = {"what": "sender", "value": "news@ours.example", "reason": "refused", "actor": "worker 7", "automatic": True}
    with engine.begin() as connection:
        reply = "554 Message rejected: Email address is not verified"
        connection.execute(
            sa.insert(OutboxPause).values(
                **row, reply=reply, since=DbNow(-700), probe_at=DbNow(540), transport="mail:25"
            )
        )
    seen = look(engine)
    assert seen.problem_kinds == ["scope-stopped"]
    assert seen.problems[0].startswith("stopped: sender news@ours.example, for 11 min")
    assert "mail:25 refuses this sender while it takes other mail: 554 Message rejected: " in seen.problems[0]
    assert "not verified. Verify the sender's address or domain with the provider" in seen.problems[0]
    assert "`outbox-resume --sender news@ours.example` resumes its mail" in seen.problems[0]
    assert "one message is tried again in" in seen.problems[0]


def test_a_stopped_domain_has_a_remedy_of_its_own(engine: sa.Engine) -> None:
    """Also where the relay's words say nothing that is known; a name that a shell would read otherwise is quoted."""
    with engine.begin() as connection:
        learnt = {"environment": "", "transport": "mail:25", "reason": "refused", "reply": "550 No"}
        assert refuse(connection, What.DOMAIN, "far.example", **learnt)
        assert refuse(connection, What.SENDER, "o'neil@ours.example", **learnt)
    domain, sender = look(engine).problems
    assert "mail:25 refuses mail to this domain while it takes other mail: 550 No. Ask the relay's provider" in domain
    assert "`outbox-resume --domain far.example`" in domain
    assert "550 No. Ask for this address to be allowed there" in sender
    assert shlex.split(sender.split("`")[1])[-1] == "o'neil@ours.example"


def test_a_relay_that_refuses_every_message_is_down_in_its_own_words(engine: sa.Engine) -> None:
    """With what to do, and what becomes of the mail; quotas have words of their own."""
    error = "rcpt: 554 5.7.1 Relay access denied"
    said = {"name": "mail:25", "state": "open", "cause": "refusals", "about": "relay", "error": error}
    worker(engine, health={"transport": {**said, "since_seconds": 125.0}})
    seen = look(engine)
    assert seen.problem_kinds == ["transport-down"]
    (problem,) = seen.problems
    assert problem.startswith("relay mail:25: down for 2 min")
    assert ", it refuses every message: rcpt: 554 5.7.1 Relay access denied. The relay takes no mail for" in problem
    assert "What it refused is kept, and cost no attempt. `outbox-check --to ADDRESS`" in problem
    assert seen.transports[0].cause == "refusals"


def test_a_limit_on_connections_is_a_note(engine: sa.Engine) -> None:
    """The worker goes on with what it gets, so nothing is wrong; once for all workers that are told the same."""
    full = {"name": "mail:25", "state": "closed", "connections": 4, "connections_reply": None}
    few = {**full, "connections": 2, "connections_reply": "greeting: 421 4.7.0 Too many connections"}
    worker(engine, health={"transport": full})
    assert look(engine).notes == []
    for pid in (1, 2):
        worker(engine, pid=pid, health={"transport": few})
    seen = look(engine)
    assert seen.healthy
    (note,) = seen.notes
    assert "lets in 2 of the 4 connections of a worker, which goes on with these: greeting: 421 4.7.0 Too many" in note
    assert "OUTBOX_CONNECTIONS" in note
    worker(engine, pid=3, health={"transport": {**few, "name": "down:25", "state": "open"}})
    assert look(engine).notes == [note]


def test_deferred_means_the_same_everywhere(engine: sa.Engine) -> None:
    """The count, its groups, the figures by kind and the list, before and after it is made due."""
    later = {"lane": 3, "attempts": 1, "code": 451, "reply": "later", "due_at": DbNow(600.0)}
    put(engine, "a@x.example", "b@x.example", posting=Posting(kind="news"), delivery=later)
    put(engine, "c@x.example", posting=Posting(kind="news"), delivery={**later, "lane": 2})
    assert told_deferred(engine) == [3, 3, 3, 3]
    with engine.begin() as connection:
        operations.send_now(connection, Filter(waits=Waits.DEFERRED), by="ann")
    assert told_deferred(engine) == [0, 0, 0, 0]


def told_deferred(engine: sa.Engine) -> list[int]:
    """How many are deferred by the status, its groups, the figures by kind and the list."""
    seen = look(engine)
    with engine.connect() as connection:
        by_kind = sum(row.deferred for row in operations.kinds(connection, 3600.0).rows)
        listed = operations.count(connection, Filter(waits=Waits.DEFERRED))
    return [seen.deferred, sum(group.count for group in seen.deferred_groups), by_kind, listed]
