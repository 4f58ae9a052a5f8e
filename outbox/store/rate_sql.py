"""The statement that reserves permits: one conditional UPDATE of one row, whatever went before.

What it grants comes back as one number, which each database can tell of an UPDATE: how many permits, and in how many
microseconds the first is good; or, if there is none, when to ask again.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, cast

import sqlalchemy as sa

from outbox.delivery.rate_limits import BATCH_LIFE, DAY, Cell
from outbox.store.databases import Database
from outbox.store.models import table_of
from outbox.store.rate_models import OutboxRate
from outbox.store.types import DbMicros, DbNow, Greatest, Least

PACK = 1 << 40
"""The number is permits × PACK + microseconds (6 days at most)."""

BATCH = 1 << 39
"""Added to the number where the permits are a batch."""

BATCHES = "batches"
"""Beside the words of the rates: the rate a second may be given out in batches."""

_rate = table_of(OutboxRate)
_BIG = sa.BigInteger()


def this_row() -> sa.ColumnElement[bool]:
    """By the primary key."""
    return sa.and_(*(_rate.c[name] == sa.bindparam(f"the_{name}") for name in ("environment", "what", "value")))


def parameters(cells: Mapping[str, Cell], day: int | None, lead: int) -> dict[str, int]:
    """Those of the limits. `lead`: how soon a message can go at the earliest, microseconds from now."""
    values = {f"{word}_{name}": value for word, cell in cells.items() for name, value in cell._asdict().items()}
    values |= {f"{word}_furthest": cell.furthest for word, cell in cells.items()}
    if "second" in cells:
        values["second_lead"] = min(lead, cells["second"].ahead)
        if (batch := cells["second"].batch) is not None:
            values |= {"batch_most": batch.most, "batch_interval": batch.interval}
    return values if day is None else values | {"day": day}


@functools.lru_cache(64)
def reserve(words: tuple[str, ...], daily: bool, notes: bool, database: Database) -> sa.Update:
    """Reserve up to `wanted` permits of one row. `words`: as `words_of`; `daily`: there is a quota.
    `notes`: it is noted which worker holds them.

    No row is hit where there is none, or its quota has to be counted again.
    """
    now = DbMicros()
    has_batches, words = BATCHES in words, tuple(word for word in words if word != BATCHES)
    bases = {word: _base(_rate.c[f"{word}_at"], _of(word, "furthest"), now) for word in words}
    is_batch: sa.ColumnElement[bool] = sa.false()
    if has_batches:  # what follows one by one begins once none of a batch is good any more, and leaves room for it
        is_batch = bases["second"] <= now + BATCH_LIFE
        lent = sa.case((_rate.c.lent_until <= now + 3 * BATCH_LIFE, _rate.c.lent_until), else_=0)
        alone = Greatest(bases["second"], now + _of("second", "lead"), lent)
        bases["second"] = sa.case((is_batch, bases["second"]), else_=alone)
    elif "second" in bases:
        bases["second"] = Greatest(bases["second"], now + _of("second", "lead"))
    counts: list[sa.ColumnElement[int]] = [sa.bindparam("wanted", type_=_BIG)]
    waits: list[sa.ColumnElement[int]] = []
    for word in words:
        interval, burst, ahead = (_of(word, name) for name in ("interval", "burst", "ahead"))
        admitted = (now + ahead + burst * interval - bases[word]) // interval
        if _batched(word, has_batches):
            admitted = sa.case((is_batch, _of("batch", "most")), else_=admitted)
        counts.append(admitted)
        waits.append(bases[word] + interval - burst * interval - ahead - now)
    if daily:
        left = sa.bindparam("day", type_=_BIG) - _rate.c.used
        counts.append(left)
        waits.append(sa.case((left < 1, _rate.c.good_until - now), else_=0))
    count: sa.ColumnElement[int] = Greatest(sa.literal_column("0", _BIG), Least(*counts))
    offset = bases["second"] - now if "second" in bases else sa.literal_column("0", _BIG)
    wait = Least(sa.literal_column(str(DAY), _BIG), Greatest(sa.literal_column("1", _BIG), *waits))
    if has_batches:
        offset = sa.case((is_batch, offset + BATCH), else_=offset)
    packed: sa.ColumnElement[int] = sa.case((count > 0, count * PACK + offset), else_=wait)
    if not database.returns_updated:
        packed = sa.func.last_insert_id(packed, type_=_BIG)
        count = sa.case((_rate.c.granted >= PACK, _rate.c.granted // PACK), else_=0)
    changes: list[tuple[Any, Any]] = [(_rate.c.granted, packed)]
    if has_batches:  # before what it depends on: MySQL goes by what is changed already
        until = bases["second"] + BATCH_LIFE + count * _of("second", "interval")
        changes.append((_rate.c.lent_until, sa.case((sa.and_(is_batch, count > 0), until), else_=_rate.c.lent_until)))
    for word in words:
        column, each = _rate.c[f"{word}_at"], cast("sa.ColumnElement[int]", _of(word, "interval"))
        if _batched(word, has_batches):
            each = sa.case((is_batch, _of("batch", "interval")), else_=each)
        changes.append((column, sa.case((count > 0, bases[word] + count * each), else_=column)))
    if daily:
        changes += [(_rate.c.used, _rate.c.used + count), (_rate.c.open_used, _rate.c.open_used + count)]
    if notes:
        entry = database.with_entry(_rate.c.held, sa.bindparam("worker", type_=sa.String()), count, now)
        changes.append((_rate.c.held, sa.case((count > 0, entry), else_=_rate.c.held)))
    changes += [(_rate.c.limits, sa.bindparam("said", type_=sa.String())), (_rate.c.updated_at, DbNow())]
    where = sa.and_(this_row(), _rate.c.good_until > now) if daily else this_row()
    update = _rate.update().where(where).ordered_values(*changes)
    return update.returning(_rate.c.granted) if database.returns_updated else update


def told_by(updated: sa.CursorResult[Any], database: Database) -> int | None:
    """What the last statement has granted; None: it hit no row."""
    if database.returns_updated:
        row = updated.first()
        return None if row is None else int(row[0])
    return int(updated.lastrowid or 0) if updated.rowcount else None


def words_of(cells: Mapping[str, Cell]) -> tuple[str, ...]:
    """What `reserve` is to be made for."""
    has_batches = "second" in cells and cells["second"].batch is not None
    return (*cells, BATCHES) if has_batches else tuple(cells)


def _batched(word: str, has_batches: bool) -> bool:
    return has_batches and word == "second"


def _of(word: str, name: str) -> sa.BindParameter[int]:
    return sa.bindparam(f"{word}_{name}", type_=_BIG)


def _base(arrival: sa.ColumnElement[int], furthest: Any, now: Any) -> sa.ColumnElement[int]:
    """From when on the next message counts: not before now, nor by a clock that has been stepped back since."""
    return sa.case((sa.and_(arrival > now, arrival <= now + furthest), arrival), else_=now)
