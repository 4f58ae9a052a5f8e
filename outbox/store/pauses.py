"""Pauses: what of the queue is held back for now, by whom and why.

Workers read them; operators set and lift them (`operations.pauses`). Workers set some as well: those of a sender or a
domain that a transport refuses while it takes other mail. Such a pause is probed with one delivery now and then, and
lifted by the first that is accepted. What is paused stays queued with its due time.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from outbox.store.batch_model import OutboxBatch
from outbox.store.models import OutboxDelivery, OutboxMessage, OutboxPause, table_of
from outbox.store.types import DbNow

FIRST_PROBE = 600.0
"""Seconds until an automatic pause is probed; twice as many each time, up to LONGEST_PROBE."""

LONGEST_PROBE = 4 * 3600.0

ABANDONED_SECONDS = LONGEST_PROBE
"""An automatic pause whose probe is this many seconds overdue ends: no worker sends by its transport."""

BY = "automatic"
"""Who set an automatic pause."""

MOST_VALUE = 255
"""Characters of a value: a longer one cannot be kept."""

_pause = table_of(OutboxPause)
_batch = table_of(OutboxBatch)
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
    BATCH = "batch"  # by its name
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
    batch_ids: tuple[int, ...] = ()  # of a batch: those that have this name

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
        return self.what in (What.KIND, What.DOMAIN, What.SENDER, What.MESSAGE, What.BATCH)


def active(connection: sa.Connection, environment: str | None = None, now: datetime | None = None) -> list[Pause]:
    """The pauses in force at `now` (by default by the database's clock): the widest first, and of those the oldest.

    `environment`: only those that hold back mail of this one; None: of any.
    """
    moment = DbNow() if now is None else sa.literal(now, _pause.c.until.type)
    to_probe = sa.func.coalesce(_pause.c.probe_at <= moment, sa.false()).label("is_to_probe")
    statement = sa.select(_pause, to_probe).where(sa.or_(_pause.c.until.is_(None), _pause.c.until > moment))
    if environment is not None:
        statement = statement.where(_pause.c.environment.in_([EVERY, environment]))
    width = sa.case({What.ALL.value: 0, What.TRANSPORT.value: 1}, value=_pause.c.what, else_=2)
    rows = connection.execute(statement.order_by(width, _pause.c.since, _pause.c.id)).all()
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
            batch_ids=_batches_of(connection, row) if row.what == What.BATCH.value else (),
        )
        for row in rows
    ]


def _batches_of(connection: sa.Connection, row: Any) -> tuple[int, ...]:
    named = sa.select(_batch.c.id).where(_batch.c.name == row.value)
    if row.environment != EVERY:
        named = named.where(_batch.c.environment == row.environment)
    return tuple(connection.execute(named).scalars())


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


def end_abandoned(connection: sa.Connection, *, environment: str, transports: Set[str]) -> list[tuple[What, str, str]]:
    """End the automatic pauses of transports by which no worker sends any more: (what, value, transport) of each.

    `transports`: the caller's own, whose pauses it probes itself.
    """
    abandoned = (
        _pause.c.automatic,
        _pause.c.environment == environment,
        _pause.c.transport.not_in(sorted(transports)),
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
