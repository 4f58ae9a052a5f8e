"""Address fields of bytes that the application has built (RFC 5322 §3.4): read whole, or refused.

`email.utils.getaddresses` won't do: for one piece that it can't read it drops the whole field (Python 3.13), or makes
an address up (`Bob @ Work <bob@example.org>`, before). Nor may encoded words be decoded first: a name could then hold
an address.
"""

from __future__ import annotations

import re

from outbox.core.errors import AddressError
from outbox.message.addresses import Mailbox, parse_list
from outbox.message.received import unfolded

_EMPTY_GROUP = re.compile(r'[^<>@:;",]*:[ \t]*;')  # undisclosed-recipients:;


def mailboxes_in(raw: str, field: str) -> list[Mailbox]:
    """The mailboxes in the raw value of `field`; none in a blank one, or in a group without members.

    Raises AddressError and BadHeaderError.
    """
    text = unfolded(raw).strip(" \t")
    if not text or _EMPTY_GROUP.fullmatch(text):
        return []
    try:
        return parse_list(text, field)
    except AddressError as error:
        raise AddressError(
            field,
            error.problem,
            "Write the field as Ann <ann@example.org>, bob@example.org: a comma between two, no comment, no group. If "
            "To or Cc must stay as it is, say who gets it by recipients=.",
        ) from None
