"""The content of a message on its way: dot-stuffing (RFC 5321 §4.5.2), and no bare CR or LF, ever (SMTP smuggling)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

BLOCK = 65_536
"""Bytes that are gathered before they are written: few writes, little memory."""


class BareNewlineError(ValueError):
    """A CR or LF stands alone; a server that takes it for a line end would see another message than we sent."""

    def __init__(self) -> None:
        super().__init__("the content has a CR or LF that is not a line end")


def blocks(content: bytes | Iterable[bytes]) -> Iterator[bytes]:
    """The dot-stuffed content in pieces, without the CRLF at its very end: that one belongs to the final dot."""
    if isinstance(content, tuple) and len(content) == 1:
        content = content[0]
    if isinstance(content, bytes):
        yield stuffed(content)
        return
    held = b""  # what may still turn out to be the end, or the start of a line end
    start = True
    for gathered in _gather(content):
        piece = held + gathered
        keep = 2 if piece.endswith(b"\r\n") else 1 if piece.endswith(b"\r") else 0
        cut = len(piece) - keep
        held = piece[cut:]
        ready = piece[:cut]
        if ready:
            yield _stuff(ready, start)
            start = False
    if held not in (b"", b"\r\n"):
        raise BareNewlineError


def stuffed(content: bytes) -> bytes:
    """The whole content, dot-stuffed, without the CRLF at its very end. Raises BareNewlineError."""
    return _stuff(content[:-2] if content.endswith(b"\r\n") else content, start=True)


def _stuff(piece: bytes, start: bool) -> bytes:
    """`piece` begins at a line's start only if `start`, or with the CRLF that was held back before it."""
    ends = piece.count(b"\r\n")
    if piece.count(b"\n") != ends or piece.count(b"\r") != ends:
        raise BareNewlineError
    if start and piece.startswith(b"."):
        piece = b"." + piece
    return piece.replace(b"\r\n.", b"\r\n..")


def _gather(content: Iterable[bytes]) -> Iterator[bytes]:
    parts: list[bytes] = []
    size = 0
    for part in content:
        parts.append(part)
        size += len(part)
        if size >= BLOCK:
            yield b"".join(parts)
            parts.clear()
            size = 0
    if parts:
        yield b"".join(parts)
