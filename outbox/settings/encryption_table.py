"""The settings of what is stored sealed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from outbox.message.keyring import parse_key
from outbox.settings.event_table import EventTable
from outbox.settings.spec import setting
from outbox.settings.values import FILE, SECONDS_OR_NONE, SECRET, Form, choice

SENSITIVE, ALL = "sensitive", "all"
_MOST_BYTES = 64 * 1024


def _parse_keys(raw: Any) -> tuple[bytes, ...]:
    return keys_in(str(SECRET.parse(raw)).split())


def keys_in(words: list[str]) -> tuple[bytes, ...]:
    """The keys, newest first. Raises ValueError, which quotes none of them."""
    keys = tuple(parse_key(word) for word in words)
    if not keys:
        raise ValueError("holds no key")
    if len(set(keys)) < len(keys):
        raise ValueError("holds the same key twice")
    return keys


def _parse_file(raw: Any) -> tuple[bytes, ...]:
    path = Path(str(FILE.parse(raw)))
    with path.open("rb") as file:
        lines = file.read(_MOST_BYTES).decode("ascii", "replace").splitlines()
    return keys_in([word for line in lines for word in line.partition("#")[0].split()])


_KEYS = Form("keys, each URL-safe base64 of 32 bytes, separated by blanks, secret", _parse_keys, secret=True)
_KEYS_FILE = Form("the name of a readable file with the same, one a line", _parse_file, secret=True)


@dataclass(frozen=True, slots=True, kw_only=True, init=False, repr=False, eq=False)  # made by its last heir
class EncryptionTable(EventTable):
    """Times in seconds."""

    encryption_keys: tuple[bytes, ...] = setting(
        "OUTBOX_ENCRYPTION_KEYS",
        _KEYS,
        (),
        "What is stored of sensitive mail is encrypted with these keys: the first, which is the newest, encrypts; all "
        "of them decrypt. See [encryption](encryption.md).",
        says="unset: nothing is encrypted",
    )
    encryption_keys_file: tuple[bytes, ...] = setting(
        "OUTBOX_ENCRYPTION_KEYS_FILE",
        _KEYS_FILE,
        (),
        "The keys in a file, in place of `OUTBOX_ENCRYPTION_KEYS`; read at start.",
        says="unset",
    )
    sensitive_failed_seconds: float = setting(
        "OUTBOX_SENSITIVE_FAILED_SECONDS",
        SECONDS_OR_NONE,
        7 * 86_400.0,
        "What sensitive mail said that failed, or of which nobody knows whether it was sent, is removed from the "
        "database this long after it ended; it can't be requeued then. 0: never. Kinds may have a time of their own.",
    )
    encryption: str = setting(
        "OUTBOX_ENCRYPTION",
        choice(SENSITIVE, ALL),
        SENSITIVE,
        "What is encrypted where there are keys: mail of sensitive kinds and of the category `security`, or all mail.",
    )
