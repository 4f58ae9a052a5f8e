"""A header with non-ASCII addresses → the form for recipients whose own address is ASCII (RFC 6857 §3.1).

An address whose local part is not ASCII becomes a group without members, whose name shows it:
`To: ann@example.org, =?utf-8?q?J=C3=B6rg_j=C3=B6rg=40example=2Enet?= :;`. From and Sender keep theirs: most receivers
refuse a message without an author's address (docs/decisions/0016).
"""

from __future__ import annotations

from collections.abc import Iterable

from outbox.core.errors import MessageError
from outbox.message.address_fields import mailboxes_in
from outbox.message.addresses import Mailbox
from outbox.message.extra_headers import ADDRESSES
from outbox.message.header_encoding import encoded_words, fold, split_fields
from outbox.message.values import Utf8Header

_ADDRESSES = ADDRESSES - {"sender"} | {"to", "cc"}


def forms(skeleton: bytes, recipients: Iterable[str]) -> tuple[bytes, Utf8Header | None, bool]:
    """The form for ASCII recipients, the header of the other form, whether each recipient needs SMTPUTF8.

    The other form is None where no recipient needs it.
    """
    head, blank, body = skeleton.partition(b"\r\n\r\n")
    if head.isascii():
        return skeleton, None, False
    lower = downgraded(head)
    if lower is None:
        return skeleton, None, True
    needed = not all(map(str.isascii, recipients))
    return lower + blank + body, Utf8Header(len(lower), head.decode()) if needed else None, False


def downgraded(head: bytes) -> bytes | None:
    """The header section in ASCII, or None where an author's address is not.

    None, too, where bytes that the application built hold another field in UTF-8, or an address field that can't be
    read: they stay as they are.
    """
    fields = split_fields(head)
    for place, field in enumerate(fields):
        if field.isascii():
            continue
        name, _, raw = field.partition(b":")
        label = name.decode("ascii").rstrip(" \t")
        if label.lower() not in _ADDRESSES:
            return None
        try:
            mailboxes = mailboxes_in(raw.decode(), label)
        except MessageError:
            return None
        if not mailboxes:
            return None
        fields[place] = fold(label, ", ".join(map(_shown, mailboxes))).removesuffix(b"\r\n")
    return b"\r\n".join(fields)


def _shown(mailbox: Mailbox) -> str:
    if mailbox.local.isascii():
        return mailbox.wire
    return encoded_words(f"{mailbox.name} {mailbox.address}".strip(), room=66) + " :;"
