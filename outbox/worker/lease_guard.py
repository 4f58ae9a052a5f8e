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
from typing import NamedTuple

from outbox.core import clock

JUMP_SECONDS = 2.0
"""A wall clock that is put right by less than this between two heartbeats has not slept."""


class _Beat(NamedTuple):
    """A heartbeat. Monotonic seconds."""

    at: float
    ahead: float  # see `clock.ahead`
    sound_since: float  # claims from before are void


class LeaseGuard:
    """This worker's heartbeats, seen from its own monotonic clock. Times in seconds; for several threads."""

    def __init__(self, dead_after: float, now: float, *, ahead: Callable[[], float] = clock.ahead) -> None:
        """`now`: from before the worker's row was written, which was its first heartbeat. `ahead`: see `clock`."""
        self._limit = dead_after * 0.9  # clocks differ a little, and so do sending and having sent
        self._ahead = ahead
        self._last = _Beat(now, ahead(), now)  # read without a lock: it is put in place whole
        self._beating = threading.Lock()

    def beat(self, began: float, ended: float, *, slept: bool = False) -> bool:
        """A heartbeat was written between these two moments. False: it came too late, earlier claims are void.

        `slept`: the database's clock has gone further than ours.
        """
        with self._beating:
            ahead = self._ahead()  # one look for both: a jump between two would be noticed by neither
            last = self._last
            late = slept or not self._is_sound(last, ended, ahead)
            self._last = _Beat(began, ahead, ended if late else last.sound_since)
            return not late

    def age(self, now: float) -> float:
        """Seconds since the last heartbeat."""
        return max(0.0, now - self._last.at)

    def alive(self, now: float) -> bool:
        """Whether the others can't have declared this worker dead."""
        return self._is_sound(self._last, now, self._ahead())

    def holds(self, claimed_at: float, now: float) -> bool:
        """Whether what was claimed at that moment has not been rescued by another worker since."""
        last = self._last
        return claimed_at >= last.sound_since and self._is_sound(last, now, self._ahead())

    def _is_sound(self, last: _Beat, now: float, ahead: float) -> bool:
        jump = max(0.0, ahead - last.ahead)
        return jump < JUMP_SECONDS and now - last.at + jump < self._limit
