"""Whether this worker can still count on its claims: other workers rescue what one without a heartbeat held.

A lease has an end that the worker can count for itself. But a worker that stood still for longer than
OUTBOX_DEAD_AFTER_SECONDS (stopped, swapped out, cut off from the database) was declared dead by the others, and what it
had claimed until then may be theirs, long before the lease's end.
"""

from __future__ import annotations

import threading


class Pulse:
    """This worker's heartbeats, seen from its own monotonic clock. Times in seconds; for several threads."""

    def __init__(self, dead_after: float, now: float) -> None:
        """`now`: from before the worker's row was written, which was its first heartbeat."""
        self._limit = dead_after * 0.9  # clocks differ a little, and so do sending and having sent
        self._beaten = now
        self._sound_since = now
        self._lock = threading.Lock()

    def beat(self, began: float, ended: float) -> bool:
        """A heartbeat was written between these two moments. False: it came too late, earlier claims are void."""
        with self._lock:
            late = ended - self._beaten >= self._limit
            if late:
                self._sound_since = ended
            self._beaten = began
            return not late

    def age(self, now: float) -> float:
        """Seconds since the last heartbeat."""
        with self._lock:
            return max(0.0, now - self._beaten)

    def alive(self, now: float) -> bool:
        """Whether the others can't have declared this worker dead."""
        with self._lock:
            return now - self._beaten < self._limit

    def holds(self, claimed_at: float, now: float) -> bool:
        """Whether what was claimed at that moment has not been rescued by another worker since."""
        with self._lock:
            return claimed_at >= self._sound_since and now - self._beaten < self._limit
