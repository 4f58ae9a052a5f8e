"""Message-IDs (RFC 5322 §3.6.4): the one that the application chose, or one of ours in the domain of From."""

from __future__ import annotations

import functools
import re
import socket

import flask_mail

from outbox.core.errors import MessageError
from outbox.message.coerce import text_of

_MESSAGE_ID = re.compile(r"<[!-;=?A-~]{1,150}@[!-;=?A-~]{1,150}>")
_MADE = re.compile(r"<\d{10,20}\.\d{1,10}\.\d{1,20}@([^<>@\s]+)>")  # by `email.utils.make_msgid()`

OURS = "_outbox_message_id"
"""The attribute of a message that says which `msgId` was set here, and not by the application."""


def check_message_id(given: str, field: str) -> str:
    """`given` as it is. Raises MessageError if it can't be a Message-ID."""
    if _MESSAGE_ID.fullmatch(given) is None:
        raise MessageError(
            field,
            f"{given[:120]!r} is not a Message-ID",
            "Use one like <unique@example.org>, with its angle brackets, or leave it out.",
        )
    return given


def chosen(message: flask_mail.Message, domain: str, unique: str) -> str:
    """`message.msgId` if the application set it, else a new one. Raises MessageError.

    The one that `flask_mail.Message` makes of this machine's name doesn't count: its domain is nobody's.
    """
    given: object = getattr(message, "msgId", None)
    if given is None or given == "" or given == getattr(message, OURS, None):
        return f"<{unique}@{domain.lower()}>"
    text = text_of(given, "msgId").strip(" \t")
    made = _MADE.fullmatch(text)
    if made is not None and made[1].lower() != domain.lower() and _is_this_machine(made[1].lower()):
        return f"<{unique}@{domain.lower()}>"
    return check_message_id(text, "msgId")


def _is_this_machine(domain: str) -> bool:
    host = socket.gethostname().lower()
    known = {host, host.partition(".")[0], "localhost", "localhost.localdomain", "localhost.local"}
    return domain in known or domain == _full_name()


@functools.cache
def _full_name() -> str:
    """As `flask_mail.Message` has asked for already, so that name servers have the answer at hand."""
    return socket.getfqdn().lower()
