"""What became of one delivery in the order in which it happened: attempts, what was reported, what people did."""

from __future__ import annotations

from collections.abc import Sequence

from outbox.core.clock import UNREADABLE
from outbox.operations.audit import Entry
from outbox.operations.event_log import Event
from outbox.operations.find import Attempt

Step = Attempt | Event | Entry


def timeline(attempts: Sequence[Attempt], events: Sequence[Event], changes: Sequence[Entry]) -> list[Step]:
    """All of them, the oldest first; at the same time an attempt goes before what was reported of it.

    An event is placed by when it was recorded where its source dates it before the attempt that it follows.
    """
    first = min((one.at for one in attempts if one.at != UNREADABLE), default=None)
    steps: list[Step] = [*attempts, *events, *changes]

    def place(step: Step) -> tuple[object, int]:
        at = step.at
        if isinstance(step, Event) and first is not None and at < first:  # a clock of somebody else
            at = step.recorded_at
        return at, 0 if isinstance(step, Attempt) else 1

    return sorted(steps, key=place)


def named(step: Step) -> str:
    """ "attempt", "event" or "change"."""
    return "attempt" if isinstance(step, Attempt) else "event" if isinstance(step, Event) else "change"
