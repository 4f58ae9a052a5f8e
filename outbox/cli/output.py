"""What may be printed: text without control characters, and JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from typing import Any

import click

from outbox.core.clock import UNREADABLE


def safe(text: object) -> str:
    """`text` on one line, with everything escaped that a terminal could obey: it came from anywhere."""
    plain = str(text)
    if plain.isprintable():
        return plain
    return "".join(char if char.isprintable() else _escaped(char) for char in plain)


def safe_lines(text: str) -> str:
    """The same for text whose line breaks are ours."""
    return text if text.isprintable() else "\n".join(safe(line) for line in text.split("\n"))


def print_whole(text: str) -> None:
    """Text on stdout as it is, however wide its lines are: a message's own, or CSV."""
    click.echo(text)


def sentence(words: str) -> str:
    """With a full stop, unless it ends in a mark of its own."""
    words = words.rstrip()
    return words if words.endswith((".", "?", "!", ":", "…")) else f"{words}."


def print_json(value: object) -> None:
    """One JSON value on stdout, pure ASCII, so that it holds nothing a terminal could obey."""
    click.echo(json.dumps(plain(value), indent=2))


def plain(value: object) -> Any:
    """`value` in JSON's types: dates as ISO 8601 in UTC, enums by their value, dataclasses as objects."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return None if value == UNREADABLE else value.isoformat()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(plain(key)): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return round(value, 3)
    return value


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
