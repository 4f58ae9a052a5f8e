"""The ids of the deliveries that match, as a query: along the index that serves."""

from __future__ import annotations

from dataclasses import replace

import sqlalchemy as sa

from outbox.operations.conditions import MAX_ID
from outbox.operations.filters import Filter, by_id, clauses, in_span, indexed
from outbox.operations.tables import DELIVERY, EVENT, MESSAGE

JOINED = DELIVERY.join(MESSAGE, DELIVERY.c.message_id == MESSAGE.c.id)

_REPORTED = EVENT.c.delivery_id


def hits(wanted: Filter, lower: int | None, upper: int | None, *, oldest_first: bool = False) -> sa.Select[tuple[int]]:
    """Those from `lower` to below `upper`, newest first by default."""
    if not _goes_by_event(wanted):
        found = unordered(wanted).where(*in_span(wanted, lower, upper))
        return found.order_by(*by_id(wanted, oldest_first=oldest_first))
    found = _by_event(wanted)
    if lower is not None:
        found = found.where(min(lower, MAX_ID) <= _REPORTED)
    if upper is not None:
        found = found.where(min(upper, MAX_ID) > _REPORTED)
    return found.order_by(_REPORTED.asc() if oldest_first else _REPORTED.desc())


def unordered(wanted: Filter) -> sa.Select[tuple[int]]:
    """All of them."""
    if _goes_by_event(wanted):
        return _by_event(wanted)
    return sa.select(DELIVERY.c.id).select_from(source(wanted)).where(*clauses(wanted))


def source(wanted: Filter) -> sa.FromClause:
    """The tables that `clauses(wanted)` speaks of."""
    return JOINED if wanted.needs_message else DELIVERY


def _goes_by_event(wanted: Filter) -> bool:
    """Whether they are looked for among the events of a type: it may be rare, and in a long history."""
    return wanted.event is not None and indexed(replace(wanted, states=())).is_empty


def _by_event(wanted: Filter) -> sa.Select[tuple[int]]:
    """Each once, however often it was reported."""
    rest = replace(wanted, event=None)
    of_type = EVENT.c.type == (wanted.event or "")
    joined = EVENT.join(source(rest), DELIVERY.c.id == _REPORTED)
    return sa.select(_REPORTED.label("id")).select_from(joined).where(of_type, *clauses(rest)).group_by(_REPORTED)
