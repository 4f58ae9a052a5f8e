"""How a composed message becomes rows, inside the caller's own transaction.

Nothing here commits, opens a connection or talks to the network. Every statement is built so that it can't fail for a
reason the caller would have to clean up after: the same key or the same big part twice is no error.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy import Insert
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.orm import Session, make_transient_to_detached
from sqlalchemy.orm.attributes import set_committed_value

from outbox.core.errors import KeyTakenError, OutboxError
from outbox.delivery.states import Lane, OnUncertain, State
from outbox.message.values import Blob, Composed
from outbox.store import packet_size
from outbox.store.compiled import Rendered
from outbox.store.dialect import CHANNEL, MYSQL_FAMILY, DbNow
from outbox.store.models import OutboxBlob, OutboxDelivery, OutboxMessage, OutboxMessageBlob, new_id, table_of
from outbox.store.transactions import writing_mail
from outbox.store.unnest import arrays, insert_from_arrays

_message = table_of(OutboxMessage)
_delivery = table_of(OutboxDelivery)
_blob = table_of(OutboxBlob)
_part = table_of(OutboxMessageBlob)

_MAPPER = sa.inspect(OutboxMessage)
_WRITE = _message.update()  # an INSERT is not among what the manual's routing session takes for a write

_KNOWN = ("message_id", "key")  # of a message that was just written; each one more costs as much as a header

KEYED = ("environment", "key")
"""What is unique: each environment has keys of its own."""

PATIENCE = 5  # how often to look again for a row that another transaction made and took away meanwhile


@dataclass(frozen=True, slots=True)
class Posting:
    """How a composed message is to be queued."""

    environment: str = ""
    key: str | None = None  # idempotency: the same key in the same environment yields the same message
    kind: str | None = None
    lane: Lane = Lane.NORMAL
    send_at: datetime | None = None  # aware; None: at once
    expires_at: datetime | None = None  # aware
    max_age: float | None = None  # seconds after it is due; counts where `expires_at` is None
    on_uncertain: OnUncertain = OnUncertain.RETRY
    metadata: dict[str, Any] | None = None
    wake: bool = False  # let the commit wake a worker, where the database can


def enqueue(session: Session, composed: Composed, posting: Posting) -> tuple[OutboxMessage, bool]:
    """Write `composed` in the session's transaction; the message and whether it is new.

    It is not new where `posting.key` is already taken: then the first message is returned and nothing is written. Where
    another transaction that has not ended yet holds the key, this waits for its end.
    """
    connection = write_connection(session)
    with writing_mail(connection):
        return _enqueued(session, connection, composed, posting)


def _enqueued(
    session: Session, connection: sa.Connection, composed: Composed, posting: Posting
) -> tuple[OutboxMessage, bool]:
    packet_size.check(connection, composed)
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
            return _new(session, pk, values), True
    raise unsettled_key(posting.key)


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


def check_same(key: str, message_id: str, options: Mapping[str, Any] | None, composed: Composed) -> None:
    """Raises KeyTakenError unless the message that has the key says the same as `composed`, as far as is known."""
    known = (options or {}).get("content")
    if known and composed.content is not None and known != [composed.content]:
        raise KeyTakenError(
            "key",
            f"{key!r} belongs to a message with other content, {message_id}, so this one is not enqueued",
            "Give each message a key of its own. If this is meant to be the same message, what differs from call to "
            "call (a token, a time, an address) must not be in it, or belongs in the key.",
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
    if connection.dialect.name == "postgresql" and not composed.blobs:
        pk = _add_at_once(connection, composed, posting, values)
    else:
        inserted = connection.execute(insert_message("max_age" in values), values)
        pk = new_id(inserted)
        _add_rows(connection, pk, composed, posting)
    return _new(session, pk, values)


def _add_at_once(connection: sa.Connection, composed: Composed, posting: Posting, values: dict[str, Any]) -> int:
    """Message, deliveries and wake-up in one statement: each round trip costs as much as all of the composing."""
    given = {name: value for name, value in values.items() if value is not None}
    names = frozenset(given)
    given["slot"] = posting.lane.slot(retry=False)
    if posting.send_at is not None:
        given["send_at"] = posting.send_at
    domains = [address.rpartition("@")[2] for address in composed.recipients]
    if alone := len(domains) == 1:
        given |= {"recipient": composed.recipients[0], "domain": domains[0]}
    else:
        given |= {"recipients": list(composed.recipients), "domains": domains}
    wake = wakes(connection, posting)
    statement = _insert_all(connection.dialect, names, alone, posting.send_at is None, wake)
    return int(statement.execute(connection, given).scalar_one())


def _add_rows(connection: sa.Connection, pk: int, composed: Composed, posting: Posting) -> None:
    if composed.blobs:
        parts = [
            {"message_id": pk, "position": position, "skeleton_offset": offset, "digest": keep_blob(connection, blob)}
            for position, (offset, blob) in enumerate(packet_size.pieces(connection, composed.blobs))
        ]
        connection.execute(_part.insert(), parts)
    add_deliveries(connection, delivery_values(pk, composed, posting))
    notify(connection, posting)


def delivery_values(pk: int, composed: Composed, posting: Posting) -> list[dict[str, Any]]:
    """For `add_deliveries`: one for each recipient of the message with the primary key `pk`."""
    common: dict[str, Any] = {"message_id": pk, "lane": posting.lane.slot(retry=False)}
    if posting.send_at is not None:
        common["due_at"] = posting.send_at
    return [common | {"recipient": address, "domain": address.rpartition("@")[2]} for address in composed.recipients]


def add_deliveries(connection: sa.Connection, rows: list[dict[str, Any]]) -> None:
    """Write deliveries; those that have no `due_at` are due now."""
    for at_once in (True, False):
        some = [row for row in rows if ("due_at" not in row) is at_once]
        if len(some) > 1 and connection.dialect.name == "postgresql":
            connection.execute(_insert_deliveries(at_once), arrays(_given(at_once), some))
        elif some:
            connection.execute(_insert_delivery(at_once), some)


@functools.cache  # building a statement costs more than running it
def insert_message(by_age: bool) -> Insert:
    """`by_age`: it expires `max_age` seconds from now."""
    return _message.insert().values(_computed(by_age))


@functools.cache
def insert_unless_key_taken(dialect: str, by_age: bool) -> Insert:
    """The same, but for a message whose key is taken; MariaDB has no DO NOTHING and "updates" nothing instead."""
    if dialect in MYSQL_FAMILY:
        return mysql.insert(_message).values(_computed(by_age)).on_duplicate_key_update(id=_message.c.id)
    insert = postgresql.insert if dialect == "postgresql" else sqlite.insert
    return insert(_message).values(_computed(by_age)).on_conflict_do_nothing(index_elements=list(KEYED))


def _computed(by_age: bool) -> dict[str, Any]:
    computed: dict[str, Any] = {"created_at": DbNow()}
    if by_age:
        computed["expires_at"] = DbNow(sa.bindparam("max_age", type_=sa.Float()))
    return computed


def _fresh(now: bool) -> dict[str, Any]:
    """What is the same in all new deliveries; `now`: they are due at once."""
    zero = sa.literal_column("0", sa.SmallInteger())  # each parameter costs
    state = sa.literal_column(f"'{State.QUEUED.value}'", sa.Text())
    fresh = {"state": state, "attempts": zero, "rescues": zero, "updated_at": DbNow()}
    return fresh | ({"due_at": DbNow()} if now else {})


@functools.cache
def _insert_delivery(now: bool) -> Insert:
    return _delivery.insert().values(_fresh(now))


@functools.cache
def _insert_deliveries(now: bool) -> Insert:
    """Many, for PostgreSQL."""
    return insert_from_arrays(_delivery, _given(now), lambda _: _fresh(now))


@functools.cache
def _given(now: bool) -> dict[str, sa.types.TypeEngine[Any]]:
    names = ("message_id", "recipient", "domain", "lane", *(() if now else ("due_at",)))
    return {name: _delivery.c[name].type for name in names}


@functools.lru_cache(512)  # an application uses few of the combinations, but may have several databases
def _insert_all(dialect: sa.Dialect, names: frozenset[str], alone: bool, now: bool, wake: bool) -> Rendered:
    """For PostgreSQL: `names` of what is said of the message, `alone`: it has one recipient, `wake`: with a NOTIFY."""
    by_age = "max_age" in names
    given = {name: sa.bindparam(name, type_=_message.c[name].type) for name in sorted(names - {"max_age"})}
    message = _message.insert().values(given | _computed(by_age)).returning(_message.c.id).cte("message")
    columns: dict[str, Any] = {
        "message_id": message.c.id,
        "lane": sa.bindparam("slot", type_=sa.SmallInteger()),
        **_fresh(now),
    }
    if not now:
        columns["due_at"] = sa.bindparam("send_at", type_=_delivery.c.due_at.type)
    if alone:
        columns |= {name: sa.bindparam(name, type_=sa.Text()) for name in ("recipient", "domain")}
        rows = sa.select(*columns.values()).select_from(message)
    else:
        texts = postgresql.ARRAY(sa.Text())
        to = sa.func.unnest(sa.bindparam("recipients", type_=texts), sa.bindparam("domains", type_=texts))
        each = to.table_valued(sa.column("recipient", sa.Text()), sa.column("domain", sa.Text())).render_derived("each")
        columns |= {"recipient": each.c.recipient, "domain": each.c.domain}
        rows = sa.select(*columns.values()).select_from(message.join(each, sa.true()))
    deliveries = _delivery.insert().from_select(list(columns), rows, include_defaults=False).cte("deliveries")
    told = [sa.func.pg_notify(CHANNEL, "")] if wake else []
    return Rendered(sa.select(message.c.id, *told).add_cte(deliveries), dialect)


def notify(connection: sa.Connection, posting: Posting) -> None:
    """PostgreSQL tells who listens when the transaction commits, and nobody when it is rolled back."""
    if wakes(connection, posting):
        connection.execute(sa.select(sa.func.pg_notify(CHANNEL, "")))


def wakes(connection: sa.Connection, posting: Posting) -> bool:
    """Whether the commit is to wake a worker. PostgreSQL prepares no transaction (two-phase commit) with a NOTIFY."""
    wanted = posting.wake and posting.send_at is None and connection.dialect.name == "postgresql"
    return wanted and not isinstance(connection.get_transaction(), sa.TwoPhaseTransaction)


def message_values(composed: Composed, posting: Posting) -> dict[str, Any]:
    options = {
        name: list(given) for name, given in (("mail", composed.mail_options), ("rcpt", composed.rcpt_options)) if given
    }
    if composed.content is not None:
        options["content"] = [composed.content]  # `check_same` compares it
    if composed.dated:
        options["date"] = ["given"]  # `operations.send_now` leaves it as it is
    return {
        "message_id": composed.message_id,
        "environment": posting.environment,
        "key": posting.key,
        "kind": posting.kind,
        "lane": posting.lane.rank,
        "envelope_from": composed.envelope_from,
        "subject": composed.subject[:998],
        "headers": [list(header) for header in composed.headers],
        "skeleton": composed.skeleton,
        "size": composed.size,
        "smtputf8": composed.smtputf8,
        "utf8_header": None if composed.utf8 is None else asdict(composed.utf8),
        "options": options or None,
        "on_uncertain": posting.on_uncertain.value,
        "metadata": posting.metadata,
        **_expiry(posting),
    }


def _expiry(posting: Posting) -> dict[str, Any]:
    if posting.expires_at is not None or posting.max_age is None:
        return {"expires_at": posting.expires_at}
    if posting.send_at is None:
        return {"max_age": posting.max_age}
    return {"expires_at": posting.send_at + timedelta(seconds=posting.max_age)}


def _insert_keyed(connection: sa.Connection, values: dict[str, Any]) -> int | None:
    """The id of the new message, or None where the key is taken; waits for a transaction that holds it."""
    dialect = connection.dialect.name
    if dialect in MYSQL_FAMILY:  # a duplicate costs the statement alone, not the transaction
        try:
            inserted = connection.execute(insert_message("max_age" in values), values)
        except sa.exc.IntegrityError as error:
            if not is_duplicate(error):
                raise
            return None
        return new_id(inserted)
    statement = insert_unless_key_taken(dialect, "max_age" in values)
    pk = connection.execute(statement.returning(_message.c.id), values).scalar()
    return None if pk is None else int(pk)


def _with_key(
    session: Session, connection: sa.Connection, composed: Composed, posting: Posting, *, locking: bool
) -> OutboxMessage | None:
    """The message that has the key. `locking`: after the insert has found one, so there is one to be locked.

    Raises KeyTakenError where it says something else.
    """
    statement = sa.select(_message.c.id, _message.c.message_id, _message.c.key, _message.c.options).where(
        _message.c.environment == posting.environment, _message.c.key == posting.key
    )
    if locking and connection.dialect.name in MYSQL_FAMILY:
        # At REPEATABLE READ a plain SELECT does not see what was committed since the transaction began, and a locking
        # one that finds nothing locks the gap, where other transactions want to insert other keys.
        statement = statement.with_for_update(read=True)
    row = connection.execute(statement).first()
    if row is None:
        return None
    check_same(row.key, row.message_id, row.options, composed)
    known = _known(session, row.id)
    if known is not None and known.__dict__.get("message_id", row.message_id) == row.message_id:
        return known
    return _new(session, row.id, {"message_id": row.message_id, "key": row.key})


def _new(session: Session, pk: int, values: dict[str, Any]) -> OutboxMessage:
    """The message as an object of the session; but for `_KNOWN`, what is asked of it is read then. Few ask."""
    known = _known(session, pk)
    if known is not None:  # of a message that was rolled back: SQLite gives its id to the next
        session.expunge(known)
    message = OutboxMessage(id=pk)
    make_transient_to_detached(message)
    session.add(message)
    for name in _KNOWN:
        set_committed_value(message, name, values[name])
    return message


def _known(session: Session, pk: int) -> OutboxMessage | None:
    return cast("OutboxMessage | None", session.identity_map.get(session.identity_key(OutboxMessage, pk)))


def keep_blob(connection: sa.Connection, blob: Blob) -> str:
    """See that the blob is stored and stays until this transaction ends; its digest."""
    digest = blob.digest
    dialect = connection.dialect.name
    there = present = sa.select(_blob.c.digest).where(_blob.c.digest == digest)
    if dialect != "sqlite":  # a purge must not take it between here and the reference to it
        present = present.with_for_update(read=True, key_share=dialect == "postgresql")
    values = {"digest": digest, "size": len(blob.data), "data": blob.data, "created_at": DbNow()}
    for turn in range(PATIENCE):
        # on MariaDB a locking read that finds nothing locks the gap: it follows a plain one, or the insert
        may_lock = dialect not in MYSQL_FAMILY or turn > 0 or connection.execute(there).first() is not None
        if may_lock and connection.execute(present).first() is not None:
            return digest
        connection.execute(_insert_blob(dialect).values(values))
    raise OutboxError(f"blob {digest} was purged while a message that needs it was enqueued. Enqueue it again.")


def is_duplicate(error: sa.exc.IntegrityError) -> bool:
    """Whether MySQL or MariaDB refuses a second row with the same key (error 1062)."""
    number = getattr(error.orig, "errno", None) or next(iter(getattr(error.orig, "args", ())), None)
    return number == 1062


def _insert_blob(dialect: str) -> Any:
    if dialect in MYSQL_FAMILY:
        return mysql.insert(_blob).on_duplicate_key_update(digest=_blob.c.digest)
    insert = postgresql.insert if dialect == "postgresql" else sqlite.insert
    return insert(_blob).on_conflict_do_nothing(index_elements=["digest"])
