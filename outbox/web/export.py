"""The mail that matches as CSV, for a spreadsheet: what the list shows, nothing of what the messages say."""

from __future__ import annotations

from collections.abc import Iterator

from flask import Response, request, stream_with_context
from flask.typing import ResponseReturnValue

from outbox import operations
from outbox.core import clock
from outbox.core.loggers import get_logger
from outbox.operations import Filter
from outbox.operations.csv_rows import COLUMNS, MOST, csv_cells, csv_line
from outbox.web import filter_form
from outbox.web.current import connected
from outbox.web.rights import Right, actor

log = get_logger("outbox.web")

BUDGET_SECONDS = 20.0
STEP = 500


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
    yield "\ufeff" + csv_line(COLUMNS)  # the mark by which spreadsheets tell UTF-8
    deadline, place, written = clock.monotonic() + BUDGET_SECONDS, None, 0
    while written < MOST:
        if clock.monotonic() > deadline:
            yield csv_line(["# Stopped here because it took too long. There may be more: narrow the filter."])
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
        yield "".join(csv_line(csv_cells(row)) for row in page.rows)
        written += len(page.rows)
        place = page.older
        if place is None:
            return
    yield csv_line([f"# Stopped at {MOST} rows. There are more: narrow the filter."])


VIEWS = (("/mail.csv", "export", "GET", (Right.VIEW,), export),)
