"""The wire form of a message body: a tree of MIME parts → bytes (RFC 2045, RFC 2046), big parts left out.

Everything written here is 7-bit with CRLF and short lines, whatever the relay offers. No `email.message` object is
made: assembled by hand, a mail of 2 KB costs a few microseconds instead of more than a millisecond.

Known limits: boundaries rest on `unique` being in no 7-bit part; who adds one checks that (`may_hold_boundary`).
"""

from __future__ import annotations

import binascii
import codecs
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from outbox.message.header_encoding import LINE, fold_parameters
from outbox.message.values import Blob, base64_length, base64_lines

_ASCII_TEXT = "".join(map(chr, range(0x20, 0x7F))) + "\r\n\t"
_FROM_LINE = re.compile(rb"(?m)^From (?=.{0,69}\r?$)")
_LABELS = {  # codec name → the name registered for MIME; any other charset is written as UTF-8
    "utf-8": "utf-8",
    "ascii": "us-ascii",
    **{f"iso8859-{n}": f"iso-8859-{n}" for n in range(1, 17)},
    **{f"cp{n}": f"windows-{n}" for n in range(1250, 1259)},
    "koi8-r": "koi8-r",
    "koi8-u": "koi8-u",
    "shift_jis": "shift_jis",
    "euc_jp": "euc-jp",
    "iso2022_jp": "iso-2022-jp",
    "euc_kr": "euc-kr",
    "gb2312": "gb2312",
    "gbk": "gbk",
    "gb18030": "gb18030",
    "big5": "big5",
    "tis-620": "tis-620",
}


@dataclass(frozen=True, slots=True)
class Leaf:
    """A part without parts: its header lines, and its encoded body or a blob. Ends in CRLF."""

    head: bytes
    body: bytes | Blob


@dataclass(frozen=True, slots=True)
class Multipart:
    """A container: `subtype` is mixed, alternative or related."""

    subtype: str
    parts: Sequence[Leaf | Multipart]


def container(subtype: str, parts: Sequence[Leaf | Multipart]) -> Leaf | Multipart:
    """A multipart of `parts`; a single one needs no container."""
    return parts[0] if len(parts) == 1 else Multipart(subtype, parts)


def text_part(subtype: str, text: str, charset: str, parameters: Iterable[tuple[str, str]] = ()) -> Leaf:
    """A text part within a multipart: quoted-printable, or base64 where that is shorter."""
    data, label = encode_text(canonical(text), charset)
    head = _text_head(subtype, label, tuple(parameters))
    quoted = quoted_printable(data)
    if len(quoted) <= base64_length(len(data)):
        return Leaf(head + b"Content-Transfer-Encoding: quoted-printable\r\n", quoted + b"\r\n")
    return Leaf(head + b"Content-Transfer-Encoding: base64\r\n", base64_lines(data))


def binary_part(head: bytes, data: bytes, blob_threshold: int) -> Leaf:
    """A base64 part; from `blob_threshold` bytes its content becomes a blob."""
    head += b"Content-Transfer-Encoding: base64\r\n"
    return Leaf(head, Blob(data) if len(data) >= blob_threshold else base64_lines(data))


def build(fields: bytes, root: Leaf | Multipart, unique: str) -> tuple[bytes, tuple[tuple[int, Blob], ...]]:
    """The message's header `fields` and its body tree → (skeleton, blobs with their offsets in it)."""
    writer = _Writer(unique)
    writer.pieces += (fields, b"MIME-Version: 1.0\r\n")
    writer.part(_as_root(root) if isinstance(root, Leaf) else root)
    return b"".join(writer.pieces), tuple(writer.blobs)


def may_hold_boundary(data: bytes, unique: str) -> bool:
    """Whether `data`, written as it is, could be cut by one of the message's boundaries."""
    return unique.encode("ascii") in data


def is_clean(data: bytes) -> bool:
    """Whether `data` may be written as it is (7bit, RFC 2045 §2.7): CRLF, no NUL, no long line."""
    if not data.isascii() or b"\0" in data:
        return False
    lines = data.split(b"\r\n")
    return max(map(len, lines)) <= LINE and not any(b"\r" in line or b"\n" in line for line in lines)


def canonical(text: str) -> str:
    """`text` with CRLF for each line end; CRLF, LF and a lone CR are line ends."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text.replace("\n", "\r\n")


def encode_text(text: str, charset: str) -> tuple[bytes, str]:
    """`text` in `charset` if that can hold it and may stand in mail, else in UTF-8; with the charset's MIME name."""
    label = charset_label(charset)
    if label != "utf-8":
        try:
            data = text.encode(label)
            if data.decode(label) == text:
                return data, label
        except UnicodeError:
            pass
    return text.encode(), "utf-8"


@lru_cache(maxsize=64)
def charset_label(charset: str) -> str:
    """The MIME name of a Python codec, `utf-8` for one that has none or does not extend ASCII. Raises LookupError."""
    label = _LABELS.get(codecs.lookup(charset).name, "utf-8")
    return label if _ASCII_TEXT.encode(label) == _ASCII_TEXT.encode("ascii") else "utf-8"


def quoted_printable(data: bytes) -> bytes:
    """`data`, whose line ends are CRLF, in lines of at most 76 characters (RFC 2045 §6.7)."""
    encoded = binascii.b2a_qp(b"\r\n" + data, istext=True)[2:]  # the first line end tells it to write CRLF itself
    return _FROM_LINE.sub(b"=46rom ", encoded) if b"From " in encoded else encoded


@lru_cache(maxsize=64)
def _text_head(subtype: str, label: str, parameters: tuple[tuple[str, str], ...]) -> bytes:
    return fold_parameters("Content-Type", f"text/{subtype}", [("charset", label), *parameters])


def _as_root(leaf: Leaf) -> Leaf:
    """A message must end in CRLF, and its text need not: a soft line break then keeps it exact."""
    body = leaf.body
    if isinstance(body, Blob) or not body.endswith(b"\r\n") or b"quoted-printable" not in leaf.head:
        return leaf
    text = body[:-2]
    return Leaf(leaf.head, text if not text or text.endswith(b"\r\n") else text + b"=\r\n")


class _Writer:
    def __init__(self, unique: str) -> None:
        self.pieces: list[bytes] = []
        self.blobs: list[tuple[int, Blob]] = []
        self._length = 0  # of the pieces that are counted
        self._counted = 0
        self._unique = unique
        self._multiparts = 0

    def part(self, part: Leaf | Multipart) -> None:
        if isinstance(part, Multipart):
            self._multipart(part)
        elif isinstance(part.body, Blob):
            self.pieces += (part.head, b"\r\n")
            self._length += sum(map(len, self.pieces[self._counted :]))
            self._counted = len(self.pieces)
            self.blobs.append((self._length, part.body))
        else:
            self.pieces += (part.head, b"\r\n", part.body)

    def _multipart(self, part: Multipart) -> None:
        self._multiparts += 1
        boundary = f"=_{self._multiparts}_{self._unique}"  # "=_" is in no quoted-printable, "_" in no base64
        kind = '; type="text/html"' if part.subtype == "related" else ""  # RFC 2387 §3.1
        head = f'Content-Type: multipart/{part.subtype}{kind};\r\n boundary="{boundary}"\r\n\r\n'
        self.pieces.append(head.encode("ascii"))
        delimiter = f"--{boundary}".encode("ascii")
        for child in part.parts:
            self.pieces += (delimiter, b"\r\n")
            self.part(child)
        self.pieces += (delimiter, b"--\r\n")
