"""Signs messages on their way to one transport: one DKIM-Signature by each kind of key.

A pure function of the bytes, the message's own time and the keys, so that each attempt makes the same.
"""

from __future__ import annotations

import binascii
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from outbox.message.dkim.canonical import header_field, taken_apart
from outbox.message.dkim.keys import DkimKey

SIGNED = (
    "from",
    "to",
    "cc",
    "subject",
    "date",
    "message-id",
    "reply-to",
    "mime-version",
    "content-type",
    "list-unsubscribe",
    "list-unsubscribe-post",
    "list-id",
    "feedback-id",
    "auto-submitted",
)
"""Each is named once more than it occurs, so that one which is added breaks the signature (RFC 6376 §8.15)."""

_NAMES = tuple(name.encode("ascii") for name in SIGNED)
_WANTED = frozenset(_NAMES)
_WIDTH = 72
_NAME = b"DKIM-Signature"
_LOWER = _NAME.lower()


@dataclass(frozen=True, slots=True)
class Turn:
    """From when on a selector signed what came in."""

    selector: str
    since: datetime


class Signer:
    """That of one transport. Thread-safe. No key in its `repr`."""

    def __init__(self, domain: str, keys: Sequence[DkimKey], turns: Mapping[str, Sequence[Turn]] | None = None) -> None:
        """`keys`: of those of one kind the first signs what comes in from now on.

        `turns`: by kind, which selectors did before, ascending; the last is that of the first key.
        """
        self.domain = domain
        self._turns = turns or {}
        self._kinds: dict[str, dict[str, DkimKey]] = {}
        for key in keys:
            self._kinds.setdefault(key.algorithm, {})[key.selector] = key

    def __repr__(self) -> str:
        return f"<Signer for {self.domain}>"

    def fields(self, content: bytes | Iterable[bytes], created_at: datetime | None) -> bytes:
        """The DKIM-Signature fields to go before `content`, a message in wire form (CRLF, not dot-stuffed)."""
        found, body_hash = taken_apart(content, _WANTED)
        covered = [(name, found.get(name, ())) for name in _NAMES]
        names = tuple([name for name, fields in covered for _ in range(len(fields) + 1)])
        canonical = b"".join(field + b"\r\n" for _, fields in covered for field in fields)
        return b"".join(self._field(key, names, canonical, body_hash, created_at) for key in self._keys_for(created_at))

    def _keys_for(self, created_at: datetime | None) -> list[DkimKey]:
        return [_in_turn(keys, self._turns.get(kind, ()), created_at) for kind, keys in self._kinds.items()]

    def _field(
        self,
        key: DkimKey,
        names: tuple[bytes, ...],
        canonical: bytes,
        body_hash: bytes,
        created_at: datetime | None,
    ) -> bytes:
        tags = f" v=1; a={key.algorithm}-sha256; c=relaxed/relaxed;\r\n d={self.domain}; s={key.selector};\r\n"
        time = b"" if created_at is None else b" t=%d;\r\n" % int(created_at.timestamp())
        value = b"%s%s h=%s;\r\n bh=%s;\r\n b=" % (tags.encode("ascii"), time, _listed(names), _base64(body_hash))
        made = _base64(key.sign(canonical + header_field(_LOWER, value)))
        lines = b"\r\n ".join([made[at : at + _WIDTH] for at in range(0, len(made), _WIDTH)])
        return _NAME + b":" + value + lines + b"\r\n"


def _in_turn(keys: Mapping[str, DkimKey], turns: Sequence[Turn], created_at: datetime | None) -> DkimKey:
    """The key whose turn it was when the message was created, as long as there is that key."""
    first = next(iter(keys.values()))
    if len(keys) == 1 or created_at is None or not turns:
        return first
    turn = next((one for one in reversed(turns) if one.since <= created_at), turns[0])
    return keys.get(turn.selector, first)


@lru_cache(maxsize=64)
def _listed(names: tuple[bytes, ...]) -> bytes:
    """The value of h=, on lines that begin with a space; few messages differ in it."""
    lines = [b"h="]
    for name in names:
        if len(lines[-1]) + len(name) > _WIDTH:
            lines.append(b"")
        lines[-1] += name + b":"
    return b"\r\n ".join(lines).removeprefix(b"h=").removesuffix(b":")


def _base64(data: bytes) -> bytes:
    return binascii.b2a_base64(data, newline=False)
