"""Whether due mail comes faster than it goes: the time until it is all sent, now, before and before that.

The numbers of then are counted back from now: what was enqueued since, less what ended since. A command keeps no
history, and needs none.
"""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa

from outbox.delivery.states import State
from outbox.operations.browse import id_above_older
from outbox.operations.due import count_to
from outbox.operations.tables import DELIVERY
from outbox.store.types import DbNow

CAP = 50_000
"""Where counting stops; above it nothing is concluded."""


def growing(connection: sa.Connection, due: int, seconds: float) -> bool:
    """Whether the time to send the `due` deliveries has grown over the last `seconds`, in each half of them."""
    half = seconds / 2
    bounds = [id_above_older(connection, timedelta(seconds=ago)) for ago in (2 * half, half)]
    came = [_came(connection, bounds[0], bounds[1]), _came(connection, bounds[1], None)]
    went = [_went(connection, (number + 1) * half, number * half) for number in (2, 1, 0)]
    if max(*came, *went) > CAP:
        return False
    before = due - came[1] + went[2]
    return _slower([before - came[0] + went[1], before, due], went)


def _slower(due: list[int], went: list[int]) -> bool:
    """Whether each time more were due, and more of a wait: so many, at the rate of the time up to then."""
    if went[-1] == 0:  # nothing goes: that is another problem
        return False
    waits = [max(0, number) / done if done else float("inf") for number, done in zip(due, went, strict=True)]
    return due[0] < due[1] < due[2] and waits[0] < waits[1] < waits[2]


def _came(connection: sa.Connection, first: int, before: int | None) -> int:
    """How many of the deliveries with these ids have come due so far."""
    later = sa.and_(DELIVERY.c.state == State.QUEUED.value, DELIVERY.c.due_at > DbNow())
    span = [DELIVERY.c.id >= first] + ([] if before is None else [DELIVERY.c.id < before])
    seen = sa.select(sa.case((later, 0), else_=1).label("came")).where(*span).limit(CAP + 1).subquery()
    came = sa.func.coalesce(sa.func.sum(seen.c.came), 0)
    number, came_due = connection.execute(sa.select(sa.func.count(), came).select_from(seen)).one()
    return CAP + 1 if number > CAP else int(came_due)


def _went(connection: sa.Connection, since: float, until: float) -> int:
    return count_to(connection, CAP, DELIVERY.c.finished_at >= DbNow(-since), DELIVERY.c.finished_at < DbNow(-until))
