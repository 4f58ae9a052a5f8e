"""Pauses: what of the queue is held back for now, by whom and why.

Workers read them; operators set and lift them (`operations.pauses`). Workers set some as well: those of a sender or a
domain that a transport refuses while it takes other mail. Such a pause is probed with one delivery now and then, and
lifted by the first that is accepted. What is paused stays queued with its due time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from outbox.store.dialect import DbNow
from outbox.store.models import OutboxDelivery, OutboxMessage, OutboxPause, table_of

FIRST_PROBE = 600.0
"""Seconds until an automatic pause is probed; twice as many each time, up to LONGEST_PROBE."""

LONGEST_PROBE = 4 * 3600.0

ABANDONED_SECONDS = LONGEST_PROBE
"""Overdue by so long, the probe of an automatic pause comes no more: no worker sends by its transport."""

BY = "automatic"
"""Who set an automatic pause."""

MOST_VALUE = 255
"""Characters of a value: a longer one cannot be kept."""

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
    SENDER = "sender"  # the envelope's sender
    MESSAGE = "message"  # to one recipient: by the number of its delivery
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
    environment: str = EVERY  # whose mail it holds back
    transport: str = ""  # automatic: where it was learnt
    automatic: bool = False  # set by a worker, for what its relay refuses
    reply: str | None = None  # automatic: the server's words
    probe_at: datetime | None = None  # automatic: when one delivery is offered to see
    is_to_probe: bool = False  # that moment has come

    def __str__(self) -> str:
        words = f"{self.what} {self.name}".rstrip()
        return words if self.environment in ("", EVERY) else f"{words} in {self.environment}"

    @property
    def name(self) -> str:
        """`value` as people write it."""
        return self.value or ("<>" if self.what is What.SENDER else "")

    @property
    def narrow(self) -> bool:
        """Whether it concerns some mail only, whoever sends it."""
        return self.what in (What.KIND, What.DOMAIN, What.SENDER, What.MESSAGE)


def active(connection: sa.Connection, environment: str | None = None, now: datetime | None = None) -> list[Pause]:
    """The pauses in force at `now` (by default by the database's clock), the oldest first.

    `environment`: only those that hold back mail of this one; None: of any.
    """
    moment = DbNow() if now is None else sa.literal(now, _pause.c.until.type)
    to_probe = sa.func.coalesce(_pause.c.probe_at <= moment, sa.false()).label("is_to_probe")
    statement = sa.select(_pause, to_probe).where(sa.or_(_pause.c.until.is_(None), _pause.c.until > moment))
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
            transport=row.transport,
            automatic=bool(row.automatic),
            reply=row.reply,
            probe_at=row.probe_at,
            is_to_probe=bool(row.is_to_probe),
        )
        for row in rows
    ]


def refuse(
    connection: sa.Connection, what: What, value: str, *, environment: str, transport: str, reason: str, reply: str
) -> bool:
    """Pause what `transport` refuses while it takes other mail. False: it is paused so already, or too long a name."""
    if len(value) > MOST_VALUE:
        return False
    key = _key(what, value, environment, transport)
    if connection.execute(sa.select(_pause.c.id).where(*key)).first() is not None:
        return False
    values = {"what": what.value, "value": value, "environment": environment, "transport": transport}
    with connection.begin_nested() as savepoint:  # another worker may have found the same at the same moment
        try:
            connection.execute(
                _pause.insert().values(
                    **values,
                    reason=reason,
                    actor=BY,
                    since=DbNow(),
                    automatic=True,
                    reply=reply[:1000],
                    probe_at=DbNow(FIRST_PROBE),
                    probe_seconds=FIRST_PROBE,
                )
            )
        except sa.exc.IntegrityError:
            savepoint.rollback()
            return False
    return True


def passed(connection: sa.Connection, what: What, value: str, *, environment: str, transport: str) -> bool:
    """Lift the automatic pause of what `transport` has just accepted. False: there was none."""
    lifted = _pause.delete().where(*_key(what, value, environment, transport), _pause.c.automatic)
    return bool(connection.execute(lifted).rowcount)


def take_probe(connection: sa.Connection, pause_id: int) -> float | None:
    """Seconds until the next probe, which is later than the last, if the caller is the one to probe an automatic pause
    now; else None."""
    next_wait = sa.case(
        (_pause.c.probe_seconds * 2 < LONGEST_PROBE, _pause.c.probe_seconds * 2), else_=sa.literal(LONGEST_PROBE)
    )
    row = connection.execute(
        sa.select(next_wait.label("wait")).where(_pause.c.id == pause_id, _pause.c.probe_at <= DbNow())
    ).first()
    if row is None:
        return None
    taken = (
        _pause.update()
        .where(_pause.c.id == pause_id, _pause.c.probe_at <= DbNow())
        .values(probe_at=DbNow(float(row.wait)), probe_seconds=float(row.wait))
    )
    return float(row.wait) if connection.execute(taken).rowcount else None


def look_again(connection: sa.Connection, pause_id: int) -> None:
    """Nothing that a pause holds was due for its probe: the next comes as soon as the first did, whatever the wait."""
    again = _pause.update().where(_pause.c.id == pause_id, _pause.c.probe_at > DbNow(FIRST_PROBE))
    connection.execute(again.values(probe_at=DbNow(FIRST_PROBE)))


def end_abandoned(connection: sa.Connection, *, environment: str, transport: str) -> list[tuple[What, str, str]]:
    """End the automatic pauses of transports by which no worker sends any more: (what, value, transport) of each.

    `transport`: the caller's own, whose pauses it probes itself.
    """
    abandoned = (
        _pause.c.automatic,
        _pause.c.environment == environment,
        _pause.c.transport != transport,
        _pause.c.probe_at < DbNow(-ABANDONED_SECONDS),
    )
    columns = _pause.c.id, _pause.c.what, _pause.c.value, _pause.c.transport
    rows = connection.execute(sa.select(*columns).where(*abandoned)).all()
    ended = []
    for row in rows:  # each by one worker, which reports it
        if connection.execute(_pause.delete().where(_pause.c.id == row.id, *abandoned)).rowcount:
            ended.append((What(row.what), row.value, row.transport))  # noqa: PERF401 - it deletes
    return ended


def _key(what: What, value: str, environment: str, transport: str) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        _pause.c.what == what.value,
        _pause.c.value == value,
        _pause.c.environment == environment,
        _pause.c.transport == transport,
    )


@dataclass(frozen=True, slots=True)
class Held:
    """What one worker leaves alone."""

    everything: bool = False
    kinds: frozenset[str] = frozenset()
    domains: frozenset[str] = frozenset()
    senders: frozenset[str] = frozenset()
    deliveries: frozenset[int] = frozenset()
    refused_senders: frozenset[str] = frozenset()
    """Refused by the transport: their mail goes on to expire."""
    refused_domains: frozenset[str] = frozenset()
    probed: tuple[What, str] | None = None
    """All but this sender or domain is left alone."""
    living: bool = False
    """All that has not expired is left alone."""

    @classmethod
    def by(cls, pauses: Iterable[Pause], transports: Collection[str]) -> Held:
        """What these pauses mean to a worker that has only these transports; with none known, no pause of a transport
        and no automatic one counts."""
        of: dict[tuple[What, bool], set[str]] = {
            (what, automatic): set() for what in What for automatic in (False, True)
        }
        names = {name.lower() for name in transports}
        for one in pauses:
            if not one.automatic or one.transport.lower() in names:
                of[one.what, one.automatic].add(one.value)
        everything = bool(of[What.ALL, False]) or (bool(names) and names <= of[What.TRANSPORT, False])
        return cls(
            everything,
            kinds=frozenset(of[What.KIND, False]),
            domains=frozenset(of[What.DOMAIN, False]),
            senders=frozenset(of[What.SENDER, False]),
            deliveries=frozenset(int(id) for id in of[What.MESSAGE, False] if id.isdecimal()),
            refused_senders=frozenset(of[What.SENDER, True]),
            refused_domains=frozenset(of[What.DOMAIN, True]),
        )

    def holds(self, recipient: str, kind: str | None, sender: str = "", delivery_id: int = 0) -> bool:
        """Whether mail of this kind from this sender to this address, or just this delivery, is paused."""
        domain = recipient.rpartition("@")[2]
        return (
            self.everything
            or delivery_id in self.deliveries
            or kind in self.kinds
            or domain in self.domains
            or domain in self.refused_domains
            or sender in self.senders
            or sender in self.refused_senders
        )

    def added_to(self, before: Held) -> Held:
        """What this holds and `before` did not."""
        return Held(
            self.everything and not before.everything,
            kinds=self.kinds - before.kinds,
            domains=self.domains - before.domains,
            senders=self.senders - before.senders,
            deliveries=self.deliveries - before.deliveries,
            refused_senders=self.refused_senders - before.refused_senders,
            refused_domains=self.refused_domains - before.refused_domains,
        )

    def only(self, what: What, value: str) -> Held:
        """The same, but of all that is not held only what one automatic pause is about, for it to be probed."""
        if what is What.SENDER:
            return replace(self, refused_senders=self.refused_senders - {value}, probed=(what, value))
        return replace(self, refused_domains=self.refused_domains - {value}, probed=(what, value))

    def but_expired(self) -> Held:
        """The same, but of all that is not held only what has expired, for it to end."""
        return replace(self, living=True)

    def avoiding(self, senders: Collection[str], domains: Collection[str]) -> Held:
        """The same, and mail of these senders and to these domains left alone as well."""
        return replace(
            self,
            refused_senders=self.refused_senders | frozenset(senders),
            refused_domains=self.refused_domains | frozenset(domains),
        )

    @property
    def narrow(self) -> bool:
        """Whether some is paused and some is not, so that one has to look at the mail."""
        some = (
            self.living
            or self.probed
            or self.kinds
            or self.domains
            or self.senders
            or self.deliveries
            or self.refused_senders
            or self.refused_domains
        )
        return not self.everything and bool(some)

    def passed_over(self, delivery: sa.FromClause = _delivery) -> sa.ColumnElement[bool] | None:
        """What holds for a delivery that is paused by its kind, sender or domain; None: no such pause."""
        found: list[sa.ColumnElement[bool]] = []
        if self.living:
            found.append(_is_living(delivery))
        if self.probed is not None:
            what, value = self.probed
            column, values = _message.c.envelope_from, {value}
            of = delivery.c.domain == value if what is What.DOMAIN else _of_message(delivery, column, values)
            found.append(sa.not_(of))
        if self.deliveries:
            found.append(delivery.c.id.in_(sorted(self.deliveries)))
        if self.domains:
            found.append(delivery.c.domain.in_(sorted(self.domains)))
        if self.kinds:
            found.append(_of_message(delivery, _message.c.kind, self.kinds))
        if self.senders:
            found.append(_of_message(delivery, _message.c.envelope_from, self.senders))
        if self.refused_senders:
            found.append(_of_message(delivery, _message.c.envelope_from, self.refused_senders, _LIVING))
        if self.refused_domains:
            found.append(sa.and_(delivery.c.domain.in_(sorted(self.refused_domains)), _is_living(delivery)))
        return sa.or_(*found) if found else None


_LIVING = sa.or_(_message.c.expires_at.is_(None), _message.c.expires_at > DbNow())
"""Of a message: expired mail is claimed in spite of an automatic pause, for it to end as failed."""


def _is_living(delivery: sa.FromClause) -> sa.ColumnElement[bool]:
    return _of_message(delivery, sa.literal("yes"), {"yes"}, _LIVING)


def _of_message(
    delivery: sa.FromClause, column: Any, values: Collection[str], *where: sa.ColumnElement[bool]
) -> sa.ColumnElement[bool]:
    """Whether `column` of a delivery's message is one of `values`: one look by primary key for each row."""
    found = sa.select(column).where(_message.c.id == delivery.c.message_id, *where).scalar_subquery()
    return sa.func.coalesce(found, "").in_(sorted(values))
