"""The forms of settings about the connection: an address, fingerprints, keywords of EHLO."""

from __future__ import annotations

import ipaddress
import re
from typing import Any

from outbox.settings.shown import nearest, shown
from outbox.settings.values import Form, text

_SHA256 = re.compile(r"[0-9a-f]{64}")
_KEYWORD = re.compile(r"[a-z0-9][a-z0-9-]*")
_NEEDED = frozenset({"starttls", "auth"})
_USED = ("pipelining", "size", "8bitmime", "smtputf8", "dsn", "limits", "requiretls", "enhancedstatuscodes")


def _words(raw: Any) -> list[str]:
    """A list, or text in which blanks or commas are between."""
    if isinstance(raw, list | tuple | set | frozenset):
        return [str(text().parse(one)) for one in raw]
    return str(text(4000).parse(raw)).replace(",", " ").split()


def _parse_fingerprints(raw: Any) -> tuple[str, ...]:
    found = []
    for word in _words(raw):
        plain = word.lower().removeprefix("sha256:").replace(":", "")
        if not _SHA256.fullmatch(plain):
            raise ValueError(f"has {shown(word)}, which is not a SHA-256 fingerprint (64 hexadecimal digits)")
        found.append(plain)
    return tuple(found)


def _parse_keywords(raw: Any) -> tuple[str, ...]:
    found = tuple(word.lower() for word in _words(raw))
    for word in found:
        if not _KEYWORD.fullmatch(word):
            raise ValueError(f"has {shown(word)}, which is not a keyword of EHLO")
        if word in _NEEDED:
            raise ValueError(f"has {word.upper()}, which MAIL_USE_TLS and MAIL_USERNAME decide")
        if word not in _USED and (close := nearest(word, _USED, 0.8)) is not None:
            raise ValueError(f"has {shown(word)}, which the outbox does not use: did you mean {close.upper()}")
    return found


def _parse_address(raw: Any) -> str:
    try:
        return str(ipaddress.ip_address(str(text().parse(raw))))
    except ValueError:
        raise ValueError(f"is {shown(raw)}, not an IP address") from None


ADDRESS = Form("an IP address", _parse_address)
FINGERPRINTS = Form("SHA-256 fingerprints, blanks between", _parse_fingerprints)
KEYWORDS = Form("keywords, blanks between", _parse_keywords)
