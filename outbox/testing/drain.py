"""One worker's pass without threads, SMTP or waiting: claim, decide, record. A script plays the relay's part."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import sqlalchemy as sa
from flask import Flask

from outbox.core.events import Events
from outbox.delivery.reply import Phase, Reply, Result, Verdict
from outbox.delivery.retry import Facts, RetryPolicy, before_sending, decide
from outbox.delivery.states import State
from outbox.extension import signals
from outbox.settings import Settings
from outbox.store.claim import Claimed
from outbox.store.models import OutboxDelivery
from outbox.store.outcome import Outcome
from outbox.store.queue import Queue
from outbox.store.record import Ledger
from outbox.store.types import DbNow
from outbox.testing.scripts import Relay, Try
from outbox.worker.report import tell

BATCH = 100
_CHANCE = 0.5  # in the middle of what is random in a worker: delays are as the settings say


def drain(app: Flask, engine: sa.Engine, settings: Settings, relay: Relay, subjects: dict[str, str]) -> list[Try]:
    """Offer each delivery that is due once, the most important first. `subjects`: by Message-ID."""
    queue = Queue(engine, environment=settings.environment, lease=settings.lease_seconds)
    ledger = Ledger(engine)
    events = Events()
    events.observe(signals.observer(app))
    policy = RetryPolicy(
        first=settings.retry_first_seconds,
        most=settings.retry_max_seconds,
        attempts=settings.max_attempts,
        poison=settings.poison_rescues,
        lead=settings.poll_seconds + settings.connect_timeout_seconds,
    )
    worker_id = queue.register(host="outbox.testing", pid=os.getpid(), version="test", connections=1)
    tries: list[Try] = []
    seen: set[int] = set()
    try:
        while fresh := [one for one in _claim(queue, worker_id) if one.id not in seen]:
            for claimed in sorted(fresh, key=lambda one: one.slot):
                seen.add(claimed.id)
                outcome = _carry(claimed, relay, policy)
                ledger.record(worker_id, [outcome])
                tell(events, outcome)
                tries.append(_try(outcome, subjects))
    finally:
        _give_back(engine, worker_id)
        queue.retire(worker_id)
    return tries


def _claim(queue: Queue, worker_id: int) -> list[Claimed]:
    return queue.claim(worker_id, secrets.randbits(62) + 1, BATCH)


def _carry(claimed: Claimed, relay: Relay, policy: RetryPolicy) -> Outcome:
    message = claimed.message
    facts = Facts(claimed.attempts, claimed.rescues, message.on_uncertain, message.expires_in, healthy=True)
    decision = before_sending(facts, rescued=claimed.rescued, marked=claimed.marked, policy=policy)
    if decision is None:
        result = relay.answer(claimed.recipient)
        decision = decide(result, facts, policy, _CHANCE)
    else:
        result = Result(Verdict.PERMANENT, Phase.LOCAL, Reply(None, None, decision.note or ""), 0.0)
    return Outcome.of(claimed, decision, result, relay.name)


def _try(outcome: Outcome, subjects: dict[str, str]) -> Try:
    result, message_id = outcome.result, outcome.claimed.message.message_id
    verdict = None if result is None or result.phase is Phase.LOCAL else result.verdict
    subject = subjects.get(message_id, "")
    state, reason = State(outcome.state), outcome.reason
    return Try(outcome.claimed.recipient, subject, message_id, verdict, state, reason, outcome.delay)


def _give_back(engine: sa.Engine, worker_id: int) -> None:
    """What was claimed a second time, since a relay that is down leaves it due."""
    with engine.begin() as connection:
        connection.execute(
            sa.update(OutboxDelivery)
            .where(OutboxDelivery.worker_id == worker_id, OutboxDelivery.state == State.SENDING.value)
            .values(state=State.QUEUED.value, token=None, worker_id=None, due_at=DbNow())
        )


class Joined:
    """What the queue needs of an engine, on a connection with an open transaction that is not ours to end."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self.dialect = connection.dialect

    def get_execution_options(self) -> Mapping[str, Any]:
        return self._connection.get_execution_options()

    @contextmanager
    def begin(self) -> Iterator[sa.Connection]:
        with self._connection.begin_nested():
            yield self._connection

    @contextmanager
    def connect(self) -> Iterator[sa.Connection]:
        savepoint = self._connection.begin_nested()
        within = _Within(self._connection, savepoint)
        try:
            yield cast(sa.Connection, within)
            if within.kept and savepoint.is_active:
                savepoint.commit()
        finally:
            if savepoint.is_active:
                savepoint.rollback()


class _Within:
    """A connection whose commit ends the savepoint and nothing more; without one, all is undone at its end."""

    def __init__(self, connection: sa.Connection, savepoint: sa.NestedTransaction) -> None:
        self._connection = connection
        self._savepoint = savepoint
        self.kept = False  # what is done is committed by a transaction within, or statement by statement

    def commit(self) -> None:
        self._savepoint.commit()

    def begin(self) -> sa.NestedTransaction:
        self.kept = True
        return self._connection.begin_nested()

    def execution_options(self, **options: Any) -> _Within:
        self.kept = options.get("isolation_level") == "AUTOCOMMIT"
        return self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)
