"""What came of the newest attempts: how many were refused or deferred, and what most of these have in common.

Attempts have no index by time. Their ids grow with it, so the newest SEEN of them are looked at, by primary key.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from outbox.delivery.reply import About, Phase, Verdict
from outbox.operations.tables import ATTEMPT, DELIVERY, MESSAGE
from outbox.store.types import DbNow

SEEN = 10_000
"""The newest attempts, which are looked at."""

GROUPED = 1_000
"""The newest of those that did not go well, which are looked at one by one."""

DOMINATES = 0.8
"""The share of a group that makes a domain or sender worth naming."""

_OFFERED = sorted(phase.value for phase in (Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.BODY, Phase.DOT, Phase.LOCAL))
"""Phases in which an attempt says something of mail; before them it says that the relay is down."""

_NOT_OF_MAIL = (About.SESSION.value, About.CONNECTIONS.value)  # the same delivery is offered again at once
_VARIABLE = re.compile(r"<[^>]*>|\S+@\S+|\[[^\]]*\]|\S*\d\S*")
_ALIKE = 80  # characters of a reply by which it is told from others


@dataclass(frozen=True, slots=True)
class Group:
    """Attempts with the same answer."""

    count: int
    code: int | None
    enhanced: str | None
    reply: str  # of the newest of them
    transport: str | None  # who answered so, where it is one for nearly all
    domain: str | None  # the recipients', where nearly all have the same
    sender: str | None  # the envelope's, where nearly all have the same and the domains differ


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Of the attempts within `seconds`, the newest SEEN at most."""

    seconds: float
    sent: int = 0
    refused: int = 0  # for good
    deferred: int = 0  # to be retried
    complete: bool = True  # whether no older attempt of this time was left out
    group: Group | None = None  # the largest of those that were refused or deferred, where somebody asked

    @property
    def total(self) -> int:
        return self.sent + self.refused + self.deferred


def outcomes(connection: sa.Connection, seconds: float, spans: Sequence[float]) -> tuple[Outcomes, list[int]]:
    """The outcomes of the last `seconds`, and how many attempts were deferred in the last of each of `spans`."""
    newest = _newest(ATTEMPT.c.id, ATTEMPT.c.at, ATTEMPT.c.verdict, ATTEMPT.c.phase, ATTEMPT.c.fenced, ATTEMPT.c.about)
    row = connection.execute(
        sa.select(
            sa.func.count().label("seen"),
            sa.func.coalesce(sa.func.sum(sa.case((newest.c.at < DbNow(-seconds), 1), else_=0)), 0).label("older"),
            *(_number(newest, seconds, _is(newest, name)).label(name) for name in ("sent", "refused", "deferred")),
            *(_number(newest, span, _is(newest, "deferred")) for span in spans),
        )
    ).one()
    found = Outcomes(
        seconds, int(row.sent), int(row.refused), int(row.deferred), complete=row.seen < SEEN or row.older > 0
    )
    return found, [int(number) for number in row[5:]]


def with_group(connection: sa.Connection, seen: Outcomes, *, refused: bool) -> Outcomes:
    """`seen` with the largest group of those that were refused, or deferred."""
    newest = _newest(*(ATTEMPT.c[name] for name in _OF_ONE))
    wanted = (
        sa.select(newest)
        .where(_is(newest, "refused" if refused else "deferred"), newest.c.at >= DbNow(-seen.seconds))
        .order_by(newest.c.id.desc())
        .limit(GROUPED)
        .subquery()
    )
    rows = connection.execute(
        sa.select(*(wanted.c[name] for name in _SAID), DELIVERY.c.domain, MESSAGE.c.envelope_from)
        .select_from(wanted.join(DELIVERY, DELIVERY.c.id == wanted.c.delivery_id))
        .join(MESSAGE, MESSAGE.c.id == DELIVERY.c.message_id)
        .order_by(wanted.c.id.desc())
    ).all()
    return replace(seen, group=_largest(rows))


_SAID = ("code", "enhanced", "reply", "transport")
_OF_ONE = ("id", "delivery_id", "at", "verdict", "phase", "fenced", "about", *_SAID)


def _newest(*columns: sa.ColumnElement[Any]) -> sa.Subquery:
    return sa.select(*columns).order_by(ATTEMPT.c.id.desc()).limit(SEEN).subquery("newest")


def _is(newest: sa.Subquery, what: str) -> sa.ColumnElement[bool]:
    ends = {"sent": Verdict.ACCEPTED.value, "refused": Verdict.PERMANENT.value}
    if what in ends:
        return sa.and_(newest.c.verdict == ends[what], newest.c.fenced.is_(sa.false()))
    return sa.and_(
        newest.c.verdict.not_in(sorted(ends.values())),
        newest.c.fenced.is_(sa.false()),
        newest.c.phase.in_(_OFFERED),
        sa.func.coalesce(newest.c.about, "").not_in(_NOT_OF_MAIL),
    )


def _number(newest: sa.Subquery, seconds: float, condition: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
    counted = sa.case((sa.and_(newest.c.at >= DbNow(-seconds), condition), 1), else_=0)
    return sa.func.coalesce(sa.func.sum(counted), 0)


def _largest(rows: Sequence[Any]) -> Group | None:
    keys = Counter(_key(row) for row in rows)
    if not keys:
        return None
    key, count = keys.most_common(1)[0]
    members = [row for row in rows if _key(row) == key]
    newest = members[0]
    domain = _dominant(row.domain for row in members)
    sender = None if domain else _dominant(row.envelope_from for row in members)
    transport = _dominant(row.transport for row in members)
    return Group(count, newest.code, newest.enhanced, newest.reply, transport, domain, sender)


def _key(row: Any) -> tuple[int | None, str | None, str]:
    """Replies are alike but for addresses, numbers and ids."""
    return row.code, row.enhanced, _VARIABLE.sub("", row.reply)[:_ALIKE]


def _dominant(values: Iterable[str | None]) -> str | None:
    counts = Counter(values)
    value, count = counts.most_common(1)[0]
    return value if count >= DOMINATES * counts.total() else None
