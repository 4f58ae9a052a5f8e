"""Correct one address in the To and Cc of a message that is already in its wire form; all else stays to the byte."""

from __future__ import annotations

from outbox.core.errors import AddressError, BadHeaderError
from outbox.message.addresses import Mailbox, parse_list, unique_mailboxes
from outbox.message.header_encoding import fold, split_fields

_FIELDS = {b"to", b"cc"}


def readdress(skeleton: bytes, old: str, new: Mailbox) -> tuple[bytes, dict[str, str]]:
    """`skeleton` with `old` replaced by `new`, and the values of the fields that changed, by name, as people read them.

    `old`: the address as it is in the envelope; the name before it stays where `new` has none. Raises MessageError
    where a field would become too long.
    """
    head, blank, body = skeleton.partition(b"\r\n\r\n")
    fields = split_fields(head)
    changed: dict[str, str] = {}
    for place, field in enumerate(fields):
        name, _, raw = field.partition(b":")
        name = name.rstrip(b" \t")
        if name.lower() in _FIELDS:
            mailboxes = _mailboxes(raw)
            if any(mailbox.envelope == old for mailbox in mailboxes):
                corrected = unique_mailboxes(_corrected(mailbox, old, new) for mailbox in mailboxes)
                label = name.decode("ascii")
                fields[place] = fold(label, ", ".join(mailbox.wire for mailbox in corrected)).removesuffix(b"\r\n")
                changed[label] = ", ".join(map(str, corrected))
    return b"\r\n".join(fields) + blank + body, changed


def _corrected(mailbox: Mailbox, old: str, new: Mailbox) -> Mailbox:
    return Mailbox(new.name or mailbox.name, new.local, new.domain) if mailbox.envelope == old else mailbox


def _mailboxes(raw: bytes) -> list[Mailbox]:
    """None where the field is no list of addresses (`undisclosed-recipients:;`)."""
    try:
        return parse_list(raw.replace(b"\r\n", b"").decode(errors="replace").strip(), "To")
    except (AddressError, BadHeaderError):
        return []
