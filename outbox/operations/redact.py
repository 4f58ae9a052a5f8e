"""Take away what sensitive mail said, once it was sent: the text, the attachments, and all but the usual headers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from outbox.core.clock import monotonic
from outbox.delivery.retry import Reason
from outbox.delivery.states import State
from outbox.operations import ends
from outbox.operations.ends import Place
from outbox.operations.filters import Filter
from outbox.operations.purge import DONE_WITH, Done, locked, remove_orphans, take_write_lock
from outbox.operations.tables import DELIVERY, MESSAGE, PART
from outbox.store.reading import reading
from outbox.store.sealed_message import like_before
from outbox.store.types import DbNow

LAG = 15.0
"""Seconds after a mail's end before it is looked at: what ended before was committed by then."""

PAGE = 1_000
PUBLIC_HEADERS = frozenset(
    {"from", "to", "cc", "reply-to", "sender", "subject", "date", "message-id", "auto-submitted"}
)
"""Other headers may hold live tokens: List-Unsubscribe, for one."""


class Redactor:
    """Goes along what ended: first what is new, then back through what ended before this process began."""

    def __init__(
        self, engine: sa.Engine, kinds: Sequence[str], *, environment: str | None = None, lag: float = LAG
    ) -> None:
        """`environment`: only of this one."""
        self._environment = environment
        self._engine = engine
        self._kinds = tuple(kinds)
        self._lag = lag
        self._high: Place | None = None  # up to which all was looked at, from where this process began
        self._low: Place | None = None  # down to which all before that was looked at; None: all of it

    def run(self, *, seconds: float = 1.0) -> int:
        """Redact what there is to redact, for little more than `seconds` of history; how many messages."""
        deadline = monotonic() + seconds
        with reading(self._engine) as connection:
            now = connection.execute(sa.select(DbNow(-self._lag))).scalar_one()
        changed = 0
        if self._high is None:
            self._high = self._low = Place(now)
        else:
            changed = self._forward(self._high, now)
        while self._low is not None and monotonic() < deadline:
            changed += self._back(self._low)
        return changed

    def _forward(self, high: Place, until: datetime) -> int:
        changed, size = 0, PAGE
        while size == PAGE:
            rows, more = self._step(sa.and_(ends.after(high), DELIVERY.c.finished_at < until), ends.OLDEST_FIRST)
            changed, size = changed + more, len(rows)
            if rows:
                high = self._high = ends.place_of(rows[-1])
        return changed

    def _back(self, low: Place) -> int:
        rows, changed = self._step(ends.before(low), ends.NEWEST_FIRST)
        self._low = ends.place_of(rows[-1]) if len(rows) == PAGE else None
        return changed

    def _step(self, where: sa.ColumnElement[bool], order: Sequence[Any]) -> tuple[Sequence[Any], int]:
        states = [state.value for state in DONE_WITH]
        with reading(self._engine) as connection:
            rows = connection.execute(
                sa.select(DELIVERY.c.message_id, *ends.OLDEST_FIRST)
                .where(where, DELIVERY.c.state.in_(states))
                .order_by(*order)
                .limit(PAGE)
            ).all()
            found = [
                row.id
                for row in still_sensitive(connection, [row.message_id for row in rows], self._kinds, self._environment)
            ]
        if not found:
            return rows, 0
        with self._engine.begin() as connection:
            return rows, redact(connection, found, self._kinds, lag=self._lag)


def redact(
    connection: sa.Connection,
    message_pks: Sequence[int],
    kinds: Sequence[str],
    *,
    lag: float = 0.0,
    states: tuple[State, ...] = DONE_WITH,
    sent: bool = True,
) -> int:
    """Redact those of the messages that are of one of the kinds and done with, one of their recipients having got it.

    A message that failed for somebody, or may still be sent, keeps its text, unless `states` say otherwise. `sent`:
    False, whether or not somebody got it. Subject, envelope, replies and history stay. Returns how many.
    """
    take_write_lock(connection)
    sensitive = still_sensitive(connection, message_pks, kinds)
    done = locked(connection, sorted(row.id for row in sensitive), Done(lag, states, Filter()))
    pks = _sent(connection, done) if sent else set(done)
    for row in sensitive:
        if row.id in pks:
            headers = [[name, value] for name, value in row.headers if name.lower() in PUBLIC_HEADERS]
            values = {"skeleton": b"", "utf8_header": None, "headers": headers, "redacted_at": DbNow()}
            connection.execute(MESSAGE.update().where(MESSAGE.c.id == row.id).values(like_before(row.subject, values)))
    of_these = PART.c.message_id.in_(sorted(pks))
    digests = set(connection.execute(sa.select(PART.c.digest).where(of_these)).scalars())
    connection.execute(PART.delete().where(of_these))
    remove_orphans(connection, digests)
    return len(pks)


def still_sensitive(
    connection: sa.Connection, message_pks: Sequence[int], kinds: Sequence[str], environment: str | None = None
) -> Sequence[Any]:
    """Those that still have their text, with their headers."""
    statement = sa.select(MESSAGE.c.id, MESSAGE.c.headers, MESSAGE.c.subject).where(
        MESSAGE.c.id.in_(message_pks), MESSAGE.c.kind.in_(kinds), MESSAGE.c.redacted_at.is_(None)
    )
    if environment is not None:
        statement = statement.where(MESSAGE.c.environment == environment)
    return connection.execute(statement).all()


def _sent(connection: sa.Connection, message_pks: list[int]) -> set[int]:
    """Those that reached somebody; what MAIL_SUPPRESS_SEND kept back did not, and may be requeued."""
    reached = sa.and_(
        DELIVERY.c.state == State.SENT.value, sa.func.coalesce(DELIVERY.c.reason, "") != Reason.SUPPRESSED.value
    )
    of_these = sa.and_(DELIVERY.c.message_id.in_(message_pks), reached)
    return set(connection.execute(sa.select(DELIVERY.c.message_id).where(of_these)).scalars())
