"""Whether the scheduler still runs, seen from outside: a dead thread of its says that it does, and one that waits by a
wall clock that was stepped back does nothing for as long."""

from __future__ import annotations

from outbox.core.clock import Steps, monotonic, utcnow

_STALL_SECONDS = 10.0  # no poll for this long: the scheduler has stopped
_STEP_SECONDS = 2.0  # a wall clock that is off by more was stepped, and the scheduler counts by it


class Stall:
    """Notices a stalled scheduler. `tick` is called by its thread, the rest by the one that watches."""

    def __init__(self, poll: float) -> None:
        """`poll`: seconds between two ticks."""
        self._poll = poll
        self._ticked = monotonic()
        self._wall = Steps(_STEP_SECONDS)

    def tick(self) -> None:
        """The scheduler runs."""
        self._ticked = monotonic()

    @property
    def is_late(self) -> bool:
        """Whether it has not for too long."""
        return monotonic() - self._ticked >= 3 * self._poll + _STALL_SECONDS

    def look(self) -> str | None:
        """Why the scheduler must be restarted, which then counts as done; None: it runs."""
        began = monotonic()
        step = self._wall.saw(utcnow().timestamp(), began, monotonic())
        if not step and not self.is_late:
            return None
        self.tick()
        if step:
            return f"the wall clock jumped by {step:+.0f} s: the scheduler was restarted"
        return "the scheduler had stopped: restarted"
