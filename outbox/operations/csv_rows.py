"""Deliveries as lines of CSV, for a spreadsheet: what a list shows, nothing of what the messages say."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from outbox.core import clock
from outbox.operations.find import Row

COLUMNS = (
    *("id", "state", "recipient", "subject", "kind", "priority", "enqueued", "due", "last_change", "attempts", "code"),
    *("enhanced_code", "reply", "reason", "environment"),
)
MOST = 50_000
"""Rows of one file."""

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""With these a spreadsheet takes a cell for a formula, and does what somebody else's mail says."""


def csv_line(cells: Iterable[object]) -> str:
    """One line with its line break."""
    text = io.StringIO()
    csv.writer(text).writerow([_harmless(cell) for cell in cells])
    return text.getvalue()


def csv_cells(row: Row) -> Iterator[object]:
    """The values of COLUMNS."""
    yield from (row.id, row.state, row.recipient, row.subject, row.kind, row.lane)
    yield from (_moment(row.created_at), _moment(row.due_at), _moment(row.updated_at), row.attempts)
    yield from (row.code, row.enhanced, row.reply, row.reason, row.environment)


def _moment(moment: datetime | None) -> str:
    return "" if moment is None or moment == clock.UNREADABLE else f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _harmless(cell: object) -> object:
    """Text that a spreadsheet would take for a formula gets an apostrophe, by which it is text."""
    if not isinstance(cell, str):
        return cell
    cell = cell.replace("\0", "")
    return f"'{cell}" if cell.lstrip(" ").startswith(FORMULA) else cell
