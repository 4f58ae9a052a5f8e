"""The code that a line of a reply begins with (RFC 5321 §4.2)."""

from __future__ import annotations

from outbox.delivery.verdicts import Failure
from outbox.smtp.broken import Broken

_CODES = {b"%d" % code: code for code in range(200, 600)}
_AFTER_CODE = (b" ", b"-", b"")


def reply_code(line: bytes) -> int:
    """The code of a line without its CRLF. Raises Broken for what is no reply."""
    code = _CODES.get(line[:3])
    if code is None or line[3:4] not in _AFTER_CODE:
        raise Broken(Failure.GARBAGE, f"no SMTP reply: {line[:80]!r}")
    return code
