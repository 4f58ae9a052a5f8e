"""What a worker counts of each outcome."""

from __future__ import annotations

from datetime import timedelta

import pytest

from outbox.core.clock import utcnow
from outbox.core.events import Event, EventName
from outbox.delivery.reply import Phase, Reply, Result, Verdict
from outbox.delivery.retry import Reason
from outbox.delivery.states import State
from outbox.monitoring.counters import Histogram, Meters
from outbox.store.messages import _damaged
from outbox.store.queue import Claimed
from outbox.store.record import Outcome


def outcome(
    verdict: Verdict | None,
    code: int | None = None,
    *,
    state: State = State.SENT,
    counted: bool = True,
    reason: str | None = None,
    note: str | None = None,
    attempts: int = 0,
    relay: str | None = "mail:25",
) -> Outcome:
    claimed = Claimed(
        id=1,
        token=1,
        recipient="a@b.c",
        slot=2,
        due_at=utcnow() - timedelta(seconds=3),
        attempts=attempts,
        rescues=0,
        rescued=False,
        marked=False,
        message=_damaged(1, "", "test"),
    )
    result = None if verdict is None else Result(verdict, Phase.DOT, Reply(code, None, ""), duration=0.02)
    return Outcome(claimed, state, None, counted, False, reason, note, result, relay)


def test_tries_are_counted_by_verdict_and_class_of_code() -> None:
    """What was given back untried is no try."""
    meters = Meters()
    for one in (
        outcome(Verdict.ACCEPTED, 250),
        outcome(Verdict.ACCEPTED, 251),
        outcome(Verdict.TRANSIENT, 451, state=State.QUEUED),
        outcome(Verdict.TRANSPORT, state=State.QUEUED, counted=False),
        outcome(None, state=State.QUEUED, counted=False),
    ):
        meters.recorded(one, lost=False)
    assert meters.deliveries == {("accepted", "2xx"): 2, ("transient", "4xx"): 1, ("transport", "none"): 1}
    assert meters.outcomes == {"sent": 2, "retried": 1, "released": 2}


def test_a_lost_lease_is_nothing_else() -> None:
    """The row stayed as it was."""
    meters = Meters()
    meters.recorded(outcome(Verdict.ACCEPTED, 250), lost=True)
    assert (meters.lost_leases, meters.outcomes) == (1, {})


def test_latency_is_that_of_first_tries_by_the_databases_clock() -> None:
    """A mail that was deferred for an hour says nothing about the outbox's speed."""
    meters = Meters(ahead=timedelta(seconds=10))
    meters.recorded(outcome(Verdict.ACCEPTED, 250), lost=False)
    meters.recorded(outcome(Verdict.ACCEPTED, 250, attempts=1), lost=False)
    assert meters.waiting.sum == pytest.approx(13, abs=1)
    assert meters.waiting.buckets()[-1] == ("+Inf", 1.0)


def test_what_never_reached_the_relay_has_no_duration() -> None:
    """Expired mail would pull the times towards zero."""
    meters = Meters()
    meters.recorded(outcome(Verdict.PERMANENT, state=State.FAILED, relay=None), lost=False)
    assert meters.sending.buckets()[-1] == ("+Inf", 0.0)


def test_duplicates_avoided_are_counted_by_how() -> None:
    """Stopped before the dot because the lease was gone, or held because nobody can know."""
    meters = Meters()
    stopped = outcome(Verdict.TRANSPORT, state=State.QUEUED, counted=False, reason=Reason.STOPPED)
    meters.recorded(stopped, lost=False)
    meters.recorded(outcome(Verdict.UNKNOWN, state=State.UNCERTAIN, reason=Reason.UNKNOWN), lost=False)
    meters.recorded(outcome(Verdict.ACCEPTED, 250), lost=False)
    assert meters.avoided == {"stopped": 1, "held": 1}


def test_rescues_come_from_the_events() -> None:
    """One for each delivery."""
    meters = Meters()
    for name in (EventName.RESCUED, EventName.SENT):
        meters.observe(Event(name))
    assert meters.rescues == 1


def test_a_histogram_counts_up_to_each_bound() -> None:
    """Bounds belong to their bucket."""
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 9.0):
        histogram.observe(value)
    assert histogram.buckets() == [("1.0", 2.0), ("2.0", 3.0), ("+Inf", 4.0)]
    assert histogram.sum == 12.0
