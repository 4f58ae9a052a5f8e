"""What an `Outbox` has of handlers: `on`, and who is to be told in an application that it is bound to."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from flask import Flask, current_app

from outbox.extension.handlers import H, Handlers, Listening
from outbox.extension.state import Bound


class Told:
    """What an `Outbox` has of this."""

    def __init__(self, app: Flask | None = None) -> None:
        self.handlers = Handlers()
        super().__init__(app)  # type: ignore[call-arg]  # Flask-Mail's

    def on(self, *types: str, kind: str | Iterable[str] | None = None, name: str | None = None) -> Callable[[H], H]:
        """Have `handler(session, event)` called once for each outcome or event of these types. A decorator.

        `types`: "sent", "failed", "uncertain"; "delivered", "deferred", "bounced", "complained", "unsubscribed",
        "autoresponded", "opened", "clicked"; "batch_done". `kind`: of the messages, one or several. `name`: by which
        what is still to do is found again; by default that of the function with its module.

        What the handler writes in `session` is committed together with the fact that it was called, soon after the
        outcome. One that raises, or takes longer than OUTBOX_HANDLER_SECONDS, is rolled back and called again later.
        `event`: a `MailEvent`, or a `BatchEvent`. Raises ConfigurationError with all faults, also for a taken name.
        """

        def registered(handler: H) -> H:
            return self.handlers.register(handler, types, kind, name)

        return registered

    def told_of(self) -> list[str]:
        """The names of the current application's handlers and webhooks."""
        found: Bound = current_app.extensions["mail"]
        return found.listening.all

    def told(self, bound: Bound) -> Bound:
        """`bound`, with who is to be told in its application."""
        bound.listening = Listening(bound.app, self.handlers, bound.settings.webhooks)
        bound.sessions.listeners = bound.listening
        return bound
