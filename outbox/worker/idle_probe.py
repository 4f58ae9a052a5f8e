"""Whether a relay that let nobody in does so again, found out by a log-in, where no message is there to probe with.

A probe is a message. While a second transport carries all mail, or at night, there may be none for hours, and the
status would be degraded as long, though the relay has long been back.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Sequence

from outbox.core.clock import monotonic
from outbox.core.events import EventName, Events
from outbox.core.progress import got_on
from outbox.delivery.breaker import Cause
from outbox.delivery.reply import Result, Verdict
from outbox.extension.state import Bound
from outbox.settings.relay import Relay
from outbox.smtp.opening import connection_to
from outbox.store.transports import Transports, Turn
from outbox.worker.pools import Pools
from outbox.worker.prefetch import PrefetchBuffer

_LATE_SECONDS = 1.0  # so long after its time nobody has had a message for the probe
_LONGEST_SECONDS = 20.0  # that a log-in may take
_TAKEN_SECONDS = 30.0  # for so long the probe is nobody else's


class IdleProbe:
    """Log in to relays that could not be reached or refused the log-in, and whose probe is overdue.

    What speaks of the account, or refuses every message, only a message can show.
    """

    name = "probe without mail"
    at_once = False

    def __init__(
        self,
        pools: Pools,
        rows: Transports,
        relays: Sequence[Relay],
        events: Events,
        *,
        mail: Bound,
        worker_id: int,
        seconds: float,
        now: Callable[[], float] = monotonic,
    ) -> None:
        """`seconds`: between two looks whether one is overdue."""
        self.seconds = seconds
        self._pools = pools
        self._rows = rows
        self._relays = [relay for relay in relays if relay.speaks_smtp]
        self._events = events
        self._mail = mail
        self._worker_id = worker_id
        self._now = now

    def run(self) -> None:
        """One after the other."""
        for relay in self._relays:
            pool = self._pools.of(relay.name)
            buffer = pool.buffer
            if self._is_overdue(buffer) and not pool.held.everything:  # by a person
                got_on()
                if self._rows.take_probe(relay.name, self._worker_id, _TAKEN_SECONDS) is Turn.OURS:
                    self._judge(relay, buffer, self._log_in(relay))

    def _is_overdue(self, buffer: PrefetchBuffer) -> bool:
        with buffer.judging() as breaker:
            waits = breaker.since is not None and not breaker.probing and breaker.cause is Cause.CONNECTION
            return waits and self._now() > breaker.probe_at + _LATE_SECONDS

    def _log_in(self, relay: Relay) -> Result:
        patient = dataclasses.replace(
            relay,
            connect_timeout=min(relay.connect_timeout, _LONGEST_SECONDS / 2),
            command_timeout=min(relay.command_timeout, _LONGEST_SECONDS / 2),
            send_timeout=min(relay.send_timeout, _LONGEST_SECONDS),
        )
        with connection_to(self._mail, patient) as connection:
            return connection.check()

    def _judge(self, relay: Relay, buffer: PrefetchBuffer, result: Result) -> None:
        is_back = result.verdict is Verdict.ACCEPTED
        with buffer.judging() as breaker:
            buffer.is_new = True  # the others are told, also that the probe is over
            if breaker.since is None or breaker.probing:
                return  # a message came in between: it knows better
            if is_back:
                breaker.adopt_recovery()
            else:
                breaker.fault(result, breaker.openings, self._now(), random.random())  # noqa: S311 - no secret
        if is_back:
            self._events.emit(EventName.TRANSPORT_UP, transport=relay.name, note="it lets us in again, without mail")
        self._pools.of(relay.name).nudge()
