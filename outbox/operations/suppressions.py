"""The list of addresses that get no mail: looked at, added to and shortened by people."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from outbox.delivery.suppression import ALL, Follows, Suppressed, Why
from outbox.message.digest import digest
from outbox.operations import audit
from outbox.operations.conditions import MAX_ID
from outbox.operations.tables import SUPPRESSION
from outbox.store import suppressions as store
from outbox.store.suppressions import Cause, in_force

SCOPES = "all, category:NAME or kind:NAME"
"""What a scope can be, for messages."""

_SCOPED = ("category:", "kind:")
_LONGEST_SCOPE = 80


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the list."""

    id: int
    address: str | None  # None: erased
    scope: str
    reason: Why
    since: datetime
    until: datetime | None  # None: without end
    note: str | None
    actor: str
    event_id: int | None

    @property
    def suppressed(self) -> Suppressed:
        """As the rules know it."""
        return Suppressed(self.scope, self.reason, self.since, self.until)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which entries: those that fit everything that is given."""

    address: str | None = None  # exactly this one, whatever its case
    contains: str | None = None  # a part of the address
    scope: str | None = None
    reason: Why | None = None
    ended: bool = False  # those that are no longer in force, too


def check_scope(scope: str) -> str:
    """`scope`, in the form that is stored. Raises ValueError."""
    scope = scope.strip()
    named = next((scope[len(one) :] for one in _SCOPED if scope.startswith(one)), "")
    if scope != ALL and not named.strip():
        raise ValueError(f"the scope is {scope[:80]!r}, not {SCOPES}")
    if len(scope) > _LONGEST_SCOPE:
        raise ValueError(f"the scope has {len(scope)} characters, more than {_LONGEST_SCOPE}")
    return scope


def suppress(
    connection: sa.Connection,
    address: str,
    scope: str = ALL,
    *,
    by: str,
    address_key: bytes,
    reason: Why = Why.MANUAL,
    note: str | None = None,
    seconds: float | None = None,
) -> bool:
    """Send nothing of this scope to `address` any more, for so many seconds or for good; whether that is new.

    Raises ValueError for what is not a scope.
    """
    scope = check_scope(scope)
    follows, cause = Follows(scope, reason), Cause(by, note)
    new = store.suppress(connection, digest(address, address_key), address, follows, cause, seconds=seconds)
    audit.write(connection, "suppress", by=by, count=1, filters=f"{address} {scope}", note=note)
    return new


def lift(
    connection: sa.Connection,
    address: str,
    scope: str | None = None,
    *,
    by: str,
    address_key: bytes,
    reason: Why | None = None,
    note: str | None = None,
) -> int:
    """Let `address` get mail again: take it off the list in this scope, or in all; how many entries that were."""
    where = [SUPPRESSION.c.digest == digest(address, address_key)]
    if scope is not None:
        where.append(SUPPRESSION.c.scope == check_scope(scope))
    if reason is not None:
        where.append(SUPPRESSION.c.reason == reason.value)
    lifted = connection.execute(SUPPRESSION.delete().where(*where)).rowcount
    if lifted:
        said = " ".join(str(one) for one in (address, scope, reason) if one)
        audit.write(connection, "unsuppress", by=by, count=lifted, filters=said, note=note)
    return lifted


def entry(connection: sa.Connection, id: int) -> Entry | None:
    """One of the list; None where it is not there any more."""
    row = connection.execute(sa.select(*SUPPRESSION.c).where(SUPPRESSION.c.id == min(id, MAX_ID))).first()
    return None if row is None else _entry(row)


def lift_entry(connection: sa.Connection, id: int, *, by: str, note: str | None = None) -> Entry | None:
    """Take one entry off the list, also one whose address was erased; None where it is not there any more."""
    found = entry(connection, id)
    if found is None or not connection.execute(SUPPRESSION.delete().where(SUPPRESSION.c.id == found.id)).rowcount:
        return None
    said = " ".join(str(one) for one in (found.address, found.scope, found.reason) if one)
    audit.write(connection, "unsuppress", by=by, count=1, filters=said, note=note)
    return found


def entries(
    connection: sa.Connection,
    wanted: Wanted,
    *,
    address_key: bytes,
    before: int | None = None,
    least: int | None = None,
    limit: int = 100,
) -> list[Entry]:
    """Those that fit, the newest first; `before`: with smaller ids, `least`: and none smaller than this."""
    where: list[sa.ColumnElement[bool]] = [] if before is None else [SUPPRESSION.c.id < before]
    if least is not None:
        where.append(SUPPRESSION.c.id >= least)
    if wanted.address is not None:
        where.append(SUPPRESSION.c.digest == digest(wanted.address, address_key))
    if wanted.contains:
        where.append(SUPPRESSION.c.address.icontains(wanted.contains, autoescape=True))
    if wanted.scope is not None:
        where.append(SUPPRESSION.c.scope == wanted.scope)
    if wanted.reason is not None:
        where.append(SUPPRESSION.c.reason == wanted.reason.value)
    if not wanted.ended:
        where.append(in_force())
    query = sa.select(*SUPPRESSION.c).where(*where).order_by(SUPPRESSION.c.id.desc()).limit(limit)
    return [_entry(row) for row in connection.execute(query)]


def every(connection: sa.Connection, wanted: Wanted, *, address_key: bytes, page: int = 1_000) -> Iterator[Entry]:
    """All that fit, read a page at a time."""
    last: int | None = None
    while found := entries(connection, wanted, address_key=address_key, before=last, limit=page):
        yield from found
        last = found[-1].id


def _entry(row: Any) -> Entry:
    return Entry(
        row.id, row.address, row.scope, Why(row.reason), row.since, row.until, row.note, row.actor, row.event_id
    )
