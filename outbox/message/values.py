"""The values that a message is made of between composing and sending."""

from __future__ import annotations

import binascii
import hashlib
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from outbox.core.value import value

_LINE = 76  # characters of base64
_LINE_BYTES = 57  # that they stand for
_CHUNK = struct.Struct("76s" * 1024)  # lines encoded at a time, so that a big part is never in memory twice
_CHUNK_BYTES = 1024 * _LINE_BYTES
BASE64_CUT = _CHUNK_BYTES


@dataclass(frozen=True, slots=True)
class Blob:
    """A big part (attachment, inline image), decoded. Stored once per content under its SHA-256."""

    data: bytes

    @property
    def digest(self) -> str:
        """SHA-256 of the content, in hexadecimal digits."""
        return hashlib.sha256(self.data).hexdigest()


@dataclass(frozen=True, slots=True)
class Utf8Header:
    """The header for recipients whose own address is not ASCII (RFC 6532); the others get it downgraded (RFC 6857)."""

    replaces: int  # bytes of the skeleton's own header, up to the blank line
    header: str  # CRLF between its lines, none at the end

    @property
    def longer(self) -> int:
        """By how many bytes this form is longer than the other."""
        return len(self.header.encode()) - self.replaces

    def in_place(self, skeleton: bytes) -> bytes:
        """`skeleton` with this header."""
        return self.header.encode() + skeleton[self.replaces :]


@dataclass(frozen=True, slots=True)
class Composed:
    """A message in its wire form (RFC 5322, CRLF, 7-bit, not dot-stuffed), ready to be stored.

    `skeleton` is the wire form without its big parts; `blobs` says at which byte of the skeleton the base64 lines of
    each belong. `wire()` puts them together. With `utf8` there are two forms, which differ in their headers.
    """

    message_id: str  # with its angle brackets
    envelope_from: str  # "" is the null sender, <>
    recipients: tuple[str, ...]  # envelope recipients: To, Cc and Bcc, each once
    subject: str  # decoded and unfolded
    headers: tuple[tuple[str, str], ...]  # decoded and unfolded, as asked for, in wire order
    skeleton: bytes
    blobs: tuple[tuple[int, Blob], ...] = ()  # (byte offset in skeleton, blob), ascending
    size: int = 0  # bytes of the whole wire form
    smtputf8: bool = False  # the author's address is not ASCII: every delivery needs SMTPUTF8 (RFC 6531)
    addresses: tuple[tuple[str, str], ...] = field(default=())  # (field, address) for look-up: ("to", "a@b.c")
    mail_options: tuple[str, ...] = ()  # ESMTP parameters of MAIL, as Flask-Mail's Message carries them
    rcpt_options: tuple[str, ...] = ()
    content: str | None = None  # a digest of all but Message-ID and Date, where it has a key
    copy_to: str | None = None  # of the recipients, the one that gets a copy which no header names
    dated: bool = False  # its Date was given by the application, and stays
    utf8: Utf8Header | None = None  # None: the skeleton's is for all recipients

    def wire(self, recipient: str = "") -> bytes:
        """The whole wire form in one piece, as `recipient` gets it."""
        return whole_form(self.skeleton, self.blobs, self.utf8, recipient)


def base64_lines(data: bytes) -> bytes:
    """`data` in base64, 76 characters a line, CRLF after each line (RFC 2045 §6.8)."""
    return b"".join(base64_chunks(data))


def base64_length(size: int) -> int:
    """How many bytes `base64_lines` makes of `size` bytes."""
    return (size + 2) // 3 * 4 + -(-size // _LINE_BYTES) * 2


def splice(skeleton: bytes, blobs: tuple[tuple[int, Blob], ...]) -> Iterator[bytes]:
    """The pieces of the wire form in order, each piece of a blob encoded only when it is asked for."""
    start = 0
    for offset, blob in blobs:
        yield skeleton[start:offset]
        yield from base64_chunks(blob.data)
        start = offset
    yield skeleton[start:]


def whole_form(skeleton: bytes, blobs: tuple[tuple[int, Blob], ...], utf8: Utf8Header | None, recipient: str) -> bytes:
    """The wire form that `recipient` gets: with the header in UTF-8 only if its own address is not ASCII."""
    if utf8 is not None and not recipient.isascii():
        blobs = tuple((offset + utf8.longer, blob) for offset, blob in blobs)
        skeleton = utf8.in_place(skeleton)
    return b"".join(splice(skeleton, blobs))


def base64_chunks(data: bytes) -> Iterator[bytes]:
    """`base64_lines` in pieces; those of content cut at multiples of BASE64_CUT bytes can be put together."""
    for start in range(0, len(data), _CHUNK_BYTES):
        encoded = binascii.b2a_base64(data[start : start + _CHUNK_BYTES], newline=False)
        if len(encoded) == _CHUNK.size:
            lines: Iterable[bytes] = _CHUNK.unpack(encoded)  # a third of the time that slicing takes
        else:
            lines = [encoded[i : i + _LINE] for i in range(0, len(encoded), _LINE)]
        yield b"\r\n".join([*lines, b""])


@value(frozen=True, slots=True)
class Envelope:
    """The envelope of one delivery (RFC 5321 §2.3.1): one sender, one recipient."""

    sender: str
    recipient: str
    size: int  # bytes of the content, for SIZE (RFC 1870)
    smtputf8: bool = False
    mail_options: tuple[str, ...] = ()
    rcpt_options: tuple[str, ...] = ()
    message_id: str = ""  # with its angle brackets
    tags: tuple[str, ...] = ()  # words, and named values: "campaign=spring"
    created_at: datetime | None = None  # when the message was enqueued
    envid: str = ""  # what a delivery report is to give back (RFC 3461); with it, one is asked for

    @property
    def idempotency_key(self) -> str:
        """The same on each attempt of a delivery, and another for each recipient of a message."""
        return hashlib.sha256(f"{self.message_id}\0{self.recipient}".encode()).hexdigest()
