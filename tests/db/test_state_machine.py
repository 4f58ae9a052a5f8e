"""The four promises as invariants of a machine that does anything in any order, on a real database.

Everything is real but SMTP: the relay is a counter in memory, and a worker is what the dispatcher does, step by step,
so that a crash, a lost lease or a person's hand can come between any two of them.
"""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy.orm import Session

from outbox import operations
from outbox.delivery.reply import Phase as Reached
from outbox.delivery.reply import Reply, Result, Verdict
from outbox.delivery.retry import Decision, Facts, RetryPolicy, before_sending, decide
from outbox.delivery.states import FINAL, OnUncertain, State
from outbox.message.values import Composed
from outbox.models import Base, OutboxDelivery, OutboxMessage, OutboxWorker, table_of
from outbox.operations import Filter
from outbox.store.claimed import Claimed
from outbox.store.enqueue import Posting, enqueue
from outbox.store.queue import Queue
from outbox.store.record import Outcome, OutcomeStore
from outbox.store.types import DbNow
from tests.servers.databases import Database

LEASE = 600.0
DEAD_AFTER = 60.0
POLICY = RetryPolicy(first=0.001, most=0.001, attempts=3, poison=3)
WORKERS = st.integers(0, 1)
BODY = b"Subject: x\r\n\r\nbody\r\n"

delivery_table = table_of(OutboxDelivery)
message_table = table_of(OutboxMessage)
worker_table = table_of(OutboxWorker)

REPLIES = {
    "taken": Result(Verdict.ACCEPTED, Reached.DOT, Reply(250, "2.0.0", "ok"), 0.0),
    "taken, connection lost": Result(Verdict.UNKNOWN, Reached.DOT, Reply(None, None, "lost"), 0.0),
    "not taken, connection lost": Result(Verdict.UNKNOWN, Reached.DOT, Reply(None, None, "lost"), 0.0),
    "deferred": Result(Verdict.TRANSIENT, Reached.RCPT, Reply(450, "4.2.1", "later"), 0.0),
    "refused": Result(Verdict.PERMANENT, Reached.RCPT, Reply(550, "5.1.1", "nobody"), 0.0),
    "server down": Result(Verdict.TRANSPORT, Reached.CONNECT, Reply(None, None, "refused"), 0.0),
}


@dataclass
class Worker:
    """One worker's process."""

    id: int
    held: list[Claimed] = field(default_factory=list)  # and not begun
    done: list[Outcome] = field(default_factory=list)  # at the relay or decided, and not recorded
    sound: bool = True  # its heartbeat is fresh, and so its leases count


class Machine(RuleBasedStateMachine):
    """Applications, workers, persons and misfortune."""

    engine: sa.Engine

    @initialize()
    def start(self) -> None:
        with self.engine.begin() as connection:
            for table in reversed(Base.metadata.sorted_tables):
                connection.execute(table.delete())
        self.queue = Queue(self.engine, environment="", lease=LEASE)
        self.outcome_store = OutcomeStore(self.engine)
        self.tokens = itertools.count(1)
        self.numbers = itertools.count(1)
        self.workers = [self.new_worker() for _ in range(2)]
        self.session: Session | None = None
        self.open: dict[str, OnUncertain] = {}
        self.keys: dict[str, str] = {}
        self.committed: dict[str, OnUncertain] = {}
        self.copies: Counter[str] = Counter()
        self.allowed: Counter[str] = Counter()  # further copies that are nobody's fault, or a person's wish
        self.purged: set[str] = set()
        self.marked: set[str] = set()  # as sent, by a person

    def teardown(self) -> None:
        """Whatever happened: left alone with one good worker, every mail comes to an end that a person can see."""
        if not hasattr(self, "queue"):
            return
        self.end(True)
        for number in range(2):
            self.crash(number)
        self.rescue()
        for _ in range(50):
            self.let_time_pass(State.QUEUED, State.SENDING)
            self.claim(0, 50)
            if not self.workers[0].held:
                break
            while self.workers[0].held:
                self.deliver(0, "taken")
            self.record(0)
        assert set(self.states().values()) <= set(FINAL)
        self.nothing_is_lost()
        self.duplicates_only_where_nobody_can_know()

    # the application

    @rule(policies=st.lists(st.sampled_from(OnUncertain), min_size=1, max_size=3), commit=st.integers(0, 3))
    def send(self, policies: list[OnUncertain], commit: int) -> None:
        """A transaction from its beginning to its end; one in four rolls back."""
        with Session(self.engine) as session:
            new = {self.enqueue(session, policy): policy for policy in policies}
            if commit:
                session.commit()
                self.committed |= new

    @precondition(lambda self: self.session is None)
    @rule(policy=st.sampled_from(OnUncertain), key=st.sampled_from(["a", "b"]))
    def send_with_key(self, policy: OnUncertain, key: str) -> None:
        """The request was tried again, say: one message."""
        with Session(self.engine) as session:
            message, new = enqueue(
                session, composed(f"<{next(self.numbers)}@k>"), Posting(on_uncertain=policy, key=key)
            )
            assert new == (key not in self.keys)
            assert self.keys.setdefault(key, message.message_id) == message.message_id
            session.commit()
            if new:
                self.committed[message.message_id] = policy

    @precondition(lambda self: self.engine.dialect.name != "sqlite")  # which has one writer at a time
    @rule(policy=st.sampled_from(OnUncertain))
    def begin(self, policy: OnUncertain) -> None:
        """A transaction that stays open while the workers work."""
        self.session = self.session or Session(self.engine)
        self.open[self.enqueue(self.session, policy)] = policy

    @precondition(lambda self: self.session is not None)
    @rule(commit=st.booleans())
    def end(self, commit: bool) -> None:
        if self.session is not None:
            self.session.commit() if commit else self.session.rollback()
            self.session.close()
            if commit:
                self.committed |= self.open
        self.session, self.open = None, {}

    def enqueue(self, session: Session, policy: OnUncertain) -> str:
        message, new = enqueue(session, composed(f"<{next(self.numbers)}@x>"), Posting(on_uncertain=policy))
        assert new
        return message.message_id

    # the workers

    @rule(number=WORKERS, limit=st.integers(1, 8))
    def claim(self, number: int, limit: int) -> None:
        worker = self.workers[number]
        if worker.sound:
            worker.held += self.queue.claim(worker.id, next(self.tokens), limit)

    @rule(number=WORKERS, outcomes=st.lists(st.sampled_from(sorted(REPLIES)), min_size=1, max_size=4))
    def work(self, number: int, outcomes: list[str]) -> None:
        """Claim if nothing is held, and take some mails to the relay."""
        if not self.workers[number].held:
            self.claim(number, 4)
        for outcome in outcomes:
            self.deliver(number, outcome)

    def deliver(self, number: int, outcome: str) -> None:
        """What `Dispatcher.work` does with one mail, up to the recording."""
        worker = self.workers[number]
        if not worker.held:
            return
        claimed = worker.held.pop(0)
        if not worker.sound:
            worker.done.append(given_back(claimed))
            return
        facts = Facts(claimed.attempts, claimed.rescues, claimed.message.on_uncertain, None, healthy=True)
        barred = before_sending(facts, rescued=claimed.rescued, marked=claimed.marked, policy=POLICY)
        if barred is not None:
            worker.done.append(recorded(claimed, barred, local(barred)))
            return
        needs_mark = claimed.rescues > POLICY.poison or claimed.message.on_uncertain is OnUncertain.HOLD
        if needs_mark and not self.queue.mark(claimed):
            worker.done.append(given_back(claimed))
            return
        if outcome.startswith("taken"):
            self.copies[claimed.message.message_id] += 1
        if outcome == "taken, connection lost" and claimed.message.on_uncertain is OnUncertain.RETRY:
            self.allowed[claimed.message.message_id] += 1
        decision = decide(REPLIES[outcome], facts, POLICY, 0.5)
        worker.done.append(recorded(claimed, decision, REPLIES[outcome]))

    @rule(number=WORKERS, answer_lost=st.booleans())
    def record(self, number: int, answer_lost: bool = False) -> None:
        worker = self.workers[number]
        before = self.rows()
        lost = self.outcome_store.record(worker.id, worker.done) if worker.done else set()
        if answer_lost and worker.done:
            self.outcome_store.record(worker.id, worker.done)
        after = self.rows()
        for claimed in (outcome.claimed for outcome in worker.done):
            if claimed.id in before and before[claimed.id].token != claimed.token:
                assert claimed.id in lost
                assert before[claimed.id] == after[claimed.id]  # the fence
        worker.done = []

    @rule(number=WORKERS)
    def give_back(self, number: int) -> None:
        worker = self.workers[number]
        worker.done += [given_back(claimed) for claimed in worker.held]
        worker.held = []
        self.record(number)

    # misfortune

    @rule(number=WORKERS)
    def crash(self, number: int) -> None:
        """kill -9: what it knew is gone, its heartbeat stops, another one is started."""
        worker = self.workers[number]
        self.forget(worker)
        self.stand_still(worker)
        self.workers[number] = self.new_worker()

    @rule(number=WORKERS)
    def stop_for_long(self, number: int) -> None:
        """SIGSTOP beyond all limits, then SIGCONT: it may record, but sends nothing that it held (see lease_guard)."""
        worker = self.workers[number]
        self.forget(worker)
        self.stand_still(worker)
        self.rescue()
        worker.sound = False

    @rule(
        number=WORKERS,
        outcomes=st.lists(st.sampled_from(sorted(REPLIES)), min_size=1, max_size=4),
        killed=st.booleans(),
        given_back=st.booleans(),
    )
    def overtake(self, number: int, outcomes: list[str], killed: bool, given_back: bool) -> None:
        """One worker ends or stands still amid its mails; the other claims them, and may give them back untried."""
        other = 1 - number
        self.beat(other)
        self.work(number, outcomes)
        self.crash(number) if killed else self.stop_for_long(number)
        self.rescue()
        self.claim(other, 8)
        if given_back:
            self.give_back(other)
            self.claim(other, 8)
        self.record(number)
        self.work(other, ["taken"] * 4)
        self.record(other)

    @rule(number=WORKERS)
    def beat(self, number: int) -> None:
        """A heartbeat after a stop: new claims count, the old ones are given back."""
        worker = self.workers[number]
        self.queue.beat(worker.id, {})
        if not worker.sound:
            self.give_back(number)
            worker.sound = True

    @rule()
    def rescue(self) -> None:
        self.queue.rescue(dead_after=DEAD_AFTER)

    @rule()
    def make_due(self) -> None:
        """Every wait between tries is over."""
        self.let_time_pass(State.QUEUED)

    # persons

    @rule(states=st.sets(st.sampled_from([State.FAILED, State.UNCERTAIN, State.CANCELLED]), min_size=1))
    def requeue(self, states: set[State]) -> None:
        before = self.states()
        with self.engine.begin() as connection:
            operations.requeue(connection, Filter(states=tuple(states)), by="ann")
        for id_, state in before.items():
            if state in states:
                self.allowed[id_] += 1

    @rule()
    def cancel(self) -> None:
        with self.engine.begin() as connection:
            operations.cancel(connection, Filter(recipient="to@example.org"), by="ann", limit=2)

    @rule()
    def mark_sent(self) -> None:
        before = self.states()
        with self.engine.begin() as connection:
            operations.mark_sent(connection, Filter(states=(State.UNCERTAIN,)), by="ann")
        self.marked |= {id_ for id_, state in before.items() if state is State.UNCERTAIN}

    @rule()
    def purge(self) -> None:
        before = self.states()
        with self.engine.begin() as connection:
            operations.purge(connection, older_than=-1, limit=3)
        gone = before.keys() - self.states().keys()
        assert {before[id_] for id_ in gone} <= {State.SENT, State.CANCELLED}
        self.purged |= gone
        self.keys = {key: id_ for key, id_ in self.keys.items() if id_ not in gone}

    # the promises

    @invariant()
    def atomic(self) -> None:
        """Nothing leaves that is not committed."""
        if hasattr(self, "copies"):
            assert self.copies.keys() <= self.committed.keys()

    @invariant()
    def nothing_is_lost(self) -> None:
        """Each committed mail is in the outbox, or was purged after its end; "sent" is at the relay, or a person's."""
        if not hasattr(self, "copies"):
            return
        states = self.states()
        assert states.keys() | self.purged == self.committed.keys()
        claimed_sent = {id_ for id_, state in states.items() if state is State.SENT}
        assert claimed_sent <= self.copies.keys() | self.marked

    @invariant()
    def duplicates_only_where_nobody_can_know(self) -> None:
        """One copy, and one more for each time that nobody could know, or a person wanted it."""
        if hasattr(self, "copies"):
            for id_, number in self.copies.items():
                assert number <= 1 + self.allowed[id_], id_

    # helpers

    def new_worker(self) -> Worker:
        return Worker(self.queue.register(host="here", pid=1, version="1", connections=4))

    def forget(self, worker: Worker) -> None:
        """What a worker took to the relay and has not recorded when it loses its leases may be sent once more."""
        for outcome in worker.done:
            message = outcome.claimed.message
            taken = outcome.result is not None and outcome.result.phase is Reached.DOT
            if taken and message.on_uncertain is OnUncertain.RETRY:
                self.allowed[message.message_id] += 1

    def stand_still(self, worker: Worker) -> None:
        with self.engine.begin() as connection:
            connection.execute(
                worker_table.update().where(worker_table.c.id == worker.id).values(heartbeat_at=DbNow(-3600))
            )

    def let_time_pass(self, *states: State) -> None:
        with self.engine.begin() as connection:
            live = delivery_table.c.state.in_(states)
            connection.execute(delivery_table.update().where(live).values(due_at=DbNow(-1)))

    def states(self) -> dict[str, State]:
        with self.engine.connect() as connection:
            rows = connection.execute(
                sa.select(message_table.c.message_id, delivery_table.c.state).join(
                    delivery_table, delivery_table.c.message_id == message_table.c.id
                )
            )
            return {row.message_id: State(row.state) for row in rows}

    def rows(self) -> dict[int, Any]:
        with self.engine.connect() as connection:
            return {row.id: row for row in connection.execute(sa.select(delivery_table))}


def composed(message_id: str) -> Composed:
    return Composed(message_id, "from@example.org", ("to@example.org",), "x", (("Subject", "x"),), BODY, size=len(BODY))


def recorded(claimed: Claimed, decision: Decision, result: Result) -> Outcome:
    return Outcome(
        claimed,
        decision.state,
        decision.delay,
        counted=decision.counted,
        suspected=decision.suspected,
        reason=decision.reason,
        note=decision.note,
        result=result,
    )


def given_back(claimed: Claimed) -> Outcome:
    return Outcome(claimed, State.QUEUED, None, counted=False, suspected=False, reason=None, note=None, result=None)


def local(decision: Decision) -> Result:
    return Result(Verdict.PERMANENT, Reached.LOCAL, Reply(None, None, decision.note or ""), 0.0)


@pytest.mark.long
@pytest.mark.databases("sqlite", "postgresql")
def test_the_promises_hold_whatever_happens(database: Database) -> None:
    """Enqueue, commit, roll back, claim, send, crash, stop, rescue, requeue, cancel, purge, in any order."""
    machine: Any = type("MachineOn" + database.name, (Machine,), {"engine": database.worker_engine})
    phases = [Phase.generate]  # shrinking means hours of databases
    health = [HealthCheck.too_slow, HealthCheck.filter_too_much]
    run_state_machine_as_test(
        partial(machine),
        settings=settings(
            max_examples=40 if database.name == "sqlite" else 12,  # over a network each costs several times as much
            stateful_step_count=50,
            deadline=None,
            database=None,
            phases=phases,
            suppress_health_check=health,
        ),
    )
