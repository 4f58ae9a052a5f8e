"""What an `Outbox` has of hooks: what the application does to each message before it is enqueued."""

from __future__ import annotations

from flask import Flask

from outbox.extension.hooks import H, Hook


class Hooked:
    """What an `Outbox` has of this."""

    def __init__(self, app: Flask | None = None) -> None:
        self._hooks: list[Hook] = []
        super().__init__(app)  # type: ignore[call-arg]  # Flask-Mail's

    def before_enqueue(self, hook: H) -> H:
        """Call `hook(message, options)` before each message is composed. A decorator.

        Both are copies, for the hook to change in place: a `flask_mail.Message`, and the options of `enqueue` by name.
        It refuses the message by raising RefusedError, or anything else, which comes through to the caller. Hooks are
        called in the order in which they were registered, once for each message of `enqueue_many`.
        """
        self._hooks.append(hook)
        return hook
