"""What ended lately as bars: drawn on the server, so that they need no script."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from flask import current_app

from outbox.operations import Known, Span, Status, flow

if TYPE_CHECKING:
    from sqlalchemy import Connection

STEP = 10
"""Width of a bar and its gap, in units of the picture."""

HEIGHT = 100
LEAST = 1.5
"""Height of a bar that stands for one mail beside thousands."""

_KNOWN = "outbox.web.spans"


@dataclass(frozen=True, slots=True)
class Bar:
    """A rectangle, in units of the picture."""

    kind: str  # "good", "bad" or "unknown"
    x: float
    y: float
    height: float
    title: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A picture and what is said of it."""

    name: str
    step: str  # the time that one bar stands for
    bars: list[Bar]
    width: int
    most: int  # the mail of the highest bar
    sent: int  # as the status counted them, whether or not the bars are all there
    failed: int
    partial: bool  # some bars are not counted yet
    first: datetime
    last: datetime


def charts(connection: Connection, status: Status) -> list[Chart]:
    """The last hour and the last day, with the totals of `status`.

    Spans that are over are counted once in the life of a process.
    """
    known: Known = current_app.extensions.setdefault(_KNOWN, {})
    return [
        _chart(name, flow(connection, status.at, width=width, number=number, known=known), width, totals, status.at)
        for name, width, number, totals in (
            ("Last hour", timedelta(minutes=2), 31, (status.sent_last_hour, status.failed_last_hour)),
            ("Last day", timedelta(minutes=30), 49, (status.sent_last_day, status.failed_last_day)),
        )
    ]


def _chart(name: str, spans: list[Span], width: timedelta, totals: tuple[int, int], now: datetime) -> Chart:
    most = max((span.sent or 0) + (span.failed or 0) for span in spans)
    return Chart(
        name=name,
        step=f"{width.seconds // 60} minutes",
        bars=[bar for place, span in enumerate(spans) for bar in _bars(place, span, most, width)],
        width=len(spans) * STEP,
        most=most,
        sent=totals[0],
        failed=totals[1],
        partial=any(span.sent is None for span in spans),
        first=spans[0].start,
        last=min(now, spans[-1].start + width),
    )


def _bars(place: int, span: Span, most: int, width: timedelta) -> Iterator[Bar]:
    """What was sent, on top of it what failed."""
    when = f"{span.start:%H:%M}–{span.start + width:%H:%M} UTC"
    if span.sent is None or span.failed is None:
        yield Bar("unknown", place * STEP, 0, HEIGHT, f"{when}: not counted yet")
        return
    title = f"{when}: {span.sent:,} sent, {span.failed:,} failed"
    top = float(HEIGHT)
    for kind, count in (("good", span.sent), ("bad", span.failed)):
        if count:
            height = max(LEAST, count / most * (HEIGHT - LEAST))
            top -= height
            yield Bar(kind, place * STEP, round(top, 2), round(height, 2), title)
