"""Find mail, and show one with all that is known of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from outbox.core.clock import UNREADABLE
from outbox.core.errors import DamagedMessageError
from outbox.delivery.reply import Phase, Verdict
from outbox.delivery.states import Lane, OnUncertain, State
from outbox.message.values import Blob, whole_form
from outbox.operations.conditions import MAX_ID
from outbox.operations.filters import Filter, narrowed
from outbox.operations.hits import JOINED, hits, unordered
from outbox.operations.tables import ATTEMPT, BATCH, BLOB, DELIVERY, MESSAGE, PART, WORKER
from outbox.store.messages import utf8_from
from outbox.store.sealed_message import given_key
from outbox.store.types import DbNow

MAX_SIBLINGS = 1_000
"""How many other recipients of a message are shown with one of them."""


@dataclass(frozen=True, slots=True)
class Row:
    """One delivery, as a list shows it. All text that came from outside is as hostile as it was."""

    id: int  # the delivery's
    message_id: int  # the message's row, not its Message-ID
    state: State
    recipient: str
    subject: str
    kind: str | None
    lane: Lane
    created_at: datetime
    due_at: datetime | None  # queued: when it is attempted; sending: when the lease ends
    attempts: int  # counted attempts
    code: int | None  # of the last reply
    enhanced: str | None
    reply: str | None
    reason: str | None  # why it is in this state, one word
    updated_at: datetime
    environment: str  # that wrote the message
    age: float  # seconds since it was enqueued
    batch: str | None  # the name of its batch


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt."""

    id: int
    at: datetime  # when it was recorded
    worker_id: int | None
    worker: str | None  # host:pid, where the worker's row is still there
    transport: str | None
    phase: Phase
    verdict: Verdict
    code: int | None
    enhanced: str | None
    reply: str
    relay_id: str | None
    duration: float  # seconds
    counted: bool  # cost the delivery an attempt
    fenced: bool  # made although the lease was lost
    note: str | None


@dataclass(frozen=True, slots=True)
class Sibling:
    """Another recipient of the same message."""

    id: int
    recipient: str
    state: State


@dataclass(frozen=True, slots=True)
class Detail(Row):
    """One delivery with its message, attempts and the other recipients."""

    message_id_header: str  # with its angle brackets
    headers: tuple[tuple[str, str], ...]  # decoded, in wire order
    envelope_from: str
    size: int  # bytes of the wire form
    key: str | None
    metadata: dict[str, Any] | None
    on_uncertain: OnUncertain
    expires_at: datetime | None
    redacted_at: datetime | None
    finished_at: datetime | None
    marked_at: datetime | None  # the final dot may have been sent under a lease that was lost
    rescues: int
    route: str  # the names of the transports that may carry it, the preferred one first; "": any
    smtputf8: bool  # the form that this recipient gets needs SMTPUTF8 (RFC 6531)
    downgraded: bool  # this recipient gets it with downgraded headers (RFC 6857), another one in UTF-8
    attempt_log: list[Attempt] = field(default_factory=list)  # oldest first
    copy_to: str | None = None  # the recipient that gets a copy, by OUTBOX_ALWAYS_BCC or its kind
    siblings: list[Sibling] = field(default_factory=list)  # MAX_SIBLINGS at most

    @property
    def is_copy(self) -> bool:
        """Whether this is the copy."""
        return bool(self.mark(self.recipient))

    @property
    def ways(self) -> str:
        """By which transports it may go; "": by any."""
        return ", else ".join(self.route.split())

    def mark(self, recipient: str) -> str:
        """What is said behind the recipient that gets a copy; "" of others."""
        return "  (a copy: always_bcc)" if recipient == self.copy_to else ""


_ROW = (
    DELIVERY.c.id,
    DELIVERY.c.message_id,
    DELIVERY.c.state,
    DELIVERY.c.recipient,
    MESSAGE.c.subject,
    MESSAGE.c.kind,
    MESSAGE.c.lane,
    MESSAGE.c.created_at,
    DELIVERY.c.due_at,
    DELIVERY.c.attempts,
    DELIVERY.c.code,
    DELIVERY.c.enhanced,
    DELIVERY.c.reply,
    DELIVERY.c.reason,
    DELIVERY.c.updated_at,
    MESSAGE.c.environment,
    sa.select(BATCH.c.name).where(BATCH.c.id == DELIVERY.c.batch_id).scalar_subquery().label("batch"),
    DbNow().label("now"),
)

_DETAIL = (
    MESSAGE.c.message_id.label("message_id_header"),
    MESSAGE.c.headers,
    MESSAGE.c.envelope_from,
    MESSAGE.c.size,
    MESSAGE.c.key,
    MESSAGE.c.metadata.label("metadata"),
    MESSAGE.c.on_uncertain,
    MESSAGE.c.expires_at,
    MESSAGE.c.redacted_at,
    DELIVERY.c.finished_at,
    DELIVERY.c.marked_at,
    DELIVERY.c.rescues,
    DELIVERY.c.route,
    MESSAGE.c.smtputf8,
    MESSAGE.c.utf8_header,
    MESSAGE.c.options,
)


def find(
    connection: sa.Connection,
    wanted: Filter,
    *,
    before: int | None = None,
    after: int | None = None,
    oldest_first: bool = False,
    limit: int = 50,
) -> list[Row]:
    """The newest deliveries that match, newest first; with `before`, those with a smaller id (the next page).

    `oldest_first`: the oldest; with `after`, those with a larger id.
    """
    wanted = narrowed(connection, wanted)
    found = hits(wanted, None if after is None else after + 1, before, oldest_first=oldest_first)
    page = found.limit(limit).subquery("page")  # the join is only made for what is shown
    shown = DELIVERY.c.id.asc() if oldest_first else DELIVERY.c.id.desc()
    rows = connection.execute(
        sa.select(*_ROW).select_from(JOINED.join(page, DELIVERY.c.id == page.c.id)).order_by(shown)
    )
    return [Row(**_row_values(row)) for row in rows]


def count(connection: sa.Connection, wanted: Filter, *, cap: int = 10_000) -> int:
    """How many match; it stops at `cap` + 1, which means "more than `cap`"."""
    wanted = narrowed(connection, wanted)
    inner = unordered(wanted).limit(cap + 1).subquery()
    return int(connection.execute(sa.select(sa.func.count()).select_from(inner)).scalar_one())


def show(connection: sa.Connection, id: int) -> Detail | None:
    """All that is known of the delivery `id`, its body aside; None if there is no such delivery."""
    if not 0 < id <= MAX_ID:
        return None
    row = connection.execute(sa.select(*_ROW, *_DETAIL).select_from(JOINED).where(DELIVERY.c.id == id)).first()
    if row is None:
        return None
    values = _row_values(row) | {column.key: getattr(row, column.key) for column in _DETAIL}
    values["headers"] = tuple((name, value) for name, value in row.headers)
    values["on_uncertain"] = OnUncertain(row.on_uncertain)
    values["key"] = given_key(row.key, row.options)
    utf8_header = values.pop("utf8_header")
    values["copy_to"] = next(iter((values.pop("options") or {}).get("copy", [])), None)
    if utf8_header is not None and not row.recipient.isascii():
        values |= {"smtputf8": True, "size": row.size + utf8_from(utf8_header).longer}
    values["downgraded"] = utf8_header is not None and row.recipient.isascii()
    return Detail(**values, attempt_log=_attempt_log(connection, id), siblings=_others(connection, row))


def recipients(connection: sa.Connection, message_pk: int) -> list[Sibling]:
    """The deliveries of a message (`Row.message_id`), MAX_SIBLINGS at most."""
    rows = connection.execute(
        sa.select(DELIVERY.c.id, DELIVERY.c.recipient, DELIVERY.c.state)
        .where(DELIVERY.c.message_id == message_pk)
        .order_by(DELIVERY.c.id)
        .limit(MAX_SIBLINGS)
    )
    return [Sibling(row.id, row.recipient, State(row.state)) for row in rows]


def wire(connection: sa.Connection, message_pk: int, recipient: str = "") -> bytes:
    """The message as it goes over the wire to `recipient` (RFC 5322, not dot-stuffed).

    `message_pk`: `Row.message_id`. Raises DamagedMessageError where a part is gone or the whole has another size than
    when it was enqueued.
    """
    columns = (MESSAGE.c.skeleton, MESSAGE.c.size, MESSAGE.c.redacted_at, MESSAGE.c.utf8_header)
    message = connection.execute(sa.select(*columns).where(MESSAGE.c.id == message_pk)).first()
    if message is None:
        raise DamagedMessageError(f"message {message_pk} is not there (any more): was it purged?")
    utf8 = None if message.utf8_header is None or recipient.isascii() else utf8_from(message.utf8_header)
    size = message.size + (0 if utf8 is None else utf8.longer)
    whole = whole_form(bytes(message.skeleton), _blobs(connection, message_pk), utf8, recipient)
    if len(whole) != size and message.redacted_at is None:
        raise DamagedMessageError(
            f"message {message_pk} is damaged: {len(whole)} bytes instead of {size}. Was its row changed by hand?"
        )
    return whole


def _row_values(row: Any) -> dict[str, Any]:
    values = {column.key: getattr(row, column.key) for column in _ROW if column.key != "now"}
    values["state"] = State(row.state)
    values["lane"] = Lane.of_rank(row.lane)
    values["age"] = 0.0 if row.created_at == UNREADABLE else max(0.0, (row.now - row.created_at).total_seconds())
    return values


def _attempt_log(connection: sa.Connection, id: int) -> list[Attempt]:
    rows = connection.execute(
        sa.select(ATTEMPT, WORKER.c.host, WORKER.c.pid)
        .select_from(ATTEMPT.outerjoin(WORKER, ATTEMPT.c.worker_id == WORKER.c.id))
        .where(ATTEMPT.c.delivery_id == id)
        .order_by(ATTEMPT.c.id)
    )
    return [
        Attempt(
            id=row.id,
            at=row.at,
            worker_id=row.worker_id,
            worker=None if row.host is None else f"{row.host}:{row.pid}",
            transport=row.transport,
            phase=Phase(row.phase),
            verdict=Verdict(row.verdict),
            code=row.code,
            enhanced=row.enhanced,
            reply=row.reply,
            relay_id=row.relay_id,
            duration=row.duration,
            counted=row.counted,
            fenced=row.fenced,
            note=row.note,
        )
        for row in rows
    ]


def _others(connection: sa.Connection, row: Any) -> list[Sibling]:
    return [one for one in recipients(connection, row.message_id) if one.id != row.id]


def _blobs(connection: sa.Connection, message_pk: int) -> tuple[tuple[int, Blob], ...]:
    rows = connection.execute(
        sa.select(PART.c.skeleton_offset, PART.c.digest, BLOB.c.data)
        .select_from(PART.outerjoin(BLOB, PART.c.digest == BLOB.c.digest))
        .where(PART.c.message_id == message_pk)
        .order_by(PART.c.position)
    ).all()
    for row in rows:
        if row.data is None:
            raise DamagedMessageError(
                f"message {message_pk} is damaged: blob {row.digest} is missing. "
                "Was outbox_blob purged by hand, or restored in part?"
            )
    return tuple((row.skeleton_offset, Blob(bytes(row.data))) for row in rows)
