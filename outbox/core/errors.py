"""Every error that the package raises on purpose.

Each says what is wrong, the likely cause and the remedy. Where Flask-Mail raises an error of its own for the same
fault, `extension/errors.py` makes ours one of its kind, so that code written for Flask-Mail catches it unchanged.
"""

from __future__ import annotations

from collections.abc import Iterable


class OutboxError(Exception):
    """Base of all errors of this package."""


class MessageError(OutboxError, ValueError):
    """A message was refused at enqueue; nothing was written and the caller's transaction stays usable."""

    def __init__(self, field: str, problem: str, remedy: str) -> None:
        self.field = field
        self.problem = problem
        self.remedy = remedy
        super().__init__(f"{field}: {problem}. {remedy}")


class BadHeaderError(MessageError):
    """A header, display name or attachment name contains a line break or another forbidden character."""


class MissingFieldError(MessageError, AssertionError):
    """No recipient, or no sender; Flask-Mail raises AssertionError here."""


class AddressError(MessageError):
    """Not an address by RFC 5321 §4.1.2 (or RFC 6531), or several in one string; the text names the rule broken."""


class MessageTooLargeError(MessageError):
    """The wire form is larger than OUTBOX_MAX_MESSAGE_BYTES."""


class KeyTakenError(MessageError):
    """The key belongs to a message with different content."""


class TemplateError(MessageError):
    """Neither the text nor the HTML template of a message exists."""


class RefusedError(MessageError):
    """For hooks to raise (`before_enqueue`): the application does not want this message."""

    def __init__(self, problem: str, remedy: str = "Ask whoever wrote the hook.") -> None:
        super().__init__("message", f"was refused by a hook of the application: {problem.rstrip('.')}", remedy)


class ConfigurationError(OutboxError):
    """All faults of the configuration, reported at once."""

    def __init__(self, faults: Iterable[str]) -> None:
        self.faults = tuple(faults)
        super().__init__(
            "The outbox is not configured correctly:\n" + "\n".join(f"  - {fault}" for fault in self.faults)
        )


class NotBoundError(OutboxError, RuntimeError):
    """The application has no outbox: `Outbox.init_app(app)` was not called."""


class UncommittedMailError(OutboxError, RuntimeError):
    """A request or session ended while mail that it enqueued was not committed (OUTBOX_UNCOMMITTED="raise")."""


class SchemaError(OutboxError):
    """The database lacks the outbox's tables or has older ones."""


class DamagedMessageError(OutboxError):
    """The stored parts of a message cannot be put together again (a missing blob, a wrong size)."""


class DatabaseError(OutboxError):
    """The database cannot be reached, or refused what was asked of it."""
