"""A page of a list in bounded time, however much mail there is and whatever is looked for.

State, recipient, Message-ID, number and reported event are looked up by an index. Other words (a part of a subject, a
kind, an age, …) are looked for among the newest mail, a thousand rows at a time, until the page is full or its time is
up; the next page goes on where this one stopped. `find` and `count` are the same without the limit.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from outbox.core.clock import monotonic
from outbox.operations.filters import Filter, by_id, clauses, in_span, indexed, narrowed
from outbox.operations.find import Row, count, find
from outbox.operations.hits import source
from outbox.operations.tables import DELIVERY, MESSAGE
from outbox.store.types import DbNow

WINDOW = 1_000
"""Rows looked at in one step."""


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a list and what is known of the rest."""

    rows: list[Row]
    older: int | None  # `before` of the next page, `after` where the oldest come first; None: this is the last
    total: int | None  # how many match, as far as counted (`cap` + 1: more than `cap`); None: not counted
    complete: bool  # whether `total` is all of them
    looked: int | None  # how many rows were looked at until the time was up; None: it was not


def browse(
    connection: sa.Connection,
    wanted: Filter,
    *,
    before: int | None = None,
    after: int | None = None,
    oldest_first: bool = False,
    limit: int = 50,
    cap: int = 10_000,
    seconds: float = 0.06,
    window: int | None = None,
) -> Page:
    """The newest deliveries that match, with an id below `before`, newest first. It takes little more than `seconds`.

    `oldest_first`: those with an id above `after`, the oldest first. The total is counted on the first page only.
    `window` rows (WINDOW) are looked at in one step. Times of enqueuing are trusted to rise with the ids, but for that
    many rows.
    """
    window = window or WINDOW
    wanted = narrowed(connection, wanted)
    first = (after if oldest_first else before) is None
    if indexed(wanted) == wanted or wanted == Filter(event=wanted.event):
        return _by_index(connection, wanted, before, after, oldest_first, first, limit, cap)
    deadline = monotonic() + seconds
    lower, upper = None if after is None else after + 1, before
    if not wanted.ids and not wanted.recipient:
        oldest, newest = _bounds(connection, wanted, window)
        lower, upper = _greater(lower, oldest), _lesser(upper, newest)
    look = _Look(first, lower, upper, oldest_first, limit, cap, window, deadline)
    return _by_windows(connection, wanted, look)


@dataclass(slots=True)
class _Look:
    counting: bool
    lower: int | None  # ids from here on
    upper: int | None  # ids below this
    oldest_first: bool
    limit: int
    cap: int
    window: int
    deadline: float


def _by_index(
    connection: sa.Connection,
    wanted: Filter,
    before: int | None,
    after: int | None,
    oldest_first: bool,
    first: bool,
    limit: int,
    cap: int,
) -> Page:
    rows = find(connection, wanted, before=before, after=after, oldest_first=oldest_first, limit=limit + 1)
    further = rows[limit - 1].id if len(rows) > limit else None
    if first and further is None:
        return Page(rows, None, len(rows), True, None)
    total = count(connection, wanted, cap=cap)
    return Page(rows[:limit], further, total, total <= cap, None)


def _by_windows(connection: sa.Connection, wanted: Filter, look: _Look) -> Page:
    ids: list[int] = []
    looked, lower, upper = 0, look.lower, look.upper
    while True:
        size, least, most = _window(connection, wanted, lower, upper, look)
        ids += _matching(connection, wanted, least, most + 1, look.oldest_first) if size else []
        looked += size
        if size and look.oldest_first:
            lower = most + 1
        elif size:
            upper = least
        ended = size < look.window
        full = len(ids) > (look.cap if look.counting else look.limit)
        if ended or full or monotonic() > look.deadline:
            break
    wanted_ids = Filter(ids=tuple(ids[: look.limit]))
    rows = find(connection, wanted_ids, limit=look.limit, oldest_first=look.oldest_first) if ids else []
    if len(ids) > look.limit:
        further: int | None = ids[look.limit - 1]
    elif ended:
        further = None
    else:
        further = (lower or 1) - 1 if look.oldest_first else upper
    cut = not ended and not full
    total = min(len(ids), look.cap + 1) if look.counting else None
    return Page(rows, further, total, ended and len(ids) <= look.cap, looked if cut else None)


def _window(
    connection: sa.Connection, wanted: Filter, lower: int | None, upper: int | None, look: _Look
) -> tuple[int, int, int]:
    """How many rows the next window has, the size of a window at most, and the smallest and the largest id of them."""
    found_by = indexed(wanted)
    rows = sa.select(DELIVERY.c.id).where(*clauses(found_by), *in_span(found_by, lower, upper))
    order = by_id(found_by, oldest_first=look.oldest_first)
    next_ones = rows.order_by(*order).limit(look.window).subquery()
    columns = sa.func.count(), sa.func.min(next_ones.c.id), sa.func.max(next_ones.c.id)
    size, least, most = connection.execute(sa.select(*columns).select_from(next_ones)).one()
    return int(size), least or 0, most or 0


def _matching(
    connection: sa.Connection, wanted: Filter, lower: int, upper: int | None, oldest_first: bool
) -> list[int]:
    span = in_span(indexed(wanted), lower, upper)
    hits = sa.select(DELIVERY.c.id).select_from(source(wanted)).where(*clauses(wanted), *span)
    order = DELIVERY.c.id.asc() if oldest_first else DELIVERY.c.id.desc()
    return list(connection.execute(hits.order_by(order)).scalars())


def _bounds(connection: sa.Connection, wanted: Filter, slack: int) -> tuple[int | None, int | None]:
    """The ids between which mail was enqueued as `wanted` says: from the first, below the second."""
    upper = [
        id_above(connection, moment, slack)
        for moment in (_ago(wanted.older_than), wanted.enqueued_until)
        if moment is not None
    ]
    lower = None if wanted.enqueued_from is None else id_above(connection, wanted.enqueued_from) - slack
    return lower, min(upper, default=None)


def _ago(age: timedelta | None) -> DbNow | None:
    return None if age is None else DbNow(-age.total_seconds())


def id_above_older(connection: sa.Connection, age: timedelta, slack: int = 0) -> int:
    """An id above those of the mail that is older than `age`."""
    return id_above(connection, DbNow(-age.total_seconds()), slack)


def id_above(connection: sa.Connection, moment: DbNow | datetime, slack: int = 0) -> int:
    """An id above those of the mail enqueued until `moment`, by halving the ids: no index on the time is needed."""
    ends = (sa.select(end(DELIVERY.c.id)).scalar_subquery() for end in (sa.func.min, sa.func.max))
    low, high = connection.execute(sa.select(*ends)).one()  # apart: of both at once SQLite reads the whole index
    if low is None:
        return 0
    high += 1
    while low < high:
        middle = (low + high) // 2
        next_ = sa.select(DELIVERY.c.message_id).where(DELIVERY.c.id >= middle).order_by(DELIVERY.c.id).limit(1)
        old = sa.select(MESSAGE.c.created_at <= moment).where(MESSAGE.c.id == next_.scalar_subquery())
        low, high = (middle + 1, high) if connection.execute(old).scalar() else (low, middle)
    return int(low) + slack


def _lesser(first: int | None, second: int | None) -> int | None:
    return min((one for one in (first, second) if one is not None), default=None)


def _greater(first: int | None, second: int | None) -> int | None:
    return max((one for one in (first, second) if one is not None), default=None)
