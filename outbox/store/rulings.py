"""What rulings change in the database: scopes paused, probed and released, refusals taken back. For the blame, see
`blame`; all of it in short transactions of its own.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Engine

from outbox.delivery.reply import About, Phase, Reply, Result, Verdict
from outbox.delivery.staging import Allowed
from outbox.delivery.states import Lane, State
from outbox.store import pauses, staging
from outbox.store.models import OutboxAttempt, OutboxDelivery, OutboxMessage, table_of
from outbox.store.pauses import What
from outbox.store.reading import reading
from outbox.store.types import DbNow

RECENT_SECONDS = 3600.0
"""How old an attempt may be for a worker that starts to learn from it."""

_attempt = table_of(OutboxAttempt)
_delivery = table_of(OutboxDelivery)
_message = table_of(OutboxMessage)


@dataclass(frozen=True, slots=True)
class Seen:
    """An attempt as it was written down."""

    delivery: int
    sender: str
    recipient: str
    message: int
    result: Result


class Rulings:
    """One transport's, in one environment. Thread-safe."""

    def __init__(self, engine: Engine, *, environment: str, transport: str) -> None:
        """`transport`: `host:port`."""
        self._engine = engine
        self._of = {"environment": environment, "transport": transport}

    def pause(self, what: What, value: str, *, reason: str, reply: str) -> bool:
        """Pause what the transport refuses. False: it was paused already. Raises DatabaseError."""
        with self._engine.begin() as connection:
            return pauses.refuse(connection, what, value, reason=reason, reply=reply, **self._of)

    def release(self, what: What, value: str) -> bool:
        """Lift the automatic pause of what the transport has accepted. False: there was none."""
        with self._engine.begin() as connection:
            return pauses.passed(connection, what, value, **self._of)

    def show_allowed(self, allowed: Allowed | None) -> frozenset[int]:
        """Show as paused what is for others than those; None: nothing. Raises DatabaseError.

        Gives the encrypted deliveries that fit a pattern.
        """
        environment = self._of["environment"]
        fitting = frozenset() if allowed is None else staging.fitting(self._engine, environment, allowed)
        staging.show(self._engine, environment, allowed, fitting)
        return fitting

    def take_probe(self, pause_id: int) -> float | None:
        """Seconds until the next probe if this worker is the one to probe an automatic pause now; else None."""
        with self._engine.begin() as connection:
            return pauses.take_probe(connection, pause_id)

    def look_again(self, pause_id: int) -> None:
        """Nothing was due for the probe that was taken: another worker, or this one, looks again before long."""
        with self._engine.begin() as connection:
            pauses.look_again(connection, pause_id)

    def end_abandoned(self, own: Set[str]) -> list[tuple[What, str, str]]:
        """End the automatic pauses of transports that were taken out of the settings: (what, value, transport).

        `own`: those that are still there.
        """
        with self._engine.begin() as connection:
            return pauses.end_abandoned(connection, environment=self._of["environment"], transports=own)

    def take_back(self, ids: Sequence[int], *, phase: Phase, code: int, delay: float) -> int:
        """Undo refusals that every message meets: queued again, nothing counted. How many; `delay`: seconds until due.

        Only what still stands as it was refused: what a person has changed since stays.
        """
        failed = sa.and_(_delivery.c.state == State.FAILED.value, _delivery.c.reason == "refused")
        deferred = sa.and_(_delivery.c.state == State.QUEUED.value, _delivery.c.reason == "deferred")
        retry = [lane.slot(retry=True) for lane in Lane]
        changed = (
            _delivery.update()
            .where(_delivery.c.id.in_(sorted(ids)), _delivery.c.code == code, sa.or_(failed, deferred))
            .values(
                state=State.QUEUED.value,
                due_at=DbNow(delay),
                lane=sa.case((_delivery.c.lane.in_(retry), _delivery.c.lane), else_=_delivery.c.lane + 1),
                attempts=sa.case((_delivery.c.attempts > 0, _delivery.c.attempts - 1), else_=0),
                deferrals=_delivery.c.deferrals + 1,
                reason="transport",
                finished_at=None,
                updated_at=DbNow(),
            )
        )
        attempts = _attempt.update().where(
            _attempt.c.delivery_id.in_(sorted(ids)),
            _attempt.c.phase == phase.value,
            _attempt.c.code == code,
            _attempt.c.at > DbNow(-RECENT_SECONDS),
        )
        with self._engine.begin() as connection:
            count = connection.execute(changed).rowcount
            connection.execute(attempts.values(counted=False, about=About.RELAY.value))
        return int(count)

    def recent(self, limit: int) -> list[Seen]:
        """The last attempts of this transport, the oldest first: what a worker can learn from before its first."""
        columns = [
            _attempt.c[name] for name in ("delivery_id", "phase", "verdict", "code", "enhanced", "reply", "about")
        ]
        statement = (
            sa.select(*columns, _delivery.c.recipient, _delivery.c.message_id, _message.c.envelope_from)
            .join(_delivery, _delivery.c.id == _attempt.c.delivery_id)
            .join(_message, _message.c.id == _delivery.c.message_id)
            .where(
                _attempt.c.id
                > sa.select(sa.func.coalesce(sa.func.max(_attempt.c.id), 0) - 5 * limit).scalar_subquery(),
                _attempt.c.transport == self._of["transport"],
                _attempt.c.at > DbNow(-RECENT_SECONDS),
                _message.c.environment == self._of["environment"],
            )
            .order_by(_attempt.c.id.desc())
            .limit(limit)
        )
        with reading(self._engine) as connection:
            rows = connection.execute(statement).all()
        return [_seen(row) for row in reversed(rows)]


def _seen(row: sa.Row[tuple[object, ...]]) -> Seen:
    about = About(row.about) if row.about in set(About) else None
    reply = Reply(row.code, row.enhanced, row.reply)
    result = Result(Verdict(row.verdict), Phase(row.phase), reply, 0.0, about=about)
    return Seen(row.delivery_id, row.envelope_from, row.recipient, row.message_id, result)
