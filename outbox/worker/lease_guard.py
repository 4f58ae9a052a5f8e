"""Whether this worker can still count on its claims: other workers rescue what one without a heartbeat held.

A lease has an end that the worker can count for itself. But a worker that stood still for longer than
OUTBOX_DEAD_AFTER_SECONDS (stopped, swapped out, cut off from the database) was declared dead by the others, and what it
had claimed until then may be theirs, long before the lease's end. A machine that slept may have lost both, and its
monotonic clock may not know: so a wall clock that jumps ahead voids all claims, too, until the next heartbeat.

Known limit: a virtual machine that was stopped, and whose clocks all go on as if nothing had been, learns of it from
the database's clock with the next heartbeat.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from outbox.core import clock

JUMP_SECONDS = 2.0
"""A wall clock that is put right by less than this between two heartbeats has not slept."""


class LeaseGuard:
    """This worker's heartbeats, seen from its own monotonic clock. Times in seconds; for several threads."""

    def __init__(self, dead_after: float, now: float, *, ahead: Callable[[], float] = clock.ahead) -> None:
        """`now`: from before the worker's row was written, which was its first heartbeat. `ahead`: see `clock`."""
        self._limit = dead_after * 0.9  # clocks differ a little, and so do sending and having sent
        self._ahead = ahead
        self._beaten = now
        self._beaten_ahead = ahead()
        self._sound_since = now
        self._lock = threading.Lock()

    def beat(self, began: float, ended: float, *, slept: bool = False) -> bool:
        """A heartbeat was written between these two moments. False: it came too late, earlier claims are void.

        `slept`: the database's clock has gone further than ours.
        """
        with self._lock:
            ahead = self._ahead()  # one look for both: a jump between two would be noticed by neither
            late = slept or not self._sound(ended, ahead)
            if late:
                self._sound_since = ended
            self._beaten, self._beaten_ahead = began, ahead
            return not late

    def age(self, now: float) -> float:
        """Seconds since the last heartbeat."""
        with self._lock:
            return max(0.0, now - self._beaten)

    def alive(self, now: float) -> bool:
        """Whether the others can't have declared this worker dead."""
        with self._lock:
            return self._sound(now, self._ahead())

    def holds(self, claimed_at: float, now: float) -> bool:
        """Whether what was claimed at that moment has not been rescued by another worker since."""
        with self._lock:
            return claimed_at >= self._sound_since and self._sound(now, self._ahead())

    def _sound(self, now: float, ahead: float) -> bool:
        jump = max(0.0, ahead - self._beaten_ahead)
        return jump < JUMP_SECONDS and now - self._beaten + jump < self._limit
