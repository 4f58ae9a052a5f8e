"""What an `Outbox` has of hooks: what the application does to messages before they are enqueued, and sent."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import overload

from flask import Flask

from outbox.extension.hooks import H, Hook
from outbox.extension.send_hooks import S, SendHooks


class Hooked:
    """What an `Outbox` has of this."""

    def __init__(self, app: Flask | None = None) -> None:
        self._hooks: list[Hook] = []
        self.send_hooks = SendHooks()
        super().__init__(app)  # type: ignore[call-arg]  # Flask-Mail's

    def before_enqueue(self, hook: H) -> H:
        """Call `hook(message, options)` before each message is composed. A decorator.

        Both are copies, for the hook to change in place: a `flask_mail.Message`, and the options of `enqueue` by name.
        It refuses the message by raising RefusedError, or anything else, which comes through to the caller. Hooks are
        called in the order in which they were registered, once for each message of `enqueue_many`.
        """
        self._hooks.append(hook)
        return hook

    @overload
    def before_send(self, hook: S) -> S: ...

    @overload
    def before_send(self, *, kind: str | Iterable[str] | None = None) -> Callable[[S], S]: ...

    def before_send(self, hook: S | None = None, *, kind: str | Iterable[str] | None = None) -> S | Callable[[S], S]:
        """Have a worker call `hook(outgoing)` right before each attempt to send. A decorator.

        It returns None to have the message sent, `outbox.Hold(why, seconds)` to be asked again later, or
        `outbox.Cancel(why)`. `outgoing`: an `outbox.Outgoing`; the bytes are frozen. `kind`: only for these.
        One that raises, or takes longer than OUTBOX_HOOK_SECONDS, holds the message. Raises ConfigurationError.
        """
        if hook is not None:
            return self.send_hooks.register(hook, None)
        return lambda function: self.send_hooks.register(function, kind)
