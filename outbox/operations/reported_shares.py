"""How much of what was sent was complained about, or bounced: by sender's domain and transport, as providers count.

What is counted is mail sent within some days, and what was reported of that mail. With much mail this is an estimate:
each of SLICES parts of the time is counted, and its newest SAMPLE deliveries are looked at. The time is shorter where
more than ENOUGH were sent in it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from outbox.delivery.reported import EventType
from outbox.delivery.states import State
from outbox.operations.alarms import Alarms
from outbox.operations.tables import DELIVERY, EVENT, MESSAGE
from outbox.operations.times import spelled

SLICES, SAMPLE = 28, 1_000
ENOUGH = 1_000_000
REPORTS_SEEN = 10_000
"""Of each type, the newest messages that are looked at."""

SHOWN = 20
REFUSING = 0.003
"""The share of complaints from which on Gmail and Yahoo refuse mail."""

_TYPES = (EventType.COMPLAINED, EventType.BOUNCED)
_FEW = 10  # in a sample: too few to judge by
_Group = tuple[str | None, str]  # transport, sender's domain


@dataclass(frozen=True, slots=True)
class ReportedShare:
    """Of one sender's domain by one transport."""

    type: EventType  # COMPLAINED or BOUNCED
    transport: str | None  # its name; None: there is but one
    sender_domain: str  # of the envelope sender that the application gave
    reported: int  # messages, each for one recipient
    sent: int  # with those that the server refused as it would have bounced them; estimated where it is much
    share: float  # 0 to 1
    seconds: float  # sent within this time


def reported_shares(connection: sa.Connection, now: datetime, seconds: float) -> list[ReportedShare]:
    """Those of which something was reported, the largest share first; SHOWN at most. Nothing is counted without one."""
    since = now - timedelta(seconds=seconds)
    reports = {type: _reports(connection, type, since) for type in _TYPES}
    if not any(reports.values()):
        return []
    sent, began = _sent(connection, now, seconds)
    return sorted(_shares(reports, sent, began, now), key=lambda one: -one.share)[:SHOWN]


def too_many(one: ReportedShare, alarms: Alarms) -> bool:
    """Whether this makes the status degraded."""
    limit = alarms.complained if one.type is EventType.COMPLAINED else alarms.bounced
    return bool(limit) and one.reported >= alarms.reports and one.share >= limit


def advice(one: ReportedShare) -> str:
    """What is wrong, and what to do."""
    found = f"{described(one)}: "
    if one.type is EventType.BOUNCED:
        return (
            f"{found}providers take a sender with many dead addresses for a spammer. Where do the addresses come from? "
            "Confirm each before you write to it. Look at them: `outbox-list --event bounced`"
        )
    said = f"{found}Gmail and Yahoo ask for less than 0.1 %"
    if one.share >= REFUSING:
        said += f", and refuse mail from {_percent(REFUSING)} on"
    return (
        f"{said}. Hold back what was not asked for (`outbox-pause --kind …`), and let every such message say how to "
        "unsubscribe. Look at them: `outbox-list --event complained`"
    )


def described(one: ReportedShare) -> str:
    """`6 of 4,100 messages from shop.example by ses, sent within 7 days, were complained about (0.15 %)`."""
    done = "were complained about" if one.type is EventType.COMPLAINED else "bounced"
    by = f" by {one.transport}" if one.transport else ""
    sent = f"{one.reported:,} of {one.sent:,} messages from {one.sender_domain}{by}"
    return f"{sent}, sent within {spelled(one.seconds)}, {done} ({_percent(one.share)})"


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.0f} %"


def _reports(connection: sa.Connection, type: EventType, since: datetime) -> list[Any]:
    """Of the newest messages with such a report: when each ended, how, and its group. Along the index of the types."""
    newest = (
        sa.select(EVENT.c.delivery_id)
        .where(EVENT.c.type == type.value, EVENT.c.delivery_id.is_not(None), EVENT.c.proven, sa.not_(EVENT.c.soft))
        .group_by(EVENT.c.delivery_id)
        .order_by(EVENT.c.delivery_id.desc())
        .limit(REPORTS_SEEN)
        .subquery("newest")
    )
    ended = sa.select(DELIVERY.c.finished_at, DELIVERY.c.state, DELIVERY.c.transport, MESSAGE.c.envelope_from)
    found = newest.join(DELIVERY, DELIVERY.c.id == newest.c.delivery_id).join(
        MESSAGE, MESSAGE.c.id == DELIVERY.c.message_id
    )
    rows = ended.select_from(found).where(DELIVERY.c.finished_at >= since)
    return list(connection.execute(rows.order_by(newest.c.delivery_id.desc())))


def _sent(connection: sa.Connection, now: datetime, seconds: float) -> tuple[dict[_Group, float], datetime]:
    """How many were sent of each group, without those of which too few were looked at to know; and since when."""
    samples: dict[int, Counter[_Group]] = {place: Counter() for place in range(SLICES)}
    for place, transport, sender, number in connection.execute(sa.union_all(*_samples(now, seconds))):
        samples[place][transport, _domain(sender)] += number
    sent: dict[_Group, float] = {}
    looked: Counter[_Group] = Counter()
    counted, partial = 0, False
    for place, sample in samples.items():
        size = sample.total()
        whole = size if size < SAMPLE else _number(connection, *_slice(now, seconds, place))
        for group, number in sample.items():
            sent[group] = sent.get(group, 0.0) + number * whole / size
            looked[group] += number
        counted, partial = counted + whole, partial or whole > size
        if counted >= ENOUGH:
            break
    began = _slice(now, seconds, place)[0]
    return {group: number for group, number in sent.items() if not partial or looked[group] >= _FEW}, began


def _slice(now: datetime, seconds: float, place: int) -> tuple[datetime, datetime]:
    """From when to when; the newest has the place 0."""
    each = seconds / SLICES
    return now - timedelta(seconds=each * (place + 1)), now - timedelta(seconds=each * place)


def _within(began: datetime, ended: datetime) -> sa.ColumnElement[bool]:
    return sa.and_(
        DELIVERY.c.finished_at > began, DELIVERY.c.finished_at <= ended, DELIVERY.c.state == State.SENT.value
    )


def _samples(now: datetime, seconds: float) -> Iterator[sa.Select[Any]]:
    for place in range(SLICES):
        newest = (
            sa.select(DELIVERY.c.transport, DELIVERY.c.message_id)
            .where(_within(*_slice(now, seconds, place)))
            .order_by(DELIVERY.c.finished_at.desc())
            .limit(SAMPLE)
            .subquery(f"newest_{place}")
        )
        yield (
            sa.select(sa.literal(place), newest.c.transport, MESSAGE.c.envelope_from, sa.func.count())
            .select_from(newest.join(MESSAGE, MESSAGE.c.id == newest.c.message_id))
            .group_by(newest.c.transport, MESSAGE.c.envelope_from)
        )


def _number(connection: sa.Connection, began: datetime, ended: datetime) -> int:
    return connection.execute(sa.select(sa.func.count()).where(_within(began, ended))).scalar_one()


def _shares(
    reports: dict[EventType, list[Any]],
    sent: dict[_Group, float],
    began: datetime,
    now: datetime,
) -> Iterator[ReportedShare]:
    for type, rows in reports.items():
        # where more were reported than are looked at, only since the oldest of them
        since = max(began, rows[-1].finished_at) if len(rows) == REPORTS_SEEN else began
        part = (now - since) / (now - began)
        reported: Counter[_Group] = Counter()
        refused: Counter[_Group] = Counter()
        for row in rows:
            if row.finished_at >= since:
                group = row.transport, _domain(row.envelope_from)
                reported[group] += 1
                refused[group] += row.state != State.SENT.value
        for group, number in reported.items():
            if group in sent:
                whole = max(number, round(sent[group] * part) + refused[group])
                yield ReportedShare(type, *group, number, whole, number / whole, (now - since).total_seconds())


def _domain(sender: str) -> str:
    return sender.rpartition("@")[2].lower() or "<>"
