"""The outbox of one application: what `Outbox.init_app` binds to it, and what `app.extensions["mail"]` holds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from typing import Any, Unpack
from weakref import WeakSet

import flask_mail
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.orm import Session

from outbox.core import clock, tracing
from outbox.core.errors import NotBoundError
from outbox.core.events import logger
from outbox.extension import changes, images, locales, many, signals, uncommitted
from outbox.extension.additions import language_of, with_adds
from outbox.extension.copies import with_copy
from outbox.extension.development import Remarks
from outbox.extension.draft import OURS, draft_of
from outbox.extension.errors import EXPLAINED, as_in_flask_mail
from outbox.extension.flask_mail import Connection, Message
from outbox.extension.handlers import Listening
from outbox.extension.hooks import Hook, prepared
from outbox.extension.kinds import Kinds
from outbox.extension.options import EnqueueOptions, SharedOptions, check_alone, check_names, posting
from outbox.extension.samples import TAKING
from outbox.extension.send_hooks import SendHooks
from outbox.extension.sessions import Sessions
from outbox.extension.subscription import can_be_left
from outbox.message import inline_css
from outbox.message.compose import compose, digest, new_unique
from outbox.message.values import Composed
from outbox.settings import Settings
from outbox.settings.kinds import Policy
from outbox.store.autocommit import REMEDY
from outbox.store.databases import of
from outbox.store.enqueue import enqueue, guarded, write_connection
from outbox.store.enqueue_many import Queued
from outbox.store.models import OutboxMessage
from outbox.store.posting import Posting

_WAKE_SECONDS = 0.005  # a pending NOTIFY makes commits queue up: not one for each of a thousand mails a second


BOUND = "outbox.bound"
"""Where the application keeps it, in addition to `extensions["mail"]`."""


class Bound(flask_mail._Mail):
    """The outbox of one application: what `app.extensions["mail"]` holds.

    It has the attributes of Flask-Mail's state (`server`, `default_sender`, …) and its methods, which enqueue.
    """

    listening: Listening  # set where it is bound, as the next
    send_hooks: SendHooks

    def __init__(self, app: Flask, settings: Settings, session: Any, kinds: Kinds, hooks: Sequence[Hook]) -> None:
        super().__init__(**state(settings))
        self.app = app
        self.settings = settings
        self.kinds = kinds
        self.hooks = hooks
        self.images = images.installed(app, settings)
        self._remarks = Remarks(app)
        self._html = inline_css.inlined if settings.inlines_css else None
        self.sessions = Sessions(app, settings, session)
        self.now: Callable[[], datetime] = clock.utcnow  # for Date headers; tests may set another clock
        self._wake = clock.Debounce(_WAKE_SECONDS)
        self._looked_at: WeakSet[sa.Engine] = WeakSet()

    @property
    def sensitive_kinds(self) -> tuple[str, ...]:
        """Those whose mail holds secrets: of OUTBOX_SENSITIVE_KINDS, and those that are defined so."""
        return self.kinds.sensitive(self.settings.sensitive_kinds)

    def connect(self) -> Connection:
        """A connection whose `send` enqueues."""
        return Connection(self)

    def send_message(self, *args: Any, **kwargs: Any) -> None:
        """Enqueue a message made of the arguments of `Message`."""
        self.send(Message(*args, **kwargs))

    def enqueue(
        self, message: flask_mail.Message, session: Any = None, **options: Unpack[EnqueueOptions]
    ) -> OutboxMessage:
        """As `Outbox.enqueue`."""
        check_names(options, EnqueueOptions, "enqueue")
        if (taken := TAKING.get()) is not None:  # a preview is made: nothing is written
            return taken.take(message, options)
        now, given = self.now(), message
        if self.hooks:
            message, options = prepared(self.hooks, message, options)
        with tracing.Sending(options.get("kind")) as span:
            return self._enqueued(given, message, session, options, now, span)

    def _enqueued(
        self,
        given: flask_mail.Message,
        message: flask_mail.Message,
        session: Any,
        options: EnqueueOptions,
        now: datetime,
        span: tracing.Sending,
    ) -> OutboxMessage:
        policy = self.kinds.policy(options.get("kind"), strict=self.settings.kinds_strict)
        posted = posting(self.settings, options, policy, wake=self._wakes())
        composed = self.composed(message, now, posted, options, policy)
        with EXPLAINED, self.sessions.session(session) as (current, own):
            connection = write_connection(current)
            posted = guarded(connection, posted)
            queued, is_new = enqueue(current, composed, posted, connection)
            if own:
                with suppress(sa.exc.InvalidRequestError):  # a throttle's, which was purged
                    current.refresh(queued)
            elif is_new:
                own = self._commits_at_once(connection)
                if not own:
                    uncommitted.watch(current, many.told(composed, posted), app=self.app)
        span.wrote(queued.message_id, composed.size)
        if is_new:
            self._dispatched(many.Prepared(given, message, composed, posted), now, committed=own)
        return queued

    def enqueue_many(
        self,
        messages: Iterable[flask_mail.Message | tuple[flask_mail.Message, Mapping[str, Any]]],
        session: Any = None,
        **options: Unpack[SharedOptions],
    ) -> list[Queued]:
        """As `Outbox.enqueue_many`."""
        check_names(options, SharedOptions, "enqueue_many")
        if (taken := TAKING.get()) is not None:
            asked = [one if isinstance(one, tuple) else (one, None) for one in messages]
            made = [taken.take(one, {**options, **(own or {})}) for one, own in asked]
            return [Queued(0, one.message_id, True) for one in made]
        now = self.now()
        with tracing.Sending(options.get("kind")) as span:
            items = many.prepare(self, messages, options, now, wake=self._wakes())
            span.wrote_many(len(items))
            with self.writing(session) as (current, own):
                return many.write(self, current, items, now, own=own)

    def prepare_many(
        self, messages: Iterable[many.Given], options: SharedOptions, *, refused: many.Refused | None
    ) -> list[many.Prepared]:
        """Compose a portion of a batch, for `write_many`."""
        return many.prepare(self, messages, options, self.now(), wake=self._wakes(), refused=refused)

    def write_many(self, items: Sequence[many.Prepared], session: Session) -> list[Queued]:
        """Write what `prepare_many` made."""
        return many.write(self, session, items, self.now(), own=False)

    def change(self, session: Any, named: changes.Named, how: changes.Change) -> int:
        """Change the mail that is named, in the caller's transaction; how many deliveries."""
        with self.writing(session) as (current, _):
            return changes.change(current, self.settings, named, how)

    def find(self, session: Any, named: changes.Named) -> OutboxMessage | None:
        """The message that is named; None if there is none."""
        with self.writing(session) as (current, _):
            return changes.find(current, self.settings, named)

    @as_in_flask_mail
    def composed(
        self,
        message: flask_mail.Message,
        now: datetime,
        posted: Posting,
        options: EnqueueOptions,
        policy: Policy | None,
    ) -> Composed:
        """Dated to when it is due: with an old Date it would look delayed."""
        date = max(now, posted.send_at or now)
        if date != now and message.date is not None and message.date == getattr(message, _DATED, None):
            message.date = None  # it is ours, of when the same object was enqueued before
        unique = new_unique()
        language = language_of(message, options)
        with locales.under(language):
            draft = draft_of(with_adds(message, self.settings, options, policy, language))
            composed = compose(
                draft,
                default_sender=self.default_sender,
                now=date,
                max_bytes=self.settings.max_message_bytes,
                ascii_attachments=self.ascii_attachments,
                name_fallback=self.settings.filename_fallback,
                envelope_from=options.get("envelope_from"),
                unique=unique,
                html=self._html,
                image=self.images.part,
            )
        self._remarks.look(composed, posted.kind, can_be_left=can_be_left(policy, self.settings))
        check_alone(posted, composed)
        if posted.key is not None:
            composed = replace(composed, content=digest(draft, composed, unique))
        return with_copy(composed, self.settings, posted.kind, policy)

    @contextmanager
    def writing(self, session: Any) -> Iterator[tuple[Session, bool]]:
        """The session to write in, and whether it is one of our own, committed at the end."""
        with EXPLAINED, self.sessions.session(session) as found:
            yield found

    def _commits_at_once(self, connection: sa.Connection) -> bool:
        """Whether a rollback would not take the mail back that was just written; warns, once for each engine."""
        if not of(connection).commits_at_once(connection):
            return False
        if connection.engine not in self._looked_at:
            self._looked_at.add(connection.engine)
            logger.warning(
                "the session's engine is in AUTOCOMMIT: mail is committed at once, and sent even if the request is "
                "rolled back. %s",
                REMEDY,
            )
        return True

    def _dispatched(self, one: many.Prepared, now: datetime, *, committed: bool) -> None:
        for message in (one.given,) if one.sent is one.given else (one.given, one.sent):
            if message.msgId != one.composed.message_id:
                message.msgId = one.composed.message_id
                setattr(message, OURS, message.msgId)
            if message.date is None:
                message.date = max(now, one.posted.send_at or now).timestamp()
                setattr(message, _DATED, message.date)
        if flask_mail.email_dispatched.receivers:
            flask_mail.email_dispatched.send(self.app, message=one.sent)
        if committed:
            message_id, recipients, kind = many.told(one.composed, one.posted)
            signals.queued(self.app, message_id, recipients=recipients, kind=kind)

    def _wakes(self) -> bool:
        """Whether workers are told of what is written now: not of each of a thousand messages a second."""
        return self.settings.wake and self._wake.passes()


_DATED = "_outbox_date"
"""The attribute of a message that says which date was set here, and not by the application."""


def bound_to(app: Flask) -> Bound:
    """The outbox of `app`. Raises NotBoundError."""
    bound: Bound | None = app.extensions.get(BOUND)
    if bound is None:
        raise NotBoundError(f"The application {app.name!r} has no outbox. Call mail.init_app(app) when it is created.")
    return bound


def state(settings: Settings) -> dict[str, Any]:
    """The attributes of Flask-Mail's state."""
    values: Mapping[str, Any] = {name: getattr(settings, name, None) for name in STATE}
    return {**values, "suppress": settings.suppress_send}


STATE = frozenset(
    {
        "server",
        "username",
        "password",
        "port",
        "use_tls",
        "use_ssl",
        "default_sender",
        "debug",
        "max_emails",
        "suppress",
        "ascii_attachments",
    }
)
