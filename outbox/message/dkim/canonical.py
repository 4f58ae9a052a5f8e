"""The canonical form "relaxed" of header and body (RFC 6376 §3.4.2, §3.4.4)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Set

from outbox.message.header_encoding import split_fields

_WHITE = re.compile(rb"[ \t]{2,}|\t")  # a single space stays as it is
_FOLDED = re.compile(rb"[ \t\r\n]+")
_BLANK = b"\r\n\r\n"


def header_field(name: bytes, value: bytes) -> bytes:
    """One field, whose name is in lower case, without the CRLF at its end."""
    return name + b":" + _FOLDED.sub(b" ", value).strip(b" ")


def fields_of(head: bytes, wanted: Set[bytes]) -> dict[bytes, list[bytes]]:
    """The canonical `wanted` fields of a header section by their names in lower case, each name's from the last on."""
    found: dict[bytes, list[bytes]] = {}
    for field in reversed(split_fields(head)):
        name, _, value = field.partition(b":")
        lower = name.strip(b" \t").lower()
        if lower in wanted:
            found.setdefault(lower, []).append(header_field(lower, value))
    return found


class Body:
    """Hashes a body (SHA-256) that comes in pieces."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._held = b""  # the line that is not complete yet
        self._ends = 0  # line ends that are not hashed yet: at the end of a body all but one are left out
        self._empty = True

    def add(self, piece: bytes) -> None:
        """The next piece; it may end anywhere."""
        data = self._held + piece if self._held else piece
        cut = data.rfind(b"\r\n") + 2
        if cut == 1:
            self._held = data
            return
        self._held = data[cut:]
        self._add_lines(data[:cut])

    def digest(self) -> bytes:
        """Of all that was added. To be called once."""
        if self._held:
            self._add_lines(self._held + b"\r\n")  # the final dot's CRLF ends it
        if not self._empty:
            self._hash.update(b"\r\n")
        return self._hash.digest()

    def _add_lines(self, lines: bytes) -> None:
        if b" \r\n" in lines or b"  " in lines or b"\t" in lines:
            lines = _WHITE.sub(b" ", lines).replace(b" \r\n", b"\r\n")
        kept = lines.rstrip(b"\r\n")
        if kept:
            if self._ends:
                self._hash.update(b"\r\n" * self._ends)
            self._hash.update(kept)
            self._ends, self._empty = 0, False
        self._ends += (len(lines) - len(kept)) // 2


def taken_apart(content: bytes | Iterable[bytes], wanted: Set[bytes]) -> tuple[dict[bytes, list[bytes]], bytes]:
    """The `wanted` header fields, as `fields_of`, and the hash of the body, of a whole message or its pieces."""
    body = Body()
    if isinstance(content, bytes):
        head, _, rest = content.partition(_BLANK)
        body.add(rest)
        return fields_of(_ended(head), wanted), body.digest()
    gathered, in_body = b"", False
    for piece in content:
        if in_body:
            body.add(piece)
            continue
        gathered += piece
        head, blank, rest = gathered.partition(_BLANK)
        if blank:
            in_body = True
            body.add(rest)
    return fields_of(_ended(head if in_body else gathered), wanted), body.digest()


def _ended(head: bytes) -> bytes:
    """Without the CRLF at the end of a header that no body follows."""
    return head.removesuffix(b"\r\n")
