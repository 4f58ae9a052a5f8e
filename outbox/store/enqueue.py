"""How a composed message becomes rows, inside the caller's own transaction.

Nothing here commits, opens a connection or talks to the network. Every statement is built so that it can't fail for a
reason the caller would have to clean up after: the same key or the same big part twice is no error.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.orm import Session, make_transient_to_detached
from sqlalchemy.orm.attributes import instance_state

from outbox.core.errors import KeyTakenError, OutboxError
from outbox.message.values import Composed
from outbox.store import guards, limits, packet_size
from outbox.store.blobs import PATIENCE, keep_blob
from outbox.store.databases import of
from outbox.store.enqueue_sql import (
    How,
    add_deliveries,
    insert_alone,
    insert_message,
    insert_once_keyed,
    insert_whole,
    parted,
)
from outbox.store.insert_once import inserted
from outbox.store.models import OutboxMessage, OutboxMessageBlob, new_id, table_of
from outbox.store.posting import Posting, delivery_values, message_values, of_recipient, sealing
from outbox.store.sealed_message import given_key
from outbox.store.transactions import writing_mail

_message = table_of(OutboxMessage)
_part = table_of(OutboxMessageBlob)

_MAPPER = sa.inspect(OutboxMessage)
_WRITE = _message.update()  # an INSERT is not among what the manual's routing session takes for a write

_KNOWN = ("message_id", "key")  # of a message that was just written; each one more costs as much as a header


def enqueue(
    session: Session, composed: Composed, posting: Posting, connection: sa.Connection | None = None
) -> tuple[OutboxMessage, bool]:
    """Write `composed` in the session's transaction; the message and whether it is new.

    It is not new where `posting.key` is already taken: then the first message is returned and nothing is written. Where
    another transaction that has not ended yet holds the key, this waits for its end. `connection`: of
    `write_connection`, where it was asked for already.
    """
    connection = connection or write_connection(session)
    with writing_mail(connection):
        return _enqueued(session, connection, composed, sealing(posting))


def _enqueued(
    session: Session, connection: sa.Connection, composed: Composed, posting: Posting
) -> tuple[OutboxMessage, bool]:
    packet_size.check(connection, composed)
    if posting.limit is None:
        return _written(session, connection, composed, posting)
    if posting.key is not None:
        first = _with_key(session, connection, composed, posting, locking=False)
        if first is not None:
            return first, False
    taken = limits.take(connection, composed, posting, posting.limit)
    if taken.instead is not None:
        pk, message_id = taken.instead
        return _new(session, pk, {"message_id": message_id, "key": None}), False
    message, is_new = _written(session, connection, composed, posting)
    if is_new:
        limits.keep(connection, taken, message.id, composed.message_id)
    return message, is_new


def _written(
    session: Session, connection: sa.Connection, composed: Composed, posting: Posting
) -> tuple[OutboxMessage, bool]:
    values = message_values(composed, posting)
    if posting.key is None:
        return _add(session, connection, composed, posting, values), True
    for turn in range(PATIENCE):
        first = _with_key(session, connection, composed, posting, locking=turn > 0)
        if first is not None:
            return first, False
        pk = _insert_keyed(connection, values)
        if pk is not None:
            _add_rows(connection, pk, composed, posting)
            return _new(session, pk, values | {"key": posting.clear_key or posting.key}), True
    raise unsettled_key(posting.clear_key or posting.key)


def guarded(connection: sa.Connection, posting: Posting) -> Posting:
    """`posting`, its guard in the words of the connection's database. Raises MessageError."""
    return (
        posting if posting.guard is None else replace(posting, guard=guards.stored(connection.dialect, posting.guard))
    )


def write_connection(session: Session) -> sa.Connection:
    """Where the session writes messages, in its transaction."""
    return session.connection(bind_arguments={"bind": write_bind(session)})


def write_bind(session: Session) -> sa.Engine | sa.Connection:
    """What the session writes messages to; it may read from somewhere else.

    A session that routes reads to a replica tells a write by its statement, or by the flush that is under way:
    SQLAlchemy's manual shows both. Raises UnboundExecutionError.
    """
    flushing, session._flushing = session._flushing, True
    try:
        return session.get_bind(mapper=_MAPPER, clause=_WRITE)
    finally:
        session._flushing = flushing


def check_same(
    key: str, message_id: str, options: Mapping[str, Any] | None, composed: Composed, posting: Posting
) -> None:
    """Raises KeyTakenError unless the message that has the key says the same, as far as is known, under the same guard.

    `posting`: with its guard as it is stored.
    """
    known = options or {}
    content = known.get("content")
    other = content and composed.content is not None and content != [composed.content]
    if other or (content and not guards.same(known.get("guard"), posting.guard)):
        raise KeyTakenError(
            "key",
            f"{key!r} belongs to a message with {'other content' if other else 'another guard'}, {message_id}, so this "
            "one is not enqueued",
            "Give each message a key of its own. If this is meant to be the same message, what differs from call to "
            "call (a token, a time, an address) must not be in it or its guard, or belongs in the key.",
        )


def unsettled_key(key: str) -> OutboxError:
    """What is to be said of a key that can neither be found nor taken."""
    return OutboxError(
        f"key {key!r}: another message with it comes and goes while this one is enqueued. Is the outbox being "
        "purged with a retention of nearly nothing? Enqueue again."
    )


def _add(
    session: Session, connection: sa.Connection, composed: Composed, posting: Posting, values: dict[str, Any]
) -> OutboxMessage:
    database = of(connection)
    if database.writes_in_queries and not composed.blobs:
        pk = _add_at_once(connection, composed, posting, values)
    else:
        pk = _add_message(connection, values)
        _add_rows(connection, pk, composed, posting)
    return _new(session, pk, values)


def _add_message(connection: sa.Connection, values: dict[str, Any]) -> int:
    if not of(connection).numbers_new_rows:
        return new_id(connection.execute(insert_message("max_age" in values), values))
    given, fixed = parted(values)
    return int(insert_alone(connection.dialect, frozenset(given), fixed).execute(connection, given).lastrowid)


def _add_at_once(connection: sa.Connection, composed: Composed, posting: Posting, values: dict[str, Any]) -> int:
    """Message, deliveries and wake-up in one statement: each round trip costs as much as all of the composing."""
    given, fixed = parted(values)
    names = frozenset(given)
    if posting.send_at is not None:
        given["send_at"] = posting.send_at
    each = [of_recipient(address, composed, posting) for address in composed.recipients]
    if alone := len(each) == 1:
        given |= each[0]
    else:
        given |= {f"{name}s": [one[name] for one in each] for name in each[0]}
    how = How(posting.lane.slot(retry=False), alone, posting.send_at is None, posting.route is not None)
    statement = insert_whole(connection.dialect, names, fixed, how, wakes(connection, posting))
    return int(statement.execute(connection, given).scalar_one())


def _add_rows(connection: sa.Connection, pk: int, composed: Composed, posting: Posting) -> None:
    if composed.blobs:
        parts = [
            {
                "message_id": pk,
                "position": position,
                "skeleton_offset": offset,
                "digest": keep_blob(connection, blob, posting),
            }
            for position, (offset, blob) in enumerate(packet_size.pieces(connection, composed.blobs))
        ]
        connection.execute(_part.insert(), parts)
    add_deliveries(connection, delivery_values(pk, composed, posting))
    notify(connection, posting)


def notify(connection: sa.Connection, posting: Posting) -> None:
    """Have the commit wake a worker; nobody is woken when the transaction is rolled back."""
    if wakes(connection, posting):
        tell(connection)


def tell(connection: sa.Connection) -> None:
    """Have the commit tell those who listen, where the database can."""
    database = of(connection)
    if database.tells_commits:
        connection.execute(sa.select(*database.told()))


def wakes(connection: sa.Connection, posting: Posting) -> bool:
    """Whether the commit is to wake a worker. With a NOTIFY, no transaction can be prepared (two-phase commit)."""
    wanted = posting.wake and posting.send_at is None and of(connection).tells_commits
    return wanted and not isinstance(connection.get_transaction(), sa.TwoPhaseTransaction)


def _insert_keyed(connection: sa.Connection, values: dict[str, Any]) -> int | None:
    """The id of the new message, or None where the key is taken; waits for a transaction that holds it."""
    return inserted(connection, insert_once_keyed(of(connection), "max_age" in values), values)


def _with_key(
    session: Session, connection: sa.Connection, composed: Composed, posting: Posting, *, locking: bool
) -> OutboxMessage | None:
    """The message that has the key. `locking`: after the insert has found one, so there is one to be locked.

    Raises KeyTakenError where it says something else.
    """
    statement = sa.select(_message.c.id, _message.c.message_id, _message.c.key, _message.c.options).where(
        _message.c.environment == posting.environment, _has_key(posting)
    )
    if locking:  # not before: one that finds nothing may lock the gap, where others want to insert other keys
        statement = of(connection).latest(statement)
    row = connection.execute(statement).first()
    if row is None:
        return None
    key = given_key(row.key, row.options) or posting.key or ""
    check_same(key, row.message_id, row.options, composed, posting)
    known = _known(session, row.id)
    if known is not None and known.__dict__.get("message_id", row.message_id) == row.message_id:
        return known
    return _new(session, row.id, {"message_id": row.message_id, "key": key})


def _has_key(posting: Posting) -> sa.ColumnElement[bool]:
    if posting.also_key is None:
        return _message.c.key == posting.key
    return _message.c.key.in_([posting.key, posting.also_key])


def _new(session: Session, pk: int, values: dict[str, Any]) -> OutboxMessage:
    """The message as an object of the session; but for `_KNOWN`, what is asked of it is read then. Few ask."""
    identity = _MAPPER.identity_key_from_primary_key((pk,))
    known = session.identity_map.get(identity)
    if known is not None:  # of a message that was rolled back: SQLite gives its id to the next
        session.expunge(known)
    message: OutboxMessage = _MAPPER.class_manager.new_instance()  # no constructor runs, as for a row that is read
    message.__dict__.update(id=pk, message_id=values["message_id"], key=values["key"])
    state = instance_state(message)
    state.key = identity
    state.expired_attributes.update(_unread())
    state.session_id = session.hash_key  # as for a row that is read: `add` walks through all relationships
    session.identity_map.add(state)
    return message


@functools.cache
def _unread() -> frozenset[str]:
    """What SQLAlchemy reads of a message of which only `id` and `_KNOWN` are there."""
    message = OutboxMessage(id=0)
    make_transient_to_detached(message)
    return frozenset(sa.inspect(message).expired_attributes) - {"id", *_KNOWN}


def _known(session: Session, pk: int) -> OutboxMessage | None:
    return cast("OutboxMessage | None", session.identity_map.get(_MAPPER.identity_key_from_primary_key((pk,))))
