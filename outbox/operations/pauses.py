"""Pause and resume: hold back all mail, a kind, a domain or a transport, with a reason and an end."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from outbox.core.errors import AddressError, BadHeaderError
from outbox.delivery.states import State
from outbox.message.addresses import mailbox_of
from outbox.operations import audit
from outbox.operations.conditions import MAX_ID, domain_instead
from outbox.operations.filters import Filter, clauses
from outbox.operations.find import Row
from outbox.operations.stopped import who_paused
from outbox.operations.tables import BATCH, DELIVERY, MESSAGE, PAUSE
from outbox.operations.times import storable
from outbox.store.held import Held
from outbox.store.models import new_id
from outbox.store.pauses import EVERY, MOST_VALUE, Pause, What, active
from outbox.store.types import DbNow

__all__ = [
    "EVERY",
    "Pause",
    "What",
    "active",
    "concerned",
    "holding",
    "holding_each",
    "holding_of",
    "pause",
    "resume",
    "value_of",
]

MOST_REASON = 500


def pause(
    connection: sa.Connection,
    what: What,
    value: str = "",
    *,
    by: str,
    reason: str = "",
    until: datetime | None = None,
    seconds: float | None = None,
    environment: str = EVERY,
) -> Pause:
    """Hold back from now on; what is paused already gets the new reason and end. Workers stop within a few seconds.

    `value`: the kind, domain, batch, transport (`host:port`), …; "" for `What.ALL`. `until`, or `seconds` from now by
    the database's clock: when it ends by itself; neither: when somebody lifts it. Raises ValueError for a value that
    does not fit and for an end that is in the past. `environment`: whose mail is held back, "*": everybody's.
    """
    value = value_of(what, value)
    now = connection.execute(sa.select(DbNow())).scalar_one()
    until = _end(connection, now, until, seconds)
    same = sa.and_(
        PAUSE.c.what == what.value,
        PAUSE.c.value == value,
        PAUSE.c.environment == environment,
        PAUSE.c.transport == "",
    )
    connection.execute(PAUSE.delete().where(same))
    made = Pause(
        0,
        what,
        value,
        audit.cut(reason, MOST_REASON),
        audit.cut(by, audit.MOST_BY),
        since=now,
        until=until,
        environment=environment,
    )
    inserted = connection.execute(
        PAUSE.insert().values(
            what=what.value,
            value=value,
            environment=environment,
            reason=made.reason,
            actor=made.by,
            since=made.since,
            until=made.until,
        )
    )
    audit.write(connection, "pause", by=by, count=1, filters=_words(made), note=reason)
    return replace(made, id=new_id(inserted))


def resume(
    connection: sa.Connection,
    what: What | None = None,
    value: str = "",
    *,
    by: str,
    note: str | None = None,
    environment: str | None = None,
) -> list[Pause]:
    """Lift one pause, or with `what` None every one; those that were in force.

    `environment`: only those of this one, and not those of all; None: of any; "*": those of all.

    Raises ValueError for a value that does not fit.
    """
    wanted = [one for one in active(connection) if environment is None or one.environment == environment]
    if what is not None:
        if all((one.what, one.value) != (what, value) for one in wanted):  # it may be written in another way
            value = value_of(what, value)
        wanted = [one for one in wanted if (one.what, one.value) == (what, value)]
    lifted = [one for one in wanted if connection.execute(PAUSE.delete().where(PAUSE.c.id == one.id)).rowcount]
    connection.execute(PAUSE.delete().where(PAUSE.c.until <= DbNow()))  # those that ended by themselves
    for one in lifted:
        words = f"{one}, set by {who_paused(one)}" if one.automatic else str(one)
        audit.write(connection, "resume", by=by, count=1, filters=words, note=note)
    return lifted


def holding(
    connection: sa.Connection,
    recipient: str,
    kind: str | None,
    environment: str,
    sender: str = "",
    delivery_id: int = 0,
    batch: str | None = None,
) -> list[Pause]:
    """The pauses because of which such mail may wait (that of a transport holds only what would go by it)."""
    words = recipient, kind, sender, delivery_id
    return [one for one in active(connection, environment) if _holds(one, batch, *words)]


def holding_each(connection: sa.Connection, rows: Iterable[Row]) -> dict[int, list[Pause]]:
    """The same for each of `rows` that is queued and has one, by the delivery's id."""
    queued = [row for row in rows if row.state is State.QUEUED]
    there = active(connection) if queued else []
    if not there:
        return {}
    ids = {row.message_id for row in queued}
    senders = {
        row.id: row.envelope_from
        for row in connection.execute(sa.select(MESSAGE.c.id, MESSAGE.c.envelope_from).where(MESSAGE.c.id.in_(ids)))
    }
    found = {}
    for row in queued:
        words = row.recipient, row.kind, senders.get(row.message_id, ""), row.id
        ours = [one for one in there if one.environment in (EVERY, row.environment)]
        found[row.id] = [one for one in ours if _holds(one, row.batch, *words)]
    return {id: pauses for id, pauses in found.items() if pauses}


def _holds(pause: Pause, batch: str | None, *words: Any) -> bool:
    """`words`: those of `Held.holds`."""
    if pause.what is What.BATCH:
        return pause.value == batch
    return not pause.narrow or Held.by([pause], {pause.transport}).holds(*words)


def concerned(connection: sa.Connection, what: What, value: str, wanted: Filter, cap: int) -> int:
    """How much of the mail that matches such a pause holds back; it counts to `cap` + 1. Raises ValueError."""
    return _count_to(connection, [*clauses(wanted), _of(what, value_of(what, value))], cap)


def holding_of(
    connection: sa.Connection, wanted: Filter, cap: int = 1_000, within: Pause | None = None
) -> list[tuple[Pause, int]]:
    """The pauses because of which mail that matches may wait, each with how much of it; it counts to `cap` + 1.

    `within`: only mail that this one holds back, or held.
    """
    found = []
    there = [*clauses(wanted), *([] if within is None else [_of(within.what, within.value), _whose_mail(within)])]
    for one in active(connection, wanted.environment):
        number = _count_to(connection, [*there, _of(one.what, one.value), _whose_mail(one)], cap)
        if number:
            found.append((one, number))
    return found


def _of(what: What, value: str) -> sa.ColumnElement[bool]:
    """What such a pause holds back; that of a transport may hold back all."""
    columns: dict[str, sa.ColumnElement[Any]] = {
        What.MESSAGE: sa.cast(DELIVERY.c.id, sa.String(20)),
        What.KIND: MESSAGE.c.kind,
        What.DOMAIN: DELIVERY.c.domain,
        What.SENDER: MESSAGE.c.envelope_from,
        What.BATCH: sa.select(BATCH.c.name).where(BATCH.c.id == DELIVERY.c.batch_id).scalar_subquery(),
    }
    column = columns.get(what)
    return sa.true() if column is None else column == value


def _whose_mail(pause: Pause) -> sa.ColumnElement[bool]:
    return sa.true() if pause.environment == EVERY else MESSAGE.c.environment == pause.environment


def _count_to(connection: sa.Connection, conditions: list[sa.ColumnElement[bool]], cap: int) -> int:
    """How many deliveries there are for which these hold; it stops at `cap` + 1."""
    joined = DELIVERY.join(MESSAGE, DELIVERY.c.message_id == MESSAGE.c.id)
    inner = sa.select(sa.literal(1).label("one")).select_from(joined).where(*conditions).limit(cap + 1).subquery()
    return int(connection.execute(sa.select(sa.func.count()).select_from(inner)).scalar_one())


def value_of(what: What, value: str) -> str:
    """`value` as it is kept and compared. Raises ValueError where it does not fit."""
    value = value.strip()
    if what is What.ALL:
        if value:
            raise ValueError(f"a pause of all mail has no value, {value!r} was given")
        return ""
    if what is What.SENDER:
        return _sender(value)
    if what is What.DOMAIN and (domain := domain_instead(value)) is not None:
        raise ValueError(f"{value[:MOST_VALUE]!r} is an address, not a domain: give {domain!r}")
    if not value or len(value) > MOST_VALUE or not storable(value):
        raise ValueError(f"{value[:MOST_VALUE]!r} is no {what}")
    if what is What.MESSAGE and not (value.isdecimal() and value.isascii() and 0 < int(value) <= MAX_ID):
        raise ValueError(f"{value[:40]!r} is not the number of a message")
    if what is What.TRANSPORT and not (value.rpartition(":")[2].isdecimal() or value.isidentifier() or "/" in value):
        raise ValueError(f"{value!r} is not a transport: use its name or host:port, as the status shows it")
    return _domain(value) if what is What.DOMAIN else value.lower() if what is What.TRANSPORT else value


def _domain(value: str) -> str:
    """As deliveries hold it: ASCII, lower case."""
    import idna  # not at the top: few pauses are of a domain

    try:
        return idna.encode(value.lower(), uts46=True).decode("ascii")
    except (idna.IDNAError, UnicodeError):
        return value.lower()  # an address literal, [192.0.2.1]


def _sender(value: str) -> str:
    """As messages hold it; "<>" is the null sender, ""."""
    if value == "<>":
        return ""
    try:
        found = mailbox_of(value, "sender").envelope
    except (AddressError, BadHeaderError):
        found = ""
    if not found or len(found) > MOST_VALUE:
        raise ValueError(f"{value[:MOST_VALUE]!r} is not a sender: give an address, such as news@example.org, or <>")
    return found


def _end(connection: sa.Connection, now: datetime, until: datetime | None, seconds: float | None) -> datetime | None:
    if until is not None and seconds is not None:
        raise ValueError("give either the end or how long, not both")
    if seconds is not None:
        until = connection.execute(sa.select(DbNow(seconds))).scalar_one()
    if until is not None and until <= now:
        raise ValueError(f"the end {until:%Y-%m-%d %H:%M:%S %Z} is in the past")
    return until


def _words(made: Pause) -> str:
    return f"{made} until {made.until:%Y-%m-%d %H:%M:%S} UTC" if made.until else str(made)
