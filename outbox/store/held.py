"""What of the queue one worker leaves alone, by the pauses in force and by what it has found out itself."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from outbox.delivery.retry import Reason
from outbox.delivery.routes import Served
from outbox.delivery.staging import Allowed
from outbox.delivery.states import State
from outbox.message.digest import digest
from outbox.message.keyring import address_keys
from outbox.store.models import OutboxDelivery, OutboxMessage, table_of
from outbox.store.pauses import Pause, What
from outbox.store.types import DbNow

_delivery = table_of(OutboxDelivery)
_message = table_of(OutboxMessage)


@dataclass(frozen=True, slots=True)
class Held:
    """What one worker leaves alone."""

    everything: bool = False
    kinds: frozenset[str] = frozenset()
    domains: frozenset[str] = frozenset()
    senders: frozenset[str] = frozenset()
    deliveries: frozenset[int] = frozenset()
    batches: frozenset[int] = frozenset()
    refused_senders: frozenset[str] = frozenset()
    """Refused by the transport: their mail goes on to expire."""
    refused_domains: frozenset[str] = frozenset()
    rated: frozenset[str] = frozenset()
    """Domains that have a rate, which is used up for now."""
    probed: tuple[What, str] | None = None
    """All but this sender or domain is left alone."""
    living: bool = False
    """All that has not expired is left alone."""
    served: Served | None = None
    """Where there are several transports: all but what one of them is to carry is left alone."""
    allowed: Allowed | None = None
    """All that is for others is left alone; None: nothing for that."""
    fitting: frozenset[int] = frozenset()
    """Encrypted deliveries whose address fits a pattern of `allowed`, which SQL can't see."""

    @classmethod
    def by(cls, pauses: Iterable[Pause], transports: Collection[str]) -> Held:
        """What these pauses mean to a worker that has only these transports; with none known, no pause of a transport
        and no automatic one counts."""
        of: dict[tuple[What, bool], set[str]] = {
            (what, automatic): set() for what in What for automatic in (False, True)
        }
        names, batches = {name.lower() for name in transports}, set[int]()
        for one in pauses:
            if not one.automatic or one.transport.lower() in names:
                of[one.what, one.automatic].add(one.value)
                batches.update(one.batch_ids)
        everything = bool(of[What.ALL, False]) or (bool(names) and names <= of[What.TRANSPORT, False])
        return cls(
            everything,
            kinds=frozenset(of[What.KIND, False]),
            domains=frozenset(of[What.DOMAIN, False]),
            senders=frozenset(of[What.SENDER, False]),
            deliveries=frozenset(int(id) for id in of[What.MESSAGE, False] if id.isdecimal()),
            batches=frozenset(batches),
            refused_senders=frozenset(of[What.SENDER, True]),
            refused_domains=frozenset(of[What.DOMAIN, True]),
        )

    def holds(
        self, recipient: str, kind: str | None, sender: str = "", delivery_id: int = 0, batch_id: int | None = None
    ) -> bool:
        """Whether mail of this kind from this sender to this address, of this batch, or this delivery, is paused."""
        domain = recipient.rpartition("@")[2]
        return (
            self.everything
            or (self.allowed is not None and recipient not in self.allowed)
            or delivery_id in self.deliveries
            or batch_id in self.batches
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
            batches=self.batches - before.batches,
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
            or self.batches
            or self.refused_senders
            or self.refused_domains
            or self.served
            or self.rated
            or self.allowed is not None
        )
        return not self.everything and bool(some)

    def passed_over(self, delivery: sa.FromClause = _delivery) -> sa.ColumnElement[bool] | None:
        """What holds for a delivery that is paused by its kind, sender or domain; None: no such pause."""
        found: list[sa.ColumnElement[bool]] = []
        if self.served is not None:
            found.append(sa.not_(_carried(delivery, self.served)))
        if self.living:
            found.append(_is_living(delivery))
        if self.allowed is not None:
            found.append(outside(delivery, self.allowed, self.fitting))
        if self.probed is not None:
            what, value = self.probed
            column, values = _message.c.envelope_from, {value}
            of = delivery.c.domain == value if what is What.DOMAIN else _of_message(delivery, column, values)
            found.append(sa.not_(of))
        if self.deliveries:
            found.append(delivery.c.id.in_(sorted(self.deliveries)))
        if self.batches:  # most mail belongs to none
            of_one = delivery.c.batch_id.in_(sorted(self.batches))
            found.append(sa.and_(delivery.c.batch_id.is_not(None), of_one))
        if self.rated:
            found.append(delivery.c.domain.in_(sorted(self.rated)))
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


def outside(delivery: sa.FromClause, allowed: Allowed, fitting: Collection[int]) -> sa.ColumnElement[bool]:
    """Whether a delivery is for somebody else. `fitting`: those whose sealed address was opened, and fits a pattern."""
    address, domain = sa.func.lower(delivery.c.recipient), sa.func.lower(delivery.c.domain)
    unlike: list[sa.ColumnElement[bool]] = [
        sa.not_((address if "@" in pattern else domain).like(like(pattern), escape="|"))
        for pattern in sorted(allowed.patterns)
    ]
    hashed = [digest(one, key) for one in sorted(allowed.addresses) for key in address_keys()]
    if hashed:  # of what is sealed the address can't be read here
        unlike.append(sa.func.coalesce(delivery.c.digest, "").not_in(hashed))
    if fitting:
        unlike.append(delivery.c.id.not_in(sorted(fitting)))
    return sa.and_(address.not_in(sorted(allowed.addresses)), domain.not_in(sorted(allowed.domains)), *unlike)


def like(pattern: str) -> str:
    """A pattern of `Allowed` as LIKE takes it."""
    for special in "|%_":
        pattern = pattern.replace(special, f"|{special}")
    return pattern.replace("*", "%")


_LIVING = sa.or_(_message.c.expires_at.is_(None), _message.c.expires_at > DbNow())
"""Of a message: expired mail is claimed in spite of an automatic pause, for it to end as failed."""


def sticks(delivery: sa.FromClause) -> sa.ColumnElement[bool]:
    """Whether nobody can know if the transport of its last claim has taken a delivery: no other may be offered it."""
    unknown = sa.func.coalesce(delivery.c.reason, "") == Reason.UNKNOWN.value
    return sa.and_(delivery.c.transport.is_not(None), sa.or_(delivery.c.state == State.SENDING.value, unknown))


def _carried(delivery: sa.FromClause, served: Served) -> sa.ColumnElement[bool]:
    """Whether a delivery is to go by one transport."""
    by_route: list[sa.ColumnElement[bool]] = [delivery.c.route.in_(sorted(served.routes))]
    for route, refused in served.for_others:
        of = []
        if refused.senders:
            of.append(_of_message(delivery, _message.c.envelope_from, refused.senders))
        if refused.domains:
            of.append(delivery.c.domain.in_(sorted(refused.domains)))
        by_route.append(sa.and_(delivery.c.route == route, sa.or_(*of)))
    own = delivery.c.transport == served.transport
    return sa.case((sticks(delivery), own), else_=sa.or_(*by_route))


def _is_living(delivery: sa.FromClause) -> sa.ColumnElement[bool]:
    return _of_message(delivery, sa.literal("yes"), {"yes"}, _LIVING)


def _of_message(
    delivery: sa.FromClause, column: Any, values: Collection[str], *where: sa.ColumnElement[bool]
) -> sa.ColumnElement[bool]:
    """Whether `column` of a delivery's message is one of `values`: one look by primary key for each row."""
    found = sa.select(column).where(_message.c.id == delivery.c.message_id, *where).scalar_subquery()
    return sa.func.coalesce(found, "").in_(sorted(values))
