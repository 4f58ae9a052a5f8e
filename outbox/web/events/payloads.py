"""Values out of a provider's JSON, whose types are whatever it sends."""

from __future__ import annotations

import hashlib
import json
import math
import re
from datetime import UTC, datetime
from typing import Any

from outbox.delivery.reply import Reply, parse_reply, printable
from outbox.web.events.incoming import RefusedError

_LONGEST_ID = 255
_LONGEST_WORD = 64
_LONGEST_ADDRESS = 320
_DIAGNOSTIC = re.compile(r"(?:smtp\s*;\s*)?(?:(?P<code>[2-5]\d\d)[\s-]*)?(?P<text>.*)", re.IGNORECASE | re.DOTALL)
_ENHANCED = re.compile(r"[245]\.\d{1,3}\.\d{1,3}")
_UNSPECIFIED = ".0.0"  # what is said where a provider did not read the reply
_FRACTION = re.compile(r"(\.\d{6})\d+")  # of a second: .NET writes seven digits, Python reads six

Object = dict[str, Any]


def parsed(body: bytes) -> Any:
    """The JSON of a request that is verified. Raises RefusedError."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise RefusedError("its body is not JSON", 400) from None


def objects(value: Any) -> list[Object]:
    """One object, or those of a list."""
    return [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, dict)]


def listed(value: Any) -> list[Any]:
    """A list, as it is; empty for anything else."""
    return value if isinstance(value, list) else []


def child(value: Object, name: str) -> Object:
    """The object `name` of `value`; empty where it has none."""
    found = value.get(name)
    return found if isinstance(found, dict) else {}


def text(value: Any) -> str | None:
    """A text or number as text; None for what is empty or neither."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    return (
        str(value).encode("utf-8", "replace").decode().replace("\0", "").strip() or None
    )  # JSON may hold half a character


def word(*values: Any) -> str | None:
    """The provider's words for a cause, those that there are."""
    known = [printable(found) for found in map(text, values) if found]
    return "/".join(known)[:_LONGEST_WORD] or None


def moment(value: Any) -> datetime | None:
    """Seconds since 1970, or a time by RFC 3339; None for anything else."""
    try:
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return datetime.fromtimestamp(value, UTC)
        if isinstance(value, str):
            found = datetime.fromisoformat(_FRACTION.sub(r"\1", value.strip()))
            return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        pass
    return None


def timestamp(value: str) -> datetime | None:
    """Seconds since 1970 as a header has them; None for anything else."""
    return moment(int(value)) if value.isascii() and value.isdigit() and len(value) < 15 else None


def identity(*parts: Any) -> str:
    """An event's id out of what makes it one of a kind."""
    joined = ":".join(text(part) or "" for part in parts)
    return joined if len(joined) <= _LONGEST_ID else hashlib.sha256(joined.encode()).hexdigest()


def address(value: Any) -> str | None:
    """A recipient; None for what is none."""
    found = text(value)
    return found if found is not None and "@" in found and len(found) <= _LONGEST_ADDRESS else None


def angled(message_id: Any) -> str | None:
    """A Message-ID with its angle brackets."""
    found = (text(message_id) or "").strip("<>")
    return f"<{found}>" if found else None


def reply(said: Any, *, code: Any = None, enhanced: Any = None) -> Reply | None:
    """The server's reply in `said` ("smtp; 550 5.1.1 no such user"); `code` and `enhanced` where they come apart."""
    found = _DIAGNOSTIC.fullmatch(text(said) or "")
    words = " ".join(found["text"].split()) if found else ""
    number = int(found["code"]) if found and found["code"] else _code(code)
    status = text(enhanced)
    if status is not None and not _ENHANCED.fullmatch(status):
        status = None
    if not words and number is None and status is None:
        return None
    series = words[0] if _ENHANCED.match(words) else "5"
    read = parse_reply(number or int(f"{series}50"), words.encode())
    if read.enhanced is not None and (status is None or status.endswith(_UNSPECIFIED)):
        status = read.enhanced
    return Reply(number, status, read.text)


def _code(value: Any) -> int | None:
    """An SMTP code; None for a provider's own (Mailgun's 605)."""
    number = text(value) or ""
    return int(number) if number.isdigit() and 200 <= int(number) < 600 else None
