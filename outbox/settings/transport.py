"""What an application implements for a transport of its own: hand one message over, and say what came of it."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from outbox.delivery.reply import Result
from outbox.message.values import Envelope


@runtime_checkable
class Transport(Protocol):
    """A connection to a service that takes messages, other than by SMTP.

    `init_app(transports={"acme+https": Acme})` registers it for URLs with that scheme. A worker makes one for each of
    its connections, by calling `Acme(endpoint)`, and uses it from one thread. `deliver` is all that is needed. If they
    are there, these are called too:

    `open(deadline)`: called before each message; connects where that is needed. It returns None if the service is
    ready, else a `Result`; nothing has been handed over then.
    `close()`: when the connection is no longer needed, or is in doubt.
    `abort()`: from another thread, to end what is under way at once. A transport that has it is called in the thread of
    the worker's connection and must keep to its deadlines; one without is called in a thread that can be left behind.
    `takes_key_once`, an attribute: True if the service takes a message with the same `envelope.idempotency_key` once,
    and `deliver` gives it. What is unknown is then offered again at once.
    `check(deadline)`: for `outbox-check`: returns a `Result` without sending anything, accepted if mail could be sent.
    """

    def deliver(self, envelope: Envelope, content: bytes, deadline: float) -> Result:
        """Hand `content`, the frozen bytes (RFC 5322, CRLF), over for the one recipient of `envelope`.

        May block, until `deadline` on the clock of `time.monotonic()`. The outbox has already written down that the
        message may be sent. Return `Result.accepted(id)`, `.refused(text)`, `.deferred(text, retry_after)`,
        `.unavailable(text)`, `.misconfigured(text)` or `.unknown(text)`. Everything else counts as unknown: an
        exception, another value, no return by the deadline. No text may hold a secret.
        """
        ...
