"""What a test sees of the outbox, as its own session sees it: also what is not committed yet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any, cast

import sqlalchemy as sa
from flask import Flask, current_app, has_app_context
from sqlalchemy.orm import Session

from outbox import operations
from outbox.core import clock
from outbox.core.errors import UncommittedMailError
from outbox.delivery.states import Lane, State
from outbox.extension.outbox import outbox_of
from outbox.extension.state import bound_to
from outbox.store.databases import of
from outbox.store.effect_model import OutboxEffect
from outbox.store.enqueue import write_connection
from outbox.store.models import OutboxBlob, OutboxDelivery, OutboxMessage, OutboxMessageBlob, OutboxWorker
from outbox.store.sealed_message import given_key
from outbox.store.types import DbNow
from outbox.testing.drain import drain
from outbox.testing.frozen import Clock
from outbox.testing.joined import Joined
from outbox.testing.scripts import Attempt, Relay, Script

_PRECISION_SECONDS = 0.001
"""Of the times that SQLite stores."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """One attachment or inline image."""

    filename: str | None
    content_type: str
    data: bytes
    content_id: str | None  # of an inline image, without its angle brackets


@dataclass(frozen=True, slots=True)
class Mail:
    """One message that was enqueued."""

    message_id: str
    subject: str
    sender: str  # the From header
    to: str  # the To header, as it reads
    recipients: tuple[str, ...]  # of the envelope: To, Cc and Bcc
    text: str | None
    html: str | None
    attachments: tuple[Attachment, ...]
    kind: str | None
    key: str | None
    priority: str
    metadata: dict[str, Any] | None
    due_at: datetime | None  # of its first delivery; None once that has ended
    expires_at: datetime | None
    committed: bool  # False: a rollback would take it back
    states: dict[str, State]  # by recipient
    headers: EmailMessage = field(repr=False)  # all of them: mail.headers["Reply-To"]
    raw: bytes = field(repr=False)  # the wire form


class Mailbox:
    """The outbox of one application. A list of its mail, in the order in which it was enqueued."""

    def __init__(self, app: Flask, since: float | None = None) -> None:
        """`since`: what was there at that moment of the monotonic clock is not seen. Raises NotBoundError."""
        self._since = since
        self._left: int | None = None if since is not None else 0  # the newest id that earlier tests left, if known
        self._app = app
        self._outbox = outbox_of(app)
        self._clock = Clock(bound_to(app))

    @property
    def messages(self) -> list[Mail]:
        """All mail, read again each time."""
        with self._session() as session, self._connection(session) as connection:
            held = {mail.message_id for mail in session.info.get("outbox.pending", ())} if session else set()
            return _read(connection, held, after=self._find_left(connection))

    @property
    def only(self) -> Mail:
        """The only message. AssertionError, with the subjects, if there are none or several."""
        found = self.messages
        assert len(found) == 1, f"{len(found)} messages instead of one: {[mail.subject for mail in found]}"  # noqa: S101
        return found[0]

    @property
    def last(self) -> Mail:
        """The newest. AssertionError if there is none."""
        found = self.messages
        assert found, "no mail"  # noqa: S101
        return found[-1]

    @property
    def subjects(self) -> list[str]:
        """The subjects of all mail."""
        return [mail.subject for mail in self.messages]

    def to(self, address: str) -> list[Mail]:
        """The mail to `address`, and perhaps to others."""
        return [mail for mail in self.messages if address in mail.recipients]

    def clear(self) -> None:
        """Forget all mail so far. Raises UncommittedMailError where some is not committed."""
        with self._engine() as engine, engine.begin() as connection:
            for model in (OutboxEffect, OutboxDelivery, OutboxMessageBlob, OutboxMessage, OutboxBlob, OutboxWorker):
                connection.execute(sa.delete(model))

    def drain(self, script: Script = None) -> list[Attempt]:
        """Send what is due, as a worker would, each delivery once; no network, no threads, no waiting.

        `script`: what the relay says, see `outbox.testing.scripts.Script`; by default it takes everything. What is to
        be tried again is due later: `travel` there, and drain again. MAIL_SUPPRESS_SEND does not matter. Raises
        UncommittedMailError where the current session holds mail that is not committed: a worker would not see it.
        """
        relay = Relay(script)
        subjects = {mail.message_id: mail.subject for mail in self.messages}
        with self._engine() as engine:
            self._remove_left(engine)
            return drain(self._app, engine, self._outbox.settings(self._app), relay, subjects)

    def freeze(self, moment: datetime | None = None) -> None:
        """Stop the clocks by which mail is dated, due and expires, now or at `moment` (aware), until the test ends."""
        self._look_before_freezing()
        self._clock.freeze(self._clock.now() if moment is None else moment)

    def travel(self, by: float | timedelta) -> None:
        """Move them on by `by` seconds, stopped."""
        self._look_before_freezing()
        self._clock.travel(by if isinstance(by, timedelta) else timedelta(seconds=by))

    def thaw(self) -> None:
        """Start them again."""
        self._clock.thaw()

    def __len__(self) -> int:
        return len(self.messages)

    def __iter__(self) -> Iterator[Mail]:
        return iter(self.messages)

    def __getitem__(self, index: int) -> Mail:
        return self.messages[index]

    def __bool__(self) -> bool:
        return bool(self.messages)

    def _find_left(self, connection: sa.Connection) -> int:
        """Ids, not times, tell from then on: a test may set the clock back."""
        if self._left is None and self._since is not None:
            now = connection.execute(sa.select(DbNow())).scalar_one()  # rows are dated by the database's clock
            began = now - timedelta(seconds=clock.monotonic() - self._since + _PRECISION_SECONDS)
            older = sa.select(sa.func.max(OutboxMessage.id)).where(OutboxMessage.created_at < began)
            self._left = connection.execute(older).scalar() or 0
        return self._left or 0

    def _remove_left(self, engine: sa.Engine) -> None:
        with engine.connect() as connection:
            left = self._find_left(connection)
        if not left:
            return
        with engine.begin() as connection:
            old = sa.select(OutboxMessage.id).where(OutboxMessage.id <= left)
            for model in (OutboxDelivery, OutboxMessageBlob):
                connection.execute(sa.delete(model).where(model.message_id.in_(old)))
            connection.execute(sa.delete(OutboxMessage).where(OutboxMessage.id <= left))

    def _look_before_freezing(self) -> None:
        if self._left is None:
            with self._session() as session, self._connection(session) as connection:
                self._find_left(connection)

    @contextmanager
    def _session(self) -> Iterator[Session | None]:
        """The application's current session; None for an application without."""
        sessions = bound_to(self._app).sessions
        if not sessions.has_source:
            yield None
            return
        if has_app_context() and current_app._get_current_object() is self._app:  # type: ignore[attr-defined]
            yield sessions.current()
            return
        with self._app.app_context():
            yield sessions.current()

    @contextmanager
    def _connection(self, session: Session | None) -> Iterator[sa.Connection]:
        """That of the session's open transaction; else one of its own, so that none is opened for looking."""
        if session is not None and session.in_transaction():
            yield write_connection(session)
            return
        bind = self._outbox.database(self._app) if session is None else session.get_bind(OutboxMessage)
        if isinstance(bind, sa.Connection):
            yield bind
            return
        with bind.connect() as connection:
            yield connection

    @contextmanager
    def _engine(self) -> Iterator[sa.Engine]:
        """Where a worker finds the mail: the test's own transaction, if it has put the session into one."""
        with self._session() as session:
            if session is None:
                yield self._outbox.database(self._app)
                return
            pending = session.info.get("outbox.pending")
            if pending:
                raise UncommittedMailError(
                    f"The session holds mail that is not committed, and no worker sees it: {pending[0]}. Commit first."
                )
            bind = session.get_bind(OutboxMessage)
            if isinstance(bind, sa.Connection):
                yield cast(sa.Engine, Joined(bind))
            elif session.in_transaction() and of(bind).one_writer:  # it would wait for its own lock
                yield cast(sa.Engine, Joined(write_connection(session)))
            else:
                yield bind


def _read(connection: sa.Connection, held: set[str], after: int) -> list[Mail]:
    message, delivery = OutboxMessage.__table__.c, OutboxDelivery.__table__.c
    deliveries: dict[int, list[Any]] = {}
    for row in connection.execute(
        sa.select(delivery.message_id, delivery.recipient, delivery.state, delivery.due_at).order_by(delivery.id)
    ):
        deliveries.setdefault(row.message_id, []).append(row)
    columns = (
        message.id,
        message.kind,
        message.key,
        message.lane,
        message.metadata,
        message.expires_at,
        message.options,
    )
    wanted = sa.select(*columns, message.message_id, message.subject).where(message.id > after)
    rows = connection.execute(wanted.order_by(message.id)).all()
    return [_mail(connection, row, deliveries.get(row.id, []), held) for row in rows]


def _mail(connection: sa.Connection, row: Any, deliveries: list[Any], held: set[str]) -> Mail:
    whole = next((one.recipient for one in deliveries if not one.recipient.isascii()), "")  # with all addresses
    raw = operations.wire(connection, row.id, whole)
    parsed = message_from_bytes(raw, policy=policy.default)
    return Mail(
        message_id=row.message_id,
        subject=row.subject,
        sender=str(parsed["From"]),
        to=str(parsed["To"] or ""),
        recipients=tuple(one.recipient for one in deliveries),
        text=_body(parsed, "plain"),
        html=_body(parsed, "html"),
        attachments=tuple(_attachments(parsed)),
        kind=row.kind,
        key=given_key(row.key, row.options),
        priority=str(Lane.of_rank(row.lane)),
        metadata=row.metadata,
        due_at=deliveries[0].due_at if deliveries else None,
        expires_at=row.expires_at,
        committed=row.message_id not in held,
        states={one.recipient: State(one.state) for one in deliveries},
        headers=parsed,
        raw=raw,
    )


def _body(parsed: EmailMessage, kind: str) -> str | None:
    part = parsed.get_body((kind,))
    return None if part is None else str(cast(Any, part).get_content())


def _attachments(parsed: EmailMessage) -> Iterator[Attachment]:
    for part in parsed.walk():
        if part.is_multipart() or part in (parsed.get_body(("plain",)), parsed.get_body(("html",))):
            continue
        data = part.get_payload(decode=True)
        name, id = part.get_filename(), part.get("Content-ID")
        yield Attachment(name, part.get_content_type(), cast(bytes, data), id.strip("<> ") if id else None)
