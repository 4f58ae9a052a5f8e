"""When the next message of one transport may go, by permits that the database gives out to all workers.

A permit of a rate a second is good at a moment of its own and shortly after it: so what a worker reserves at once does
not go at once. One that was not used in time is lost to the rate, and given back to what is counted by longer times.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from outbox.core.events import first_line, logger
from outbox.delivery.rate_limits import AHEAD, SECOND, RateLimits
from outbox.delivery.reply import Phase
from outbox.store.rates import TRANSPORT, Rates
from outbox.worker.domain_rates import DomainRates

PATIENCE_SECONDS = 5.0
"""The longest wait before a worker asks again: others give back what they have not used."""

_REFILL_SECONDS = 0.5  # before more is asked for where less was given out than asked for
_LEAST_WAIT = 0.1
_LOOK_SECONDS = 1.0
_LONG_SECONDS = 60.0
"""Whoever waits for the queue to be empty does not wait for longer limits than these."""

_GIVE_BACK_SECONDS = 0.5  # at least, between two returns
_UNCOUNTED = {Phase.RESOLVE, Phase.CONNECT, Phase.GREETING, Phase.EHLO, Phase.TLS, Phase.AUTH, Phase.LOCAL}


class _Permit(NamedTuple):
    """Monotonic seconds."""

    ready: float
    until: float
    reserved: float


class Pacer:
    """One worker's permits for one transport. Thread-safe; `room` and `settle` belong to the thread that claims."""

    def __init__(
        self,
        source: Rates | None,
        transport: str,
        limits: RateLimits,
        monotonic: Callable[[], float],
        domains: Sequence[tuple[str, RateLimits]] = (),
    ) -> None:
        """`source`: None where there are no limits. `domains`: the rates of domains, as `DomainRates` has them."""
        self.domains = DomainRates(source, domains, monotonic)
        self._source = source
        self._transport = transport
        self._limits = limits
        self._monotonic = monotonic
        self._permits: deque[_Permit] = deque()
        self._unused: deque[float] = deque()  # when they were reserved
        self._lock = threading.Lock()
        self._per_second: float | None = None
        self._ask_at = self._give_back_at = self._wait = 0.0
        self.active = bool(limits)
        """Whether there is a limit at all."""
        self.held_up = False
        """Whether there was none to be had when it was last asked for, though mail is due."""

    def slow_to(self, per_second: float | None) -> None:
        """Send no faster than this, whatever the settings allow; None: as they say. For all workers alike."""
        self._per_second = per_second
        self.active = bool(self._limits) or per_second is not None

    def permitted(self, room: int, waiting: int, busy: bool, is_any: Callable[[], bool]) -> int:
        """For how many of `room` more than the `waiting` there are permits. Not `busy`: it looks first whether there
        `is_any` for one."""
        if not self.active:
            return room
        self.settle()
        if not busy and not waiting and not is_any():
            self.held_up = False
            return 0
        return self.room(room if busy else min(room, 1), waiting)

    def room(self, wanted: int, waiting: int) -> int:
        """For how many more than the `waiting` there are permits; `wanted` is how many would be claimed.

        Of a quota it takes little at a time: what a worker holds when it dies counts as used.
        """
        now = self._monotonic()
        with self._lock:
            self._lapse(now)
            lacking = wanted + waiting - len(self._permits)
        if lacking > 0 and now >= self._ask_at:
            self._reserve(lacking if self._limits.day is None else min(lacking, max(4, self._limits.day // 50)))
        with self._lock:
            found = len(self._permits) - waiting
        self.held_up = found <= 0 < wanted
        return max(0, min(wanted, found))

    def is_ready(self, now: float) -> bool:
        """Whether a message may go now."""
        if not self.active:
            return True
        with self._lock:
            self._lapse(now)
            return bool(self._permits) and self._permits[0].ready <= now

    def take(self) -> None:
        """It goes."""
        with self._lock:
            if self._permits:
                self._permits.popleft()

    def ended(self, phase: Phase) -> None:
        """How far it came: there are steps before which no relay counts anything."""
        if self.active and phase in _UNCOUNTED:
            with self._lock:
                self._unused.append(self._monotonic())

    @property
    def holds_back(self) -> bool:
        """Whether something that is due has to wait, though not for long."""
        return (self.held_up and self._wait < _LONG_SECONDS) or bool(self.domains.held)

    def seconds(self, now: float, before: int) -> float:
        """Until a message may go where so many go before it, or until one should look again."""
        with self._lock:
            return max(0.0, self._permits[before].ready - now) if before < len(self._permits) else _LOOK_SECONDS

    def keeps(self, now: float) -> int | None:
        """For how many there are permits, where it takes long until there are more; None: it does not."""
        if not self.active:
            return None
        return len(self._permits) if self._ask_at - now > 2 * _REFILL_SECONDS else None

    def settle(self, *, all: bool = False) -> None:
        """Give back what was not used. `all`: nothing more is sent."""
        now = self._monotonic()
        with self._lock:
            self._lapse(now)
            if all:
                self._unused.extend(permit.reserved for permit in self._permits)
                self._permits.clear()
            if not self._unused or (now < self._give_back_at and not all):
                return
            unused = list(self._unused)
            self._unused.clear()
            self._give_back_at = now + _GIVE_BACK_SECONDS
        if self._source is not None and (self._limits.minute or self._limits.hour or self._limits.day):
            try:
                self._source.give_back(TRANSPORT, self._transport, len(unused), now - min(unused), limits=self._limits)
            except Exception:  # the next time, then
                with self._lock:
                    self._unused.extend(unused)
                raise

    def end(self) -> None:
        """Give back all, if the database lets us."""
        try:
            self.settle(all=True)
        except Exception as error:  # noqa: BLE001 - they count as used then
            logger.error("permits of %s can't be given back: %s", self._transport, first_line(error))

    def _reserve(self, wanted: int) -> None:
        assert self._source is not None  # noqa: S101 - there are limits
        slower = self._per_second
        began = self._monotonic()
        grant = self._source.reserve(TRANSPORT, self._transport, self._limits, wanted, per_second=slower)
        ended = self._monotonic()
        self._wait = grant.wait
        if grant.permits == 0:
            self._ask_at = ended + min(max(grant.wait, _LEAST_WAIT), PATIENCE_SECONDS)
            return
        self._ask_at = ended + (_REFILL_SECONDS if grant.permits < wanted else 0.0)
        cell = self._limits.cells(slower).get("second")
        pace, leeway = (0.0, AHEAD / SECOND) if cell is None else (cell.interval / SECOND, cell.leeway / SECOND)
        with self._lock:
            for number in range(grant.permits):
                after = grant.first + number * pace  # the database looked between `began` and `ended`
                self._permits.append(_Permit(ended + after, began + after + leeway, began))

    def _lapse(self, now: float) -> None:
        while self._permits and self._permits[0].until < now:
            self._unused.append(self._permits.popleft().reserved)


def unpaced(monotonic: Callable[[], float]) -> Pacer:
    """One that lets everything go, and asks nobody."""
    return Pacer(None, "", RateLimits(), monotonic)
