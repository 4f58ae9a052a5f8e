"""What the claiming thread does at one look, on each database: no connection to a relay takes anything here."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import pytest
import sqlalchemy as sa

from outbox.core.clock import monotonic
from outbox.core.events import Events
from outbox.core.progress import Progress
from outbox.delivery.blame import Blame
from outbox.delivery.breaker import Breaker
from outbox.delivery.comparisons import FIRST_WAIT
from outbox.delivery.evidence import Refusals
from outbox.delivery.reply import Phase, Reply, Result, Verdict
from outbox.delivery.retry import RetryPolicy
from outbox.delivery.states import Lane, State
from outbox.models import OutboxDelivery, OutboxMessage, OutboxPause
from outbox.store.enqueue import Posting
from outbox.store.held import Held
from outbox.store.pauses import FIRST_PROBE, Pause, What, active
from outbox.store.queue import Queue
from outbox.store.record import OutcomeStore
from outbox.store.rulings import Rulings
from outbox.store.types import DbNow
from outbox.worker.asked import Asked
from outbox.worker.asked_claimer import AskedClaimer
from outbox.worker.claimer import Claimer
from outbox.worker.consequences import Consequences
from outbox.worker.dispatcher import Dispatcher
from outbox.worker.lease_guard import LeaseGuard
from outbox.worker.leased import Leased
from outbox.worker.prefetch import PrefetchBuffer
from outbox.worker.recorder import Recorder
from outbox.worker.terms import Terms
from tests.db.mails import put
from tests.db.test_queue import outcome
from tests.db.test_recorder import rename
from tests.servers.process import polled

RELAY = "relay.example:25"
BAD = "bad@example.org"
OTHER = "other@example.org"
LIMIT = 30.0


@dataclass
class Parts:
    """One worker without connections."""

    claimer: Claimer
    buffer: PrefetchBuffer
    breaker: Breaker
    recorder: Recorder
    rulings: Rulings


@pytest.fixture
def parts(engine: sa.Engine) -> Iterator[Parts]:
    """A worker that has not seen its relay yet."""
    with worker(engine) as made:
        yield made


@contextmanager
def worker(engine: sa.Engine, kind: Callable[..., Claimer] = Claimer) -> Iterator[Parts]:
    """The same with a claimer of this kind."""
    queue = Queue(engine, environment="", lease=600.0)
    worker_id = queue.register(host="here", pid=1, version="1", connections=4)
    rulings = Rulings(engine, environment="", transport=RELAY)
    recorder = Recorder(OutcomeStore(engine), worker_id, lambda outcome, lost: None)
    breaker, events, lease_guard = Breaker(), Events(), LeaseGuard(600.0, monotonic())
    buffer = PrefetchBuffer(Blame(breaker, Refusals(10)), monotonic)
    policy = RetryPolicy()
    terms = Terms(policy, lease=600.0, send_timeout=60.0, dot_timeout=60.0, suppress=False, transport=RELAY)
    consequences = Consequences(rulings, events, transport=RELAY, delay=60.0)
    tokens = itertools.count(1)
    dispatcher = Dispatcher(
        queue,
        buffer,
        recorder,
        terms,
        events,
        lease_guard,
        monotonic=monotonic,
        chance=lambda: 0.5,
        token=lambda: next(tokens),
    )
    claimer = kind(
        queue,
        buffer,
        dispatcher,
        recorder,
        rulings,
        consequences,
        lease_guard,
        worker_id=worker_id,
        connections=4,
        poll=1.0,
        progress=Progress(),
    )
    thread = threading.Thread(target=recorder.run)
    thread.start()
    yield Parts(claimer, buffer, breaker, recorder, rulings)
    recorder.close()
    thread.join(LIMIT)


def expire(engine: sa.Engine, *recipients: str) -> None:
    """What is written to them has expired a second ago."""
    with engine.begin() as connection:
        pks = sa.select(OutboxDelivery.message_id).where(OutboxDelivery.recipient.in_(recipients))
        found = list(connection.execute(pks).scalars())
        connection.execute(sa.update(OutboxMessage).where(OutboxMessage.id.in_(found)).values(expires_at=DbNow(-1.0)))


def fates(engine: sa.Engine) -> Counter[tuple[str, str | None]]:
    """How many deliveries are in which state, and why."""
    with engine.connect() as connection:
        rows = connection.execute(sa.select(OutboxDelivery.state, OutboxDelivery.reason))
        return Counter((row.state, row.reason) for row in rows)


def in_force(engine: sa.Engine) -> list[Pause]:
    """The pauses."""
    with engine.connect() as connection:
        return active(connection)


@pytest.mark.parametrize("down", [False, True])
def test_what_has_expired_ends_together_though_the_relay_is_away(down: bool, engine: sa.Engine, parts: Parts) -> None:
    """In one look, before the relay was tried and after it failed; what has not expired stays."""
    dead = [f"dead{number}@example.com" for number in range(150)]
    put(engine, *dead, posting=Posting(max_age=3600.0))
    put(engine, "a@example.com", "b@example.com", message_id="<2@example.org>", posting=Posting(max_age=3600.0))
    expire(engine, *dead)
    if down:
        parts.breaker.fault(Result(Verdict.TRANSPORT, Phase.CONNECT, Reply(None, None, "no"), 0.1), 0, monotonic(), 0.5)
        assert parts.buffer.room(100) == 0
    parts.claimer.look()
    assert parts.recorder.flush(LIMIT)
    assert fates(engine)["failed", "expired"] == 150
    assert sum(fates(engine).values()) == 152
    assert len(parts.buffer) <= 1


def test_what_probes_a_pause_stays_when_another_is_set(engine: sa.Engine, parts: Parts) -> None:
    """Only a pause that concerns it, and was not there before, takes it back."""
    put(engine, "a@example.com", envelope_from=BAD)
    put(engine, "b@example.net", envelope_from=OTHER, message_id="<2@example.org>")
    parts.rulings.pause(What.SENDER, BAD, reason="refused", reply="550 no")
    with engine.begin() as connection:
        connection.execute(sa.update(OutboxPause).values(probe_at=DbNow(-1.0)))
    pauses = in_force(engine)
    parts.breaker.fault(Result(Verdict.TRANSPORT, Phase.AUTH, Reply(535, None, "no"), 0.1), 0, monotonic() - 60, 0.5)
    parts.claimer.hold(Held.by(pauses, {RELAY}), pauses)
    parts.claimer.look()
    assert len(parts.buffer) == 1, "the probe waits for a connection"
    parts.rulings.pause(What.SENDER, OTHER, reason="refused", reply="550 no")
    parts.claimer.hold(Held.by(in_force(engine), {RELAY}))
    parts.claimer.look()
    assert [entry[2].claimed.recipient for entry in parts.buffer._heap] == ["a@example.com"]
    parts.claimer.hold(Held(domains=frozenset({"example.com"}), senders=frozenset({OTHER})))
    parts.claimer.look()
    assert len(parts.buffer) == 0


def test_a_probe_that_finds_nothing_is_made_again_before_long(engine: sa.Engine, parts: Parts) -> None:
    """What falls due a moment later does not wait for hours."""
    parts.rulings.pause(What.SENDER, BAD, reason="refused", reply="550 no")
    with engine.begin() as connection:
        connection.execute(sa.update(OutboxPause).values(probe_at=DbNow(-1.0), probe_seconds=4800.0))
    pauses = in_force(engine)
    parts.claimer.hold(Held.by(pauses, {RELAY}), pauses)
    parts.claimer.look()
    (after,) = in_force(engine)
    with engine.connect() as connection:
        now = connection.execute(sa.select(DbNow())).scalar_one()
    assert after.probe_at is not None
    assert (after.probe_at - now).total_seconds() == pytest.approx(FIRST_PROBE, abs=LIMIT)


@pytest.mark.databases("sqlite")
def test_nothing_is_claimed_while_outcomes_can_not_be_recorded(engine: sa.Engine, parts: Parts) -> None:
    """The recorder goes first; what is due stays with whoever can record it."""
    put(engine, "a@example.com")
    parts.claimer.look()
    (leased,) = parts.buffer.empty()
    rename(engine, "note", "remark")
    try:
        parts.recorder.submit(outcome(leased.claimed))
        with polled("the trouble is told", LIMIT) as wait_a_little:
            while parts.recorder.trouble is None:
                wait_a_little()
        put(engine, "b@example.com", message_id="<2@example.org>")
        parts.claimer.look()
        assert len(parts.buffer) == 0
    finally:
        rename(engine, "remark", "note")
    assert parts.recorder.sound(LIMIT)
    parts.claimer.look()
    assert [leased.claimed.recipient for leased in parts.buffer.empty()] == ["b@example.com"]


def test_a_paused_domain_is_offered_mail_of_a_sender_it_has_not_refused(
    engine: sa.Engine, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Long before the pause is probed; what tells is another's mail, not the same sender's again."""
    put(engine, "a@example.com", envelope_from=BAD)
    put(engine, "b@example.com", envelope_from=OTHER, message_id="<2@example.org>")
    parts.rulings.pause(What.DOMAIN, "example.com", reason="refused", reply="450 no")
    comparisons = parts.claimer._consequences.comparisons
    comparisons.refused("example.com", BAD)
    now = monotonic()
    monkeypatch.setattr(parts.claimer, "_monotonic", lambda: now)
    parts.claimer.hold(Held.by(in_force(engine), {RELAY}))
    parts.claimer.look()
    assert len(parts.buffer) == 0
    now += FIRST_WAIT
    parts.claimer.look()
    assert [entry[2].claimed.recipient for entry in parts.buffer._heap] == ["b@example.com"]


@pytest.mark.databases("sqlite")
def test_what_others_were_refused_makes_the_probe_go_by_turns(engine: sa.Engine, parts: Parts) -> None:
    """It stops the worker. What it had claimed before goes back: in its window the high lane would go first."""
    for number in range(10):
        put(engine, f"a@{number % 3}.example", message_id=f"<{number}@example.org>")
    for lane, ago in ((Lane.HIGH, 10.0), (Lane.NORMAL, 50.0)):
        put(engine, f"{lane}@b.example", ago=ago, message_id=f"<{lane}>", delivery={"lane": lane.slot(retry=True)})
    parts.breaker.accepted(0)
    parts.claimer.look()
    retries = []
    for number in range(12):
        leased = parts.buffer.take(0, 0)
        assert leased is not None
        if leased.claimed.slot != Lane.NORMAL.slot(retry=False):
            retries.append(leased)
            parts.buffer.withdraw(leased)
            continue
        refuse(parts, leased, elsewhere=number >= 6)
    parts.buffer.put(retries)
    assert parts.recorder.flush(LIMIT)
    assert not parts.buffer.is_down
    with polled("a probe is claimed", LIMIT) as wait_a_little:
        while not (parts.buffer.is_down and len(parts.buffer)):
            parts.claimer.look()
            wait_a_little()
    probe = parts.buffer.take(0, 0)
    assert probe is not None
    assert probe.claimed.recipient == f"{Lane.NORMAL}@b.example"


@pytest.mark.databases("sqlite")
def test_the_look_that_stops_the_worker_claims_one_probe(engine: sa.Engine, parts: Parts) -> None:
    """It had room for more when it began."""
    for number in range(10):
        put(engine, f"a@{number % 3}.example", message_id=f"<{number}@example.org>")
    parts.breaker.accepted(0)
    parts.claimer.look()
    for number in range(10):
        leased = parts.buffer.take(0, 0)
        assert leased is not None
        refuse(parts, leased, elsewhere=number >= 6)
    assert parts.recorder.flush(LIMIT)
    for number in range(3):
        put(engine, f"r{number}@b.example", message_id=f"<r{number}>", delivery={"lane": Lane.NORMAL.slot(retry=True)})
    assert not parts.buffer.is_down
    with polled("a probe is claimed", LIMIT) as wait_a_little:
        while not (parts.buffer.is_down and len(parts.buffer)):
            parts.claimer.look()
            wait_a_little()
    assert len(parts.buffer) == 1


def refuse(parts: Parts, leased: Leased, *, elsewhere: bool) -> None:
    """The relay denies access to this worker, or to another."""
    denied = Result(Verdict.PERMANENT, Phase.RCPT, Reply(554, "5.7.1", "Relay access denied"), 0.1)
    if elsewhere:
        parts.buffer.withdraw(leased)
    else:
        parts.buffer.done(leased, denied, 0.5)
    parts.recorder.submit(outcome(leased.claimed, State.FAILED, denied, reason="refused", transport=RELAY))


def test_what_tasks_ask_for_comes_together_while_there_is_much(engine: sa.Engine) -> None:
    """A single task claims its own; one that comes meanwhile claims all that is due, once connections lack mail."""
    asked = Asked(64)
    ids = put(engine, *(f"r{number}@example.org" for number in range(60)))
    with worker(engine, partial(AskedClaimer, asked)) as parts:
        parts.breaker.accepted(0)
        asked.ask(ids[:2], 0.0)
        parts.claimer.look()
        assert len(parts.buffer) == 2
        asked.ask(ids[2:3], 0.0)
        parts.claimer.look()
        many = len(parts.buffer)
        assert many > parts.claimer.low
        asked.ask(ids[-1:], 0.0)
        parts.claimer.look()
        assert len(parts.buffer) == many
        for _ in range(many - parts.claimer.low + 1):
            assert parts.buffer.take(0.0, 0) is not None
        parts.claimer.look()
        assert len(parts.buffer) > parts.claimer.low


def test_a_connection_asks_for_more_where_there_is_more(engine: sa.Engine, parts: Parts) -> None:
    """Who takes a single message calls for no second claim beside it; of a backlog they do."""
    parts.breaker.accepted(0)
    put(engine, "ann@example.org")
    parts.claimer.look()
    assert parts.buffer.take(0.0, parts.claimer.low) is not None
    assert not parts.buffer.running_low.is_set()
    for number in range(3):
        put(engine, *(f"r{number}-{n}@example.org" for n in range(100)))
    parts.claimer.look()
    while not parts.buffer.running_low.is_set():
        assert parts.buffer.take(0.0, parts.claimer.low) is not None
    assert len(parts.buffer) == parts.claimer.low - 1
