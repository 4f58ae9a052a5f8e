"""What is left of rates: of transports, and of mail to domains."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from outbox.delivery.rate_limits import SECOND, WINDOWS, held, parse
from outbox.delivery.routes import Routes
from outbox.operations.tables import DELIVERY, RATE
from outbox.store.rates import DOMAIN, TRANSPORT, use_of
from outbox.store.types import DbMicros, DbNow

SHOWN = 50
"""Rows looked at, the last used first."""

_LATELY_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True)
class RateUse:
    """One transport or domain, as its last use left it."""

    what: str  # "transport" or "domain"
    name: str
    limits: str  # "5/second, 100/day"
    used: int | None  # in the last 24 hours, where there is a quota
    held_by: str | None  # the limit that lets nothing go now: "100/day"
    held_until: datetime | None

    @property
    def allowed(self) -> dict[str, int]:
        """How many may go, by the word of each window."""
        limits = parse(self.limits)
        return {word: number for word in WINDOWS if (number := getattr(limits, word)) is not None}

    @property
    def words(self) -> str | None:
        """That it is held, for a person; None: it is not."""
        if self.held_until is None:
            return None
        who = self.name if self.what == TRANSPORT else f"mail to {self.name}"
        return f"{who} is held by rate ({self.held_by}) until {self.held_until:%Y-%m-%d %H:%M:%S} UTC"


def holding(connection: sa.Connection, id: int, environment: str, routes: Routes) -> list[RateUse]:
    """The limits that hold back this delivery, which waits: that of its recipient's domain, and those of all
    transports that may carry it, if each is held."""
    held = [one for one in rates(connection, environment) if one.held_until is not None]
    if not held:
        return []
    of_it = sa.select(DELIVERY.c.domain, DELIVERY.c.route).where(DELIVERY.c.id == id)
    domain, route = connection.execute(of_it).one()
    transports = {one.name: one for one in held if one.what == TRANSPORT}
    names = routes.names(route)
    found = [one for one in held if one.what == DOMAIN and one.name == domain.lower()]
    return found + [transports[name] for name in names] if names and transports.keys() >= set(names) else found


def rates(connection: sa.Connection, environment: str) -> list[RateUse]:
    """Those that were used within a day."""
    now = DbMicros().label("now")
    recent = sa.select(RATE, now).where(RATE.c.environment == environment, RATE.c.updated_at > DbNow(-_LATELY_SECONDS))
    found = []
    for row in connection.execute(recent.order_by(RATE.c.updated_at.desc()).limit(SHOWN)):
        try:
            limits = parse(row.limits)
        except ValueError:  # slower for now than any setting says, or written by another version
            continue
        use = use_of(row.buckets, row.open_until, row.open_used, row.now)
        hold = held(limits, {word: getattr(row, f"{word}_at") for word in WINDOWS if word != "day"}, use, row.now)
        lasting = hold is not None and hold.until.timestamp() > row.now / SECOND
        found.append(
            RateUse(
                what=row.what,
                name=row.value,
                limits=row.limits,
                used=use.used if limits.day is not None else None,
                held_by=hold.limit if hold is not None and lasting else None,
                held_until=hold.until if hold is not None and lasting else None,
            )
        )
    return found
