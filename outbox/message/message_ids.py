"""Message-IDs (RFC 5322 §3.6.4): the one that the application chose, or one of ours in the domain of From."""

from __future__ import annotations

import re

from outbox.core.errors import MessageError
from outbox.message.coerce import text_of
from outbox.message.draft import Draft

_MESSAGE_ID = re.compile(r"<[!-;=?A-~]{1,150}@[!-;=?A-~]{1,150}>")


def check_message_id(given: str, field: str) -> str:
    """`given` as it is. Raises MessageError if it can't be a Message-ID."""
    if _MESSAGE_ID.fullmatch(given) is None:
        raise MessageError(
            field,
            f"{given[:120]!r} is not a Message-ID",
            "Use one like <unique@example.org>, with its angle brackets, or leave it out.",
        )
    return given


def chosen(draft: Draft, domain: str, unique: str) -> str:
    """The draft's Message-ID, or else a new one in `domain`. Raises MessageError."""
    if draft.message_id is None:
        return f"<{unique}@{domain.lower()}>"
    text = text_of(draft.message_id, "msgId").strip(" \t")
    if not text.lower().endswith(f"@{domain.lower()}>") and draft.names_host():
        return f"<{unique}@{domain.lower()}>"
    return check_message_id(text, "msgId")
