"""What each word of a filter means in SQL."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from outbox.delivery.reported import EventType
from outbox.delivery.states import State
from outbox.message.digest import digest
from outbox.message.keyring import address_keys
from outbox.message.sealed import PREFIX
from outbox.operations.tables import ATTEMPT, BATCH, DELIVERY, EVENT, MESSAGE
from outbox.operations.times import storable
from outbox.store.types import DbNow

MAX_ID = 2**63 - 1
MAX_METADATA = 400
_IN_PATH = frozenset("\"'\\$*")
"""Characters that a JSON path takes for more than a name."""
_CODE = re.compile(r"[2-5]\d\d")
_ENHANCED = re.compile(r"[245]\.\d{1,3}\.\d{1,3}")


class Waits(StrEnum):
    """For what queued mail waits: each of it is in one of these lists."""

    DUE = "due"  # for a worker, now
    SCHEDULED = "scheduled"  # for the time that it was enqueued for; no attempt yet
    DEFERRED = "deferred"  # for its next attempt


def of_environment(environment: str) -> sa.ColumnElement[bool]:
    """The message is of this environment."""
    # one look by primary key for each row; a join might be turned into a scan of all messages
    its = MESSAGE.alias("its")  # the statement may have joined the message's row itself
    stamp = sa.select(its.c.environment).where(its.c.id == DELIVERY.c.message_id).scalar_subquery()
    return stamp == environment if storable(environment) else sa.false()


def literal(ids: tuple[int, ...]) -> sa.BindParameter[Any]:
    """Ids in the text of the statement: as parameters they would be limited to some ten thousand."""
    possible = [pk for pk in ids if 0 < pk <= MAX_ID]
    return sa.bindparam(None, possible, type_=DELIVERY.c.id.type, expanding=True, literal_execute=True)


def is_whole(address: str) -> bool:
    """Whether there is text on both sides of an @, as in an address or a Message-ID."""
    local, _, domain = address.strip().rpartition("@")
    return bool(local and domain)


def recipient_is(value: str) -> sa.ColumnElement[bool]:
    """The address, whole or a part of it, in whichever spelling it is stored."""
    if not is_whole(value):
        return contains(DELIVERY.c.recipient, value.strip())
    local, _, domain = value.strip().rpartition("@")
    # whole, so that "ann@example.co" does not also touch ann@example.com, and so that the index serves
    locals_ = dict.fromkeys((local, local.lower()))
    clear = _among(DELIVERY.c.recipient, [f"{one}@{other}" for one in locals_ for other in spellings(domain)])
    hashed = [digest(value, key) for key in address_keys()]
    if not hashed:
        return clear
    ended, live = DELIVERY.c.finished_at.is_not(None), DELIVERY.c.due_at.is_not(None)  # each has an index
    # what was erased keeps the digest, and is not to be found by the address
    sealed = sa.and_(DELIVERY.c.digest.in_(hashed), DELIVERY.c.recipient.startswith(PREFIX))
    return sa.or_(clear, sa.and_(sealed, ended), sa.and_(sealed, live))


def error_is(value: str) -> sa.ColumnElement[bool]:
    """A reply's code, its enhanced code, our reason, or words of the reply."""
    if _CODE.fullmatch(value):
        return DELIVERY.c.code == int(value)
    if _ENHANCED.fullmatch(value):
        return DELIVERY.c.enhanced == value
    return sa.or_(equal(DELIVERY.c.reason, value.lower()), contains(DELIVERY.c.reply, value))


def tried_by(transport: str) -> sa.ColumnElement[bool]:
    """At least one attempt went through this transport: its name, or `host:port`, with its port or without."""
    name = ATTEMPT.c.transport
    by = equal(name, transport)
    if ":" not in transport:
        by = sa.or_(by, equal(name, transport.lower()), name.startswith(f"{transport}:", autoescape=True))
    if not storable(transport):
        return sa.false()
    return sa.exists().where(ATTEMPT.c.delivery_id == DELIVERY.c.id, by)


def has_event(type: EventType) -> sa.ColumnElement[bool]:
    """Such an event was reported of it: for each delivery a look into the index of the events."""
    return sa.exists().where(EVENT.c.delivery_id == DELIVERY.c.id, EVENT.c.type == type.value)


def waits_is(which: Waits) -> sa.ColumnElement[bool]:
    """Queued mail of that list."""
    queued = DELIVERY.c.state == State.QUEUED.value
    if which is Waits.DUE:
        return sa.and_(queued, DELIVERY.c.due_at <= DbNow())
    later = sa.and_(queued, DELIVERY.c.due_at > DbNow())
    return sa.and_(later, was_deferred() if which is Waits.DEFERRED else sa.not_(was_deferred()))


def of_batch(name: str, environment: str | None) -> sa.ColumnElement[bool]:
    """It belongs to the batch with this name; `environment`: None: of any."""
    ids = batches_named(name, environment)
    return DELIVERY.c.batch_id.in_(ids) if environment is None else DELIVERY.c.batch_id == ids.scalar_subquery()


def batches_named(name: str, environment: str | None) -> sa.Select[int]:
    """The keys of the batches with this name: of an environment there is one at most."""
    named = sa.select(BATCH.c.id).where(equal(BATCH.c.name, name))
    return named if environment is None else named.where(BATCH.c.environment == environment)


def was_deferred() -> sa.ColumnElement[bool]:
    """Queued again after an attempt, counted or not; `due_at` may be past by now."""
    attempted = sa.or_(DELIVERY.c.attempts > 0, DELIVERY.c.rescues > 0, DELIVERY.c.reason.is_not(None))
    return sa.and_(DELIVERY.c.state == State.QUEUED.value, attempted)


def metadata_is(value: str) -> sa.ColumnElement[bool]:
    """`name=value`, whole, or a part of the JSON: as Python writes it, with characters escaped, or as it reads."""
    if not storable(value):
        return sa.false()
    name, is_pair, rest = value.partition("=")
    if is_pair and name.strip() and not set(name) & _IN_PATH:
        found = MESSAGE.c.metadata[name.strip()].as_string()
        return sa.cast(found, sa.String(MAX_METADATA)) == rest.strip()
    text = sa.cast(MESSAGE.c.metadata, sa.Text)
    return sa.or_(*(contains(text, form) for form in {value, json.dumps(value)[1:-1]}))


def search_is(value: str) -> sa.ColumnElement[bool]:
    """A recipient, a Message-ID, or a part of either or of the subject."""
    if not is_whole(value):
        return sa.or_(recipient_is(value), contains(MESSAGE.c.subject, value))
    bare = value.removeprefix("<").removesuffix(">")
    by_recipient = sa.select(DELIVERY.c.id).where(recipient_is(bare))
    by_message_id = (
        sa.select(DELIVERY.c.id)
        .select_from(DELIVERY.join(MESSAGE, DELIVERY.c.message_id == MESSAGE.c.id))
        .where(_among(MESSAGE.c.message_id, [f"<{bare}>", bare]))
    )
    hits = sa.union(by_recipient, by_message_id).subquery("hits")  # two look-ups; an OR over two tables is a scan
    return DELIVERY.c.id.in_(sa.select(hits.c.id))


def domain_instead(text: str) -> str | None:
    """The domain to give instead, where `text` is an address and not a domain."""
    return (text.rpartition("@")[2] or "example.org") if "@" in text else None


def spellings(domain: str) -> list[str]:
    """The domain as it may be stored: as given, in lower case, in its ASCII and its Unicode form."""
    import idna  # not at the top: few looks ask for a domain

    found = [domain, domain.lower()]
    for convert in (_to_ascii, idna.decode):
        try:
            found.append(convert(domain.lower()))
        except (idna.IDNAError, UnicodeError):
            continue
    return [name for name in dict.fromkeys(found) if storable(name)]


def _to_ascii(domain: str) -> str:
    import idna

    return idna.encode(domain, uts46=True).decode("ascii")


def equal(column: sa.ColumnElement[Any], value: str) -> sa.ColumnElement[bool]:
    """No database stores every text: one that it can't is equal to none."""
    return column == value if storable(value) else sa.false()


def _among(column: sa.ColumnElement[Any], values: list[str]) -> sa.ColumnElement[bool]:
    return column.in_([value for value in values if storable(value)])


def contains(column: sa.ColumnElement[Any], value: str) -> sa.ColumnElement[bool]:
    """The same for a part."""
    return column.icontains(value, autoescape=True) if storable(value) else sa.false()


def ago(time: timedelta) -> DbNow:
    """That long before now, by the database's clock."""
    return DbNow(-time.total_seconds())
