"""Whether a delivery may go on, and whether its final dot may be sent: while the lease lasts, and nothing is in doubt.

A connection does not send the final dot of a mail before the outcome of its last one is durable; so a `kill -9` makes
at most one duplicate per open connection.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from outbox.core.events import logger
from outbox.delivery.states import OnUncertain
from outbox.store.queue import Queue
from outbox.worker.lease_guard import LeaseGuard
from outbox.worker.leased import Leased
from outbox.worker.moment import Moment
from outbox.worker.recorder import Recorder
from outbox.worker.terms import Terms
from outbox.worker.tickets import Unrecorded

_STEP_SECONDS = 1.0  # between two looks whether there is time left to wait


class SendGuard:
    """The time that is left for what was claimed, and what must be so before it is sent. Used by all connections."""

    def __init__(
        self,
        queue: Queue,
        recorder: Recorder,
        terms: Terms,
        lease_guard: LeaseGuard,
        monotonic: Callable[[], float],
        step: Callable[[], AbstractContextManager[None]],
    ) -> None:
        """What may have to wait for the database happens within a `step()`."""
        self._queue = queue
        self._recorder = recorder
        self._terms = terms
        self._lease_guard = lease_guard
        self._monotonic = monotonic
        self._step = step
        self._lease = terms.lease
        self._reserved = terms.dot_timeout + terms.margin  # seconds kept free at the end of a lease
        self.cutoff = threading.Event()
        """Set when the grace period of a stop is over: no final dot is sent any more."""

    def age(self, leased: Leased) -> float:
        """Seconds since the claim."""
        return self._monotonic() - (leased.deadline - self._lease)

    def remaining(self, leased: Leased) -> float:
        """Seconds left to send the final dot in, such that its reply, too, comes before the lease's end."""
        now = self._monotonic()
        if not self._lease_guard.holds(leased.deadline - self._lease, now):
            return 0.0
        return leased.deadline - self._reserved - now

    def left(self, leased: Leased) -> float:
        """The same, of what `may_begin` was just said of: the lease has not been lost since."""
        return leased.deadline - self._reserved - self._monotonic()

    def moment(self, ready: float, until: float) -> Moment:
        """When MAIL may be said, by a permit that is good between these."""
        return Moment(ready, until, self._monotonic, self.cutoff)

    def may_begin(self, leased: Leased) -> bool:
        """Wait until outcomes can be recorded; False: there is no time left for it."""
        if self._recorder.trouble is None:
            return self.remaining(leased) > 0 and not self.cutoff.is_set()
        return self._within(leased, self._recorder.sound)

    def may_finish(self, group: Sequence[Leased], unrecorded: Unrecorded) -> str | None:
        """Called right before the final dot of a message to all of these, of one claim: None, or why it must not be
        sent."""
        leased = group[0]
        if not unrecorded.is_durable and not self._within(leased, unrecorded.durable):
            return "given up before the final dot: the outcome of the connection's last message is not recorded yet"
        if self._recorder.trouble is not None and not self._within(leased, self._recorder.sound):
            return "given up before the final dot: outcomes can't be recorded"
        if self.cutoff.is_set():
            return "given up before the final dot: the worker has to stop"
        if leased.claimed.message.on_uncertain is OnUncertain.HOLD and not self.marked(group):
            return "given up before the final dot: the mark could not be written"
        if self.remaining(leased) <= 0:
            return "given up before the final dot: the lease expired, or would expire before a reply is guaranteed"
        return None

    def marked(self, group: Sequence[Leased]) -> bool:
        """Whether the database has it of all of these that the final dot is about to be sent."""
        try:
            with self._step():
                return bool(self._queue.mark(*(leased.claimed for leased in group)))
        except Exception:  # noqa: BLE001 - without the mark the dot is not sent
            logger.exception("%s: the mark before the final dot failed", group[0].claimed.message.message_id)
            return False

    def _within(self, leased: Leased, holds: Callable[[float], bool]) -> bool:
        """Wait until this `holds` (which it says after a number of seconds); False: there is no time left for it."""
        while (left := self.remaining(leased)) > 0 and not self.cutoff.is_set():
            if holds(min(left, _STEP_SECONDS)):
                return True
        return False


class BeforeDot:
    """The last question before the final dot, and its answer for later."""

    def __init__(self, guard: SendGuard, group: Sequence[Leased], unrecorded: Unrecorded) -> None:
        self._guard = guard
        self._group = group
        self._unrecorded = unrecorded
        self.refused: str | None = None
        self.asked: Sequence[int] = ()
        """The numbers of those in the group for whom it was asked."""

    def __call__(self, accepted: Sequence[int] = (0,)) -> bool:
        self.asked = accepted
        self.refused = self._guard.may_finish([self._group[number] for number in accepted], self._unrecorded)
        return self.refused is None
