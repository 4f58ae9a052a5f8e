"""A received mail as a flat list of its parts, in bounded time and memory, whatever a stranger has written.

Nothing calls itself, and no part is looked into that holds another message: what is quoted is not a report. Broken
headers, a wrong encoding and an end in the middle cost what they hide, not the rest.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from outbox.core.errors import OutboxError

MOST_BYTES = 1 << 20
"""How much of a mail is read. What it reports stands before the message that it quotes."""

_MOST_PARTS = 100
_DEEPEST = 10  # multiparts in one another
_MOST_FIELDS = 500  # of one header section
_MOST_CHARACTERS = 2_000  # of one field

_FOLD = re.compile(rb"\n[ \t]+")
_FIELD = re.compile(r"([!-9;-~]+)[ \t]*:[ \t]*(.*)")
_BOUNDARY = re.compile(r";\s*boundary\s*=\s*(?:\"([^\"]{1,200})\"|([^\s;\"]{1,200}))", re.IGNORECASE)
_BLANK = re.compile(rb"\n(?:[ \t]*\n)+")

Fields = tuple[tuple[str, str], ...]
"""Names in lower case, and values: unfolded, as UTF-8."""


class UnreadableError(OutboxError):
    """What came in holds no report that can be understood."""


@dataclass(frozen=True)
class Part:
    """One part that is no multipart, or a whole mail."""

    fields: Fields
    body: bytes  # LF between its lines, as transferred

    @cached_property
    def type(self) -> str:
        """ "message/delivery-status"."""
        return first(self.fields, "content-type").partition(";")[0].strip().lower() or "text/plain"

    @cached_property
    def content(self) -> bytes:
        """The body, decoded as its Content-Transfer-Encoding says."""
        encoding = first(self.fields, "content-transfer-encoding").strip().lower()
        if encoding == "base64":
            try:
                return binascii.a2b_base64(self.body + b"==").replace(b"\r\n", b"\n")
            except binascii.Error:
                return self.body
        if encoding == "quoted-printable":
            return binascii.a2b_qp(self.body)
        return self.body

    @property
    def blocks(self) -> Iterator[Fields]:
        """Its content as groups of fields with blank lines between them (RFC 3464 §2.1)."""
        for block in _BLANK.split(self.content.strip(b"\n")):
            if found := fields_of(block):
                yield found


@dataclass(frozen=True)
class Mail:
    """A received mail."""

    fields: Fields
    parts: tuple[Part, ...]

    def of_type(self, *types: str) -> Iterator[Part]:
        """Its parts of these types, in order."""
        return (part for part in self.parts if part.type in types)

    @cached_property
    def quoted(self) -> Fields:
        """The header of the message that it is about, as far as it is given back."""
        for part in self.of_type("message/rfc822", "text/rfc822-headers", "message/global", "message/global-headers"):
            if found := fields_of(part.content.lstrip(b"\n").partition(b"\n\n")[0]):
                return found
        return ()


def mail_of(data: bytes) -> Mail:
    """The parts of a mail, at most `MOST_BYTES` of it. Raises UnreadableError."""
    data = data[:MOST_BYTES].replace(b"\r\n", b"\n").replace(b"\r", b"\n").lstrip(b"\n")
    root = _part(data)
    parts: list[Part] = []
    left = [(root, 0)]
    while left:
        part, depth = left.pop()
        boundary = _boundary(part)
        if boundary is None:
            parts.append(part)
        elif depth == _DEEPEST:
            raise UnreadableError(f"it has multiparts in one another, more than {_DEEPEST} deep")
        else:
            left.extend((_part(piece), depth + 1) for piece in reversed(_pieces(part.body, boundary)))
        if len(parts) + len(left) > _MOST_PARTS:
            raise UnreadableError(f"it has more than {_MOST_PARTS} parts")
    return Mail(root.fields, tuple(parts))


def fields_of(block: bytes) -> Fields:
    """The fields of a header section; lines that are none are left out."""
    lines = _FOLD.sub(b" ", block).split(b"\n", _MOST_FIELDS)[:_MOST_FIELDS]
    texts = (line[:_MOST_CHARACTERS].decode("utf-8", "replace").rstrip() for line in lines)
    return tuple((field[1].lower(), field[2]) for field in map(_FIELD.fullmatch, texts) if field)


def first(fields: Fields, *names: str) -> str:
    """The value of the first of these fields that is there and not empty; ""."""
    return next(values(fields, *names), "")


def values(fields: Fields, *names: str) -> Iterator[str]:
    """The values of these fields, in the order of `names`."""
    for wanted in names:
        for name, value in fields:
            if name == wanted and value:
                yield value


def _part(raw: bytes) -> Part:
    if raw.startswith(b"\n"):  # no header at all
        return Part((), raw[1:])
    head, _, body = raw.partition(b"\n\n")
    return Part(fields_of(head), body)


def _boundary(part: Part) -> bytes | None:
    """What separates the parts of a multipart; None: it is none."""
    if not part.type.startswith("multipart/"):
        return None
    found = _BOUNDARY.search(first(part.fields, "content-type"))
    return None if found is None else (found[1] or found[2]).rstrip().encode()


def _pieces(body: bytes, boundary: bytes) -> list[bytes]:
    """Between the lines that separate them; the last one may have lost its end."""
    line = rb"^--" + re.escape(boundary)
    end = re.search(line + rb"--[ \t]*$", body, re.MULTILINE)
    if end is not None:
        body = body[: end.start()]
    pieces = re.split(line + rb"[ \t]*$", body, maxsplit=_MOST_PARTS + 1, flags=re.MULTILINE)
    return [piece.removeprefix(b"\n") for piece in pieces[1:]]
