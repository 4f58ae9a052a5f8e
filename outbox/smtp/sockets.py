"""Bytes to and from one relay, each wait bounded: a socket that keeps a deadline whatever the other side does.

smtplib's own timeout is per `recv`, which one byte each half second defeats, and it reads an endless reply into memory
without limit; hence replies are read here.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable
from typing import Any

from outbox.core.clock import utcnow
from outbox.core.readiness import reader, ready
from outbox.delivery.verdicts import Failure
from outbox.smtp import tls
from outbox.smtp.broken import Broken
from outbox.smtp.connecting import connect, race
from outbox.smtp.reply_code import reply_code
from outbox.smtp.resolver import Resolver

MAX_LINE = 8_192
"""Bytes of one line of a reply; RFC 5321 §4.5.3.1.5 has 512, some relays write more."""

MAX_REPLY = 65_536
"""Bytes of one reply."""

_CHUNK = 16_384
_SEND = 262_144  # bytes handed over at once, so that a deadline is looked at in between


class Wire:
    """One TCP connection, plain or TLS. `deadline` (monotonic) and `silence` (seconds) bound every wait.

    All methods but `abort` belong to one thread. Each raises Broken, and nothing else, for what network and server do.
    """

    def __init__(self, resolver: Resolver, monotonic: Callable[[], float], source: str | None = None) -> None:
        self.deadline = 0.0
        self.silence = 0.0
        self.sock: socket.socket | None = None
        self._monotonic = monotonic
        self._buffer = bytearray()
        self._resolver = resolver
        self._source = source  # the address of this machine to connect from
        self._aborted = False
        self._waits = True
        self._reader: tuple[socket.socket, Callable[[float], bool]] | None = None  # of `sock`, or of one before

    def resolve(self, host: str, port: int, limit: float) -> list[Any]:
        """The addresses of `host`, within `limit` seconds."""
        limit = min(limit, self.deadline - self._monotonic())
        end = self._monotonic() + limit
        addresses = self._resolver.resolve(host, port, end, self._monotonic, self._check)
        if addresses is None:
            raise Broken(Failure.UNRESOLVED, f"the name {host} was not resolved in {limit:.3g} s")
        if isinstance(addresses, Exception):
            raise Broken(Failure.UNRESOLVED, f"the name {host} cannot be resolved: {addresses}")
        return addresses

    def event(self, event: threading.Event, timeout: float) -> bool:
        """As `event.wait`; ends as other waits do when the connection is aborted."""
        is_set = event.wait(timeout)
        self._check()
        return is_set

    def dial(self, addresses: list[Any], name: str, limit: float) -> Any:
        """Connects to the address that answers first within `limit` seconds, and says which.

        It and those that took no connection are taken out of the list.
        """
        limit = min(limit, self.deadline - self._monotonic())
        try:
            if limit <= 0:
                raise TimeoutError("no time left")
            if len(addresses) > 1:
                address, self.sock = race(addresses, limit, self._source, self._monotonic, self._check)
                self._check()
                return address
            family, kind, proto, _, address = addresses[0]
            self._connect(family, kind, proto, address, limit)
            return addresses.pop()
        except OSError as error:
            self._check()
            self._close()
            raise Broken(Failure.UNREACHABLE, f"cannot connect to {name}: {error}")

    def _connect(self, family: int, kind: int, proto: int, address: Any, limit: float) -> None:
        self.sock = socket.socket(family, kind, proto)
        self._check()
        connect(self.sock, address, limit, self._source)
        self._check()

    def start_tls(self, context: ssl.SSLContext, host: str) -> None:
        """Negotiates TLS on the open connection. What was sent in plain text before it is never read afterwards."""
        if self._buffer:
            raise Broken(
                Failure.INJECTED, "plain text after STARTTLS: the relay, or someone between, sent more than a reply"
            )
        try:
            raw = self._open()
            raw.getpeername()  # CPython's wrap_socket leaves the descriptor behind if the connection is gone already
            name = host.strip("[]").rstrip(".")  # certificates have no dot at the end; SNI allows none (RFC 6066 §3)
            self.sock = context.wrap_socket(raw, server_hostname=name, do_handshake_on_connect=False)
            self._ready(self.sock.do_handshake)
        except Broken:
            raise
        except ssl.SSLCertVerificationError as error:
            raise Broken(Failure.CERTIFICATE, f"the certificate of {host} is not accepted: {error.verify_message}")
        except (OSError, ValueError) as error:
            self._check()
            if tls.is_too_old(error):
                raise Broken(Failure.OLD_TLS, tls.too_old(context))
            if tls.asks_for_certificate(error, self.sock):
                raise Broken(Failure.CLIENT_CERTIFICATE, tls.CLIENT_CERTIFICATE)
            raise Broken(Failure.HANDSHAKE, f"the TLS handshake with {host} failed: {tls.handshake_text(error)}")

    def write(self, data: bytes) -> None:
        """Hands `data` to the kernel; returns when all of it is there."""
        view, sent = memoryview(data), 0
        try:
            send = self._open().send
            while sent < len(view):
                sent += self._ready(send, view[sent : sent + _SEND])
        except OSError as error:
            raise self._lost(self._alert() or error)

    def read_reply(self) -> tuple[int, bytes]:
        """The next reply: its code, and its text with lines joined by LF (RFC 5321 §4.2)."""
        line, end = self._read_line(0)
        code = reply_code(line)
        if line[3:4] != b"-":
            del self._buffer[:end]
            return code, line[4:]
        texts = [line[4:]]
        while line[3:4] == b"-":
            if end > MAX_REPLY:
                raise Broken(Failure.OVERSIZED, f"a reply of more than {MAX_REPLY} bytes")
            line, end = self._read_line(end)
            before, code = code, reply_code(line)
            if before // 100 != code // 100:
                raise Broken(Failure.GARBAGE, f"a reply that contradicts itself: {before}, {code}")
            texts.append(line[4:])
        del self._buffer[:end]
        return code, b"\n".join(texts)

    def read_some(self) -> bytes:
        """What comes next, at least a byte: for protocols whose replies have another form."""
        if not self._buffer:
            return self._receive()
        some = bytes(self._buffer)
        self._buffer.clear()
        return some

    def read_arrived(self) -> tuple[int, bytes]:
        """As `read_reply`, after one that broke off, but of what has arrived: no wait, no deadline, even if aborted."""
        self._waits = False
        return self.read_reply()

    def describe_certificate(self) -> str:
        """What the relay's certificate holds, however little it proves; "" where that can't be read."""
        return tls.described(self.sock, utcnow()) if isinstance(self.sock, ssl.SSLSocket) else ""

    @property
    def has_unread(self) -> bool:
        """Whether bytes that nobody asked for were read along with the last reply."""
        return bool(self._buffer)

    def is_quiet(self) -> bool:
        """Whether an idle connection is still open and nothing unasked came in; never waits."""
        if self._buffer or self.sock is None:
            return False
        try:
            return self._nothing_to_read(self.sock)
        except OSError:
            return False

    @staticmethod
    def _nothing_to_read(sock: socket.socket) -> bool:
        try:
            socket.socket.recv(sock, 1, socket.MSG_PEEK)  # under TLS too: the bytes of the TCP connection
        except BlockingIOError:
            return True
        if not isinstance(sock, ssl.SSLSocket):
            return False
        try:
            sock.recv(1)
        except ssl.SSLWantReadError:  # a session ticket, no data
            return True
        return False

    def abort(self) -> None:
        """Ends every wait at once. May be called from any thread; the owner still has to `close`."""
        self._aborted = True
        if (sock := self.sock) is not None:
            tls.shut(sock)

    def close(self) -> None:
        """Closes the socket without a word."""
        self._buffer.clear()
        self._close()

    def _close(self) -> None:
        sock, self.sock = self.sock, None
        if sock is not None:
            with contextlib.suppress(OSError):  # a reset connection may say so again
                sock.close()

    def _read_line(self, start: int) -> tuple[bytes, int]:
        """The line of the buffer that begins at `start`, and where the next one does; it stays in the buffer."""
        buffer = self._buffer
        scanned = start
        while (end := buffer.find(b"\n", scanned)) < 0:
            scanned = len(buffer)
            if scanned - start > MAX_LINE:
                raise Broken(Failure.OVERSIZED, f"a line of more than {MAX_LINE} bytes in a reply")
            buffer += self._receive()
        return bytes(buffer[start:end]).rstrip(b"\r"), end + 1

    def _receive(self) -> bytes:
        try:
            sock = self._open()
            tls_sock = sock if isinstance(sock, ssl.SSLSocket) else None
            if self._waits and not (tls_sock and tls_sock.pending()):
                self._wait(reads=True)  # the reply is hardly ever there already: one look less
            data: bytes = self._ready(sock.recv if tls_sock is None else tls_sock.read, _CHUNK)
        except OSError as error:
            raise self._lost(error)
        if not data:
            self._check()
            raise Broken(Failure.DISCONNECTED, "the relay closed the connection")
        return data

    def _ready(self, operation: Callable[..., Any], *arguments: Any) -> Any:
        """What `operation` on the socket returns, as soon as it can be done; each wait for that is bounded."""
        while True:
            try:
                return operation(*arguments)
            except (BlockingIOError, ssl.SSLWantReadError) as error:
                reads = isinstance(error, ssl.SSLWantReadError) or operation.__name__ == "recv"
                self._wait(reads=reads)
            except ssl.SSLWantWriteError:
                self._wait(reads=False)

    def _wait(self, *, reads: bool) -> None:
        """Until the socket is ready, for what is left of the deadline at most, or until the silence is too long."""
        left = self.deadline - self._monotonic()
        if not self._waits or self.sock is None or left <= 0:
            raise TimeoutError
        seconds = min(left, self.silence)
        if not (self._can_read(self.sock, seconds) if reads else ready(seconds, writing=(self.sock.fileno(),))):
            raise TimeoutError
        self._check()

    def _can_read(self, sock: socket.socket, seconds: float) -> bool:
        if self._reader is None or self._reader[0] is not sock:
            self._reader = sock, reader(sock.fileno())
        return self._reader[1](seconds)

    def _open(self) -> socket.socket:
        if not self._waits and self.sock is not None:
            return self.sock
        self._check()
        if self.sock is None:
            raise Broken(Failure.DISCONNECTED, "the connection is closed")
        if self._monotonic() >= self.deadline:
            raise Broken(Failure.TIMEOUT, "the time for this message is used up")
        return self.sock

    def _check(self) -> None:
        if self._aborted:
            raise Broken(Failure.ABORTED, "given up by this worker")

    def _alert(self) -> ssl.SSLError | None:
        """What the relay said before it closed under a write: in TLS 1.3 a refused handshake ends so."""
        if not isinstance(self.sock, ssl.SSLSocket):
            return None
        try:
            self.sock.recv(1)
        except ssl.SSLError as error:
            return error if tls.asks_for_certificate(error, self.sock) else None
        except OSError:
            return None
        return None

    def _lost(self, error: OSError) -> Broken:
        if isinstance(error, Broken):
            return error
        if tls.asks_for_certificate(error, self.sock):
            return Broken(Failure.CLIENT_CERTIFICATE, tls.CLIENT_CERTIFICATE)
        if self._aborted:
            return Broken(Failure.ABORTED, "given up by this worker")
        if isinstance(error, TimeoutError):
            if self._monotonic() >= self.deadline:
                return Broken(Failure.TIMEOUT, "the time for this message is used up")
            return Broken(Failure.TIMEOUT, f"silence for {self.silence:g} s")
        return Broken(Failure.DISCONNECTED, f"the connection broke: {error}")
