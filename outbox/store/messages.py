"""Messages as workers need them, read back from the database; a damaged one says so and stops no other."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from outbox.core.clock import UNREADABLE
from outbox.core.errors import DamagedMessageError
from outbox.delivery.states import OnUncertain
from outbox.message.keyring import DataKey
from outbox.message.sealed import Opened, Unreadable
from outbox.message.sealed_bytes import SealedWithoutKeyError, clear_length, is_sealed, open_all
from outbox.message.values import Utf8Header
from outbox.store.databases import Database, of
from outbox.store.models import OutboxMessage, OutboxMessageBlob, table_of
from outbox.store.sealed_message import given_key
from outbox.store.sealing import as_stored, opened, opened_json
from outbox.store.types import DbNow, utc

_message = table_of(OutboxMessage)
_part = table_of(OutboxMessageBlob)

CLAIMED_BYTES = 128 * 1024
"""A text up to this size comes along with the claim, which takes 16 messages for each connection; a longer one is read
piece by piece as it is sent."""

_length = sa.func.length(as_stored(_message.c.skeleton), type_=sa.BigInteger())

MESSAGE_COLUMNS: list[sa.ColumnElement[Any]] = [
    _message.c.id.label("pk"),
    *(
        as_stored(_message.c[name])
        for name in (
            "message_id",
            "environment",
            "kind",
            "envelope_from",
            "size",
            "smtputf8",
            "utf8_header",
            "options",
            "on_uncertain",
            "created_at",
            "expires_at",
        )
    ),
    _length.label("skeleton_size"),
    sa.case((_length <= sa.literal_column(str(CLAIMED_BYTES)), as_stored(_message.c.skeleton))).label("skeleton"),
]
"""What `stored_from` reads, beside the time of the reading as `now`."""

_UNREADABLE = (
    DamagedMessageError,
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
)  # what a value raises that is not what was written


_ON_UNCERTAIN = {str(one): one for one in OnUncertain}  # to look up is less work than to call the enum

_MISSING = "its row in outbox_message is missing"


@dataclass(slots=True)
class StoredMessage:
    """A message as the worker needs it. Not to be changed; unfrozen, for that is half the price of making one."""

    pk: int
    message_id: str
    environment: str
    kind: str | None
    envelope_from: str
    size: int  # bytes
    smtputf8: bool
    mail_options: tuple[str, ...]
    rcpt_options: tuple[str, ...]
    on_uncertain: OnUncertain
    created_at: datetime
    expires_in: float | None  # seconds from the claim, by the database's clock; None: never
    skeleton: bytes | None  # None: too long to be held in memory, to be read as it is sent
    parts: tuple[tuple[int, str], ...]  # (offset in the skeleton, digest of the blob)
    damage: str | None = None  # why it can't be read; all the rest means nothing then
    skeleton_size: int = 0  # bytes, where it is None
    utf8: Utf8Header | None = None  # for recipients that are not ASCII
    head: bytes = b""  # goes out in place of the first `skips` bytes of the skeleton
    skips: int = 0
    tags: tuple[str, ...] = ()
    guard: dict[str, Any] | None = None  # as `guards.stored` has it
    data_key: DataKey | None = None  # of one that is sealed: what is recorded of it is sealed with it
    trace: dict[str, str] | None = None  # the span that it was enqueued in
    locked: str | None = None  # why it can't be opened, though nothing of it is lost


def key_and_metadata(connection: sa.Connection, pk: int) -> tuple[str | None, dict[str, Any] | None]:
    """Of one message, as they were given to `enqueue`."""
    columns = (_message.c.key, _message.c.metadata, _message.c.options)
    row = connection.execute(sa.select(*columns).where(_message.c.id == pk)).one()
    return given_key(row.key, row.options), row.metadata


def for_recipient(message: StoredMessage, recipient: str) -> StoredMessage:
    """`message` in the form that `recipient` gets."""
    utf8 = message.utf8
    if utf8 is None or recipient.isascii():
        return message
    size = message.size + utf8.longer
    head = utf8.header.encode()
    return replace(message, smtputf8=True, utf8=None, size=size, head=head, skips=utf8.replaces)


def sealed_for(message: StoredMessage, recipient: str) -> StoredMessage:
    """`message`, which is sealed, with what was found out by opening its `recipient`."""
    if isinstance(recipient, Unreadable):
        if recipient.missing:
            return replace(message, locked=message.locked or recipient.why)
        return replace(message, damage=message.damage or f"its recipient is {recipient.why}")
    if not isinstance(recipient, Opened):
        return message
    size = message.skeleton_size if message.skeleton is not None else clear_length(message.skeleton_size)
    return replace(message, data_key=recipient.key, skeleton_size=size)


def read_messages(connection: sa.Connection, pks: Iterable[int], environment: str) -> dict[int, StoredMessage]:
    """The messages by primary key, all of them: one that can't be read has `damage`, and `environment`."""
    pks = sorted(pks)
    parts = _parts(connection, pks)
    try:
        found = _read(connection, pks, parts)
    except _UNREADABLE:
        found = _one_by_one(connection, pks, parts, environment)
    for pk in pks:
        if pk not in found:
            found[pk] = _damaged(pk, environment, _MISSING)
    return found


def stored_from(row: Any, parts: Iterable[tuple[int, str]] | None, environment: str) -> StoredMessage:
    """The message in a row of MESSAGE_COLUMNS and `message_pk`, damaged where it can't be read."""
    if row.pk is None:
        return _damaged(row.message_pk, environment, _MISSING)
    try:
        return _stored(row, tuple([(offset, digest) for offset, digest in parts]) if parts else ())
    except _UNREADABLE as error:
        return _not_read(row.pk, environment, error)


def parts_of(message: sa.ColumnElement[int], database: Database) -> sa.ColumnElement[Any]:
    """The big parts of a message as a JSON array of [offset, digest], where the database writes in queries."""
    pairs = database.pairs(_part.c.skeleton_offset, _part.c.digest, _part.c.position)
    return sa.select(pairs).where(_part.c.message_id == message).scalar_subquery()


def _one_by_one(
    connection: sa.Connection, pks: list[int], parts: dict[int, Any], environment: str
) -> dict[int, StoredMessage]:
    found: dict[int, StoredMessage] = {}
    for pk in pks:
        try:
            found |= _read(connection, [pk], parts)
        except _UNREADABLE as error:
            found[pk] = _not_read(pk, environment, error)
    return found


def _parts(connection: sa.Connection, pks: list[int]) -> dict[int, list[tuple[int, str]]]:
    parts: dict[int, list[tuple[int, str]]] = {}
    statement = (
        sa.select(_part.c.message_id, _part.c.skeleton_offset, _part.c.digest)
        .where(_part.c.message_id.in_(pks))
        .order_by(_part.c.message_id, _part.c.position)
    )
    for part in connection.execute(of(connection).latest(statement)):
        parts.setdefault(part.message_id, []).append((part.skeleton_offset, part.digest))
    return parts


def _read(
    connection: sa.Connection, pks: list[int], parts: dict[int, list[tuple[int, str]]]
) -> dict[int, StoredMessage]:
    statement = sa.select(*MESSAGE_COLUMNS, DbNow().label("now")).where(_message.c.id.in_(pks))
    rows = connection.execute(of(connection).latest(statement))
    return {row.pk: _stored(row, tuple(parts.get(row.pk, ()))) for row in rows}


def _stored(row: Any, parts: tuple[tuple[int, str], ...]) -> StoredMessage:
    if UNREADABLE in (row.created_at, row.expires_at):  # an expiry, too, that would count as long past
        raise ValueError("a time that can't be read")
    options = row.options or {}
    if isinstance(options, str):
        options = _clear(opened_json(options, "options")) or {}
    utf8_header = row.utf8_header
    if utf8_header is not None:
        utf8_header = _clear(opened_json(utf8_header, "utf8_header"))
    skeleton, size = row.skeleton, row.skeleton_size
    if skeleton is not None and is_sealed(skeleton := bytes(skeleton)):
        skeleton = open_all(skeleton, "skeleton")
        size = len(skeleton)
    return StoredMessage(
        pk=row.pk,
        message_id=row.message_id,
        environment=row.environment,
        kind=row.kind,
        envelope_from=_clear(opened(row.envelope_from, "envelope_from")),
        size=row.size,
        smtputf8=row.smtputf8,
        mail_options=tuple(options.get("mail", ())),
        rcpt_options=tuple(options.get("rcpt", ())),
        tags=tuple(options.get("tags", ())),
        guard=options.get("guard"),
        trace=options.get("trace"),
        on_uncertain=_ON_UNCERTAIN.get(row.on_uncertain) or OnUncertain(row.on_uncertain),
        created_at=utc(row.created_at),
        expires_in=None if row.expires_at is None else (utc(row.expires_at) - utc(row.now)).total_seconds(),
        skeleton=None if skeleton is None and row.skeleton_size > CLAIMED_BYTES else bytes(skeleton),
        parts=parts,
        skeleton_size=size,
        utf8=None if utf8_header is None else utf8_from(utf8_header),
    )


def utf8_from(value: Any) -> Utf8Header:
    """The column `utf8_header`, read back."""
    return Utf8Header(int(value["replaces"]), str(value["header"]))


def _clear(value: Any) -> Any:
    """Raises DamagedMessageError for what could not be opened."""
    if isinstance(value, Unreadable):
        why = f"it is {value.why}"
        raise SealedWithoutKeyError(why) if value.missing else DamagedMessageError(why)
    return value


def _not_read(pk: int, environment: str, error: Exception) -> StoredMessage:
    if isinstance(error, SealedWithoutKeyError):
        return replace(_damaged(pk, environment, str(error)), locked=str(error))
    if isinstance(error, DamagedMessageError):
        return _damaged(pk, environment, str(error))
    return _damaged(pk, environment, f"its row in outbox_message can't be read: {type(error).__name__}")


def _damaged(pk: int, environment: str, damage: str) -> StoredMessage:
    return StoredMessage(
        pk=pk,
        message_id=f"(message {pk})",
        environment=environment,
        kind=None,
        envelope_from="",
        size=0,
        smtputf8=False,
        mail_options=(),
        rcpt_options=(),
        on_uncertain=OnUncertain.HOLD,  # the careful one: what its policy was is not known
        created_at=datetime.fromtimestamp(0, UTC),
        expires_in=None,
        skeleton=b"",
        parts=(),
        damage=damage,
    )
