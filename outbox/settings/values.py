"""What the value of a setting may be: each form parses what a configuration or an environment holds.

A form raises ValueError with a sentence that goes after the setting's name ("is 0, not a number of seconds above 0").
It never contains the value of a secret.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from outbox.core.errors import MessageError
from outbox.delivery.states import OnUncertain
from outbox.message import extra_headers
from outbox.message.addresses import sender_of
from outbox.settings import route_rules
from outbox.settings.shown import nearest, shown

LONGEST_SECONDS = 10 * 366 * 86_400.0


_ZEROS = frozenset({"0", "0.0"})
_TRUE = frozenset({"true", "yes", "on", "1", "t", "y"})
_FALSE = frozenset({"false", "no", "off", "0", "f", "n"})


@dataclass(frozen=True, slots=True)
class Form:
    """One form of value: how it is parsed, and how the documentation calls it."""

    says: str
    parse: Callable[[Any], Any]
    secret: bool = False
    blank: bool = False  # whether blank text is handed to `parse`, which refuses it; else it counts as unset


def is_unset(raw: Any) -> bool:
    """None and blank strings: an environment has no other way to leave a setting out."""
    return raw is None or (isinstance(raw, str) and not raw.strip())


def boolean(raw: Any) -> bool:
    """A boolean, in the words that environments use for it: "false" means false."""
    if isinstance(raw, bool):
        return raw
    word = str(raw).strip().lower() if isinstance(raw, str | int) else ""
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ValueError(f"is {shown(raw)}, neither true nor false")


def whole(low: int, high: int) -> Form:
    """A whole number from `low` to `high`, both included."""
    says = f"a whole number from {low:,} to {high:,}"

    def parse(raw: Any) -> int:
        try:
            if isinstance(raw, bool) or not isinstance(raw, str | int):
                raise ValueError
            number = int(raw)
        except ValueError:
            raise ValueError(f"is {shown(raw)}, not {says}") from None
        if not low <= number <= high:
            raise ValueError(f"is {number:,}, not {says}")
        return number

    return Form(says, parse)


def _undone(raw: Any) -> Any:
    """A whole number as the text it was: `app.config.from_prefixed_env()` makes numbers of what looks like one."""
    return str(raw) if isinstance(raw, int) and not isinstance(raw, bool) else raw


def _quote(raw: Any) -> str:
    """What to do where it can't be known any more which text it was."""
    made = isinstance(raw, bool | float | list | dict) or raw is None
    return """: from_prefixed_env makes that of it unless it is in double quotes, '"…"'""" if made else ""


def choice(*values: str) -> Form:
    """One of some words, in any case."""
    says = _either(values)

    def parse(raw: Any) -> str:
        word = raw.strip().lower() if isinstance(raw, str) else None
        for value in values:
            if value.lower() == word:
                return value
        close = nearest(word, [value.lower() for value in values]) if word and not word[0].isdigit() else None
        hint = "" if close is None else f": did you mean {next(one for one in values if one.lower() == close)}"
        raise ValueError(f"is {shown(raw)}, not {says}{hint}")

    return Form(says, parse)


def text(longest: int = 255) -> Form:
    """Printable text, spaces around it taken away."""

    def parse(raw: Any) -> str:
        raw = _undone(raw)
        if not isinstance(raw, str):
            raise ValueError(f"is {shown(raw)}, not a text{_quote(raw)}")
        stripped = raw.strip()
        if not stripped.isprintable():
            raise ValueError(f"is {shown(raw)}, which holds a line break or control character")
        if len(stripped) > longest:
            raise ValueError(f"has {len(stripped)} characters, more than {longest}")
        return stripped

    return Form("text", parse)


def _parse_seconds_or_none(raw: Any) -> float:
    return 0.0 if str(raw).strip() in _ZEROS else _parse_seconds(raw)


def _parse_seconds(raw: Any) -> float:
    try:
        if isinstance(raw, timedelta):
            seconds = raw.total_seconds()
        elif isinstance(raw, bool) or not isinstance(raw, str | int | float):
            raise ValueError
        else:
            seconds = float(raw)
    except (ValueError, OverflowError):
        hint = ": give the number of seconds alone" if isinstance(raw, str) and raw.strip()[:1].isdigit() else ""
        raise ValueError(f"is {shown(raw)}, not a number of seconds{hint}") from None
    if not (math.isfinite(seconds) and 0 < seconds <= LONGEST_SECONDS):
        raise ValueError(f"is {shown(raw)}, not a number of seconds above 0 (and up to ten years)")
    return seconds


def _parse_share(raw: Any) -> float:
    try:
        if isinstance(raw, bool) or not isinstance(raw, str | int | float):
            raise ValueError
        share = float(raw)
    except (ValueError, OverflowError):
        raise ValueError(f"is {shown(raw)}, not a number from 0 to 1") from None
    if not 0 <= share <= 1:
        raise ValueError(f"is {shown(raw)}, not a number from 0 to 1")
    return share


def _parse_debug(raw: Any) -> int:
    if isinstance(raw, str) and raw.strip().isdigit():
        return int(raw)
    if isinstance(raw, int) and not isinstance(raw, bool) and raw >= 0:
        return raw
    return int(boolean(raw))


def _parse_secret(raw: Any) -> str:
    raw = _undone(raw)
    if not isinstance(raw, str):
        raise ValueError(f"is not a text but of type {type(raw).__name__}{_quote(raw)}")
    if "\n" in raw or "\r" in raw or "\0" in raw:
        raise ValueError("holds a line break")
    return raw


def _parse_url(raw: Any) -> str:
    if hasattr(raw, "render_as_string"):  # an sqlalchemy.URL, which this module need not know
        return str(raw.render_as_string(hide_password=False))
    if not isinstance(raw, str) or "://" not in raw:
        raise ValueError("is not a database URL such as postgresql+psycopg://user:password@host/name")
    return raw.strip()


def _parse_file(raw: Any) -> Path:
    try:
        path = Path(raw)
        with path.open("rb"):
            pass
    except TypeError:
        raise ValueError(f"is {shown(raw)}, not the name of a file") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "it cannot be opened"
        raise ValueError(f"names {os.fspath(raw)!r}, which this process cannot read: {reason}") from None
    return path


def _parse_sender(raw: Any) -> str | tuple[str, str]:
    sender: str | tuple[str, str]
    if isinstance(raw, str):
        sender = str(text(1000).parse(raw))
    elif isinstance(raw, tuple | list) and len(raw) == 2 and isinstance(raw[0], str | None) and isinstance(raw[1], str):
        name, address = (str(text(1000).parse(part or "")) for part in raw)
        sender = (name, address) if name else address
    else:
        raise ValueError(f"is {shown(raw)}, neither an address nor a pair (name, address)")
    try:
        sender_of(sender)
    except MessageError:
        remedy = "give one such as shop@example.org, or a name with it: Shop <shop@example.org>"
        raise ValueError(f"is {shown(raw)}, not a valid address: {remedy}") from None
    return sender


def _parse_kinds(raw: Any) -> tuple[tuple[str, OnUncertain], ...]:
    if isinstance(raw, str):
        parts = [part for part in raw.split(",") if part.strip()]
        if not all("=" in part for part in parts):
            raise ValueError(f"is {shown(raw)}, not of the form kind=hold,kind2=retry")
        raw = dict(part.split("=", 1) for part in parts)
    if not isinstance(raw, Mapping):
        raise ValueError(f"is {shown(raw)}, not a mapping from kinds to hold or retry")
    pairs = []
    for kind, policy in raw.items():
        try:
            pairs.append((str(text(64).parse(kind)), _parse_policy(policy)))
        except ValueError as problem:
            raise ValueError(f"has for the kind {shown(kind)} a value that {problem}") from None
    return tuple(pairs)


def _parse_headers(raw: Any) -> tuple[tuple[str, str], ...]:
    if isinstance(raw, str):
        try:
            raw = json.loads(raw)
        except ValueError:
            raise ValueError(f"is {shown(raw)}, not a JSON object of texts") from None
    if not isinstance(raw, Mapping):
        raise ValueError(f"is {shown(raw)}, not a mapping from names to texts")
    try:
        extra_headers.extra_headers(cast(Any, SimpleNamespace(extra_headers=dict(raw))))
    except MessageError as error:
        raise ValueError(f"is not a list of headers: {error}".rstrip(".")) from None
    return tuple((str(name), str(value)) for name, value in raw.items())


def _parse_in_process(raw: Any) -> str:
    if isinstance(raw, str) and raw.strip().lower() in {"host", "process"}:
        return raw.strip().lower()
    try:
        return "process" if boolean(raw) else ""
    except ValueError:
        raise ValueError(f"is {shown(raw)}, not true, false or host") from None


def _parse_names(raw: Any) -> tuple[str, ...]:
    names = raw.split(",") if isinstance(raw, str) else raw
    if not isinstance(names, list | tuple | set | frozenset):
        raise ValueError(f"is {shown(raw)}, not a list of kinds")
    return tuple(str(text(64).parse(name)) for name in names if not isinstance(name, str) or name.strip())


def _parse_policy(raw: Any) -> OnUncertain:
    return OnUncertain(choice(*OnUncertain).parse(raw))


def _either(values: tuple[str, ...]) -> str:
    quoted = [str(value) for value in values]
    return f"{', '.join(quoted[:-1])} or {quoted[-1]}" if len(quoted) > 1 else quoted[0]


FLAG = Form("true or false", boolean)
SECONDS = Form("seconds, fractions allowed, above 0", _parse_seconds)
SECONDS_OR_NONE = Form(
    "seconds, fractions allowed, or 0", lambda raw: 0.0 if str(raw).strip() in _ZEROS else _parse_seconds(raw)
)
SHARE = Form("a number from 0 to 1", _parse_share)
DEBUG = Form("true, false or a level from 0", _parse_debug)
SECRET = Form("text, secret", _parse_secret, secret=True)
URL = Form("a database URL, secret", _parse_url, secret=True)
FILE = Form("the name of a readable file", _parse_file)
SENDER = Form("an address, or a pair (name, address)", _parse_sender)
POLICY = Form("retry or hold", _parse_policy)
KINDS = Form("a mapping, or text like `kind=hold,kind2=retry`", _parse_kinds)
HEADERS = Form("a mapping, or a JSON object of texts", _parse_headers)
TRANSPORTS = Form("names, separated by blanks", route_rules.parse_names)
ROUTES = Form("a list of objects, or JSON", route_rules.parse_rules)
IN_PROCESS = Form("true, false or host", _parse_in_process)
NAMES = Form("a list, or text like `kind,kind2`", _parse_names)
