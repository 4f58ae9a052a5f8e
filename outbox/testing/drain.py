"""One worker's pass by the real dispatcher, without threads, SMTP or waiting: a script plays the relay's part."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import sqlalchemy as sa
from flask import Flask

from outbox.core.events import EventName, Events
from outbox.delivery.blame import Blame
from outbox.delivery.breaker import Breaker
from outbox.delivery.evidence import Refusals
from outbox.delivery.reply import Phase, Reply, Result, Verdict
from outbox.delivery.states import State
from outbox.extension import signals
from outbox.extension.handlers import Listening
from outbox.extension.state import bound_to
from outbox.message.values import Envelope
from outbox.settings import Settings
from outbox.store.effect_queue import EffectQueue, done
from outbox.store.effects import listen
from outbox.store.outcome import Outcome
from outbox.store.record import OutcomeStore
from outbox.testing.scripts import Attempt, Relay
from outbox.worker import batches, build
from outbox.worker.dispatcher import Dispatcher, fence_token
from outbox.worker.examiner import AtOnce
from outbox.worker.lease_guard import LeaseGuard
from outbox.worker.leased import Leased
from outbox.worker.prefetch import PrefetchBuffer
from outbox.worker.recorder import Recorder
from outbox.worker.report import tell
from outbox.worker.tickets import Ticket, Unrecorded

BATCH = 100
_CHANCE = 0.5  # in the middle of what is random in a worker: delays are as the settings say
_NO_TIME = 0.0  # seconds: of a handler that raised, the next drain calls it again
_NOW = 0.0  # monotonic: no lease runs out while a test looks at a mail


def drain(app: Flask, engine: sa.Engine, settings: Settings, relay: Relay, subjects: dict[str, str]) -> list[Attempt]:
    """Offer each delivery that is due once, the most important first, then call handlers. `subjects`: by Message-ID."""
    told = bound_to(app).listening
    if len(told.handlers):
        listen(engine, told)
    queue = build.queue(engine, settings)
    events = _Events()
    events.observe(signals.observer(app))
    attempts: list[Attempt] = []

    def recorded(outcome: Outcome, lost: bool) -> None:
        if outcome.result is not None and not lost:
            tell(events, outcome, relay.name)
            attempts.append(_attempt(outcome, subjects))

    worker_id = queue.register(host="outbox.testing", pid=os.getpid(), version="test", connections=1)
    recorder = _AtOnce(OutcomeStore(engine), worker_id, recorded)
    breaker = Breaker()
    buffer = PrefetchBuffer(Blame(breaker, Refusals(0)), lambda: _NOW)
    dispatcher = Dispatcher(
        queue,
        buffer,
        recorder,
        replace(
            build.terms(settings, settings.transports[0], bound_to(app), engine), suppress=False, transport=relay.name
        ),
        events,
        LeaseGuard(settings.dead_after_seconds, _NOW, ahead=lambda: 0.0),
        monotonic=lambda: _NOW,
        chance=lambda: _CHANCE,
        token=fence_token,
        examiner=AtOnce,
    )
    left: deque[Leased] = deque()
    again: list[Leased] = []  # claimed a second time, since a relay that is down leaves it due
    seen: set[int] = set()

    def finish() -> None:
        dispatcher.give_back([*left, *again])
        queue.retire(worker_id)

    try:
        while dispatcher.claim(worker_id, BATCH):
            claimed = buffer.empty()
            again += [one for one in claimed if one.claimed.id in seen]
            left.extend(
                sorted((one for one in claimed if one.claimed.id not in seen), key=lambda one: one.claimed.slot)
            )
            seen.update(one.claimed.id for one in left)
            while left:
                connection = _Scripted(relay, left[0].claimed.recipient)
                breaker.accepted(breaker.openings)  # each is offered, whatever came of the one before
                buffer.put([left.popleft()])
                taken = buffer.take(0.0, 0)
                assert taken is not None  # noqa: S101 - the breaker is closed
                dispatcher.work(taken, connection, Unrecorded())
    except BaseException:
        with suppress(Exception):  # the test is to see the first error
            finish()
        raise
    finish()
    batches.rounds(engine, settings).run()
    _call_handlers(told, engine, settings.environment)
    return attempts


def _call_handlers(told: Listening, engine: sa.Engine, environment: str) -> None:
    """All that are to be called by now. Raises what they raise: the test is to see it."""
    queue, names = EffectQueue(engine, environment), [one.name for one in told.handlers]
    for name in queue.look(names):
        for due in queue.claim(name, BATCH, _NO_TIME):
            with engine.begin() as connection:
                if due.event is not None:
                    told.handle(name, connection, due.event)
                done(connection, due)


class _Events(Events):
    """Without the relay's ups and downs, which are as the script says."""

    def emit(self, name: EventName, message_id: str | None = None, **facts: Any) -> None:
        if name not in {EventName.TRANSPORT_DOWN, EventName.TRANSPORT_UP}:
            super().emit(name, message_id, **facts)


class _AtOnce(Recorder):
    """Records in the caller's thread what is handed in."""

    def __init__(self, outcome_store: OutcomeStore, worker_id: int, recorded: Callable[[Outcome, bool], None]) -> None:
        super().__init__(outcome_store, worker_id, recorded)
        self.close()

    def submit(self, *outcomes: Outcome, later: bool = False) -> list[Ticket]:
        tickets = super().submit(*outcomes, later=True)
        while self.turn():
            pass
        return tickets

    def _put_back(self, left: Sequence[Ticket], error: Exception) -> None:
        """Once only: each was then recorded by itself, and the test is to see the error."""
        if self._failures:
            self.abandon()
            raise error
        self._pending.extendleft(reversed(left))
        self._failures += 1


class _Scripted:
    """A connection on which the script answers. Raises ValueError for an invalid outcome, before it is used."""

    is_connected = True

    def __init__(self, relay: Relay, recipient: str) -> None:
        self._result = relay.answer(recipient)

    def deliver(
        self,
        envelope: Envelope,
        content: Iterable[bytes],
        *,
        before_dot: Callable[[], bool] | None = None,
        when: Callable[[], None] | None = None,
        timeout: float | None = None,
    ) -> Result:
        if self._result.phase is Phase.DOT:
            deque(content, maxlen=0)  # as a relay reads it
            if before_dot is not None and not before_dot():
                return Result(Verdict.TRANSPORT, Phase.DOT, Reply(None, None, "given up before the final dot"), 0.0)
        return self._result

    def close(self) -> None:
        """There is nothing to close."""

    def abort(self) -> None:
        """There is nothing to abort."""


def _attempt(outcome: Outcome, subjects: dict[str, str]) -> Attempt:
    result, message_id = outcome.result, outcome.claimed.message.message_id
    verdict = None if result is None or result.phase is Phase.LOCAL else result.verdict
    subject = subjects.get(message_id, "")
    state, reason = State(outcome.state), outcome.reason
    return Attempt(outcome.claimed.recipient, subject, message_id, verdict, state, reason, outcome.delay)
