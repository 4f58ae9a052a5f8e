"""What a recipient got of a kind before: whether one more may be written, and which of those still queued it replaces.

One row for each environment, kind and recipient. A transaction that is about to write such a message locks the row
until its end, so two requests at once come one after the other, and the second sees what the first has written. A
rollback takes all of it back.

A message that was replaced reached nobody, so it does not count; neither does what was turned away.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from outbox.core.errors import OutboxError
from outbox.core.events import logger
from outbox.delivery.retry import Reason
from outbox.delivery.states import State
from outbox.delivery.throttle import LONGEST, MOST, same_person
from outbox.message.values import Composed
from outbox.store.blobs import PATIENCE
from outbox.store.databases import of
from outbox.store.models import OutboxDelivery, OutboxThrottle, table_of
from outbox.store.posting import Limit, Posting
from outbox.store.types import DbNow

_throttle = table_of(OutboxThrottle)
_delivery = table_of(OutboxDelivery)

_WAITS = sa.and_(_delivery.c.state == State.QUEUED.value, _delivery.c.marked_at.is_(None))


class Entry(NamedTuple):
    """One message that was written. Times are in seconds since 1970, by the database's clock."""

    pk: int
    message_id: str  # the header
    delivery: int
    at: float
    until: float  # it neither counts nor can be replaced any more


@dataclass(frozen=True, slots=True)
class Taken:
    """The row is locked. Either `instead` is what the recipient has already, or one more may be written."""

    digest: str
    now: float
    until: float
    entries: tuple[Entry, ...] = ()  # that still count, without those that are replaced
    replaced: tuple[int, ...] = ()  # deliveries
    replaced_pks: tuple[int, ...] = ()  # their messages
    instead: tuple[int, str] | None = None  # id and Message-ID


def take(connection: sa.Connection, composed: Composed, posting: Posting, limit: Limit) -> Taken:
    """Lock what the message's recipient got of its kind, and look whether it may get this, too."""
    digest_ = digest(composed, posting)
    found, now = _locked(connection, digest_)
    entries = [one for one in found if one.until > now]
    queued = _queued(connection, entries) if limit.replaces else set()
    left = [one for one in entries if one.delivery not in queued]
    if limit.throttle is not None and not limit.throttle.admits([one.at for one in left], now):
        newest = entries[-1]
        logger.info(
            "status=throttled kind=%s throttle=%s: not enqueued, since the recipient got message_id=%s",
            posting.kind,
            limit.throttle,
            newest.message_id,
        )
        return Taken(digest_, now, now, instead=(newest.pk, newest.message_id))
    replaced = tuple(sorted({one.pk for one in entries if one.delivery in queued}))
    return Taken(digest_, now, _until(now, posting, limit), tuple(left[-MOST:]), tuple(sorted(queued)), replaced)


def keep(connection: sa.Connection, taken: Taken, pk: int, message_id: str) -> None:
    """Write down the message that was written, and cancel those that it replaces."""
    if taken.replaced:
        of_these = _delivery.c.message_id.in_(taken.replaced_pks)  # a copy for OUTBOX_ALWAYS_BCC, too
        connection.execute(_delivery.update().where(of_these, _WAITS).values(_REPLACED))
    ours = sa.select(sa.func.min(_delivery.c.id)).where(_delivery.c.message_id == pk)
    entry = Entry(pk, message_id, connection.execute(ours).scalar_one(), taken.now, taken.until)
    entries = [*taken.entries, entry]
    last = datetime.fromtimestamp(max(one.until for one in entries), UTC)
    changed = {"entries": [list(one) for one in entries], "expires_at": last}
    connection.execute(_throttle.update().where(_throttle.c.digest == taken.digest).values(changed))


def digest(composed: Composed, posting: Posting) -> str:
    """By what is found what the recipient got."""
    words = (posting.environment, posting.kind or "", same_person(composed.recipients[0]))
    return hashlib.blake2b("\0".join(words).encode(), digest_size=32, key=posting.address_key).hexdigest()


def _locked(connection: sa.Connection, digest: str) -> tuple[list[Entry], float]:
    """What the row says, once it is locked, and the time. It is made where there is none."""
    database = of(connection)
    values = {"digest": digest, "entries": [], "expires_at": DbNow()}
    columns = (_throttle.c.entries, DbNow().label("now"))
    statement = database.lock(sa.select(*columns).where(_throttle.c.digest == digest))
    for _ in range(PATIENCE):
        connection.execute(database.insert_unless_there(_throttle, ["digest"]).values(values))
        row: Any = connection.execute(statement).first()
        if row is not None:
            return [Entry(*one) for one in row.entries], row.now.timestamp()
    raise OutboxError("The row of a throttle comes and goes while a message is enqueued. Enqueue it again.")


def _queued(connection: sa.Connection, entries: list[Entry]) -> set[int]:
    """Those of the deliveries that nobody has offered to a relay, or the relay has deferred, and no worker holds."""
    if not entries:
        return set()
    statement = sa.select(_delivery.c.id).where(_delivery.c.id.in_([one.delivery for one in entries]), _WAITS)
    return set(connection.execute(of(connection).lock(statement.order_by(_delivery.c.id))).scalars())


def _until(now: float, posting: Posting, limit: Limit) -> float:
    counts = now + (0.0 if limit.throttle is None else limit.throttle.seconds)
    if not limit.replaces:
        return counts
    due = now if posting.send_at is None else max(now, posting.send_at.timestamp())
    if posting.expires_at is not None:
        return max(counts, posting.expires_at.timestamp())
    return max(counts, due + (LONGEST if posting.max_age is None else posting.max_age))


_REPLACED: dict[str, Any] = {
    "state": State.CANCELLED.value,
    "due_at": None,
    "reason": Reason.REPLACED.value,
    "updated_at": DbNow(),
    "finished_at": DbNow(),
}
