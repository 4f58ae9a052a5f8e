"""Take an address out of the words that are stored: replies, notes, filters, errors."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from outbox.message.sealed import PREFIX, like
from outbox.operations.person import Budget
from outbox.operations.tables import ATTEMPT, AUDIT, DELIVERY, DIGEST_ITEM, EFFECT, EVENT, PAUSE, SUPPRESSION
from outbox.store.reading import reading

WINDOW = 20_000
"""Rows looked at in one read."""

WORDS: tuple[tuple[sa.Table, tuple[str, ...]], ...] = (
    (DELIVERY, ("reply",)),
    (ATTEMPT, ("reply", "note")),
    (EVENT, ("recipient", "reply")),
    (SUPPRESSION, ("address", "note", "actor")),
    (AUDIT, ("filters", "note", "actor")),
    (PAUSE, ("reason", "reply", "actor")),
    (EFFECT, ("error",)),
    (DIGEST_ITEM, ("error",)),
)
"""What may quote an address, by table."""


@dataclass(frozen=True, slots=True)
class Words:
    """By what an address is found in text, in any case."""

    whole: re.Pattern[str]  # the address, unless it is the end or the start of a longer one
    envelope: re.Pattern[str]  # that, or as VERP has it: "bounces+ann=example.org@shop.example"
    loose: re.Pattern[str]  # both, as a part of whatever: in the key and the sender of its own mail


def words_of(spellings: Collection[str]) -> Words:
    """For all spellings of one address."""
    plain, verp = _any_of(spellings), _any_of(verp_forms(spellings))
    whole = rf"(?<![\w.+-])(?:{plain})(?![\w-]|\.\w)"
    envelope = rf"{whole}|(?<=[+=])(?:{verp})(?=[@-])"
    loose = f"{plain}|{verp}"
    return Words(*(re.compile(one, re.IGNORECASE) for one in (whole, envelope, loose)))


def verp_forms(spellings: Collection[str]) -> set[str]:
    """The address within another one's local part."""
    return {"=".join(one.rsplit("@", 1)) for one in spellings}


def _any_of(texts: Collection[str]) -> str:
    return "|".join(re.escape(one) for one in sorted(texts, key=len, reverse=True))


def windows(engine: sa.Engine, table: sa.Table, budget: Budget) -> Iterator[sa.ColumnElement[bool]]:
    """The table in portions by id, so that no read is long; not to its end, if the budget is spent before."""
    with reading(engine) as connection:
        first, last = connection.execute(sa.select(sa.func.min(table.c.id), sa.func.max(table.c.id))).one()
    start = first
    while start is not None and start <= last and not budget.is_spent():
        yield table.c.id.between(start, start + WINDOW - 1)
        start += WINDOW


def mentions(columns: Sequence[Any], spellings: Collection[str]) -> sa.ColumnElement[bool]:
    """Whether one of the columns may name the address, as all that is sealed may; `Words` decide."""
    starts = (PREFIX, f'"{PREFIX}')  # of texts, and of JSON
    sealed = (column.startswith(start, autoescape=True) for column in columns for start in starts)
    return sa.or_(*(column.icontains(one, autoescape=True) for column in columns for one in sorted(spellings)), *sealed)


def scrub(
    engine: sa.Engine, spellings: Collection[str], instead: str, *, dry_run: bool, budget: Budget
) -> dict[str, int]:
    """Write `instead` in the place of the address, in transactions of one window; how many rows of which table."""
    wanted, found = words_of(spellings).envelope, {}
    named = set(spellings) | verp_forms(spellings)
    for table, names in WORDS:
        columns = [table.c[name] for name in names]
        count = 0
        for window in windows(engine, table, budget):
            count += _window(
                engine, table, columns, sa.and_(window, mentions(columns, named)), wanted, instead, dry_run
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
            column.name: like(text, wanted.sub(instead, text)[: column.type.length], column.name, column.type.length)
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
