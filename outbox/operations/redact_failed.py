"""Take away what sensitive mail said that was never sent, once nobody is likely to requeue it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

import sqlalchemy as sa

from outbox.core.clock import monotonic
from outbox.delivery.states import FINAL, State
from outbox.operations import ends
from outbox.operations.redact import LAG, PAGE, redact, still_sensitive
from outbox.operations.tables import DELIVERY
from outbox.store.reading import reading
from outbox.store.types import DbNow

_NOT_SENT = (State.FAILED.value, State.UNCERTAIN.value, State.CANCELLED.value)


class FailedRedactor:
    """Goes along what ended without being sent, the oldest first; each time of some kinds has a place of its own."""

    def __init__(self, engine: sa.Engine, seconds: Mapping[str, float], *, environment: str | None = None) -> None:
        """`seconds`: by kind, how long after its end; 0: never."""
        self._engine = engine
        self._environment = environment
        self._places: dict[float, ends.Place] = {}
        self._kinds: defaultdict[float, list[str]] = defaultdict(list)
        for kind, after in seconds.items():
            if after:
                self._kinds[after].append(kind)

    def run(self, *, seconds: float = 1.0) -> int:
        """Redact what there is to redact, for little more than `seconds`; how many messages."""
        deadline, changed = monotonic() + seconds, 0
        for after, kinds in self._kinds.items():
            more = True
            while more and monotonic() < deadline:
                more, redacted = self._step(after, kinds)
                changed += redacted
        return changed

    def _step(self, after: float, kinds: Iterable[str]) -> tuple[bool, int]:
        with reading(self._engine) as connection:
            until = connection.execute(sa.select(DbNow(-after - LAG))).scalar_one()
            old = sa.and_(DELIVERY.c.finished_at < until, DELIVERY.c.state.in_(_NOT_SENT))
            place = self._places.get(after)
            if place is not None and place.finished_at <= until:  # else the clock was stepped back since
                old = sa.and_(old, ends.after(place))
            columns = (*ends.OLDEST_FIRST, DELIVERY.c.message_id)
            rows = connection.execute(sa.select(*columns).where(old).order_by(*ends.OLDEST_FIRST).limit(PAGE)).all()
            pks = [row.message_id for row in rows]
            found = [row.id for row in still_sensitive(connection, pks, [*kinds], self._environment)]
        changed = 0
        if found:
            with self._engine.begin() as connection:
                changed = redact(connection, found, [*kinds], lag=after, states=tuple(FINAL), sent=False)
        more = len(rows) == PAGE
        # all that was sent meanwhile was passed by, and is not to be read again
        self._places[after] = ends.place_of(rows[-1]) if more else ends.Place(until)
        return more, changed
