"""Header fields that programs read: never encoded words, white space around off, folded at blanks or not at all.

Relays read their own fields (`X-SMTPAPI`, `X-PM-Tag`, …) literally; an encoded word there is lost, or becomes a tag.
JSON beyond ASCII is escaped, with the line breaks of `indent=` taken out, and gets blanks to fold at.
"""

from __future__ import annotations

import json
import re

from outbox.core.errors import BadHeaderError
from outbox.message.header_encoding import check_text
from outbox.message.received import unfolded

_STRUCTURED = frozenset(
    "accept-language authentication-results auto-submitted autocrypt content-language date dkim-signature"  # noqa: SIM905
    " expires feedback-id importance in-reply-to message-id precedence priority received references"
    " require-recipient-valid-since return-path x-priority x-smtpapi x-msys-api x-entity-ref-id x-google-dkim-signature"
    " resend-idempotency-key".split()
)
_PREFIXES = tuple(
    "list- resent- arc- original- x-mc- x-mailgun- x-pm- x-ses- x-msys- x-mj- x-mailjet- x-mailin- x-sib-"  # noqa: SIM905
    " x-smtp2go- x-ee- x-sparkpost-".split()
)

_TOKEN = re.compile(r'("(?:[^"\\]|\\.)*")|([,:])(?=\S)|([ \t\r\n]*[\t\r\n][ \t\r\n]*)')
_SHORT = 60  # characters of JSON that fit on one line with the field's name
_BEYOND = re.compile(r"[^\x20-\x7e]")


def is_for_programs(name: str) -> bool:
    """Whether the field `name`, in lower case, is read by programs, and encoded words in it by nobody."""
    return name in _STRUCTURED or name.startswith(_PREFIXES)


def for_programs(value: str, label: str) -> str:
    """`value` as such a field holds it. Raises BadHeaderError where that can't be."""
    value = value.strip()
    if value[:1] in ("{", "[") and _is_json(value):
        return _one_line(value)
    value = check_text(unfolded(value), label).strip(" \t")
    if not value.isascii():
        raise BadHeaderError(
            label,
            "is not ASCII, and is read by programs, which decode no encoded words",
            "Percent-encode it (a URL), give JSON as json.dumps writes it, or leave the other characters out.",
        )
    return value


def _is_json(value: str) -> bool:
    try:
        json.loads(value)
    except (ValueError, RecursionError):
        return False
    return True


def _one_line(value: str) -> str:
    """The same JSON, in ASCII and on one line; a long one with blanks between its tokens."""
    if len(value) > _SHORT or not value.isprintable():
        value = _TOKEN.sub(_spaced, value)
    return _BEYOND.sub(_escaped, value)


def _spaced(found: re.Match[str]) -> str:
    string, mark, _ = found.groups()
    return string or (f"{mark} " if mark else " ")


def _escaped(found: re.Match[str]) -> str:
    """RFC 8259 §7: UTF-16 units. Only strings hold such characters, since it is JSON."""
    units = found[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{high:02x}{low:02x}" for high, low in zip(units[::2], units[1::2], strict=True))
