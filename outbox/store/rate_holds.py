"""Permits of a quota that workers held when they died: given back, but for those whose messages may have gone.

The row of a rate says of each worker how many permits it was given last, and when. Of these, as many were used as
attempts were recorded since, and as many may have been as its connections can have had under way.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Engine

from outbox.delivery.rate_limits import DAY, SECOND
from outbox.delivery.states import State
from outbox.store.models import OutboxAttempt, OutboxDelivery, OutboxWorker, table_of
from outbox.store.rate_models import OutboxRate

_LOOKED_AT = 2_000
"""Attempts that are looked at, the last first; where more were made since, all permits count as used."""

_rate = table_of(OutboxRate)
_attempt = table_of(OutboxAttempt)
_delivery = table_of(OutboxDelivery)
_worker = table_of(OutboxWorker)


def holding(engine: Engine, environment: str, workers: Sequence[int]) -> list[tuple[str, int, int]]:
    """(transport, worker, how many) permits that these dead `workers` have surely not used."""
    keys = {str(worker): worker for worker in workers}
    mine = sa.and_(_rate.c.environment == environment, _rate.c.what == "transport", _rate.c.good_until > 0)
    found = []
    with engine.connect() as connection:
        for row in connection.execute(sa.select(_rate.c.value, _rate.c.held).where(mine)):
            for key in keys.keys() & row.held.keys():
                if len(row.held[key]) > 2 and row.held[key][2]:
                    continue  # they were given back
                count, at = (int(one) for one in row.held[key][:2])
                used = _used(connection, keys[key], row.value, datetime.fromtimestamp(at / SECOND, UTC))
                left = 0 if used is None else max(0, count - used - _under_way(connection, keys[key]))
                found.append((row.value, keys[key], left))
    return found


def recent(held: dict[str, Any], now: int) -> dict[str, Any]:
    """Without what was noted more than a day ago: it counts no more."""
    return {key: value for key, value in held.items() if value[1] > now - DAY}


def _used(connection: sa.Connection, worker: int, transport: str, given: datetime) -> int | None:
    """How many attempts it recorded since it was `given` permits; None: too much has happened since."""
    last = sa.select(_attempt.c.worker_id, _attempt.c.transport, _attempt.c.at).order_by(_attempt.c.id.desc())
    seen = last.limit(_LOOKED_AT).subquery()
    since = seen.c.at >= given
    its = sa.and_(since, seen.c.worker_id == worker, seen.c.transport == transport)
    counts = sa.select(
        sa.func.count(), sa.func.sum(sa.case((since, 1), else_=0)), sa.func.sum(sa.case((its, 1), else_=0))
    ).select_from(seen)
    row = connection.execute(counts).one()
    return None if row[1] is not None and int(row[1]) >= _LOOKED_AT else int(row[2] or 0)


def _under_way(connection: sa.Connection, worker: int) -> int:
    """The most recipients whose messages its connections can have had in hand."""
    connections = connection.execute(sa.select(_worker.c.connections).where(_worker.c.id == worker)).scalar()
    number = sa.func.count().label("number")
    its = sa.and_(_delivery.c.state == State.SENDING, _delivery.c.worker_id == worker)
    groups = sa.select(number).where(its).group_by(_delivery.c.message_id)
    return sum(connection.execute(groups.order_by(number.desc()).limit(connections or 1)).scalars())
