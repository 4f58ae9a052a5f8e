"""What a worker that ends after one pass leaves due, although nobody has paused it."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import sqlalchemy as sa

from outbox.delivery.states import State
from outbox.operations.tables import DELIVERY
from outbox.store.due import due_now, is_of
from outbox.store.held import Held
from outbox.store.pauses import Pause

CAP = 10_000
"""Where the look stops."""


def left_due(
    connection: sa.Connection,
    environment: str,
    pauses: Collection[Pause],
    transports: Collection[str],
    *,
    stopped: bool,
    stuck: Collection[str] = (),
) -> set[int]:
    """The ids of deliveries that are due and that the relay keeps from being sent; `CAP` of them at most.

    Those under an automatic pause, and of the routes that are `stuck`; and `stopped` (the transport can't be used) all
    that no operator has paused.
    """
    automatic = _held((one for one in pauses if one.automatic), transports)
    by_hand = _held((one for one in pauses if not one.automatic), transports)
    wanted = sa.true() if stopped else sa.or_(_holds(automatic), DELIVERY.c.route.in_(sorted(stuck)))
    statement = due_now().where(
        DELIVERY.c.state == State.QUEUED, is_of(sa.literal(environment)), wanted, sa.not_(_holds(by_hand))
    )
    return set(connection.execute(statement.limit(CAP)).scalars())


def _held(pauses: Iterable[Pause], transports: Collection[str]) -> Held:
    return Held.by(pauses, set(transports))


def _holds(held: Held) -> sa.ColumnElement[bool]:
    if held.everything:
        return sa.true()
    narrow = held.passed_over(DELIVERY)
    return sa.false() if narrow is None else narrow
