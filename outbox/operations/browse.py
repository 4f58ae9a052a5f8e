"""A page of a list in bounded time, however much mail there is and whatever is looked for.

State, recipient, Message-ID and number are looked up by an index. Other words (a part of a subject, a kind, an age, …)
are looked for among the newest mail, a thousand rows at a time, until the page is full or its time is up; the next
page goes on where this one stopped. `find` and `count` are the same without the limit.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import sqlalchemy as sa

from outbox.clock import monotonic
from outbox.dialect import DbNow
from outbox.operations.filters import Filter, clauses, in_span, indexed, narrowed, newest_first
from outbox.operations.find import Row, count, find, source
from outbox.operations.tables import DELIVERY, MESSAGE

WINDOW = 1_000
"""Rows looked at in one step."""


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a list and what is known of the rest."""

    rows: list[Row]
    older: int | None  # `before` of the next page; None: this is the last
    total: int | None  # how many match, as far as counted (`cap` + 1: more than `cap`); None: not counted
    complete: bool  # whether `total` is all of them
    looked: int | None  # how many rows were looked at until the time was up; None: it was not


def browse(
    connection: sa.Connection,
    wanted: Filter,
    *,
    before: int | None = None,
    limit: int = 50,
    cap: int = 10_000,
    seconds: float = 0.06,
    window: int | None = None,
) -> Page:
    """The newest deliveries that match, with an id below `before`, newest first. It takes little more than `seconds`.

    The total is counted on the first page only. `window` rows (WINDOW) are looked at in one step. `older_than` trusts
    that ids and times of enqueuing rise together, but for that many rows.
    """
    window = window or WINDOW
    wanted = narrowed(connection, wanted)
    if indexed(wanted) == wanted:
        return _by_index(connection, wanted, before, limit, cap)
    deadline = monotonic() + seconds
    start = before
    if wanted.older_than is not None and not wanted.ids and not wanted.recipient:
        start = _lesser(before, id_above_older(connection, wanted.older_than, window))
    return _by_windows(connection, wanted, _Look(before, start, limit, cap, window, deadline))


@dataclass(slots=True)
class _Look:
    before: int | None
    start: int | None
    limit: int
    cap: int
    window: int
    deadline: float


def _by_index(connection: sa.Connection, wanted: Filter, before: int | None, limit: int, cap: int) -> Page:
    rows = find(connection, wanted, before=before, limit=limit + 1)
    older = rows[limit - 1].id if len(rows) > limit else None
    if before is None and older is None:
        return Page(rows, None, len(rows), True, None)
    total = count(connection, wanted, cap=cap)
    return Page(rows[:limit], older, total, total <= cap, None)


def _by_windows(connection: sa.Connection, wanted: Filter, look: _Look) -> Page:
    ids: list[int] = []
    looked, upper = 0, look.start
    counting = look.before is None
    while True:
        size, lower = _window(connection, wanted, upper, look.window)
        ids += _matching(connection, wanted, lower, upper) if lower is not None else []
        looked, upper = looked + size, lower
        ended = size < look.window
        full = len(ids) > (look.cap if counting else look.limit)
        if ended or full or monotonic() > look.deadline:
            break
    rows = find(connection, Filter(ids=tuple(ids[: look.limit])), limit=look.limit) if ids else []
    if len(ids) > look.limit:
        older: int | None = ids[look.limit - 1]
    else:
        older = None if ended else upper
    cut = not ended and not full
    total = min(len(ids), look.cap + 1) if counting else None
    return Page(rows, older, total, ended and len(ids) <= look.cap, looked if cut else None)


def _window(connection: sa.Connection, wanted: Filter, upper: int | None, size: int) -> tuple[int, int | None]:
    """How many rows the next window has, `size` at most, and the smallest id of them."""
    found_by = indexed(wanted)
    rows = sa.select(DELIVERY.c.id).where(*clauses(found_by), *in_span(found_by, None, upper))
    newest = rows.order_by(*newest_first(found_by)).limit(size).subquery()
    found = connection.execute(sa.select(sa.func.count(), sa.func.min(newest.c.id)).select_from(newest)).one()
    return int(found[0]), found[1]


def _matching(connection: sa.Connection, wanted: Filter, lower: int, upper: int | None) -> list[int]:
    span = in_span(indexed(wanted), lower, upper)
    hits = sa.select(DELIVERY.c.id).select_from(source(wanted)).where(*clauses(wanted), *span)
    return list(connection.execute(hits.order_by(DELIVERY.c.id.desc())).scalars())


def id_above_older(connection: sa.Connection, age: timedelta, slack: int = 0) -> int:
    """An id above those of the mail that is older than `age`, by halving the ids: no index on the time is needed."""
    ends = (sa.select(end(DELIVERY.c.id)).scalar_subquery() for end in (sa.func.min, sa.func.max))
    low, high = connection.execute(sa.select(*ends)).one()  # apart: of both at once SQLite reads the whole index
    if low is None:
        return 0
    high += 1
    while low < high:
        middle = (low + high) // 2
        next_ = sa.select(DELIVERY.c.message_id).where(DELIVERY.c.id >= middle).order_by(DELIVERY.c.id).limit(1)
        old = sa.select(MESSAGE.c.created_at <= DbNow(-age.total_seconds())).where(
            MESSAGE.c.id == next_.scalar_subquery()
        )
        low, high = (middle + 1, high) if connection.execute(old).scalar() else (low, middle)
    return int(low) + slack


def _lesser(first: int | None, second: int) -> int:
    return second if first is None else min(first, second)
