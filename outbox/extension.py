"""`Outbox`: a drop-in for `flask_mail.Mail` whose `send` writes to the outbox, in the caller's own transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import flask
import flask_mail
import sqlalchemy as sa
from flask import Flask, current_app, has_app_context
from sqlalchemy.engine import Engine
from werkzeug.local import LocalProxy

from outbox import clock, pending, signals
from outbox.compose import compose, new_unique, render
from outbox.enqueue import enqueue
from outbox.errors import NotBoundError, SchemaError
from outbox.mail import Address, Connection, Message
from outbox.models import OutboxMessage
from outbox.posting import posting
from outbox.sessions import Sessions
from outbox.settings import Settings

_BOUND, _GUARD = "outbox.bound", "outbox.guard"

_WAKE_SECONDS = 0.005  # a pending NOTIFY makes commits queue up: not one for each of a thousand mails a second


class Bound(flask_mail._Mail):
    """The outbox of one application: what `app.extensions["mail"]` holds.

    It has the attributes of Flask-Mail's state (`server`, `default_sender`, …) and its methods, which enqueue.
    """

    def __init__(self, app: Flask, settings: Settings, session: Any) -> None:
        super().__init__(**_state(settings))
        self.app = app
        self.settings = settings
        self.sessions = Sessions(app, settings, session)
        self._wake = clock.Debounce(_WAKE_SECONDS)

    def connect(self) -> Connection:
        """A connection whose `send` enqueues."""
        return Connection(self)

    def send_message(self, *args: Any, **kwargs: Any) -> None:
        """Enqueue a message made of the arguments of `Message`."""
        self.send(Message(*args, **kwargs))

    def enqueue(
        self,
        message: flask_mail.Message,
        session: Any = None,
        *,
        envelope_from: Address | None = None,
        **options: Any,
    ) -> OutboxMessage:
        """As `Outbox.enqueue`; `envelope_from`: the address for MAIL FROM, if it is not the sender's."""
        now = clock.utcnow()
        posted = posting(self.settings, **options)
        if self.settings.wake and self._wake.passes():
            posted = replace(posted, wake=True)
        composed = compose(
            message,
            default_sender=self.default_sender,
            now=now,
            max_bytes=self.settings.max_message_bytes,
            ascii_attachments=self.ascii_attachments,
            envelope_from=envelope_from,
            unique=new_unique(),
        )
        told: dict[str, Any] = {"recipients": len(composed.recipients), "kind": posted.kind}
        try:
            with self.sessions.session(session) as (current, own):
                queued, is_new = enqueue(current, composed, posted)
                if own:
                    current.refresh(queued)
                elif is_new:
                    pending.watch(current, composed.message_id, app=self.app, **told)
        except sa.exc.StatementError as error:
            error.hide_parameters = True  # they are the mail
            if _lacks_tables(error):
                raise _not_migrated() from error
            raise
        if is_new:
            message.msgId = composed.message_id
            if message.date is None:
                message.date = now.timestamp()
            flask_mail.email_dispatched.send(self.app, message=message)
            if own:
                signals.queued(self.app, composed.message_id, **told)
        return queued


class Outbox(flask_mail.Mail):
    """Mail that is a row in the caller's transaction. One object may serve several applications."""

    def __init__(self, app: Flask | None = None, session: Any = None) -> None:
        self._session = session
        super().__init__(app)

    def init_app(self, app: Flask, session: Any = None) -> Bound:
        """Bind to `app`, whose configuration is read now.

        `session`: a Session, a scoped_session, a function that returns the current session, or an object with
        `.session` (the `db` of Flask-SQLAlchemy and Flask-SQLAlchemy-Lite). Without one, each mail is written in a
        short transaction of its own on OUTBOX_DATABASE_URL. Raises ConfigurationError with all faults.
        """
        bound = Bound(app, Settings.from_config(app.config), self._session if session is None else session)
        if _GUARD not in app.extensions:
            app.extensions[_GUARD] = pending.Guard(app)
        app.extensions[_GUARD].policy = bound.settings.uncommitted
        app.extensions[_BOUND] = app.extensions["mail"] = bound
        app.extensions["outbox"] = self
        return bound

    def init_mail(self, config: dict[str, Any], debug: bool | int = False, testing: bool = False) -> flask_mail._Mail:
        """Flask-Mail's settings in `config`, checked. Raises ConfigurationError."""
        return flask_mail._Mail(**_state(Settings.from_config({**config, "DEBUG": debug, "TESTING": testing})))

    def connect(self) -> Connection:
        """A connection whose `send` enqueues; it opens nothing."""
        return self._bound().connect()

    def send_message(self, *args: Any, **kwargs: Any) -> None:
        """Enqueue a message made of the arguments of `Message`."""
        self.send(Message(*args, **kwargs))

    def send_email(self, to: str | Iterable[Address], subject: str, template: str, **context: Any) -> OutboxMessage:
        """Enqueue a mail rendered from `template` + ".txt" and + ".html"; one of them may be missing.

        `to`: an address, or several; `context` goes to the templates. Where `enqueue` is to be told more (`key`,
        `kind`, …): `outbox.enqueue(outbox.compose_email(to, subject, template, **context), kind=…)`.
        Raises TemplateError if neither template exists, and what `enqueue` raises.
        """
        return self.enqueue(self.compose_email(to, subject, template, **context))

    def compose_email(self, to: str | Iterable[Address], subject: str, template: str, **context: Any) -> Message:
        """The message that `send_email` enqueues, to add to or to enqueue with options."""
        text, html = render(flask.render_template, template, context)
        recipients: list[Address] = [to] if isinstance(to, str) else list(to)
        return Message(subject, recipients=recipients, body=text, html=html)

    def enqueue(
        self,
        message: flask_mail.Message,
        session: Any = None,
        *,
        key: str | None = None,
        priority: str = "normal",
        send_at: datetime | None = None,
        expires_at: datetime | None = None,
        kind: str | None = None,
        on_uncertain: str | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> OutboxMessage:
        """Write `message` to the outbox in `session`, which defaults to the one given to `init_app`.

        Never commits that session, and does no network I/O. The bytes, Message-ID and Date are frozen now.

        `key`: idempotency; the same key twice, in one or in two transactions, yields one message, and the second call
        returns the first. `priority`: "high", "normal" or "bulk". `send_at`, `expires_at`: aware datetimes; without
        the latter the message expires OUTBOX_MAX_AGE_SECONDS after it is due. `kind`: a label for filters and policy.
        `on_uncertain`: "retry" or "hold", by default what OUTBOX_ON_UNCERTAIN_KINDS and OUTBOX_ON_UNCERTAIN say.
        `metadata`: a JSON object of the application's own.

        Raises MessageError and its subclasses before anything is written; the transaction stays usable. Raises
        SchemaError if the database is not migrated, NotBoundError if the current application has no outbox.
        """
        return self._bound().enqueue(
            message,
            session,
            key=key,
            priority=priority,
            send_at=send_at,
            expires_at=expires_at,
            kind=kind,
            on_uncertain=on_uncertain,
            metadata=metadata,
        )

    def settings(self, app: Flask | None = None) -> Settings:
        """What `app`, by default the current one, is configured to. Raises NotBoundError."""
        return self._bound(app).settings

    def database(self, app: Flask | None = None) -> Engine:
        """The engine that workers, commands and pages use; one for each application and process.

        Raises NotBoundError, and ConfigurationError if there is neither a session nor OUTBOX_DATABASE_URL.
        """
        return self._bound(app).sessions.engine()

    def __getattr__(self, name: str) -> Any:
        # Flask-Mail answers None for every name; here a typo is an error.
        if name not in _STATE:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        state = self.state
        if state is None and has_app_context():
            state = current_app.extensions.get(_BOUND)
        return getattr(state, name, None)

    def _bound(self, app: Flask | None = None) -> Bound:
        app = app or self.app or current_app
        if isinstance(app, LocalProxy):
            app = app._get_current_object()
        bound: Bound | None = app.extensions.get(_BOUND)
        if bound is None:
            raise NotBoundError(
                f"The application {app.name!r} has no outbox. Call outbox.init_app(app) when it is created."
            )
        return bound


def _state(settings: Settings) -> dict[str, Any]:
    """The attributes of Flask-Mail's state."""
    values: Mapping[str, Any] = {name: getattr(settings, name, None) for name in _STATE}
    return {**values, "suppress": settings.suppress_send}


_STATE = frozenset(
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


def _lacks_tables(error: sa.exc.StatementError) -> bool:
    said = str(error.orig).lower()
    return "outbox_" in said and any(words in said for words in ("no such table", "does not exist", "doesn't exist"))


def _not_migrated() -> SchemaError:
    from outbox.schema import REMEDY  # not at the top: Alembic is slow to import, and a request has no need of it

    return SchemaError(f"The database lacks the outbox's tables. {REMEDY}")
