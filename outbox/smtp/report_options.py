"""The parameters that ask for a delivery report which names what was sent (RFC 3461, RFC 6533).

Failures and delays are reported, as they are without them; what is gained is that the report names the message (ENVID)
and the address that we wrote to (ORCPT), wherever it was forwarded, and quotes no more than the header (RET). What the
application has set itself stays.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

_NOT_X = re.compile(r"[^!-*,-<>-~]")  # RFC 3461 §4: else "+" and two digits
_NOT_U = re.compile(r"[^!-*,-<>-\[\]-~]")  # RFC 6533 §3: else "\x{...}"
_MOST_ORCPT = 500  # characters


def of_mail(envid: str, given: Iterable[str]) -> Iterator[str]:
    """For MAIL."""
    names = _names(given)
    if "ret" not in names:
        yield "RET=HDRS"
    if "envid" not in names:
        yield f"ENVID={envid}"


def of_rcpt(recipient: str, given: Iterable[str]) -> Iterator[str]:
    """For RCPT."""
    names = _names(given)
    if "notify" not in names:
        yield "NOTIFY=FAILURE,DELAY"
    address = _typed(recipient)
    if "orcpt" not in names and len(address) <= _MOST_ORCPT:
        yield f"ORCPT={address}"


def _names(options: Iterable[str]) -> set[str]:
    return {option.partition("=")[0].lower() for option in options}


def _typed(recipient: str) -> str:
    if recipient.isascii():
        return "rfc822;" + _NOT_X.sub(lambda found: f"+{ord(found[0]):02X}", recipient)
    return "utf-8;" + _NOT_U.sub(lambda found: f"\\x{{{ord(found[0]):X}}}", recipient)
