"""A page of the list of suppressions in bounded time, however long it is and whatever is looked for.

A whole address is looked up by the index. Anything else is looked for from the newest on, WINDOW rows at a time, until
the page is full or its time is up; the next page goes on where this one stopped.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from outbox.core.clock import monotonic
from outbox.delivery.suppression import Why
from outbox.operations.conditions import is_whole
from outbox.operations.suppressions import Entry, Wanted, entries
from outbox.operations.tables import SUPPRESSION

WINDOW = 2_000
"""Rows looked at in one step."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One page."""

    rows: list[Entry]
    older: int | None  # `before` of the next page; None: this is the last
    looked: int | None = None  # how many rows were looked at until the time was up; None: it was not


def wanted_by(text: str, scope: str | None = None, reason: str | None = None, *, ended: bool = False) -> Wanted:
    """What the words of a search mean: a whole address, or a part of one. Raises ValueError for no reason."""
    text = text.strip()
    whole = bool(text) and is_whole(text)
    return Wanted(
        address=text if whole else None,
        contains=text if text and not whole else None,
        scope=scope or None,
        reason=Why(reason) if reason else None,
        ended=ended,
    )


def search(
    connection: sa.Connection,
    wanted: Wanted,
    *,
    address_key: bytes,
    before: int | None = None,
    limit: int = 50,
    seconds: float = 0.06,
) -> Listed:
    """Those that fit, with an id below `before`, the newest first. It takes little more than `seconds`."""
    if wanted.address is not None or wanted == Wanted(ended=True):
        some = entries(connection, wanted, address_key=address_key, before=before, limit=limit + 1)
        return Listed(some[:limit], some[limit - 1].id if len(some) > limit else None)
    deadline = monotonic() + seconds
    found: list[Entry] = []
    looked, upper = 0, before
    while True:
        size, least = _window(connection, upper)
        if size:
            found += entries(
                connection, wanted, address_key=address_key, before=upper, least=least, limit=limit + 1 - len(found)
            )
            looked, upper = looked + size, least
        if len(found) > limit:
            return Listed(found[:limit], found[limit - 1].id)
        if size < WINDOW:
            return Listed(found, None)
        if monotonic() > deadline:
            return Listed(found, upper, looked)


def _window(connection: sa.Connection, upper: int | None) -> tuple[int, int]:
    """How many rows the next window has, and the smallest id of them."""
    ids = sa.select(SUPPRESSION.c.id).order_by(SUPPRESSION.c.id.desc()).limit(WINDOW)
    if upper is not None:
        ids = ids.where(SUPPRESSION.c.id < upper)
    window = ids.subquery()
    size, least = connection.execute(sa.select(sa.func.count(), sa.func.min(window.c.id))).one()
    return int(size), least or 0
