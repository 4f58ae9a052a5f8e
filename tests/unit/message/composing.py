"""Messages to compose in tests, and what a reader makes of the result."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default as policy
from typing import Any

import flask_mail
import pytest

from outbox.core.errors import MessageError
from outbox.extension.draft import draft_of
from outbox.extension.errors import as_in_flask_mail
from outbox.message.compose import compose
from outbox.message.values import Composed

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
UNIQUE = "0123456789abcdef0123456789abcdef"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)


def message_of(
    subject: Any = "s", recipients: Any = None, body: Any = None, html: Any = None, **more: Any
) -> flask_mail.Message:
    """A message with one recipient and a sender, but for the arguments."""
    more.setdefault("sender", "shop@example.com")
    alts = more.pop("alts", None)
    message = flask_mail.Message(subject, ["ann@example.org"], body, html, alts, **more)
    if recipients is not None:
        message.recipients = recipients
    return message


def unsigned() -> flask_mail.Message:
    """A message without a sender."""
    message = message_of()
    message.sender = None  # type: ignore[assignment]
    return message


def composed_of(message: flask_mail.Message, **more: Any) -> Composed:
    """The message composed, as a fixed moment would."""
    arguments = {"default_sender": None, "now": NOW, "max_bytes": 10**7, "unique": UNIQUE} | more
    return as_in_flask_mail(lambda: compose(draft_of(message), **arguments))()


def assert_refused(error: type[MessageError], field: str, **arguments: Any) -> MessageError:
    """The error of this very type and field that a message with `arguments` gets."""
    with pytest.raises(error) as caught:
        composed_of(message_of(**arguments))
    assert caught.value.field == field
    return caught.value


def read(composed: Composed) -> EmailMessage:
    """The message as the standard library reads it."""
    return message_from_bytes(composed.wire(), EmailMessage, policy=policy)


def leaves(part: EmailMessage) -> Iterator[EmailMessage]:
    """The parts without parts, in order."""
    if part.get_content_maintype() == "multipart":
        for child in part.iter_parts():
            yield from leaves(child)
    else:
        yield part


def attachment_of(parsed: EmailMessage) -> EmailMessage:
    """The last leaf."""
    return list(leaves(parsed))[-1]


def text_of(parsed: EmailMessage, kind: str) -> str:
    """The body of a kind: plain or html."""
    part = parsed.get_body((kind,))
    assert part is not None
    return part.get_content()


def tree_of(part: EmailMessage) -> str:
    """The tree of types, such as alternative(text/plain, text/html)."""
    if part.get_content_maintype() != "multipart":
        return part.get_content_type()
    return f"{part.get_content_subtype()}({', '.join(map(tree_of, part.iter_parts()))})"
