"""The mail that matches as CSV, for a spreadsheet: what the list shows, nothing of what the messages say."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from flask import Response, request, stream_with_context
from flask.typing import ResponseReturnValue

from outbox import operations
from outbox.core import clock
from outbox.core.loggers import get_logger
from outbox.operations import Filter, Row
from outbox.web import filter_form
from outbox.web.current import connected
from outbox.web.rights import Right, actor

log = get_logger("outbox.web")

MOST = 50_000
"""Rows of one file."""

BUDGET_SECONDS = 20.0
STEP = 500

COLUMNS = (
    *("id", "state", "recipient", "subject", "kind", "priority", "enqueued", "due", "last_change", "attempts", "code"),
    *("enhanced_code", "reply", "reason", "environment"),
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""With these a spreadsheet takes a cell for a formula, and does what somebody else's mail says."""


def export() -> ResponseReturnValue:
    """The newest MOST that match, or the oldest, as far as they are found in the time that a request may take."""
    words = filter_form.words(request.args)
    wanted = filter_form.to_filter(words)
    log.info("status=exported by=%r filter=%r", actor(), str(wanted))
    lines = stream_with_context(_lines(wanted, oldest_first=filter_form.oldest_first(words)))
    response = Response(lines, content_type="text/csv; charset=utf-8")
    response.headers.set("Content-Disposition", "attachment", filename=f"mail-{clock.utcnow():%Y%m%dT%H%M%SZ}.csv")
    response.headers["Content-Security-Policy"] = "default-src 'none'; sandbox"
    return response


def _lines(wanted: Filter, *, oldest_first: bool) -> Iterator[str]:
    yield "\ufeff" + _line(COLUMNS)  # the mark by which spreadsheets tell UTF-8
    deadline, place, written = clock.monotonic() + BUDGET_SECONDS, None, 0
    while written < MOST:
        if clock.monotonic() > deadline:
            yield _line(["# Stopped here because it took too long. There may be more: narrow the filter."])
            return
        with connected() as connection:
            page = operations.browse(
                connection,
                wanted,
                before=None if oldest_first else place,
                after=place if oldest_first else None,
                oldest_first=oldest_first,
                limit=min(STEP, MOST - written),
                cap=STEP,
                seconds=1.0,
            )
        yield "".join(_line(_cells(row)) for row in page.rows)
        written += len(page.rows)
        place = page.older
        if place is None:
            return
    yield _line([f"# Stopped at {MOST} rows. There are more: narrow the filter."])


def _cells(row: Row) -> Iterator[Any]:
    yield from (row.id, row.state, row.recipient, row.subject, row.kind, row.lane)
    yield from (_moment(row.created_at), _moment(row.due_at), _moment(row.updated_at), row.attempts)
    yield from (row.code, row.enhanced, row.reply, row.reason, row.environment)


def _moment(moment: datetime | None) -> str:
    return "" if moment is None or moment == clock.UNREADABLE else f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _line(cells: Any) -> str:
    text = io.StringIO()
    csv.writer(text).writerow([_harmless(cell) for cell in cells])
    return text.getvalue()


def _harmless(cell: Any) -> Any:
    """Text that a spreadsheet would take for a formula gets an apostrophe, by which it is text."""
    if not isinstance(cell, str):
        return cell
    cell = cell.replace("\0", "")
    return f"'{cell}" if cell.lstrip(" ").startswith(_FORMULA) else cell


VIEWS = (("/mail.csv", "export", "GET", (Right.VIEW,), export),)
