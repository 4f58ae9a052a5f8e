"""Give a message that is already in its wire form another Date; all else stays to the byte."""

from __future__ import annotations

import re
from datetime import datetime

from outbox.message.header_section import date_value

_DATE = re.compile(rb"^Date: (\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d \+0000)(?=\r\n)", re.MULTILINE)


def redate(skeleton: bytes, moment: datetime) -> tuple[bytes, str] | None:
    """`skeleton` dated to `moment`, and the field's new value; None where its Date is not written as ours are.

    The length stays the same, and with it the places of the big parts.
    """
    found = _DATE.search(skeleton, 0, skeleton.find(b"\r\n\r\n") + 2)
    if found is None:
        return None
    value = date_value(moment)
    return skeleton[: found.start(1)] + value.encode("ascii") + skeleton[found.end(1) :], value
