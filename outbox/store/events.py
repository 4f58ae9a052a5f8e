"""Events are written once each, and what follows from one for its address is written with it."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from outbox.delivery.reply import Phase, Reply, Verdict
from outbox.delivery.reported import EventType, ReportedEvent
from outbox.delivery.suppression import DISABLED, DISABLED_SECONDS, NO_SUCH_ADDRESS, Follows, Why, following
from outbox.store.databases import Database, of
from outbox.store.effects import of_event
from outbox.store.event_models import OutboxEvent, OutboxSuppression
from outbox.store.insert_once import inserted, once
from outbox.store.models import OutboxDelivery, OutboxMessage, table_of
from outbox.store.outcome import Outcome
from outbox.store.suppressions import Cause, suppress
from outbox.store.types import DbNow, UtcDateTime

SMTP = "smtp"
"""The source of what a server said while a worker spoke with it."""

_event = table_of(OutboxEvent)
_suppression = table_of(OutboxSuppression)
_delivery = table_of(OutboxDelivery)
_message = table_of(OutboxMessage)

_BOUNCES_END = _suppression.delete().where(
    _suppression.c.digest == sa.bindparam("of"), _suppression.c.reason == Why.BOUNCED.value
)
_EARLIER_BOUNCES_END = _BOUNCES_END.where(_suppression.c.since <= sa.bindparam("at", type_=UtcDateTime()))


@dataclass(frozen=True, slots=True)
class Tied:
    """The delivery that an event is about."""

    id: int
    message_pk: int
    recipient: str
    digest: str | None
    kind: str | None
    category: str | None
    by: str  # how it was found: `operations.event_ties.Tie`, or "attempt"


def add(
    connection: sa.Connection, event: ReportedEvent, tied: Tied | None, digest: str | None, *, tells: bool = True
) -> int | None:
    """Write an event, and who is to be told of it; its id, or None where it is there already.

    Told is what is proven and tied: on what a stranger can write nothing is done. `digest`: of the event's address,
    where it is not tied. `tells`: False where the caller knows better who is to be told.
    """
    added = _add(connection, event, tied, digest)
    if tells and added is not None and tied is not None and event.proven:
        of_event(connection, event.type.value, added, tied.id, (tied.kind,))
    return added


def _add(connection: sa.Connection, event: ReportedEvent, tied: Tied | None, digest: str | None) -> int | None:
    reply = event.reply or Reply(None, None, "")
    values: dict[str, Any] = {
        "type": event.type.value,
        "source": event.source[:32],
        "event_id": event.event_id[:255],
        "delivery_id": tied.id if tied else None,
        "message_pk": tied.message_pk if tied else None,
        "recipient": (event.recipient or (tied.recipient if tied else None) or "")[:320] or None,
        "digest": tied.digest if tied else digest,
        "proven": event.proven,
        "tied": tied.by if tied else None,
        **({} if event.at is None else {"at": event.at}),
        "code": reply.code,
        "enhanced": reply.enhanced[:11] if reply.enhanced else None,
        "reply": reply.text[:1000] or None,
        "soft": event.soft,
        "category": event.category[:80] if event.category else None,
    }
    return inserted(connection, _insert(of(connection), timed=event.at is not None), values)


@functools.lru_cache(maxsize=8)
def _insert(database: Database, *, timed: bool) -> Any:
    """What a row's values are given to. Built once: a provider reports a thousand events in one request."""
    now = {name: DbNow() for name in ("recorded_at", *(() if timed else ("at",)))}
    return once(database, _event, ("source", "event_id"), now)


def follow(
    connection: sa.Connection, event: ReportedEvent, tied: Tied, event_pk: int, *, bounce_seconds: float
) -> Follows | None:
    """Do what follows from a proven event about this delivery; None: nothing does. `bounce_seconds`: 0 for never."""
    if tied.digest is None or not event.proven:
        return None
    if event.type is EventType.DELIVERED:
        _arrived(connection, tied.digest, event)
        return None
    if event.type is EventType.BOUNCED and event.soft:  # the source has seen more than the code
        return None
    enhanced = event.reply.enhanced if event.reply else None
    follows = following(event.type, enhanced, tied.kind, tied.category)
    if follows is None:
        return None
    seconds = None
    if follows.reason is Why.BOUNCED:
        if not bounce_seconds or (enhanced in DISABLED and not _is_second(connection, tied.digest)):
            return None
        seconds = bounce_seconds
    words = str(event.reply or "") or event.category
    suppress(connection, tied.digest, tied.recipient, follows, Cause(event.source, words, event_pk), seconds=seconds)
    return follows


def is_refused_address(outcome: Outcome) -> bool:
    """Whether a server said to a worker that there is no such mailbox, as a bounce would."""
    result = outcome.result
    return (
        result is not None
        and result.verdict is Verdict.PERMANENT
        and result.phase is Phase.RCPT
        and result.reply.enhanced in NO_SUCH_ADDRESS | DISABLED
    )


def note_refusals(connection: sa.Connection, outcomes: Sequence[Outcome], *, bounce_seconds: float) -> None:
    """The events of those outcomes that say so, and what follows, in the transaction that records them."""
    refused = {
        one.claimed.id: (one.claimed.token, one.result.reply)
        for one in outcomes
        if one.result is not None and is_refused_address(one)
    }
    if not refused:
        return
    rows = connection.execute(of_deliveries().where(_delivery.c.id.in_(sorted(refused))).order_by(_delivery.c.id))
    for row in rows.all():
        token, reply = refused[row.id]
        event = ReportedEvent(
            EventType.BOUNCED, SMTP, f"{row.id}:{token}", None, row.recipient, reply=reply, proven=True
        )
        tied = tied_to(row, "attempt")
        event_pk = add(connection, event, tied, None)
        if event_pk is not None:
            follow(connection, event, tied, event_pk, bounce_seconds=bounce_seconds)


def of_deliveries() -> sa.Select[Any]:
    """What `tied_to` reads."""
    return sa.select(
        _delivery.c.id,
        _delivery.c.message_id.label("message_pk"),
        _delivery.c.recipient,
        _delivery.c.digest,
        _message.c.kind,
        _message.c.category,
    ).select_from(_delivery.join(_message, _message.c.id == _delivery.c.message_id))


def tied_to(row: Any, by: str) -> Tied:
    """The delivery in a row of `of_deliveries`."""
    return Tied(row.id, row.message_pk, row.recipient, row.digest, row.kind, row.category, by)


def _arrived(connection: sa.Connection, digest: str, event: ReportedEvent) -> None:
    """What has arrived ends what an earlier bounce said."""
    if event.at is None:
        connection.execute(_BOUNCES_END, {"of": digest})
    else:
        connection.execute(_EARLIER_BOUNCES_END, {"of": digest, "at": event.at})


def _is_second(connection: sa.Connection, digest: str) -> bool:
    """Whether another bounce with a code of DISABLED came within a day; this one is written already."""
    found = sa.select(sa.func.count(sa.distinct(_event.c.delivery_id))).where(
        _event.c.digest == digest,
        _event.c.type == EventType.BOUNCED.value,
        _event.c.enhanced.in_(DISABLED),
        sa.not_(_event.c.soft),
        _event.c.recorded_at > DbNow(-DISABLED_SECONDS),
    )
    return connection.execute(found).scalar_one() > 1
