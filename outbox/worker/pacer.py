"""When the next message of one transport may go, by permits that the database gives out to all workers.

A permit of a rate a second is good at a moment of its own and shortly after it: so what a worker reserves at once does
not go at once. One that was not used in time is lost to the rate, and given back to what is counted by longer times.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Sequence

from outbox.core.clock import monotonic
from outbox.core.events import first_line, logger
from outbox.delivery.rate_limits import AHEAD, SECOND, Batch, RateLimits
from outbox.delivery.reply import Phase
from outbox.settings import Settings
from outbox.settings.relay import Relay
from outbox.store.rates import TRANSPORT, Rates
from outbox.worker.domain_rates import LONG_SECONDS, DomainRates
from outbox.worker.permit import FREE, Permit

PATIENCE_SECONDS = 5.0
"""The longest wait before a worker asks again: others give back what they have not used."""

_REFILL_SECONDS = 0.5  # before more is asked for where less was given out than asked for
_LEAST_WAIT = 0.1
_LOOK_SECONDS = 1.0
_PAUSE_SECONDS = 0.02  # at least, where something else than the permit keeps a connection from it
_LOWER = 0.8  # of the rate before: what was permitted by it is far too much
_LONGEST_LEAD = AHEAD / SECOND / 2
_FADES = 0.9

_GIVE_BACK_SECONDS = 0.5  # at least, between two returns

_LEAST = 16  # permits, that are reserved at once
_IN_TIME = 0.8  # of the permits that can be used before they lapse, so many are reserved


class Pacer:
    """One worker's permits for one transport. Thread-safe; `room` and `settle` belong to the thread that claims."""

    def __init__(
        self,
        source: Rates | None,
        transport: str,
        limits: RateLimits,
        monotonic: Callable[[], float],
        domains: Sequence[tuple[str, RateLimits]] = (),
        *,
        worker: int | None = None,
        per_recipient: bool = True,
    ) -> None:
        """`source`: None where there are no limits. `domains`: the rates of domains, as `DomainRates` has them.
        `per_recipient`: what the limits count; else it is messages, however many recipients share one."""
        self.per_recipient = per_recipient
        self._worker = worker
        self.domains = DomainRates(source, domains, monotonic, transport)
        self._source = source
        self._transport = transport
        self._limits = limits
        self._monotonic = monotonic
        self._permits: deque[Permit] = deque()
        self._unused: deque[float] = deque()  # when they were reserved
        self._lock = threading.Lock()
        self._per_second: float | None = None
        self._ask_at = self._give_back_at = self._wait = 0.0
        self._lead = 0.0  # how long a reservation takes, lately
        self._portion = _LEAST  # permits, that were asked for last
        self._taken, self._taken_since = 0, -math.inf  # permits, since when
        self._plenty = False  # whether what goes is far below the limits
        self.active = bool(limits)
        """Whether there is a limit at all."""
        self.held_up = False
        """Whether there was none to be had when it was last asked for, though mail is due."""

    def slow_to(self, per_second: float | None) -> None:
        """Send no faster than this, whatever the settings allow; None: as they say. For all workers alike."""
        before, self._per_second = self._per_second, per_second
        if per_second is not None and per_second < _LOWER * (before or math.inf):
            with self._lock:
                self._unused.extend(permit.reserved for permit in self._permits)
                self._permits.clear()
        self.active = bool(self._limits) or per_second is not None

    def permitted(self, room: int, waiting: int, busy: bool, is_any: Callable[[], bool]) -> int:
        """For how many of `room` more than the `waiting` there are permits. Not `busy`: it looks first whether there
        `is_any` for one."""
        self.settle()
        if not busy and not waiting and not is_any():
            self.held_up = False
            return 0
        return self.room(room if busy else min(room, 1), waiting)

    def room(self, wanted: int, waiting: int) -> int:
        """For how many more than the `waiting` there are permits, or will be when their turn comes; `wanted` is how
        many would be claimed. Of a quota it takes little at a time: what a worker holds when it dies counts as used.
        """
        now = self._monotonic()
        with self._lock:
            self._lapse(now)
            lacking = wanted + waiting - len(self._permits)
            enough = self._plenty and not self.runs_low
        if lacking > 0 and now >= self._ask_at and not enough:
            self._reserve(lacking)
        with self._lock:
            found = wanted if self._plenty else len(self._permits) - waiting
        self.held_up = found <= 0 < wanted
        return max(0, min(wanted, found))

    def take(self, now: float, early: float = 0.0) -> Permit | None:
        """The permit by which a message may go now, or within `early` seconds; None: it has to wait. What goes by it
        must be followed by `ended`."""
        if not self.active:
            return FREE
        with self._lock:
            permits = self._permits
            if permits and permits[0].until < now:
                self._lapse(now)
            if not permits or permits[0].ready > now + early:
                return None
            self._taken += 1
            return permits.popleft()

    @property
    def is_tight(self) -> bool:
        """Whether no more may be claimed than there are permits for; else what has none waits a moment."""
        return self.active and not self._plenty

    @property
    def runs_low(self) -> bool:
        """Whether it is time to reserve more, where mail waits for them."""
        return self._plenty and len(self._permits) <= self._portion // 2

    def along(self, permit: Permit, now: float) -> Permit | None:
        """The permit of one more recipient of what goes by `permit`; None: it has to wait."""
        if self.per_recipient or permit is FREE:
            return self.take(now)
        with self._lock:
            permit.going += 1
        return permit

    def ended(self, phase: Phase, permit: Permit) -> None:
        """How far what went by it came: there are steps before which no relay counts anything."""
        if permit is not FREE:
            with self._lock:
                if permit.ended(phase):
                    self._unused.append(permit.reserved)

    @property
    def holds_back(self) -> bool:
        """Whether something that is due has to wait, though not for long."""
        return (self.held_up and self._wait < LONG_SECONDS) or self.domains.holds_back

    def seconds(self, now: float, before: int, early: float) -> float:
        """Until a message may be taken, `early`, where so many go before it, or until one should look again."""
        with self._lock:
            if before >= len(self._permits):
                return _LOOK_SECONDS
            return max(_PAUSE_SECONDS, self._permits[before].ready - early - now)

    def keeps(self, now: float) -> int | None:
        """For how many there are permits, where it takes long until there are more; None: it does not."""
        if not self.active:
            return None
        if self._per_second is not None:  # what was claimed before goes by another worker, or later
            return max(len(self._permits), math.ceil(self._per_second) + 1)
        return len(self._permits) if self._ask_at - now > 2 * _REFILL_SECONDS else None

    def lacks(self, waiting: int) -> bool:
        """Whether so many wait and it is time to ask for permits for them, though there may be no room for more."""
        if not self.active or (self._plenty and not self.runs_low):
            return False
        return waiting > len(self._permits) and self._monotonic() >= self._ask_at

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
                self._source.give_back(
                    TRANSPORT, self._transport, len(unused), now - max(unused), limits=self._limits, worker=self._worker
                )
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

    def _reserve(self, lacking: int) -> None:
        assert self._source is not None  # noqa: S101 - there are limits
        slower = self._per_second
        cell = self._limits.cells(slower).get("second")
        batch = None if cell is None else cell.batch
        most = lacking if self._limits.day is None else max(4, self._limits.day // 50)
        if batch is not None:
            usable = self._usable(batch)
            most = min(most, batch.most, usable)
            lacking = max(lacking, usable) if lacking >= _LEAST else lacking  # more follows what comes in such numbers
        wanted = self._portion = min(lacking, most)
        grant = self._source.reserve(
            TRANSPORT, self._transport, self._limits, wanted, per_second=slower, worker=self._worker, lead=self._lead
        )
        ended = self._monotonic()
        self._lead = min(max(ended - grant.began, _FADES * self._lead), _LONGEST_LEAD)
        self._wait = grant.wait
        if grant.permits == 0:
            self._plenty = False
            self._ask_at = ended + min(max(grant.wait, _LEAST_WAIT), PATIENCE_SECONDS)
            return
        self._ask_at = ended + (_REFILL_SECONDS if grant.permits < wanted else 0.0)
        self._plenty = grant.life is not None and grant.permits == wanted
        if grant.life is not None:
            pace, leeway = 0.0, grant.life
        else:
            pace, leeway = (0.0, AHEAD / SECOND) if cell is None else (cell.interval / SECOND, cell.leeway / SECOND)
        with self._lock:
            for number in range(grant.permits):
                after = grant.first + number * pace
                self._permits.append(Permit(grant.ended + after, grant.began + after + leeway, grant.began))

    def _usable(self, batch: Batch) -> int:
        """How many permits of a batch are of use at the speed at which messages went lately: more than that lapse."""
        now = self._monotonic()
        with self._lock:
            speed = self._taken / max(now - self._taken_since, 1e-3)
            self._taken, self._taken_since = 0, now
        return max(_LEAST, int(speed * batch.life / SECOND * _IN_TIME))

    def _lapse(self, now: float) -> None:
        while self._permits and self._permits[0].until < now:
            self._unused.append(self._permits.popleft().reserved)


def paced(source: Rates, relay: Relay, settings: Settings, worker: int) -> Pacer:
    """One by the limits of a transport. What is not sent need not wait."""
    sends = not settings.suppress_send
    return Pacer(
        source,
        relay.name,
        relay.limits if sends else RateLimits(),
        monotonic,
        settings.domain_rates if sends else (),
        worker=worker,
        per_recipient=relay.rate_unit == "recipients",
    )


def unpaced(monotonic: Callable[[], float]) -> Pacer:
    """One that lets everything go, and asks nobody."""
    return Pacer(None, "", RateLimits(), monotonic)
