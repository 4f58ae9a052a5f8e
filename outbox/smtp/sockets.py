"""Bytes to and from one relay, each wait bounded: a socket that keeps a deadline whatever the other side does.

smtplib's own timeout is per `recv`, which one byte each half second defeats, and it reads an endless reply into memory
without limit; hence replies are read here. Known limit: `getaddrinfo` cannot be interrupted, so a look-up that takes
too long is left behind in its thread until the resolver gives up by itself (one at most per connection).
"""

from __future__ import annotations

import contextlib
import ipaddress
import smtplib
import socket
import ssl
import threading
from collections.abc import Callable
from typing import Any

from outbox.verdicts import Failure

MAX_LINE = 8_192
"""Bytes of one line of a reply; RFC 5321 §4.5.3.1.5 has 512, some relays write more."""

MAX_REPLY = 65_536
"""Bytes of one reply."""

_CODES = {b"%d" % code: code for code in range(200, 600)}
_AFTER_CODE = (b" ", b"-", b"")
_CHUNK = 16_384
_SLICE = 0.1  # seconds after which a wait for the resolver looks whether it was given up
_SLACK = 1.05  # how much longer than asked for a wait may be
_SEND = 262_144  # bytes handed over at once, so that a deadline is looked at in between


class Broken(smtplib.SMTPServerDisconnected):
    """The connection failed, or what came over it cannot be trusted: it carries no further mail."""

    def __init__(self, failure: Failure, text: str) -> None:
        super().__init__(text)
        self.failure = failure
        self.text = text
        self.written = 0  # bytes of the write that failed which the kernel had taken


class Wire:
    """One TCP connection, plain or TLS. `deadline` (monotonic) and `silence` (seconds) bound every wait.

    All methods but `abort` belong to one thread. Each raises Broken, and nothing else, for what network and server do.
    """

    def __init__(self, resolver: Resolver, monotonic: Callable[[], float]) -> None:
        self.deadline = 0.0
        self.silence = 0.0
        self.sock: socket.socket | None = None
        self._monotonic = monotonic
        self._buffer = bytearray()
        self._resolver = resolver
        self._aborted = False
        self._wait = -1.0  # the socket's timeout as it is set

    def resolve(self, host: str, port: int, limit: float) -> list[Any]:
        """The addresses of `host`, within `limit` seconds."""
        limit = min(limit, self.deadline - self._monotonic())
        addresses = self._resolver.resolve(host, port, self._monotonic() + limit, self._monotonic, self._check)
        if addresses is None:
            raise Broken(Failure.UNRESOLVED, f"the name {host} was not resolved in {limit:.3g} s")
        if isinstance(addresses, Exception):
            raise Broken(Failure.UNRESOLVED, f"the name {host} cannot be resolved: {addresses}")
        return addresses

    def dial(self, addresses: list[Any], name: str, limit: float) -> None:
        """Connects to the first address that answers; each has its share of `limit` seconds."""
        end = min(self._monotonic() + limit, self.deadline)
        error: OSError | None = None
        for index, (family, kind, proto, _, address) in enumerate(addresses):
            share = (end - self._monotonic()) / (len(addresses) - index)
            if share <= 0:
                break
            try:
                self._connect(family, kind, proto, address, share)
            except OSError as failed:
                self._check()
                error = failed
                self._close()
            else:
                return
        raise Broken(Failure.UNREACHABLE, f"cannot connect to {name}: {error or 'no time left'}")

    def _connect(self, family: int, kind: int, proto: int, address: Any, limit: float) -> None:
        self.sock = socket.socket(family, kind, proto)
        self._check()
        self._wait = limit
        self.sock.settimeout(limit)
        self.sock.connect(address)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def start_tls(self, context: ssl.SSLContext, host: str) -> None:
        """Negotiates TLS on the open connection. What was sent in plain text before it is never read afterwards."""
        if self._buffer:
            raise Broken(
                Failure.INJECTED, "plain text after STARTTLS: the relay, or someone between, sent more than a reply"
            )
        try:
            raw = self._armed()
            raw.getpeername()  # CPython's wrap_socket leaves the descriptor behind if the connection is gone already
            self.sock = context.wrap_socket(raw, server_hostname=host.strip("[]"), do_handshake_on_connect=False)
            tls = self._armed()
            assert isinstance(tls, ssl.SSLSocket)  # noqa: S101
            tls.do_handshake()
        except Broken:
            raise
        except ssl.SSLCertVerificationError as error:
            raise Broken(Failure.CERTIFICATE, f"the certificate of {host} is not accepted: {error.verify_message}")
        except (OSError, ValueError) as error:
            self._check()
            raise Broken(Failure.HANDSHAKE, f"the TLS handshake with {host} failed: {_handshake_text(error)}")

    def write(self, data: bytes) -> None:
        """Hands `data` to the kernel; returns when all of it is there."""
        view = memoryview(data)
        sent = 0
        try:
            while sent < len(view):
                sent += self._armed().send(view[sent : sent + _SEND])
        except OSError as error:
            broken = self._lost(error)
            broken.written = sent
            raise broken

    def read_reply(self) -> tuple[int, bytes]:
        """The next reply: its code, and its text with lines joined by LF (RFC 5321 §4.2)."""
        line = self._read_line()
        code = _code(line)
        if line[3:4] != b"-":
            return code, line[4:]
        texts = [line[4:]]
        size = len(line)
        while line[3:4] == b"-":
            line = self._read_line()
            size += len(line)
            if size > MAX_REPLY:
                raise Broken(Failure.OVERSIZED, f"a reply of more than {MAX_REPLY} bytes")
            before, code = code, _code(line)
            if before // 100 != code // 100:
                raise Broken(Failure.GARBAGE, f"a reply that contradicts itself: {before}, {code}")
            texts.append(line[4:])
        return code, b"\n".join(texts)

    @property
    def has_unread(self) -> bool:
        """Whether bytes that nobody asked for were read along with the last reply."""
        return bool(self._buffer)

    def is_quiet(self) -> bool:
        """Whether an idle connection is still open and nothing unasked came in; never waits."""
        if self._buffer or self.sock is None:
            return False
        try:
            self._wait = 0.0
            self.sock.settimeout(0)
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
            _shut(sock)

    def close(self) -> None:
        """Closes the socket without a word."""
        self._buffer.clear()
        self._close()

    def _close(self) -> None:
        sock, self.sock = self.sock, None
        if sock is not None:
            with contextlib.suppress(OSError):  # a reset connection may say so once more
                sock.close()

    def _read_line(self) -> bytes:
        buffer = self._buffer
        scanned = 0
        while (end := buffer.find(b"\n", scanned)) < 0:
            scanned = len(buffer)
            if scanned > MAX_LINE:
                raise Broken(Failure.OVERSIZED, f"a line of more than {MAX_LINE} bytes in a reply")
            buffer += self._receive()
        line = bytes(buffer[:end])
        del buffer[: end + 1]
        return line.rstrip(b"\r")

    def _receive(self) -> bytes:
        try:
            data = self._armed().recv(_CHUNK)
        except OSError as error:
            raise self._lost(error)
        if not data:
            self._check()
            raise Broken(Failure.DISCONNECTED, "the relay closed the connection")
        return data

    def _armed(self) -> socket.socket:
        """The socket, its next wait bounded by what is left of the deadline."""
        self._check()
        if self.sock is None:
            raise Broken(Failure.DISCONNECTED, "the connection is closed")
        left = self.deadline - self._monotonic()
        if left <= 0:
            raise Broken(Failure.TIMEOUT, "the time for this message is used up")
        wait = left if left < self.silence else self.silence
        if not wait <= self._wait <= wait * _SLACK:  # each change is a system call, and many a mail takes less time
            self.sock.settimeout(wait)
            self._wait = wait
        return self.sock

    def _check(self) -> None:
        if self._aborted:
            raise Broken(Failure.ABORTED, "given up by this worker")

    def _lost(self, error: OSError) -> Broken:
        if isinstance(error, Broken):
            return error
        if self._aborted:
            return Broken(Failure.ABORTED, "given up by this worker")
        if isinstance(error, TimeoutError):
            if self._monotonic() >= self.deadline:
                return Broken(Failure.TIMEOUT, "the time for this message is used up")
            return Broken(Failure.TIMEOUT, f"silence for {self.silence:g} s")
        return Broken(Failure.DISCONNECTED, f"the connection broke: {error}")


class Resolver:
    """Looks names up in a thread, since nothing can interrupt `getaddrinfo`; one look-up at a time."""

    def __init__(self) -> None:
        self._pending: _Lookup | None = None

    def resolve(
        self, host: str, port: int, end: float, monotonic: Callable[[], float], check: Callable[[], None]
    ) -> list[Any] | Exception | None:
        """The addresses, or the error; None if there is none by `end`. `check` may raise to end the wait."""
        bare = host.strip("[]")
        if _is_address(bare):
            return socket.getaddrinfo(bare, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        if self._pending is None or self._pending.key != (host, port):
            self._pending = _Lookup(host, port)
        pending = self._pending
        while not pending.done.wait(max(0.0, min(_SLICE, end - monotonic()))):
            check()
            if monotonic() >= end:
                return None
        self._pending = None
        return pending.answer


class _Lookup:
    def __init__(self, host: str, port: int) -> None:
        self.key = (host, port)
        self.answer: list[Any] | Exception = []
        self.done = threading.Event()
        threading.Thread(target=self._run, name=f"resolve {host}", daemon=True).start()

    def _run(self) -> None:
        try:
            self.answer = socket.getaddrinfo(*self.key, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:  # UnicodeError: a label that is empty or too long
            self.answer = error
        self.done.set()


def _code(line: bytes) -> int:
    code = _CODES.get(line[:3])
    if code is None or line[3:4] not in _AFTER_CODE:
        raise Broken(Failure.GARBAGE, f"no SMTP reply: {line[:80]!r}")
    return code


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _shut(sock: socket.socket) -> None:
    """Wakes whoever waits on `sock`. Not SSLSocket's own shutdown: that one turns the socket back into a plain one."""
    with contextlib.suppress(OSError):
        socket.socket.shutdown(sock, socket.SHUT_RDWR)


def _handshake_text(error: Exception) -> str:
    if isinstance(error, ssl.SSLError) and error.reason in {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"}:
        return f"{error.reason}; what it sent is no TLS (is this port meant for STARTTLS or plain text?)"
    if isinstance(error, TimeoutError):
        return "silence"
    return str(error) or type(error).__name__
