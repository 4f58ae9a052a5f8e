"""One HTTPS connection that is kept: a request at a time, each wait bounded, and a record of how far it got.

The socket and TLS are those of the relays (`smtp/sockets.py`); the standard library's `http.client` reads the answers.
Its own connection would do neither: its time-outs are for each `recv`, and it does not tell whether a request was
handed over when it failed. Known limit: no HTTP proxies.
"""

from __future__ import annotations

import http.client
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from outbox.core.loggers import get_logger
from outbox.delivery.reply import Phase
from outbox.delivery.verdicts import Failure
from outbox.settings.relay import Relay
from outbox.smtp import tls
from outbox.smtp.broken import Broken
from outbox.smtp.resolver import Resolver
from outbox.smtp.securing import secure
from outbox.smtp.sockets import Wire

log = get_logger("outbox.transport")

MOST = 65_536
"""Bytes of an answer's body that are read."""

_LAST = 1_024  # bytes of a request that are held back until the rest is with the kernel
_EARLY = 0.1  # seconds to wait for what a server said before it closed under a write


@dataclass(frozen=True, slots=True)
class Answer:
    """What the service answered."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes  # as much as came


class Client:
    """Belongs to one thread; only `abort` may be called from another. `phase` is recorded before each wait.

    In the phase BODY the last byte of a request is not with the kernel, so that it can't have been taken; in the phase
    DOT it is.
    """

    def __init__(self, relay: Relay, monotonic: Callable[[], float]) -> None:
        self.phase = Phase.RESOLVE
        self._relay = relay
        self._monotonic = monotonic
        self._resolver = Resolver()
        self._wire: Wire | None = None
        self._requests = 0
        self._used_at = 0.0

    @property
    def is_fresh(self) -> bool:
        """Whether no request has been answered over this connection yet."""
        return self._requests == 0

    def is_usable(self) -> bool:
        """Whether the next request may go over this connection, as far as is known without asking."""
        return (
            self._wire is not None
            and self._requests < self._relay.max_messages
            and self._monotonic() - self._used_at < self._relay.idle_timeout
            and self._wire.is_quiet()
        )

    def open(self, deadline: float) -> None:
        """Connects, with verified TLS unless the protocol is plain "http". Raises Broken; `phase` says where."""
        self.close()
        relay = self._relay
        wire = self._wire = Wire(self._resolver, self._monotonic, relay.source_address)
        wire.deadline, wire.silence = deadline, relay.command_timeout
        self.phase, self._requests = Phase.RESOLVE, 0
        addresses = wire.resolve(relay.host, relay.port, relay.connect_timeout)
        self.phase = Phase.CONNECT
        wire.dial(addresses, relay.name, relay.connect_timeout)
        if relay.protocol != "http":
            self.phase = Phase.TLS
            secure(wire, relay, lambda: tls.verifying(relay))
        self._used_at = self._monotonic()
        log.debug("%s: connected", relay.name)

    def request(self, method: str, target: str, headers: Mapping[str, str], body: bytes, deadline: float) -> Answer:
        """One request and its answer. Raises Broken; `phase` says whether it was handed over."""
        wire = self._open_wire()
        wire.deadline, wire.silence = deadline, self._relay.command_timeout
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        whole = f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode("ascii") + body
        self.phase = Phase.BODY
        cut = len(whole) - min(_LAST, len(body))
        try:
            if body:
                wire.write(whole[:cut])
            if not wire.is_quiet():  # it has answered already, or closed: it can't have taken what it has not got
                return self._answer(wire, method)
            wire.write(whole[cut:] if body else whole)
        except Broken as broken:
            return self._early(wire, method, broken)
        self.phase = Phase.DOT
        return self._answer(wire, method)

    def close(self) -> None:
        """Closes the socket without a word."""
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.close()

    def abort(self) -> None:
        """Ends every wait of the owner at once; from any thread."""
        if (wire := self._wire) is not None:
            wire.abort()

    def _open_wire(self) -> Wire:
        if self._wire is None:
            raise Broken(Failure.DISCONNECTED, "the connection is closed")
        return self._wire

    def _early(self, wire: Wire, method: str, broken: Broken) -> Answer:
        """What a server that closed under the request had said before (413); else raises `broken`."""
        if broken.failure is not Failure.DISCONNECTED:
            raise broken
        wire.deadline = min(wire.deadline, self._monotonic() + _EARLY)
        try:
            return self._answer(wire, method)
        except Broken:
            raise broken from None

    def _answer(self, wire: Wire, method: str) -> Answer:
        file = _File(wire)
        response = http.client.HTTPResponse(_Socket(file), method=method)  # type: ignore[arg-type]
        try:
            response.begin()
        except http.client.RemoteDisconnected:
            raise Broken(Failure.DISCONNECTED, "the service closed the connection") from None
        except (http.client.HTTPException, ValueError) as error:
            raise Broken(Failure.GARBAGE, f"the answer is not HTTP: {type(error).__name__}") from None
        kept = not response.will_close
        try:
            body = response.read(MOST)
        except (http.client.HTTPException, ValueError, Broken):  # its status decides
            body, kept = b"", False
        self._requests += 1
        self._used_at = self._monotonic()
        if not (kept and response.isclosed() and not file.left and self.phase is Phase.DOT):
            self.close()
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status, headers, body)


class _Socket:
    """What `http.client.HTTPResponse` wants of a socket."""

    def __init__(self, file: _File) -> None:
        self._file = file

    def makefile(self, mode: str) -> _File:
        return self._file


class _File(io.BufferedIOBase):
    """What comes over a connection, read no further than asked for."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._buffer = bytearray()
        self._ended = False

    @property
    def left(self) -> bool:
        """Whether more came than was read."""
        return bool(self._buffer)

    def readable(self) -> bool:
        return True

    def readline(self, size: int | None = -1) -> bytes:
        most = MOST if size is None or size < 0 else size
        while (end := self._buffer.find(b"\n")) < 0 and len(self._buffer) < most and self._more():
            pass
        return self._take(min(most, end + 1 if end >= 0 else len(self._buffer)))

    def read(self, size: int | None = -1) -> bytes:
        most = MOST if size is None or size < 0 else size
        while len(self._buffer) < most and self._more():
            pass
        return self._take(most)

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        some = self.read(len(buffer))
        buffer[: len(some)] = some
        return len(some)

    def _more(self) -> bool:
        """Whether more came; the end of the connection is the end of what there is to read."""
        if self._ended:
            return False
        try:
            self._buffer += self._wire.read_some()
        except Broken as broken:
            if broken.failure is not Failure.DISCONNECTED:
                raise
            self._ended = True
        return not self._ended

    def _take(self, size: int) -> bytes:
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken
