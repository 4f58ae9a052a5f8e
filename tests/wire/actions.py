"""What the test server can do at a step instead of its usual reply. A plain string is a reply."""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from socket import SO_LINGER, SOL_SOCKET, socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.wire.server import Client


class Gone(Exception):
    """The connection ends here."""


@dataclass(frozen=True, slots=True)
class Raw:
    """These bytes as they are. If they begin with a good code the server goes on as if it had said only that."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Close:
    """Ends the connection with FIN, or with RST."""

    reset: bool = False


@dataclass(frozen=True, slots=True)
class Silence:
    """Says nothing more, reads nothing more, until the client closes or the server is stopped."""


@dataclass(frozen=True, slots=True)
class Drip:
    """`text` byte by byte, one every `every` seconds; then nothing."""

    text: str
    every: float


@dataclass(frozen=True, slots=True)
class Endless:
    """A reply without end: the same piece again and again, as fast as the client reads."""

    piece: bytes


@dataclass(frozen=True, slots=True)
class Later:
    """Waits `seconds`, then does `action`."""

    seconds: float
    action: Action


@dataclass(frozen=True, slots=True)
class Both:
    """One action, then another."""

    first: Action
    second: Action


@dataclass(frozen=True, slots=True)
class Take:
    """At the final dot: records the mail as taken, then does `action` (which may not tell the client)."""

    action: Action


@dataclass(frozen=True, slots=True)
class After:
    """In the body: once `size` bytes of it were read, does `action`."""

    size: int
    action: Action


@dataclass(frozen=True, slots=True)
class Turns:
    """The first time the first, the second time the second, ...; None and afterwards: the usual reply."""

    actions: tuple[Action | None, ...]
    last_stays: bool = False


Action = str | Raw | Close | Silence | Drip | Endless | Later | Both | Take | After
Choice = Action | Turns | Callable[["Client"], Action | None]

CLOSE = Close()
RESET = Close(reset=True)
SILENCE = Silence()
GARBAGE = Raw(b"\x00\xff\x80 this is no SMTP \x1b[2J\r\n")
ENDLESS_LINES = Endless(b"250-" + b"x" * 508 + b"\r\n")
ENDLESS_LINE = Endless(b"y" * 65_536)


def turns(*actions: Action | None, last_stays: bool = False) -> Turns:
    """`Turns` of these actions."""
    return Turns(actions, last_stays)


def perform(action: Action, sock: socket, stop: threading.Event) -> bytes:
    """Does it; returns what was said, for the server to see whether to go on. Raises Gone where the connection ends."""
    match action:
        case str():
            return perform(Raw(lines(action)), sock, stop)
        case Raw(data):
            sock.sendall(data)
            return data
        case Close(reset):
            end(sock, reset)
            raise Gone
        case Silence():
            _hush(sock, stop)
            raise Gone
        case Drip(text, every):
            for byte in lines(text):
                sock.sendall(bytes((byte,)))
                if stop.wait(every):
                    raise Gone
            return lines(text)
        case Endless(piece):
            while not stop.is_set():
                sock.sendall(piece)
            raise Gone
        case Later(seconds, then):
            if stop.wait(seconds):
                raise Gone
            return perform(then, sock, stop)
        case Both(first, second):
            return perform(first, sock, stop) + perform(second, sock, stop)
        case Take(then) | After(_, then):
            return perform(then, sock, stop)
    raise TypeError(f"no action: {action!r}")


def lines(text: str) -> bytes:
    """A reply as it goes over the wire: "250 a" or, of several lines, "250 a\\nb" (codes are put before each)."""
    code, rest = text[:3], text[4:].split("\n")
    if len(rest) == 1:
        return text.encode() + b"\r\n"
    return "".join(f"{code}-{line}\r\n" for line in rest[:-1]).encode() + f"{code} {rest[-1]}\r\n".encode()


def end(sock: socket, reset: bool = False) -> None:
    """Closes the connection. Under TLS without a word, as a dying server does."""
    if reset:
        sock.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def _hush(sock: socket, stop: threading.Event) -> None:
    """Reads nothing, so that the client's writes stop once the buffers are full."""
    del sock
    stop.wait()
