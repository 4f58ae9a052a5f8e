"""A `flask_mail.Message` → the draft that `message/compose.py` reads: the door between Flask-Mail and the rest.

Flask-Mail sends what `as_bytes()` returns, so a subclass that overrides that, or what it calls, builds its bytes.
"""

from __future__ import annotations

import functools
import re
import socket
from operator import attrgetter
from typing import Any

import flask_mail

from outbox.core.errors import MessageError
from outbox.message.coerce import is_empty, items_of, kind_of
from outbox.message.draft import Attachment, Draft

OURS = "_outbox_message_id"
"""The attribute of a message that says which `msgId` was set here, and not by the application."""

_SENT = ("as_bytes", "_message", "_mimetext")
_NOT_SENT = ("as_string", "__bytes__", "__str__")
_builders = attrgetter(*_SENT, *_NOT_SENT)
_OWN = frozenset({*_SENT, *_NOT_SENT})
_MADE = re.compile(r"\s*<\d{10,20}\.\d{1,10}\.\d{1,20}@([^<>@\s]+)>\s*")  # by `email.utils.make_msgid()`


def draft_of(message: flask_mail.Message) -> Draft:
    """`message` as a draft. Raises MessageError for anything but a message, or for invalid attachments."""
    if not isinstance(message, flask_mail.Message):
        raise MessageError("message", f"is {kind_of(message)}", "Give a flask_mail.Message.")
    builds = builds_its_bytes(message)
    # `__class__`, since the message may be a proxy
    names_recipients = message.__class__.send_to is not flask_mail.Message.send_to
    message_id = _message_id(message)
    return Draft(
        subject=message.subject,
        sender=message.sender,
        recipients=message.recipients,
        cc=message.cc,
        bcc=message.bcc,
        send_to=_given(message.send_to) if names_recipients else None,
        reply_to=message.reply_to,
        date=message.date,
        message_id=message_id,
        names_host=functools.partial(_names_host, message_id),
        extra_headers=message.extra_headers,
        body=message.body,
        alts=message.alts,
        attachments=() if builds else _attachments(message.attachments),
        charset=message.charset,
        options=lambda: (message.mail_options, message.rcpt_options),
        signer=getattr(message, "signer", None),
        build=functools.partial(_build, message) if builds else None,
    )


def _given(recipients: object) -> object:
    return () if recipients is None else recipients


def _attachments(given: object) -> list[Attachment]:
    return [] if is_empty(given) else [_attachment(one, n) for n, one in enumerate(items_of(given, "attachments"))]


def _attachment(given: Any, number: int) -> Attachment:
    if not isinstance(given, flask_mail.Attachment):
        raise MessageError(
            f"attachments[{number}]", f"is {kind_of(given)}", "Use message.attach() or flask_mail.Attachment."
        )
    return Attachment(given.filename, given.content_type, given.data, given.disposition, given.headers)


def _message_id(message: flask_mail.Message) -> object:
    """The Message-ID that the application chose."""
    given: object = getattr(message, "msgId", None)
    return None if given == "" or given == getattr(message, OURS, None) else given


def _names_host(message_id: object) -> bool:
    """Whether `flask_mail.Message` made it of this machine's name."""
    made = _MADE.fullmatch(message_id) if isinstance(message_id, str) else None
    return made is not None and _is_this_machine(made[1].lower())


def _is_this_machine(domain: str) -> bool:
    host = socket.gethostname().lower()
    known = {host, host.partition(".")[0], "localhost", "localhost.localdomain", "localhost.local"}
    return domain in known or domain == _full_name()


@functools.cache
def _full_name() -> str:
    """As `flask_mail.Message` has asked for already; name servers have the answer at hand."""
    return socket.getfqdn().lower()


def _build(message: flask_mail.Message, date: float, message_id: str) -> object:
    """What `message.as_bytes()` returns, with this date where it has none."""
    before = message.date, message.msgId
    message.date, message.msgId = date if message.date is None else message.date, message_id
    try:
        return message.as_bytes()
    finally:
        message.date, message.msgId = before


def builds_its_bytes(message: flask_mail.Message) -> bool:
    """Whether `message` overrides what Flask-Mail sends. Raises MessageError for an override that nobody would send."""
    if _builders(message.__class__) == _builders(flask_mail.Message) and not _OWN.intersection(vars(message)):
        return False
    if any(_overrides(message, name) for name in _SENT):
        return True
    for name in _NOT_SENT:
        if _overrides(message, name) and _is_a_mail(getattr(message, name)):
            raise MessageError(
                "message",
                f"its {name}() builds a mail, which neither Flask-Mail nor the outbox sends",
                "Override as_bytes() instead: that is what is sent.",
            )
    return False


def _overrides(message: flask_mail.Message, name: str) -> bool:
    return name in vars(message) or getattr(message.__class__, name) is not getattr(flask_mail.Message, name)


def _is_a_mail(build: object) -> bool:
    """Whether what it returns has a header with From: `__str__` is often for people."""
    try:
        built = build() if callable(build) else b""
    except Exception:  # noqa: BLE001 - code of the application's that nobody calls to send
        return False
    text = built.encode(errors="replace") if isinstance(built, str) else built
    if not isinstance(text, bytes):
        return False
    head = re.split(rb"\r?\n\r?\n", text, maxsplit=1)[0]
    return re.search(rb"(?im)^from:.*\n(?:.*\n)*(?:content-type|mime-version|subject|to):", head + b"\n") is not None
