"""What is stored of one address: how it is spelled, and which deliveries went to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from outbox.core.clock import monotonic
from outbox.message.digest import ERASED, normal_form
from outbox.operations.tables import DELIVERY, DIGEST_ITEM, EVENT, SUPPRESSION
from outbox.store.reading import reading

PORTION = 500
"""Deliveries looked at, or changed, in one transaction."""


@dataclass(slots=True)
class Budget:
    """How long a search may take; when it is spent, the search ends where it is."""

    seconds: float | None = None  # None: as long as it takes
    spent: bool = False
    _until: float | None = None

    def __post_init__(self) -> None:
        """It runs from now on."""
        if self.seconds is not None:
            self._until = monotonic() + self.seconds

    def is_spent(self) -> bool:
        """Whether the search has to end here."""
        self.spent = self.spent or (self._until is not None and monotonic() >= self._until)
        return self.spent


def spellings_of(engine: sa.Engine, address: str, hashed: str) -> set[str]:
    """As it was asked for, and as it is stored: `Ann@Bücher.example` is `ann@xn--bcher-kva.example`, too.

    `hashed`: its keyed digest.
    """
    found = {address.strip(), normal_form(address)}
    with reading(engine) as connection:
        places = (DELIVERY, "recipient"), (EVENT, "recipient"), (SUPPRESSION, "address"), (DIGEST_ITEM, "recipient")
        for table, column in places:
            statement = sa.select(table.c[column]).distinct().where(table.c.digest == hashed)
            found |= {one for one in connection.execute(statement).scalars() if one and one != ERASED}
    return found


def deliveries_to(
    connection: sa.Connection, spellings: set[str], hashed: str, after: int, *, erased: bool = False
) -> Sequence[int]:
    """The ids of the next PORTION of deliveries to it, above `after`. `erased`: those that were erased, too."""
    places = (  # each has an index of its own
        DELIVERY.c.recipient.in_(sorted(spellings)),
        sa.and_(DELIVERY.c.digest == hashed, DELIVERY.c.finished_at.is_not(None)),
        sa.and_(DELIVERY.c.digest == hashed, DELIVERY.c.due_at.is_not(None)),
    )
    which = () if erased else (DELIVERY.c.recipient != ERASED,)
    one_of = sa.union(*(sa.select(DELIVERY.c.id).where(one, DELIVERY.c.id > after, *which) for one in places))
    ids = one_of.subquery()
    return connection.execute(sa.select(ids.c.id).order_by(ids.c.id).limit(PORTION)).scalars().all()
