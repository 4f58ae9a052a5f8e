"""Take an address out of the words that are stored: replies, notes, filters, errors."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from outbox.operations.tables import ATTEMPT, AUDIT, DELIVERY, EFFECT, EVENT, PAUSE, SUPPRESSION
from outbox.store.reading import reading

WINDOW = 20_000
"""Rows looked at in one read."""

WORDS: tuple[tuple[sa.Table, tuple[str, ...]], ...] = (
    (DELIVERY, ("reply",)),
    (ATTEMPT, ("reply", "note")),
    (EVENT, ("recipient", "reply")),
    (SUPPRESSION, ("address", "note")),
    (AUDIT, ("filters", "note", "actor")),
    (PAUSE, ("reason", "reply")),
    (EFFECT, ("error",)),
)
"""What may quote an address, by table."""


def pattern(spellings: Collection[str], *, whole: bool = True) -> re.Pattern[str]:
    """Any of the spellings in any case; `whole`: unless it is the end or the start of a longer address."""
    longest_first = sorted(spellings, key=len, reverse=True)
    words = "|".join(re.escape(one) for one in longest_first)
    if not whole:
        return re.compile(words, re.IGNORECASE)
    return re.compile(rf"(?<![\w.+-])(?:{words})(?![\w-]|\.\w)", re.IGNORECASE)


def windows(engine: sa.Engine, table: sa.Table) -> Iterator[sa.ColumnElement[bool]]:
    """The table in portions by id, so that no read is long."""
    with reading(engine) as connection:
        first, last = connection.execute(sa.select(sa.func.min(table.c.id), sa.func.max(table.c.id))).one()
    start = first
    while start is not None and start <= last:
        yield table.c.id.between(start, start + WINDOW - 1)
        start += WINDOW


def mentions(columns: Sequence[Any], spellings: Collection[str]) -> sa.ColumnElement[bool]:
    """Whether one of the columns may name the address; `pattern` decides."""
    return sa.or_(*(column.icontains(one, autoescape=True) for column in columns for one in sorted(spellings)))


def scrub(engine: sa.Engine, spellings: Collection[str], instead: str, *, dry_run: bool) -> dict[str, int]:
    """Write `instead` in the place of the address, in transactions of one window; how many rows of which table."""
    wanted, found = pattern(spellings), {}
    for table, names in WORDS:
        columns = [table.c[name] for name in names]
        count = 0
        for window in windows(engine, table):
            count += _window(
                engine, table, columns, sa.and_(window, mentions(columns, spellings)), wanted, instead, dry_run
            )
        found[table.name.removeprefix("outbox_")] = count
    return found


def _window(
    engine: sa.Engine,
    table: sa.Table,
    columns: list[Any],
    where: sa.ColumnElement[bool],
    wanted: re.Pattern[str],
    instead: str,
    dry_run: bool,
) -> int:
    with reading(engine) as connection:
        rows = connection.execute(sa.select(table.c.id, *columns).where(where)).all()
    changes = []
    for row in rows:
        values = {
            column.name: wanted.sub(instead, text)[: column.type.length]
            for column, text in zip(columns, row[1:], strict=True)
            if text and wanted.search(text)
        }
        if values:
            changes.append((row.id, values))
    if changes and not dry_run:
        with engine.begin() as connection:
            for id, values in changes:
                connection.execute(table.update().where(table.c.id == id).values(values))
    return len(changes)
