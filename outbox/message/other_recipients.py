"""Take the other recipients out of what is handed to one of them. Pure.

Header fields only: the text of a message is the same for all who got it.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from email.errors import HeaderParseError
from email.header import Header, decode_header, make_header
from email.utils import formataddr, getaddresses

from outbox.message.digest import normal_form

HIDDEN = "[another recipient]"
"""Written in the place of an address."""

_GROUP = "Other recipients:;"
"""An empty group (RFC 5322, 3.4): that there were others."""

_LISTS = frozenset(
    {"to", "cc", "bcc", "resent-to", "resent-cc", "resent-bcc", "apparently-to", "delivered-to", "x-original-to"}
)
_WRITERS = frozenset({"from", "sender", "reply-to", "message-id", "date"})
"""Who wrote it is no secret to who reads it."""

_ADDRESS = re.compile(r"[^\s<>()\[\],;:\"\\@]+@[^\s<>()\[\],;:\"\\@]+[^\s<>()\[\],;:\"\\@.]")
_WITHIN = re.compile(r"[\W_]")
_FIELD = re.compile(rb"([!-9;-~]+):((?:[^\r\n]|\r?\n[ \t])*)\r?\n")


def hidden(text: str, others: Collection[str]) -> str:
    """`text` without the addresses `others`, which are in their normal form."""
    if not others or "@" not in text:
        return text
    return _ADDRESS.sub(lambda found: _hidden(found[0], others), text)


def _hidden(found: str, others: Collection[str]) -> str:
    """Also where it is the end of a word: "welcome-bob@example.org"."""
    domain = len(found) - found.rindex("@")
    starts = [0, *(one.end() for one in _WITHIN.finditer(found[:-domain]))]
    start = next((one for one in starts if normal_form(found[one:]) in others), None)
    return found if start is None else found[:start] + HIDDEN


def header_without(name: str, value: str, own: Collection[str], others: Collection[str]) -> str:
    """The value of one header field, in which no recipient is named but `own` (in their normal form)."""
    lowered = name.lower()
    if lowered in _LISTS:
        listed = [one for one in getaddresses([value]) if one[1]]
        kept = [formataddr(one, "utf-8") for one in listed if normal_form(one[1]) in own]
        return ", ".join([*kept, _GROUP] if len(kept) < len(listed) or not listed else kept)
    return value if lowered in _WRITERS else hidden(value, others)


def without_others(raw: bytes, own: Collection[str], others: Collection[str]) -> bytes:
    """The message (RFC 5322), in whose header section no recipient is named but `own`; its body as it is."""
    head, blank, body = raw.partition(b"\r\n\r\n")
    return _FIELD.sub(lambda found: _field(found, own, others), head + b"\r\n") + blank[2:] + body


def _field(found: re.Match[bytes], own: Collection[str], others: Collection[str]) -> bytes:
    name, value = found[1].decode("ascii"), re.sub(rb"\r?\n(?=[ \t])", b"", found[2]).decode("utf-8", "surrogateescape")
    if name.lower() in _LISTS:
        text = header_without(name, value.strip(), own, others)
        return f"{name}: {text}\r\n".encode("utf-8", "surrogateescape")
    read = _read(value)
    text = header_without(name, read, own, others)
    if text == read:
        return found[0]
    return f"{name}: {Header(text.strip(), 'utf-8').encode()}\r\n".encode("utf-8", "surrogateescape")


def _read(value: str) -> str:
    """What encoded words (RFC 2047) say; without any that can be read, the value."""
    if "=?" not in value:
        return value
    try:
        return str(make_header(decode_header(value)))
    except (HeaderParseError, LookupError, UnicodeError):
        return value
