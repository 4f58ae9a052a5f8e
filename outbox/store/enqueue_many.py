"""Many composed messages become rows in a few statements, inside the caller's own transaction.

The same rows as `enqueue` writes, and the same promises: keys yield one message each, big parts are stored once. What
is saved is the round trips and the cost of a statement.
"""

from __future__ import annotations

import functools
import itertools
import operator
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.orm import Session

from outbox.message.values import Composed
from outbox.store import limits, packet_size
from outbox.store.blobs import PATIENCE, digest_of, keep_blob
from outbox.store.databases import Database, of
from outbox.store.databases.values import Given
from outbox.store.enqueue import check_same, enqueue, notify, unsettled_key, write_connection
from outbox.store.enqueue_sql import KEYED, add_deliveries, insert_message, insert_unless_key_taken
from outbox.store.models import OutboxMessage, OutboxMessageBlob, new_id, table_of
from outbox.store.posting import Posting, delivery_values, message_values, sealing
from outbox.store.sealing import plain_type
from outbox.store.transactions import writing_mail
from outbox.store.types import DbNow

_message = table_of(OutboxMessage)
_part = table_of(OutboxMessageBlob)

CHUNK = 500
"""Messages in one statement: more gains nothing, and a server takes only so large a packet."""

_CHUNK_BYTES = 4 * 2**20  # of what is long in them

_ROW_BYTES = 2048  # for the rest of a row

_GIVEN: dict[str, sa.types.TypeEngine[Any]] = {  # what `message_values` says of each message
    column.name: plain_type(column.type)
    for column in _message.columns
    if column.name not in {"id", "created_at", "redacted_at"}
} | {"max_age": sa.Float()}


_FOUND = (_message.c.id, _message.c.message_id, *(_message.c[name] for name in KEYED))


class Queued(NamedTuple):
    """What became of one message."""

    id: int
    message_id: str
    is_new: bool  # False: its key was taken, and this is the message that took it


Item = tuple[Composed, Posting]

Key = tuple[str, str]
"""The environment, and what is unique in it."""


def enqueue_many(session: Session, items: Sequence[Item]) -> list[Queued]:
    """Write all in the session's transaction; what became of each, in their order.

    Where another transaction that has not ended yet holds a key, this waits for its end. The keys of a chunk are asked
    for in sorted order, so that two that hold some of the same don't wait for each other.
    """
    connection = write_connection(session)
    if any(posting.limit is not None for _, posting in items):
        return _limited(session, connection, items)
    with writing_mail(connection):
        return _enqueued(connection, [(composed, sealing(posting)) for composed, posting in items])


def _limited(session: Session, connection: sa.Connection, items: Sequence[Item]) -> list[Queued]:
    """Those of kinds with a limit one by one, by recipient: two that enqueue for the same don't wait for each other."""
    queued: dict[int, Queued] = {}
    alone = [number for number, (_, posting) in enumerate(items) if posting.limit is not None]
    for number in sorted(alone, key=lambda number: limits.digest(*items[number])):
        message, is_new = enqueue(session, *items[number], connection)
        queued[number] = Queued(message.id, message.message_id, is_new)
    rest = [number for number in range(len(items)) if number not in queued]
    queued |= zip(rest, enqueue_many(session, [items[number] for number in rest]), strict=True)
    return [queued[number] for number in range(len(items))]


def _enqueued(connection: sa.Connection, items: Sequence[Item]) -> list[Queued]:
    for composed, _ in items:
        packet_size.check(connection, composed)
    digests: set[str] = set()
    queued: list[Queued] = []
    most = of(connection).longest_value(connection)
    for chunk in _chunks(items, _CHUNK_BYTES if most is None else min(most, _CHUNK_BYTES)):
        queued += _write(connection, chunk, digests)
    if any(one.is_new for one in queued):
        awake = next((posting for _, posting in items if posting.wake and posting.send_at is None), None)
        if awake is not None:
            notify(connection, awake)
    return queued


def _chunks(items: Sequence[Item], most: int) -> Iterator[list[Item]]:
    chunk: list[Item] = []
    size = 0
    for item in items:
        longer = packet_size.size_of(item[0]) + _ROW_BYTES
        if chunk and (len(chunk) == CHUNK or size + longer > most):
            yield chunk
            chunk, size = [], 0
        chunk.append(item)
        size += longer
    if chunk:
        yield chunk


def _write(connection: sa.Connection, chunk: list[Item], digests: set[str]) -> list[Queued]:
    by_key, fresh = _keyed(connection, chunk)
    plain = [item for item in chunk if item[1].key is None]
    ids = dict(zip(map(id, plain), _insert(connection, plain), strict=True))
    queued = []
    new: list[tuple[int, Item]] = []
    for item in chunk:
        composed, posting = item
        key = _key(posting)
        found = Queued(ids[id(item)], composed.message_id, True) if key is None else by_key[key]
        is_new = key is None or fresh.get(key) is item
        queued.append(Queued(found.id, found.message_id, is_new))
        if is_new:
            new.append((found.id, item))
    _add_parts(connection, new, digests)
    add_deliveries(
        connection, [row for pk, (composed, posting) in new for row in delivery_values(pk, composed, posting)]
    )
    return queued


def _insert(connection: sa.Connection, items: list[Item]) -> list[int]:
    """The ids of the new messages, in their order."""
    repeated = {name for name, number in Counter(one.message_id for one, _ in items).items() if number > 1}
    ids: dict[str, int] = {}
    single = [item for item in items if item[0].message_id not in repeated]
    if of(connection).hands_over_arrays:
        ids = {row.message_id: row.id for row in _insert_arrays(connection, single, keyed=False)}
    elif connection.dialect.insert_executemany_returning:  # MySQL can't
        for by_age, run in _runs(single):
            statement = insert_message(by_age).returning(_message.c.id, _message.c.message_id)
            ids |= {row.message_id: row.id for row in connection.execute(statement, run)}
    return [ids[item[0].message_id] if item[0].message_id in ids else _insert_one(connection, item) for item in items]


def _insert_arrays(connection: sa.Connection, items: list[Item], *, keyed: bool) -> Sequence[sa.Row[Any]]:
    """(id, message_id, key) of each new message; `keyed`: without those whose key is taken."""
    if not items:
        return []
    database, rows = of(connection), [message_values(*item) for item in items]
    return connection.execute(_insert_all(database, keyed), database.arrays(_GIVEN, rows)).all()


@functools.cache
def _insert_all(database: Database, keyed: bool) -> Any:
    insert = database.insert_arrays(_message, _GIVEN, _computed)
    if keyed:
        insert = insert.on_conflict_do_nothing(index_elements=list(KEYED))
    return insert.returning(*_FOUND)


def _computed(given: Given) -> dict[str, Any]:
    expires_at = sa.func.coalesce(given.c.expires_at, DbNow(given.c.max_age))
    return {"created_at": DbNow(), "expires_at": expires_at}


def _insert_one(connection: sa.Connection, item: Item) -> int:
    values = message_values(*item)
    return new_id(connection.execute(insert_message("max_age" in values), values))


def _runs(items: list[Item]) -> Iterator[tuple[bool, list[dict[str, Any]]]]:
    """Neighbours that one statement takes: (whether they expire by their age, their values)."""
    run: list[dict[str, Any]] = []
    for item in items:
        values = message_values(*item)
        if run and ("max_age" in run[0]) != ("max_age" in values):
            yield "max_age" in run[0], run
            run = []
        run.append(values)
    if run:
        yield "max_age" in run[0], run


def _key(posting: Posting) -> Key | None:
    return None if posting.key is None else (posting.environment, posting.key)


def _keyed(connection: sa.Connection, chunk: list[Item]) -> tuple[dict[Key, Queued], dict[Key, Item]]:
    """The message of each key, and those that are new: the first of the chunk that asked for it."""
    wanted: dict[Key, Item] = {}
    for item in chunk:
        if (key := _key(item[1])) is not None:
            wanted.setdefault(key, item)
    found: dict[Key, Queued] = {}
    fresh: dict[Key, Item] = {}
    for turn in range(PATIENCE):
        missing = sorted(wanted.keys() - found.keys())
        if not missing:
            _check_same(connection, chunk, found, fresh)
            return found, fresh
        found |= _with_keys(connection, missing, locking=turn > 0)
        if others := {(key[0], other): key for key in missing if (other := wanted[key][1].also_key) is not None}:
            there = _with_keys(connection, sorted(others), locking=turn > 0)
            found |= {others[key]: one for key, one in there.items()}
        absent = [wanted[key] for key in missing if key not in found]
        if absent:
            inserted = _insert_keyed(connection, absent)
            found |= inserted
            fresh |= {key: wanted[key] for key in inserted}
    raise unsettled_key(min(wanted.keys() - found.keys())[1])


def _check_same(connection: sa.Connection, chunk: list[Item], found: dict[Key, Queued], fresh: dict[Key, Item]) -> None:
    """Raises KeyTakenError where a key belongs to a message with other content, of the chunk or of before."""
    again = [item for item in chunk if (key := _key(item[1])) is not None and fresh.get(key) is not item]
    ids = sorted({found[key].id for _, posting in again if (key := _key(posting)) is not None})
    if not ids:
        return
    rows = connection.execute(sa.select(_message.c.id, _message.c.options).where(_message.c.id.in_(ids)))
    options = {row.id: row.options for row in rows}
    for composed, posting in again:
        key = _key(posting)
        if key is not None and found[key].id in options:
            key_ = posting.clear_key or key[1]
            check_same(key_, found[key].message_id, options[found[key].id], composed, posting)


def _with_keys(connection: sa.Connection, keys: Sequence[Key], *, locking: bool) -> dict[Key, Queued]:
    """The messages that have the keys. `locking`: after an insert has found them, as in `enqueue`."""
    database = of(connection)
    if locking and database.locks_gaps:
        # One by one: a look-up of several may go through the index, and lock what lies between.
        looks = (database.latest(_look([key])) for key in keys)
        return {key: one for look in looks for key, one in _by_key(connection.execute(look), is_new=False).items()}
    return _by_key(connection.execute(_look(keys)), is_new=False)


def _look(keys: Sequence[Key]) -> sa.Select[Any]:
    of_one = (  # not as pairs: MariaDB would not use the index for them
        sa.and_(_message.c.environment == environment, _message.c.key.in_([key for _, key in group]))
        for environment, group in itertools.groupby(sorted(keys), key=operator.itemgetter(0))
    )
    return sa.select(*_FOUND).where(sa.or_(*of_one))


def _by_key(rows: Iterable[Any], *, is_new: bool) -> dict[Key, Queued]:
    return {(row.environment, row.key): Queued(row.id, row.message_id, is_new) for row in rows}


def _insert_keyed(connection: sa.Connection, items: list[Item]) -> dict[Key, Queued]:
    """By key the messages that are new; a key that another transaction has taken meanwhile is left out."""
    database = of(connection)
    if database.hands_over_arrays:
        return _by_key(_insert_arrays(connection, items, keyed=True), is_new=True)
    found: dict[Key, Queued] = {}
    for by_age, run in _runs(items):
        statement = insert_unless_key_taken(database, by_age)
        if database.returns_new_rows:
            found |= _by_key(connection.execute(statement.returning(*_FOUND), run), is_new=True)
        else:
            connection.execute(statement, run)
            ours = {values["message_id"] for values in run}
            # a plain look sees the transaction's own rows, if not always those of others
            now = _with_keys(connection, [(values["environment"], values["key"]) for values in run], locking=False)
            found |= {key: one for key, one in now.items() if one.message_id in ours}
    return found


def _add_parts(connection: sa.Connection, new: list[tuple[int, Item]], digests: set[str]) -> None:
    """`digests`: of the blobs that this transaction has seen to already."""
    parts = []
    for pk, (composed, posting) in new:
        for position, (offset, blob) in enumerate(packet_size.pieces(connection, composed.blobs)):
            digest = digest_of(blob, posting)
            if digest not in digests:
                keep_blob(connection, blob, posting)
                digests.add(digest)
            parts.append({"message_id": pk, "position": position, "skeleton_offset": offset, "digest": digest})
    if parts:
        connection.execute(_part.insert(), parts)
