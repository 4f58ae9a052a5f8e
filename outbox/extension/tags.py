"""The tags of a message, for the provider that sends it: words, or named values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from outbox.core.errors import MessageError
from outbox.message.coerce import kind_of

MOST_TAGS = 10
LONGEST_TAG = 128  # characters

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_TEXT = re.compile(r"[!-~]+(?: [!-~]+)*")  # ASCII, one blank at a time: it becomes part of a header
_REMEDY = "Give a list of words, or a dictionary of texts with names of letters, digits, - and _."


def tags_of(given: Any) -> tuple[str, ...]:
    """The words, and of a mapping each "name=value". Raises MessageError."""
    if given is None:
        return ()
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise MessageError("tags", f"is {kind_of(given)}", _REMEDY)
    tags = tuple(dict.fromkeys(_named(given) if isinstance(given, Mapping) else _words(given)))
    if len(tags) > MOST_TAGS:
        raise MessageError("tags", f"are {len(tags)}", f"Give at most {MOST_TAGS}: providers take no more.")
    return tags


def _words(given: Iterable[Any]) -> Iterator[str]:
    for word in given:
        if isinstance(word, str) and "=" in word:
            raise MessageError("tags", f"holds {word[:80]!r}", "For named values give a dictionary.")
        yield _text(word)


def _named(given: Mapping[Any, Any]) -> Iterator[str]:
    for name, value in given.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name) or len(name) > LONGEST_TAG:
            raise MessageError("tags", f"holds the name {str(name)[:80]!r}", _REMEDY)
        yield f"{name}={_text(value)}"


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise MessageError("tags", f"holds {kind_of(value)}", _REMEDY)
    if not _TEXT.fullmatch(value) or len(value) > LONGEST_TAG:
        raise MessageError(
            "tags",
            f"holds {value[:80]!r}: empty, too long, not ASCII, or with more blanks than one between words",
            f"Give printable ASCII of at most {LONGEST_TAG} characters.",
        )
    return value
