"""What a worker does by the clock besides sending. All duties have one shape, that of `scheduler.Duty`."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping, Set
from typing import TYPE_CHECKING

from outbox import operations
from outbox.core.clock import Debounce, monotonic
from outbox.core.events import Event, EventName, Events, first_line, logger
from outbox.core.progress import got_on
from outbox.core.shutdown import Stop
from outbox.delivery.staging import Allowed
from outbox.extension.receivers import Receivers
from outbox.monitoring.http import Monitor
from outbox.store.queue import Queue
from outbox.store.rulings import Rulings
from outbox.store.transports import Known
from outbox.worker.pools import Pools
from outbox.worker.registration import Health, Registration
from outbox.worker.requests import Requests
from outbox.worker.stall import Stall

if TYPE_CHECKING:
    from sqlalchemy import Engine

PURGE_SECONDS = 600.0
REDACT_SECONDS = 10.0
DELAYS_SECONDS = 60.0
PAUSES_SECONDS = 1.0
"""How often a worker looks for pauses: a new one takes effect so soon, but for what a connection is sending."""
_TURNED_SECONDS = 1.0  # at least, between two heartbeats because the relay went out of use, or came back
_ROUTES_LOOK_SECONDS = 60.0  # between two looks for routes that other settings have written
_ALLOWED_SECONDS = 5.0  # between two looks for what is for others than those allowed
_ABANDONED_LOOK_SECONDS = 60.0  # between two looks for pauses of transports that are no more


class Poll:
    """Look at the queue although nothing woke the worker, and after receivers that hang."""

    name = "poll"
    at_once = False

    def __init__(self, seconds: float, pools: Pools, receivers: Receivers, stall: Stall) -> None:
        self.seconds = seconds
        self._pools = pools
        self._receivers = receivers
        self._stall = stall

    def run(self) -> None:
        """Nudge the claimers."""
        self._stall.tick()
        self._receivers.look()
        self._pools.nudge()


class Heartbeat:
    """Say that the worker lives, make due what dead workers held, and read what a person asks of this one.

    The rescue comes after each heartbeat in the same turn: a worker that stood still must not look for dead ones before
    it has said that it lives itself.
    """

    name = "heartbeat"
    at_once = True  # the last one may be long ago

    def __init__(
        self,
        seconds: float,
        registration: Registration,
        health: Health,
        requests: Requests,
        *,
        monitor: Monitor | None,
        hangs: Callable[[], str | None],
    ) -> None:
        """`hangs`: why the worker must not say that it lives."""
        self.seconds = seconds
        self._registration = registration
        self._health = health
        self._requests = requests
        self._monitor = monitor
        self._hangs = hangs
        self._is_outdated = threading.Event()  # what the last one said of the relay
        self._passes = Debounce(_TURNED_SECONDS).passes
        self.ramps: Callable[[], tuple[float, ...]] = tuple
        """A change of it is as if the relay had come back."""
        self._seen_ramps: tuple[float, ...] = ()
        self.soon: Callable[[], None] = lambda: None
        """Lets the next one come now."""

    def run(self) -> None:
        """Write it; nothing where the others shall take over."""
        if self._monitor is not None:
            self._monitor.start()  # its port may have been taken by the worker before
        if not self._hangs():
            self._is_outdated.clear()
            self._registration.beat(self._health)
            self._requests.look()

    def note(self, event: Event) -> None:
        """The status shows what the last heartbeat said of the relay: it must not wait for the next."""
        if event.name in {EventName.TRANSPORT_DOWN, EventName.TRANSPORT_UP}:
            self._is_outdated.set()
            self.hasten()

    def hasten(self) -> None:
        """Again for what came too soon after the last, or while the heartbeat was being written."""
        if (ramps := self.ramps()) != self._seen_ramps:
            self._seen_ramps = ramps
            self._is_outdated.set()
        if self._is_outdated.is_set() and self._passes():
            self.soon()


class Pauses:
    """Read the pauses, and lift those that nobody probes."""

    name = "check for pauses"
    seconds = PAUSES_SECONDS
    at_once = False  # read before anything is claimed

    def __init__(
        self,
        pools: Pools,
        queue: Queue,
        rulings: Rulings,
        events: Events,
        *,
        transports: Set[str],
        routes: Callable[[], frozenset[str]],
        health: Callable[[], Mapping[str, Known]],
        allowed: Allowed | None = None,
    ) -> None:
        """`rulings`: of any of the `transports`; `routes`: of the mail that is to be sent; `health`: what all workers
        know of the transports."""
        self._health = health
        self._allowed = allowed
        self._shows_allowed = Debounce(_ALLOWED_SECONDS).passes
        self._is_shown = False
        self._fitting: frozenset[int] = frozenset()
        self._pools = pools
        self._queue = queue
        self._rulings = rulings
        self._events = events
        self._transports = transports
        self._routes = routes
        self._looks_for_routes = Debounce(_ROUTES_LOOK_SECONDS).passes
        self._looks_for_abandoned = Debounce(_ABANDONED_LOOK_SECONDS).passes
        self.before: Callable[[], None] = lambda: None
        """Done first, since no other duty comes as often."""

    def run(self) -> None:
        """Tell the claimers; where they can't be read their claims, too, wait for the database."""
        self.before()
        self._show_allowed()
        try:
            pauses = self._queue.pauses()
            self._pools.hold(pauses, self._allowed, self._fitting)
            self._pools.look(self._health)
            if any(one.is_to_probe and one.transport not in self._transports for one in pauses):
                self._end_abandoned()
            self._look_for_routes()
        except Exception as error:  # noqa: BLE001
            logger.debug("the pauses can't be read: %s", type(error).__name__)

    def _look_for_routes(self) -> None:
        """Serve those that other settings have written, and say which lead nowhere."""
        router = self._pools.router
        if router is None or not self._looks_for_routes():
            return
        router.know(self._routes())
        for route in sorted(router.unserved):
            self._events.emit(
                EventName.UNSERVED,
                reason="transport",
                route=route,
                remedy="OUTBOX_TRANSPORTS names none of these any more: name one again, or cancel that mail",
            )

    def _show_allowed(self) -> None:
        """What is for others than those allowed is shown as paused; where all are, what was shown so is lifted once."""
        if self._is_shown and (self._allowed is None or not self._shows_allowed()):
            return
        try:
            self._fitting = self._rulings.show_allowed(self._allowed)
            self._is_shown = True
        except Exception as error:  # noqa: BLE001 - it is held back all the same
            logger.warning("what waits for OUTBOX_ALLOW_RECIPIENTS can't be shown: %s", first_line(error))

    def _end_abandoned(self) -> None:
        """The pauses of a transport that was taken out of the settings: nobody would ever probe them."""
        if self._looks_for_abandoned():
            for what, value, transport in self._rulings.end_abandoned(self._transports):
                logger.info("the pause of %s %s ends: no worker uses %s any more", what, value, transport)
                self._events.emit(EventName.SCOPE_RELEASED, what=what, value=value, transport=transport)


class Purge:
    """Remove what is old."""

    name = "purge"
    seconds = PURGE_SECONDS
    at_once = True

    def __init__(self, purger: operations.Purger, stop: Stop) -> None:
        self._purger = purger
        self._stop = stop
        self._end_at = math.inf  # monotonic

    def run(self) -> None:
        """Batch after batch, until nothing is left or the worker stops."""
        self._purger.run(self._waits)

    def run_once(self) -> None:
        """For a worker that lives for one pass alone: it purges, too, and the next one tries again what failed."""
        try:
            self.run()
        except Exception as error:  # noqa: BLE001
            logger.error("the purge failed: %s", first_line(error))

    def end_in(self, seconds: float) -> None:
        """Stop by then, also what is under way."""
        self._end_at = monotonic() + seconds

    def _waits(self, seconds: float) -> bool:
        """Wait between two batches; whether it is time to stop."""
        got_on()
        left = self._end_at - monotonic()
        return left <= 0.0 or self._stop.wait(min(seconds, left))


class DelayWarning:
    """Warn of each message that is late."""

    name = "delay warning"
    at_once = False

    def __init__(self, delays: operations.Delays) -> None:
        self.seconds = min(DELAYS_SECONDS, max(1.0, delays.late / 4.0))
        self._delays = delays

    def run(self) -> None:
        """Of those that became late since."""
        self._delays.run(got_on)


class Redaction:
    """Take away what sensitive mail said."""

    name = "redaction"
    seconds = REDACT_SECONDS
    at_once = True  # what a worker has sent that lived for one pass alone

    def __init__(self, engine: Engine, kinds: Mapping[str, float], environment: str) -> None:
        """`kinds`: when what failed mail of a kind said goes, in seconds."""
        self._redactor = operations.Redactor(engine, tuple(kinds), environment=environment)
        self._failed = operations.FailedRedactor(engine, kinds, environment=environment)

    def run(self) -> None:
        """Redact what ended since, and some of what ended before."""
        self._redactor.run()
        self._failed.run()
