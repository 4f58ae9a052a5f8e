"""What one worker tells the others of its transports, and what it takes from them: health, and whose the next probe is.

A worker that gets mail through keeps its own opinion: one host's network must not take a transport from all. What can't
be read or written changes nothing: each worker then knows what it finds out by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from outbox.core import clock
from outbox.core.clock import Debounce
from outbox.core.events import EventName, Events, first_line, logger
from outbox.delivery.breaker import Cause
from outbox.delivery.reply import About
from outbox.store.transports import Fault, Known, Transports, Turn
from outbox.worker.connection_share import ConnectionShare
from outbox.worker.prefetch import PrefetchBuffer
from outbox.worker.slowing import Slowing

_WORKS_SECONDS = 5.0  # after an accepted message nobody else's word puts a transport out of use

_PROBE_SECONDS = 30.0
"""How long a probe that was taken keeps others from probing: the worker may have died."""

_LOCKED_SECONDS = 10.0  # after so long without an answer whose the next probe is, a worker probes by itself

_AGAIN_SECONDS = 1.0  # between two tries to write down what others are to know


class SharedHealth:
    """One transport's, in one worker. `look` is for any thread, the rest for the one that claims."""

    def __init__(
        self,
        rows: Transports,
        events: Events,
        *,
        name: str,
        worker_id: int,
        slowing: Slowing | None = None,
        share: ConnectionShare | None = None,
        monotonic: Callable[[], float] = clock.monotonic,
    ) -> None:
        """`name`: the transport's."""
        self._slowing = slowing
        self._share = share
        self._rows = rows
        self._events = events
        self._name = name
        self._worker_id = worker_id
        self._monotonic = monotonic
        self._buffer: PrefetchBuffer | None = None
        self._changed_at = -1.0  # when this worker last wrote the row
        self._asks_since: float | None = None
        self._again_at = 0.0
        self._complains = Debounce(60.0, monotonic).passes

    def begin(self, buffer: PrefetchBuffer) -> None:
        """Speak for what is offered out of `buffer`."""
        self._buffer = buffer
        if self._share is not None:
            buffer.limit(0)  # until it is known what the others have

    def look(self, rows: Mapping[str, Known], began: float) -> None:
        """Take what the others know. `began`: when they were asked, in monotonic seconds."""
        buffer, row, now = self._buffer, rows.get(self._name), self._monotonic()
        if row is not None and self._slowing is not None:
            self._slowing.look(row.slowed, row.now, began)
        if buffer is None or row is None:
            return
        if self._share is not None:
            self._share.look(row.shares, buffer)
        if row.ramped_ago is not None:
            buffer.door.ramp.begin(began - row.ramped_ago)
        if began <= self._changed_at:
            return
        with buffer.judging() as breaker:
            if buffer.is_new or breaker.probing or breaker.hopeful or row.prober == self._worker_id:
                return  # it is about to tell them, or to know better
            was_down = breaker.since is not None
            if row.down and (was_down or not self._works(buffer, now)):
                cause = Cause(row.cause) if row.cause in set(Cause) else Cause.CONNECTION
                about = About(row.about) if row.about in set(About) else None
                breaker.adopt(row.error or "", cause, about, row.probe_in, now)
            elif not row.down and was_down:
                breaker.adopt_recovery()
            turned = was_down is not (breaker.since is not None)
        if turned:
            phase, _, reply = (row.error or "").partition(": ")
            name = EventName.TRANSPORT_DOWN if row.down else EventName.TRANSPORT_UP
            self._events.emit(name, transport=self._name, phase=phase, reply=reply, note="as another worker found")

    @property
    def has_news(self) -> bool:
        """Whether there is something to `tell`."""
        slowed = self._slowing is not None and self._slowing.is_due
        return slowed or (self._buffer is not None and self._buffer.is_new)

    def tell(self) -> None:
        """Write down what the others are to know, if there is something."""
        if self._slowing is not None and self._slowing.is_due:
            self._slowing.tell()
        buffer = self._buffer
        if buffer is None or not buffer.is_new or self._monotonic() < self._again_at:
            return
        with buffer.judging() as breaker:
            buffer.is_new, fault = False, None
            if breaker.since is not None:
                wait = breaker.first_probe if breaker.hopeful else breaker.probe_at - self._monotonic()
                fault = Fault(breaker.error or "", breaker.cause or Cause.CONNECTION, breaker.about, max(0.0, wait))
        try:
            written = self._rows.up(self._name) if fault is None else self._rows.down(self._name, fault)
            if not written:
                self._rows.add(self._name)
        except Exception as error:  # noqa: BLE001 - the database is away, and nothing waits for this
            written = False
            if self._complains():
                logger.error("the health of %s can't be written down: %s", self._name, first_line(error))
        self._changed_at = self._monotonic()
        if not written:
            buffer.is_new, self._again_at = True, self._changed_at + _AGAIN_SECONDS

    def may_probe(self) -> bool:
        """Whether the next probe of a transport that is out of use is this worker's. Raises DatabaseError."""
        now = self._monotonic()
        turn = self._rows.take_probe(self._name, self._worker_id, _PROBE_SECONDS)
        if turn is Turn.UNKNOWN:
            self._asks_since = now if self._asks_since is None else self._asks_since
            if now - self._asks_since < _LOCKED_SECONDS:
                return False
        self._asks_since = None
        if turn is Turn.OTHERS and self._buffer is not None:
            with self._buffer.judging() as breaker:
                breaker.probe_at = max(breaker.probe_at, now + _AGAIN_SECONDS)  # `look` says by then how long
        return turn is not Turn.OTHERS

    def give_back(self) -> None:
        """There was nothing to probe with: the next probe may be anybody's."""
        if self._buffer is not None:
            self._buffer.is_new = True

    def _works(self, buffer: PrefetchBuffer, now: float) -> bool:
        return buffer.accepted_at is not None and now - buffer.accepted_at < _WORKS_SECONDS


def introduce(rows: Transports, names: Iterable[str]) -> None:
    """See that the transports have rows, and that those which are down are probed soon: they may have been repaired."""
    try:
        rows.add(*names)
        rows.hasten(*names)
    except Exception as error:  # noqa: BLE001 - each worker then knows what it finds out by itself
        logger.error("the health of transports can't be read: %s", type(error).__name__)
