"""What became of one delivery, in one order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from outbox.delivery.reported import EventType
from outbox.operations import Attempt
from outbox.operations.audit import Entry
from outbox.operations.event_log import Event
from outbox.operations.timeline import named, timeline

TEN = datetime(2026, 11, 27, 10, 0, tzinfo=UTC)


def made(kind: type, minute: float, **values: Any) -> Any:
    """One of that class with `at` N minutes after ten."""
    fields = dict.fromkeys(kind.__dataclass_fields__) | {"at": TEN + timedelta(minutes=minute)} | values
    return kind(**fields)


def test_all_are_in_one_order() -> None:
    """Deferred, requeued by a person, sent, bounced."""
    attempts = [made(Attempt, 0), made(Attempt, 2)]
    events, changes = [made(Event, 5, type=EventType.BOUNCED)], [made(Entry, 1)]
    steps = timeline(attempts, events, changes)
    assert [named(step) for step in steps] == ["attempt", "change", "attempt", "event"]
    assert [step.at.minute for step in steps] == [0, 1, 2, 5]
    assert timeline([], [], []) == []


def test_a_report_with_a_slow_clock_stays_behind_the_attempt() -> None:
    """What is dated before there was an attempt is placed by when it was recorded; ties: the attempt first."""
    late = made(Event, -30, recorded_at=TEN + timedelta(minutes=3))
    same = made(Event, 2, recorded_at=TEN + timedelta(minutes=3))
    assert timeline([made(Attempt, 2)], [late, same], []) == [made(Attempt, 2), same, late]
