"""`Outbox`: a drop-in for `flask_mail.Mail` whose `send` writes to the outbox, in the caller's own transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Unpack

import flask_mail
from flask import Flask, current_app, has_app_context
from sqlalchemy.engine import Engine
from werkzeug.local import LocalProxy

from outbox.core.errors import MissingFieldError
from outbox.extension import changes
from outbox.extension.batches import Batching
from outbox.extension.digests import Gathering
from outbox.extension.flask_mail import Address, Connection, Message
from outbox.extension.hooked import Hooked
from outbox.extension.kinds import Kind, Kinds
from outbox.extension.launcher import LAUNCHER, Launcher
from outbox.extension.options import EnqueueOptions, SharedOptions, instant, takes
from outbox.extension.request_guard import Guard
from outbox.extension.scopes import GUARD
from outbox.extension.state import BOUND, STATE, Bound, bound_to, state
from outbox.extension.subscribing import Subscribing
from outbox.extension.suppressing import Suppressing
from outbox.extension.templates import message_of
from outbox.extension.token import with_token
from outbox.extension.told import Told
from outbox.settings import Settings
from outbox.settings.endpoint import Transports
from outbox.settings.kinds import KindOptions
from outbox.settings.token_source import Token
from outbox.store.enqueue_many import Queued
from outbox.store.models import OutboxMessage


class Outbox(Told, Batching, Gathering, Hooked, Suppressing, Subscribing, flask_mail.Mail):
    """Mail that is a row in the caller's transaction. One object may serve several applications."""

    def __init__(
        self, app: Flask | None = None, session: Any = None, token: Token = None, transports: Transports = None
    ) -> None:
        self._session, self._token, self._transports = session, token, transports
        self.kinds = Kinds()
        super().__init__(app)

    def init_app(self, app: Flask, session: Any = None, token: Token = None, transports: Transports = None) -> Bound:
        """Bind to `app`, whose configuration is read now.

        `session`: a Session, a scoped_session, a function that returns the current session, or an object with
        `.session` (the `db` of Flask-SQLAlchemy and Flask-SQLAlchemy-Lite). Without one, each mail is written in a
        short transaction of its own on OUTBOX_DATABASE_URL.
        `token`: a function that returns an access token for the log-in to the relay (XOAUTH2), or a pair (token,
        seconds that it lives). Workers call it in an app context, in a thread of its own, before the token ends.
        `transports`: your own classes of transports (`outbox.Transport`), by the scheme of their URLs. Each is called
        with an `outbox.Endpoint`: here, for a ValueError about its settings, and for each connection of a worker.
        Raises ConfigurationError with all faults.
        """
        settings = self.kinds.settings(with_token(app, token or self._token), transports or self._transports)
        bound = Bound(app, settings, self._session if session is None else session, self.kinds, self._hooks)
        bound.send_hooks = self.send_hooks
        if GUARD not in app.extensions:
            app.extensions[GUARD] = Guard(app)
        app.extensions[BOUND] = app.extensions["mail"] = self.told(bound)
        app.extensions["outbox"] = self
        if settings.in_process:
            self._launch(app, settings.in_process)
        return bound

    def start(self, app: Flask | None = None) -> None:
        """Run a worker inside the application once a server serves it, as OUTBOX_IN_PROCESS=true does.

        Call it after `init_app`, or for a server that is not recognised (docs/in-process.md) in each of its processes.
        Nothing happens in commands, shells and under TESTING. `app`: by default the current one. Raises NotBoundError.
        """
        bound = self._bound(app)
        self._launch(bound.app, bound.settings.in_process or "process")

    def _launch(self, app: Flask, mode: str) -> None:
        if LAUNCHER not in app.extensions:
            launcher = app.extensions[LAUNCHER] = Launcher(app, mode)
            launcher.arm()

    def init_mail(self, config: dict[str, Any], debug: bool | int = False, testing: bool = False) -> flask_mail._Mail:
        """Flask-Mail's settings in `config`, checked. Raises ConfigurationError."""
        return flask_mail._Mail(**state(Settings.from_config({**config, "DEBUG": debug, "TESTING": testing})))

    @takes(KindOptions)
    def kind(self, name: str, **options: Unpack[KindOptions]) -> Kind:
        """Define a kind of message, once, beside the functions that send it: its policy, in one place.

        `category`: "security", "receipt", "notification" or "subscription". `priority`, `on_uncertain`, `transport`: as
        of `enqueue`, where a message says none of its own. `max_age`: seconds after which a message that is not sent
        expires. `sensitive`: its text is removed once it was sent, and its recipient can't be corrected. `sender`,
        `reply_to`, `headers`: for messages that have none of their own. `throttle`: how many one recipient gets, as
        "3/hour". `replace`: "queued", the newest replaces those to the same recipient that are still queued.
        `attempts`, `retry_first`, `retry_max`: how often and when it is tried again; `retention`: seconds after its end
        until it is purged; `failed_text`: seconds until what failed mail of a sensitive kind said is removed; all by
        default as the settings say.
        `canary`, `canary_limit`, `canary_wait`: what of a batch goes first, see docs/batches.md.
        `title`: its name for people, on the page where they unsubscribe.

        Raises ConfigurationError with all faults, also for a name that is taken; TypeError for an unknown option.
        """
        return self.kinds.define(self, name, options)

    def connect(self) -> Connection:
        """A connection whose `send` enqueues; it opens nothing."""
        return self._bound().connect()

    def send_message(self, *args: Any, **kwargs: Any) -> None:
        """Enqueue a message made of the arguments of `Message`."""
        self.send(Message(*args, **kwargs))

    def send_email(
        self,
        to: Address | Iterable[Address],
        subject: str,
        template: str,
        *,
        envelope_from: Address | None = None,
        in_reply_to: str | None = None,
        references: str | Iterable[str] | None = None,
        **context: Any,
    ) -> OutboxMessage:
        """Enqueue a message rendered from `template` + ".txt" and + ".html"; one of them may be missing.

        `to`: an address, a pair (name, address), or a list of them; `context` goes to the templates, `locale` among it
        (then `template` + ".de.html" goes before ".html"). The three between are those of `enqueue`. For the others:
        `mail.enqueue(mail.compose_email(to, subject, template, **context), kind=…)`.
        Raises TemplateError if neither template exists, and what `enqueue` raises.
        """
        message = self.compose_email(to, subject, template, **context)
        return self.enqueue(message, envelope_from=envelope_from, in_reply_to=in_reply_to, references=references)

    def compose_email(self, to: Address | Iterable[Address], subject: str, template: str, **context: Any) -> Message:
        """The message that `send_email` enqueues, to add to or to enqueue with options."""
        return message_of(to, subject, template, context)

    @takes(EnqueueOptions)
    def enqueue(
        self,
        message: flask_mail.Message,
        session: Any = None,
        **options: Unpack[EnqueueOptions],
    ) -> OutboxMessage:
        """Write `message` to the outbox in `session`, which defaults to the one given to `init_app`.

        Never commits that session, and does no network I/O. The bytes, Message-ID and Date are frozen now; the Date is
        `send_at` where that is given and to come.

        `key`: idempotency; the same key twice, in one or in two transactions, yields one message, and the second call
        returns the first; KeyTakenError if the content differs. `priority`: "high", "normal" or "bulk".
        `send_at`, `expires_at`: aware datetimes; without the latter the message expires OUTBOX_MAX_AGE_SECONDS after it
        is due. `kind`: a label for filters and policy.
        `on_uncertain`: "retry" or "hold", by default what OUTBOX_ON_UNCERTAIN_KINDS and OUTBOX_ON_UNCERTAIN say.
        `metadata`: a JSON object of the application's own, never sent. `tags`: a list of words or a dictionary of texts
        for the provider that sends the message: its dashboard and events. `transport`: the one of OUTBOX_TRANSPORTS
        that is to carry it, and no other. `locale`: its language, such as "de"; lazy texts are rendered under it.
        `envelope_from`: the address for MAIL FROM, to which bounces go, if it is not the sender's; "" is the null
        sender. `in_reply_to`: the Message-ID that this answers; `references`: those of its thread before, as a list or
        as the header has them. `guard`: a condition of SQLAlchemy's about the application's rows, asked before each
        attempt; where it no longer holds, the message is cancelled.

        Raises MessageError and its subclasses before anything is written; the transaction stays usable. Raises
        SchemaError if the database is not migrated, NotBoundError if the current application has no outbox.
        """
        return self._bound().enqueue(message, session, **options)

    @takes(SharedOptions)
    def enqueue_many(
        self,
        messages: Iterable[flask_mail.Message | tuple[flask_mail.Message, Mapping[str, Any]]],
        session: Any = None,
        **options: Unpack[SharedOptions],
    ) -> list[Queued]:
        """Write many messages in a few statements: a newsletter, each copy to its own reader.

        `messages`: each a message, or a pair of one and options of its own, which go over those for all:
        `(message, {"key": f"news-7-{user.id}"})`. The options are those of `enqueue`; nothing else differs from
        calling that for each. All are composed before the first is written, so 10,000 at a time are a good portion.
        For the same bytes to many, each with a delivery of its own, give one message with all of them in `bcc`.

        Returns `Queued(id, message_id, is_new)` for each, in their order; not `is_new` where a key was taken, by an
        earlier one of `messages` or before. Raises what `enqueue` raises; a MessageError before anything is written.
        """
        return self._bound().enqueue_many(messages, session, **options)

    def send_now(
        self,
        message: OutboxMessage | Queued | int | None = None,
        session: Any = None,
        *,
        key: str | None = None,
        delivery_ids: Iterable[int] = (),
        by: str = "application",
        note: str | None = None,
    ) -> int:
        """Make scheduled or deferred mail due now, in the caller's transaction. Returns how many deliveries.

        Give one of: what `enqueue` returned (or its id), its `key`, the ids of deliveries. Attempts and lane stay, and
        pauses hold it as before. A message that was never offered to a relay gets a new Date. `by` and `note` go into
        the audit. Raises MessageError where nothing or more than one is named.
        """
        bound, named = self._bound(), changes.Named.of(message, key, delivery_ids)
        return bound.change(session, named, changes.sending(bound.settings, None, by, note))

    def reschedule(
        self,
        message: OutboxMessage | Queued | int | None = None,
        session: Any = None,
        *,
        send_at: datetime,
        key: str | None = None,
        delivery_ids: Iterable[int] = (),
        by: str = "application",
        note: str | None = None,
    ) -> int:
        """Like `send_now`, for another time: `send_at`, an aware datetime. Mail that would expire before it does not.

        Also raises MessageError for a `send_at` that is not an aware datetime.
        """
        bound, named = self._bound(), changes.Named.of(message, key, delivery_ids)
        if (at := instant("send_at", send_at)) is None:
            raise MissingFieldError("send_at", "is None", "Give an aware datetime, or call send_now.")
        return bound.change(session, named, changes.sending(bound.settings, at, by, note))

    def cancel(
        self,
        message: OutboxMessage | Queued | int | None = None,
        session: Any = None,
        *,
        key: str | None = None,
        delivery_ids: Iterable[int] = (),
        by: str = "application",
        note: str | None = None,
    ) -> int:
        """Take queued mail back, in the caller's transaction. Returns how many deliveries.

        It is named as for `send_now`. What a worker holds, was sent or failed stays as it is and is not counted. Its
        key stays taken until the message is purged. What a relay may have already (`on_uncertain="hold"`) becomes
        uncertain instead.
        """
        named = changes.Named.of(message, key, delivery_ids)
        return self._bound().change(session, named, changes.cancelling(by, note))

    def find(self, session: Any = None, *, key: str | None = None, id: int | None = None) -> OutboxMessage | None:
        """The message with this `key` or `id` in this environment, with its `deliveries`; None if there is none.

        As the caller's transaction sees it; nothing is flushed. Raises MessageError unless one of the two is given.
        """
        return self._bound().find(session, changes.Named.of(id, key))

    def send_many(self, messages: Iterable[flask_mail.Message]) -> None:
        """Enqueue many messages in a few statements, as `enqueue_many` does."""
        self.enqueue_many(messages)

    def settings(self, app: Flask | None = None) -> Settings:
        """What `app`, by default the current one, is configured to. Raises NotBoundError."""
        return self._bound(app).settings

    def database(self, app: Flask | None = None) -> Engine:
        """The engine that workers, commands and pages use; one for each application and process.

        Raises NotBoundError, and ConfigurationError if there is neither a session nor OUTBOX_DATABASE_URL.
        """
        return self._bound(app).sessions.engine()

    def reading_database(self, app: Flask | None = None) -> Engine:
        """The engine by which pages and commands read: that of OUTBOX_READ_URL, or `database`. Raises as that does."""
        return self._bound(app).sessions.reading_engine()

    def application_database(self, app: Flask | None = None) -> Engine | None:
        """The engine of the session that `init_app` was given; None if there is none. Raises NotBoundError."""
        return self._bound(app).sessions.application_engine()

    def __getattr__(self, name: str) -> Any:
        # Flask-Mail answers None for every name; here a typo is an error.
        if name not in STATE:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        state = self.state
        if state is None and has_app_context():
            state = current_app.extensions.get(BOUND)
        return getattr(state, name, None)

    def _bound(self, app: Flask | None = None) -> Bound:
        app = app or self.app or current_app
        if isinstance(app, LocalProxy):
            app = app._get_current_object()
        return bound_to(app)


def outbox_of(app: Flask) -> Outbox:
    """The `Outbox` that `app` was bound to last. Raises NotBoundError."""
    bound_to(app)
    found: Outbox = app.extensions["outbox"]
    return found
