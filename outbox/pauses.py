"""Pauses: what of the queue is held back for now, by whom and why. Workers read them, operators set them.

What is paused stays queued with its due time; `operations.pauses` sets and lifts them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import sqlalchemy as sa

from outbox.dialect import DbNow
from outbox.models import OutboxDelivery, OutboxMessage, OutboxPause, table_of

_pause = table_of(OutboxPause)
_delivery = table_of(OutboxDelivery)
_message = table_of(OutboxMessage)


EVERY = "*"
"""The environment of a pause that holds for all of them."""


class What(StrEnum):
    """What a pause holds back."""

    ALL = "all"
    KIND = "kind"
    DOMAIN = "domain"  # of the recipient
    TRANSPORT = "transport"  # `host:port`: the workers that send by it claim nothing


@dataclass(frozen=True, slots=True)
class Pause:
    """One pause that is in force."""

    id: int
    what: What
    value: str  # the kind, domain or transport; "" for all
    reason: str
    by: str  # who set it
    since: datetime
    until: datetime | None  # None: until somebody lifts it
    automatic: bool = False  # set by a worker, for what its relay refuses
    reply: str | None = None  # automatic: the server's words
    probe_at: datetime | None = None  # automatic: when one delivery is tried again
    environment: str = EVERY  # whose mail it holds back

    def __str__(self) -> str:
        words = f"{self.what} {self.value}".rstrip()
        return words if self.environment in ("", EVERY) else f"{words} in {self.environment}"

    @property
    def narrow(self) -> bool:
        """Whether it concerns some mail only, whoever sends it."""
        return self.what in (What.KIND, What.DOMAIN)


def active(connection: sa.Connection, environment: str | None = None, now: datetime | None = None) -> list[Pause]:
    """The pauses in force at `now` (by default by the database's clock), the oldest first.

    `environment`: only those that hold back mail of this one; None: of any.
    """
    moment = DbNow() if now is None else sa.literal(now, _pause.c.until.type)
    statement = sa.select(_pause).where(sa.or_(_pause.c.until.is_(None), _pause.c.until > moment))
    if environment is not None:
        statement = statement.where(_pause.c.environment.in_([EVERY, environment]))
    rows = connection.execute(statement.order_by(_pause.c.since, _pause.c.id))
    return [
        Pause(
            row.id,
            What(row.what),
            row.value,
            row.reason,
            row.actor,
            since=row.since,
            until=row.until,
            environment=row.environment,
        )
        for row in rows
    ]


@dataclass(frozen=True, slots=True)
class Held:
    """What one worker leaves alone."""

    everything: bool = False
    kinds: frozenset[str] = frozenset()
    domains: frozenset[str] = frozenset()

    @classmethod
    def by(cls, pauses: Iterable[Pause], transports: Collection[str]) -> Held:
        """What these pauses mean to who has only these transports (none known: no pause of a transport counts)."""
        of: dict[What, set[str]] = {what: set() for what in What}
        for one in pauses:
            of[one.what].add(one.value)
        names = {name.lower() for name in transports}
        everything = bool(of[What.ALL]) or (bool(names) and names <= of[What.TRANSPORT])
        return cls(everything, frozenset(of[What.KIND]), frozenset(of[What.DOMAIN]))

    def holds(self, recipient: str, kind: str | None) -> bool:
        """Whether mail of this kind to this address is paused."""
        return self.everything or kind in self.kinds or recipient.rpartition("@")[2] in self.domains

    @property
    def narrow(self) -> bool:
        """Whether some is paused and some is not, so that one has to look at the mail."""
        return not self.everything and bool(self.kinds or self.domains)

    def passed_over(self, delivery: sa.FromClause = _delivery) -> sa.ColumnElement[bool] | None:
        """What holds for a delivery that is paused by its kind or domain; None: no such pause."""
        found: list[sa.ColumnElement[bool]] = []
        if self.domains:
            found.append(delivery.c.domain.in_(sorted(self.domains)))
        if self.kinds:  # one look by primary key for each row, as for the environment
            kind = sa.select(_message.c.kind).where(_message.c.id == delivery.c.message_id).scalar_subquery()
            found.append(sa.func.coalesce(kind, "").in_(sorted(self.kinds)))
        return sa.or_(*found) if found else None
