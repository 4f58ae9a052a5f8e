"""Outcomes that are not recorded yet, and what a worker leaves alone until they are: each guard by itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count

import pytest
import sqlalchemy as sa

from outbox.core.clock import monotonic
from outbox.core.events import Events
from outbox.delivery.blame import Blame
from outbox.delivery.breaker import Breaker
from outbox.delivery.evidence import Refusals
from outbox.delivery.retry import RetryPolicy
from outbox.smtp.connection import Connection
from outbox.store.queue import Queue
from outbox.store.record import OutcomeStore
from outbox.worker.dispatcher import Dispatcher
from outbox.worker.lease_guard import LeaseGuard
from outbox.worker.leased import Leased
from outbox.worker.prefetch import PrefetchBuffer
from outbox.worker.recorder import Recorder
from outbox.worker.terms import Terms
from outbox.worker.tickets import Unrecorded
from tests.db.test_queue import LEASE, make_due, outcome, put, rows
from tests.db.test_recorder import LIMIT, attempts, rename, running
from tests.servers.process import polled
from tests.wire.conftest import mail_state
from tests.wire.server import Client, SmtpServer

pytestmark = pytest.mark.databases("sqlite")

MARGIN = 30.0
TERMS = Terms(
    RetryPolicy(), lease=LEASE, send_timeout=40, dot_timeout=MARGIN - 2.0, suppress=False, transport="relay:25"
)


@dataclass
class Parts:
    """One worker whose threads are the test's."""

    engine: sa.Engine
    late: float = 0.0
    """Seconds by which the dispatcher's clock is ahead."""
    queue: Queue = field(init=False)
    buffer: PrefetchBuffer = field(init=False)
    recorder: Recorder = field(init=False)
    dispatcher: Dispatcher = field(init=False)
    worker: int = field(init=False)

    def __post_init__(self) -> None:
        self.queue = Queue(self.engine, environment="", lease=LEASE)
        self.worker = self.queue.register(host="here", pid=1, version="1", connections=2)
        self.buffer = PrefetchBuffer(Blame(Breaker(), Refusals(10)), monotonic)
        self.recorder = Recorder(OutcomeStore(self.engine), self.worker, lambda outcome, lost: None)
        tokens = count(1)
        self.dispatcher = Dispatcher(
            self.queue,
            self.buffer,
            self.recorder,
            TERMS,
            Events(),
            LeaseGuard(1e6, monotonic()),
            monotonic=lambda: monotonic() + self.late,
            chance=lambda: 0.5,
            token=lambda: next(tokens),
        )

    def claim(self, *recipients: str) -> list[Leased]:
        """Mail to these, claimed."""
        put(self.engine, *recipients)
        self.dispatcher.claim(self.worker, 10)
        return self.buffer.empty()

    def take(self, leased: Leased) -> Leased:
        """As a connection takes it."""
        self.buffer.put([leased])
        taken = self.buffer.take(0, 0)
        assert taken is leased
        return taken

    def break_recording(self, leased: Leased) -> None:
        """From now on, as the first outcome shows."""
        rename(self.engine, "note", "remark")
        self.recorder.submit(outcome(leased.claimed))
        with polled("the trouble is told", LIMIT) as wait_a_little:
            while self.recorder.trouble is None:
                wait_a_little()

    def almost_late(self) -> None:
        """What was claimed until now may be worked on for half a second more."""
        self.late = LEASE - MARGIN - 0.5


@pytest.fixture
def parts(engine: sa.Engine) -> Iterator[Parts]:
    """A worker that records."""
    made = Parts(engine)
    with running(made.recorder):
        yield made


def test_what_is_still_to_be_recorded_is_not_offered_again(engine: sa.Engine) -> None:
    """Its lease ran out while the database hung: the claim that finds it due again is no reason to send it again."""
    parts = Parts(engine)  # nothing is recorded yet
    (taken,) = parts.claim("taken@example.org")
    (ticket,) = parts.recorder.submit(outcome(taken.claimed))
    make_due(engine)
    put(engine, "new@example.org")
    offered = []
    with polled("both are claimed", LIMIT) as wait_a_little:
        while any(row.token in (None, taken.claimed.token) for row in rows(engine)):
            parts.dispatcher.claim(parts.worker, 10)  # which looks at what was due earlier now and then only
            offered += parts.buffer.empty()
            wait_a_little()
    assert [leased.claimed.recipient for leased in offered] == ["new@example.org"]
    with running(parts.recorder):
        assert ticket.durable(LIMIT)
    assert [row.state for row in rows(engine)] == ["sent", "sending"]


def test_no_message_is_begun_while_outcomes_can_not_be_recorded(parts: Parts) -> None:
    """The relay hears nothing of it; it goes back, due as it was."""
    first, second = parts.claim("first@example.org", "second@example.org")
    with SmtpServer() as server:
        parts.break_recording(first)
        parts.almost_late()
        parts.dispatcher.work(parts.take(second), Connection(mail_state(), server.relay()), Unrecorded())
        assert (server.connections, server.commands) == (0, [])
    rename(parts.engine, "remark", "note")
    assert parts.recorder.flush(LIMIT)
    assert [(row.state, row.attempts) for row in rows(parts.engine)] == [("sent", 1), ("queued", 0)]


def test_no_dot_follows_where_outcomes_can_not_be_recorded_any_more(parts: Parts) -> None:
    """It was under way when another connection's outcome could not be recorded: it is given up before the dot."""
    first, second = parts.claim("first@example.org", "second@example.org")

    def break_it(client: Client) -> None:
        parts.break_recording(first)
        parts.almost_late()

    with SmtpServer({"data": break_it}) as server:
        parts.dispatcher.work(parts.take(second), Connection(mail_state(), server.relay()), Unrecorded())
        assert (server.messages, server.steps["data"], server.steps["dot"]) == ([], 1, 0)
    rename(parts.engine, "remark", "note")
    assert parts.recorder.flush(LIMIT)
    assert [(row.state, row.attempts) for row in rows(parts.engine)] == [("sent", 1), ("queued", 0)]
    assert "can't be recorded" in str(attempts(parts.engine)[-1].note)
