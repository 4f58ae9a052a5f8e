"""Erase a person: take an address out of everything that is stored, in transactions of a few hundred rows.

Rows stay, with their times and outcomes, so that figures do not change. What a worker is sending is left alone and
counted. To be called again until nothing waits; a second call finds only what is new.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from outbox.delivery.retry import Reason
from outbox.delivery.states import State
from outbox.message.digest import ERASED, digest
from outbox.operations import audit
from outbox.operations.erase_elsewhere import erase_elsewhere
from outbox.operations.erase_message import empty, without_address
from outbox.operations.erase_others import erase_named
from outbox.operations.erase_text import scrub, words_of
from outbox.operations.person import PORTION, Budget, deliveries_to, spellings_of
from outbox.operations.person_items import erase_items
from outbox.operations.purge import DONE_WITH, take_write_lock
from outbox.operations.tables import ATTEMPT, DELIVERY, EVENT, MESSAGE, SUPPRESSION
from outbox.store.databases import of
from outbox.store.reading import reading
from outbox.store.types import DbNow

ACTION = "erase"


@dataclass(slots=True)
class Erased:
    """What was erased, or would be."""

    digest: str  # keyed, of the address: what the audit has
    cancelled: int = 0  # deliveries that were queued, or had failed
    sending: int = 0  # deliveries that a worker is sending: left alone
    deliveries: int = 0  # to the address, the cancelled ones among them
    messages: int = 0  # emptied: to it alone, or ended for all recipients
    waiting: int = 0  # messages whose text names it until it has been sent to others
    named: int = 0  # messages to others that name it in a header, the subject, the key or the metadata
    events: int = 0
    gathered: int = 0  # what waited for digests to it
    suppressions: int = 0  # kept, by the digest
    words: dict[str, int] = field(default_factory=dict)  # other rows that quote it, by table
    pauses: int = 0  # of the address as a sender: removed
    senders: int = 0  # of these, kept while mail of the address is still to be sent
    cut: bool = False  # the time was spent before all was looked at

    @property
    def is_nothing(self) -> bool:
        """Nothing is stored of this address."""
        return not self.cut and not self.has_found

    @property
    def has_found(self) -> bool:
        """Something is stored of it, as far as was looked."""
        counts = (self.deliveries, self.sending, self.named, self.events, self.gathered, self.suppressions, self.pauses)
        return any(counts) or any(self.words.values())

    @property
    def is_whole(self) -> bool:
        """Nothing is left to be erased later."""
        return not (self.sending or self.waiting or self.senders or self.cut)


def erase(
    engine: sa.Engine,
    address: str,
    *,
    address_key: bytes,
    by: str,
    note: str | None = None,
    dry_run: bool = False,
    told: Callable[[int], None] = lambda count: None,
    seconds: float | None = None,
) -> Erased:
    """Erase `address` in every spelling of the same mailbox, in all environments of this database.

    `told` gets the number of deliveries of each portion. After `seconds` it ends with what is done by then: `cut`.
    Raises ValueError where `by` names nobody.
    """
    done, budget = Erased(digest(address, address_key)), Budget(seconds)
    spellings = spellings_of(engine, address, done.digest)
    whole = words_of(spellings).whole
    trail = audit.Trail(ACTION, by=by, filters=f"address {done.digest}", note=note and whole.sub(done.digest, note))
    after, more = 0, True
    while more and not budget.is_spent():
        with reading(engine) as connection:
            ids = deliveries_to(connection, spellings, done.digest, after)
        if ids and dry_run:
            _count(engine, ids, done)
        elif ids:
            _portion(engine, ids, done, spellings, trail)
        told(len(ids))
        more, after = len(ids) == PORTION, ids[-1] if ids else after
    _reported(engine, done, dry_run=dry_run)
    done.pauses, done.senders, workers = erase_elsewhere(engine, spellings, f"erased:{done.digest}", dry_run=dry_run)
    done.named, waiting = erase_named(engine, spellings, done.digest, dry_run=dry_run, budget=budget)
    done.waiting += waiting
    done.words = scrub(engine, spellings, f"erased:{done.digest}", dry_run=dry_run, budget=budget) | workers
    done.gathered, others = erase_items(engine, spellings, done.digest, dry_run=dry_run, budget=budget)
    done.words["digest_item"] += others
    done.cut = budget.spent
    if not dry_run and not done.deliveries and done.has_found:
        with engine.begin() as connection:  # of a change that was to no delivery
            trail.add(connection, 1)
    return done


def _portion(engine: sa.Engine, ids: Sequence[int], done: Erased, spellings: set[str], trail: audit.Trail) -> None:
    words = words_of(spellings)
    with engine.begin() as connection:
        take_write_lock(connection)
        columns = (DELIVERY.c.id, DELIVERY.c.message_id, DELIVERY.c.state, DELIVERY.c.marked_at)
        these = sa.select(*columns).where(DELIVERY.c.id.in_(ids), DELIVERY.c.recipient != ERASED)
        rows = connection.execute(of(connection).lock(these.order_by(DELIVERY.c.id))).all()
        able = [row for row in rows if row.state != State.SENDING]
        for row in able:
            connection.execute(DELIVERY.update().where(DELIVERY.c.id == row.id).values(_values(row, done.digest)))
        changed = [row.id for row in able]
        connection.execute(ATTEMPT.update().where(ATTEMPT.c.delivery_id.in_(changed)).values(reply="", note=None))
        events = EVENT.c.delivery_id.in_(changed)
        connection.execute(EVENT.update().where(events).values(recipient=None, reply=None))
        pks = sorted({row.message_id for row in able})
        emptied = set(empty(connection, pks))
        for message in connection.execute(sa.select(MESSAGE).where(MESSAGE.c.id.in_(pks))).all():
            values = without_address(message, words, ended=message.id in emptied, own=True)
            if values:
                connection.execute(MESSAGE.update().where(MESSAGE.c.id == message.id).values(values))
        trail.add(connection, len(changed), changed)
    done.sending += len(rows) - len(able)
    done.deliveries += len(able)
    done.cancelled += sum(_is_cancelled(row) for row in able)
    done.messages += len(emptied)
    done.waiting += len(pks) - len(emptied)


def _is_cancelled(row: Any) -> bool:
    """What may have been sent already ("hold") is not: nobody can know whether it was."""
    return row.state == State.FAILED or (row.state == State.QUEUED and row.marked_at is None)


def _values(row: Any, hashed: str) -> dict[str, Any]:
    values: dict[str, Any] = {"recipient": ERASED, "digest": hashed, "reply": None, "updated_at": DbNow()}
    if row.state == State.QUEUED:
        values |= {"due_at": None, "finished_at": DbNow(), "state": State.CANCELLED.value}
        values |= {"reason": Reason.ERASED.value}
        if not _is_cancelled(row):
            values |= {"state": State.UNCERTAIN.value, "reason": Reason.UNKNOWN.value}
    elif _is_cancelled(row):
        values |= {"state": State.CANCELLED.value, "reason": Reason.ERASED.value}
    return values


def _count(engine: sa.Engine, ids: Sequence[int], done: Erased) -> None:
    """The same, for a dry run."""
    with reading(engine) as connection:
        columns = (DELIVERY.c.id, DELIVERY.c.message_id, DELIVERY.c.state, DELIVERY.c.marked_at)
        rows = connection.execute(sa.select(*columns).where(DELIVERY.c.id.in_(ids))).all()
        able = [row for row in rows if row.state != State.SENDING]
        pks = {row.message_id for row in able}
        others = sa.select(DELIVERY.c.message_id, DELIVERY.c.id, DELIVERY.c.state, DELIVERY.c.digest)
        open_ = {
            row.message_id
            for row in connection.execute(others.where(DELIVERY.c.message_id.in_(pks)))
            if row.state == State.SENDING or (row.digest != done.digest and row.state not in DONE_WITH)
        }
    done.sending += len(rows) - len(able)
    done.deliveries += len(able)
    done.cancelled += sum(_is_cancelled(row) for row in able)
    done.messages += len(pks - open_)
    done.waiting += len(open_)


def _reported(engine: sa.Engine, done: Erased, *, dry_run: bool) -> None:
    """Events that no delivery has any more, and suppressions: they hold by the digest."""
    event = sa.and_(EVENT.c.digest == done.digest, sa.or_(EVENT.c.recipient.is_not(None), EVENT.c.reply.is_not(None)))
    clear = sa.and_(
        SUPPRESSION.c.digest == done.digest, sa.or_(SUPPRESSION.c.address.is_not(None), SUPPRESSION.c.note.is_not(None))
    )
    with reading(engine) as connection:
        events = connection.execute(sa.select(EVENT.c.id).where(event)).scalars().all()
        done.suppressions = len(connection.execute(sa.select(SUPPRESSION.c.id).where(clear)).all())
    done.events += len(events)
    if dry_run:
        return
    for start in range(0, len(events), PORTION):
        some = EVENT.c.id.in_(events[start : start + PORTION])
        with engine.begin() as connection:
            connection.execute(EVENT.update().where(some).values(recipient=None, reply=None))
    if done.suppressions:
        with engine.begin() as connection:
            connection.execute(SUPPRESSION.update().where(clear).values(address=None, note=None))
