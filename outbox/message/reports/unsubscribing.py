"""Mail that asks to unsubscribe: what a mail program writes for the mailto of List-Unsubscribe (RFC 2369)."""

from __future__ import annotations

import hashlib
import re
from typing import NamedTuple

from outbox.message.received import decoded
from outbox.message.reports.found import message_id_of
from outbox.message.reports.parts import MOST_BYTES, fields_of, first

_SUBJECT = re.compile(r"(?:(?:re|aw|sv|fwd?|wg)\s*:\s*)*unsubscribe(?:\s|%20)+(\S.*)", re.IGNORECASE | re.DOTALL)


class Asked(NamedTuple):
    """One such mail."""

    token: str  # of `unsubscribe_link`, not verified
    mail: str  # which mail it is: its Message-ID, or a digest of it


def asked(data: bytes) -> Asked | None:
    """What a mail asks whose subject is "unsubscribe TOKEN", in whatever case, folded and encoded; None for others."""
    head = data[:MOST_BYTES].replace(b"\r\n", b"\n").replace(b"\r", b"\n").lstrip(b"\n").partition(b"\n\n")[0]
    fields = fields_of(head)
    found = _SUBJECT.fullmatch(decoded(first(fields, "subject")).strip())
    if found is None:
        return None
    mail = message_id_of(first(fields, "message-id")) or hashlib.sha256(data).hexdigest()
    return Asked("".join(found[1].split()), mail)
