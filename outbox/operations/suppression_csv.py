"""Suppressions as CSV: what an export writes, and an import that may be repeated.

The columns are found by their names, so a provider's own list is read as well: one with the addresses is enough.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice

import sqlalchemy as sa

from outbox.core.errors import MessageError
from outbox.delivery.suppression import ALL, Why
from outbox.message.addresses import parse
from outbox.message.digest import digest
from outbox.operations.audit import Trail
from outbox.operations.csv_rows import FORMULA
from outbox.operations.suppressions import Entry, check_scope
from outbox.operations.tables import SUPPRESSION
from outbox.operations.times import parse_moment
from outbox.store.databases import of
from outbox.store.types import DbNow

COLUMNS = ("address", "scope", "reason", "since", "until", "note", "actor")
"""Of an export. An import reads `address`, `scope`, `reason`, `until` and `note`."""

ADDRESSES = ("address", "email", "recipient", "email address")
"""What the column with the addresses may be called."""

BATCH = 1_000
"""Rows that are written in one transaction."""

_UNIQUE = ("digest", "scope", "reason")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of an import that can be done."""

    number: int
    address: str
    scope: str
    reason: Why
    until: datetime | None
    note: str | None


@dataclass(frozen=True, slots=True)
class Fault:
    """One that can't."""

    number: int
    words: str

    def __str__(self) -> str:
        return f"line {self.number}: {self.words}"


@dataclass(frozen=True, slots=True)
class Imported:
    """What one transaction did, or would do."""

    new: int
    changed: int  # they were there, for another time
    there: int  # nothing was to be done


def cells(entry: Entry) -> Iterator[object]:
    """The values of COLUMNS."""
    yield from (entry.address or "", entry.scope, str(entry.reason))
    yield from (_moment(entry.since), _moment(entry.until), entry.note or "", entry.actor)


def read(file: Iterable[str], now: datetime) -> Iterator[Line | Fault]:
    """Each line of a file in turn. What has ended by `now` is left out."""
    rows = csv.reader(file)
    try:
        head = [name.strip().lower().removeprefix("\ufeff") for name in next(rows, [])]
        at = next((name for name in ADDRESSES if name in head), None)
        if at is None:
            yield Fault(1, f"no column is named address; the first line must name the columns: {', '.join(COLUMNS)}")
            return
        for cells in rows:
            if any(cell.strip() for cell in cells):
                found = _line(rows.line_num, dict(zip(head, map(_plain, cells), strict=False)), at, now)
                if found is not None:
                    yield found
    except (csv.Error, UnicodeDecodeError) as error:
        yield Fault(rows.line_num + 1, f"it can't be read as CSV in UTF-8: {error}")


def import_(
    engine: sa.Engine, lines: Iterable[Line], *, by: str, address_key: bytes, words: str, dry_run: bool = False
) -> Iterator[Imported]:
    """Put them on the list, BATCH in a transaction; what each did. Doing it again changes nothing.

    `words`: where they come from, for the audit.
    """
    trail = Trail("suppress", by=by, filters=words)
    rest = iter(lines)
    while batch := list(islice(rest, BATCH)):
        with engine.connect() as connection:
            done = _one(connection, batch, by=by, address_key=address_key)
            if dry_run:
                connection.rollback()
            else:
                trail.add(connection, done.new + done.changed)
                connection.commit()
        yield done


def _one(connection: sa.Connection, batch: Sequence[Line], *, by: str, address_key: bytes) -> Imported:
    by_key = {(digest(line.address, address_key), line.scope, line.reason.value): line for line in batch}  # the last
    columns = SUPPRESSION.c
    known = connection.execute(
        sa.select(columns.digest, columns.scope, columns.reason, columns.until).where(
            columns.digest.in_(sorted({key[0] for key in by_key}))
        )
    )
    before = {(row.digest, row.scope, row.reason): row.until for row in known}
    now = connection.execute(sa.select(DbNow())).scalar_one()
    new: list[dict[str, object]] = [
        {
            **dict(zip(_UNIQUE, key, strict=True)),
            "address": line.address,
            "actor": by,
            "note": line.note,
            "until": line.until,
            "since": now,
        }
        for key, line in sorted(by_key.items(), key=lambda one: one[0])
        if key not in before
    ]
    if new:
        connection.execute(of(connection).insert_unless_there(SUPPRESSION, _UNIQUE), new)
    changed = {key: line for key, line in by_key.items() if key in before and not _same(before[key], line.until)}
    for (digest_, scope, reason), line in sorted(changed.items(), key=lambda one: one[0]):
        entry = sa.and_(columns.digest == digest_, columns.scope == scope, columns.reason == reason)
        ended = before[digest_, scope, reason]
        values: dict[str, object] = {
            "until": sa.null() if line.until is None else line.until,
            "note": line.note,
            "actor": by,
        }
        values |= {"since": now} if ended is not None and ended <= now else {}
        connection.execute(SUPPRESSION.update().where(entry).values(values))
    return Imported(len(new), len(changed), len(batch) - len(new) - len(changed))


def _line(number: int, row: dict[str, str], at: str, now: datetime) -> Line | Fault | None:
    try:
        address = parse(row.get(at, ""), "address").envelope
        scope = check_scope(row.get("scope") or ALL)
        until = parse_moment(row["until"].removesuffix("Z"), now) if row.get("until") else None
    except (MessageError, ValueError, OverflowError) as error:
        return Fault(number, str(error))
    word = (row.get("reason") or Why.MANUAL.value).lower()
    if word not in tuple(Why):
        return Fault(number, f"the reason is {word[:40]!r}, not one of {', '.join(Why)}")
    if until is not None and until <= now:
        return None
    return Line(number, address, scope, Why(word), until, (row.get("note") or "")[:500] or None)


def _same(one: datetime | None, other: datetime | None) -> bool:
    """To the second, as an export has it."""
    if one is None or other is None:
        return one is other
    return abs((one - other).total_seconds()) < 1.0


def _plain(cell: str) -> str:
    """Without the apostrophe by which an export keeps a spreadsheet from taking it for a formula."""
    cell = cell.strip()
    return cell[1:] if cell.startswith("'") and cell[1:].lstrip(" ").startswith(FORMULA) else cell


def _moment(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
