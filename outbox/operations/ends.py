"""The order in which deliveries ended, and places in it.

It is that of the index on end and state, to which MySQL, MariaDB and SQLite add the id; PostgreSQL sorts by it what
ended in the same microsecond. In any other order MariaDB reads all that ever ended, and sorts it, for each page.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from outbox.operations.tables import DELIVERY

OLDEST_FIRST = (DELIVERY.c.finished_at, DELIVERY.c.state, DELIVERY.c.id)
NEWEST_FIRST = tuple(column.desc() for column in OLDEST_FIRST)


class Place(NamedTuple):
    """A delivery in this order; without state and id: just before all that ended at this moment."""

    finished_at: datetime
    state: str = ""
    id: int = 0


def place_of(row: Any) -> Place:
    """Of a row that has these three columns."""
    return Place(row.finished_at, row.state, row.id)


def after(place: Place) -> sa.ColumnElement[bool]:
    """Whether a delivery comes after it."""
    end, state, id = OLDEST_FIRST
    passed = sa.or_(state < place.state, sa.and_(state == place.state, id <= place.id))
    return sa.and_(end >= place.finished_at, sa.not_(sa.and_(end == place.finished_at, passed)))


def before(place: Place) -> sa.ColumnElement[bool]:
    """Whether a delivery comes before it."""
    end, state, id = OLDEST_FIRST
    later = sa.or_(state > place.state, sa.and_(state == place.state, id >= place.id))
    return sa.and_(end <= place.finished_at, sa.not_(sa.and_(end == place.finished_at, later)))
