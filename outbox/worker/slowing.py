"""Lower rates where a relay throttles: the worker that meets a throttle writes it down, and all go by what is known."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from outbox.core import clock
from outbox.core.clock import Debounce
from outbox.core.events import first_line, logger
from outbox.delivery.evidence import Offer
from outbox.delivery.reply import Result, Verdict
from outbox.delivery.throttling import Throttles
from outbox.store.paces import Paces, Report, Slowed
from outbox.worker.pacer import Pacer

_AGAIN_SECONDS = 1.0  # between two tries to write down what could not be
_TELL_SECONDS = 0.1  # between two reports


class Slowing:
    """One transport's, in one worker. `saw` and `look` are for any thread, `tell` for the one that claims."""

    def __init__(
        self, rows: Paces, name: str, pacer: Pacer, *, monotonic: Callable[[], float] = clock.monotonic
    ) -> None:
        """`name`: the transport's."""
        self._rows = rows
        self._name = name
        self.pacer = pacer
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._throttles = Throttles()
        self._known: Mapping[str, Slowed] = {}
        self._ahead = 0.0  # of the database's clock to the monotonic one
        self._hits: dict[str, tuple[int, str]] = {}  # by scope: throttles that are not written down, the last reply
        self._tell_at = self._told_at = 0.0
        self._complains = Debounce(60.0, monotonic).passes

    def saw(self, offer: Offer, result: Result, now: float) -> bool:
        """An outcome. Whether it asks for nothing but a lower rate."""
        with self._lock:
            if result.verdict is Verdict.ACCEPTED:
                self._throttles.accepted(offer, now)
                return False
            found = self._throttles.throttled(offer, result, now, self._known)
            if found is None:
                return False
            scope, counts = found
            if counts:
                hits, _ = self._hits.get(scope, (0, ""))
                self._hits[scope] = hits + 1, f"{result.phase}: {result.reply}"
            return True

    @property
    def is_due(self) -> bool:
        """Whether there is something to `tell`."""
        return bool(self._hits) and self._monotonic() >= self._tell_at

    def tell(self) -> None:
        """Write down what was met, and go by what follows from it."""
        began = self._monotonic()
        with self._lock:
            hits, self._hits = self._hits, {}
            reports = {
                scope: Report(count, *self._throttles.offered(scope, began), reply)
                for scope, (count, reply) in hits.items()
            }
        try:
            found = self._rows.throttled(self._name, reports)
        except Exception as error:  # noqa: BLE001 - the database is away: the next throttle tells again
            found = None
            if self._complains():
                logger.error("the rate of %s can't be written down: %s", self._name, first_line(error))
        self._told_at = self._monotonic()
        self._tell_at = self._told_at + (_AGAIN_SECONDS if found is None else _TELL_SECONDS)
        if found is not None:
            self._take(*found, began)
        else:
            with self._lock:
                for scope, (count, reply) in hits.items():
                    self._hits[scope] = self._hits.get(scope, (0, ""))[0] + count, reply

    def look(self, known: Mapping[str, Slowed], now: float, began: float) -> None:
        """What is known by all workers; `now`: by the database, of which it was asked at `began`."""
        if began > self._told_at and (known or self._known):
            self._take(known, now, began)

    def _take(self, known: Mapping[str, Slowed], now: float, began: float) -> None:
        with self._lock:
            before, self._known, self._ahead = self._known, known, now - began
        rates = {scope: one.pace.at(now) for scope, one in known.items()}
        slowed = {scope: rate for scope, rate in rates.items() if rate is not None}
        for scope, rate in slowed.items():
            if scope not in before:
                what = f"mail to {scope} by {self._name}" if scope else self._name
                logger.warning("%s is slowed to %.3g/s: %s", what, rate, known[scope].reply)
        self.pacer.slow_to(slowed.pop("", None))
        self.pacer.domains.slow_to(slowed)
