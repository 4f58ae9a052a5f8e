"""From nothing to where MAIL may be said: connection, greeting, EHLO, STARTTLS, AUTH; and the end of it.

An `smtplib.SMTP`, so that Flask-Mail's object model holds; what touches the socket is our own (`sockets`).
"""

from __future__ import annotations

import ipaddress
import smtplib
import socket
import ssl
from collections.abc import Callable
from typing import Any

from outbox.core.loggers import get_logger
from outbox.delivery.reply import Phase
from outbox.delivery.verdicts import Failure
from outbox.settings.relay import Relay, Security
from outbox.smtp import tls
from outbox.smtp.broken import Broken
from outbox.smtp.connecting import UNIX
from outbox.smtp.learned import Learned
from outbox.smtp.log_in import is_worn, log_in, token_for
from outbox.smtp.resolver import Resolver
from outbox.smtp.securing import secure
from outbox.smtp.sockets import Wire
from outbox.smtp.tokens import Token

log = get_logger("outbox.transport")

_LOOK = 5.0  # seconds at most for a look at a certificate that was refused
_QUIT_SECONDS = 1.0  # seconds to wait for the reply to QUIT
_NO_OTHER = frozenset({Failure.ABORTED, Failure.REFUSED_HERE})  # failures that would be the same at another address


class Refused(smtplib.SMTPResponseException):
    """The relay said no before any mail was offered."""

    def __init__(self, phase: Phase, code: int, text: bytes) -> None:
        super().__init__(code, text)
        self.phase = phase
        self.code = code
        self.text = text


class Channel(smtplib.SMTP):
    """A connection to a relay, opened by `open`. `phase` is recorded before each wait. Only `abort` is for others."""

    def __init__(
        self,
        relay: Relay,
        resolver: Resolver,
        context: Callable[[], ssl.SSLContext],
        monotonic: Callable[[], float],
        *,
        learned: Learned,
    ) -> None:
        super().__init__(local_hostname=relay.local_hostname or "[127.0.0.1]")
        self.relay = relay
        self.ehlo_msg = "LHLO" if relay.protocol == "lmtp" else "EHLO"  # RFC 2033
        self.wire = Wire(resolver, monotonic, relay.source_address)
        self.phase = Phase.RESOLVE
        self._context = context
        self._monotonic = monotonic
        self._learned = learned
        self._dialled: list[Any] = []  # the address that took the last connection

    def set_debuglevel(self, debuglevel: object) -> None:
        """Does nothing: smtplib prints passwords and content. The logger `outbox.transport` has the commands."""

    @property
    def tls_version(self) -> str | None:
        """For example "TLSv1.3"; None in plain text."""
        sock = self.wire.sock
        return sock.version() if isinstance(sock, ssl.SSLSocket) else None

    def open(self, deadline: float) -> None:
        """Connects, and goes on to where MAIL may be said. Raises Broken or Refused."""
        relay, wire = self.relay, self.wire
        wire.deadline, wire.silence = deadline, relay.command_timeout
        if relay.refusal is not None:
            raise Broken(Failure.REFUSED_HERE, relay.refusal)
        token = self._token(deadline)
        self._reach(deadline)
        if relay.username:
            self._log_in(deadline, token)
        wire.deadline, wire.silence = deadline, relay.command_timeout

    def quit(self) -> tuple[int, bytes]:
        """Says QUIT, waits a short time for the answer, closes. Never raises for what the relay does."""
        try:
            self.wire.deadline = self._monotonic() + min(_QUIT_SECONDS, self.relay.command_timeout)
            return self.docmd("QUIT")
        except Broken as broken:
            return -1, broken.text.encode()
        finally:
            self.close()

    def close(self) -> None:
        """Closes the socket without a word."""
        self.sock = None
        self.wire.close()

    def abort(self) -> None:
        """Ends every wait of the owner at once; from any thread."""
        self.wire.abort()

    def send(self, s: Any) -> None:
        """As smtplib's: a string or bytes, handed to the kernel whole."""
        self.wire.write(s.encode(self.command_encoding) if isinstance(s, str) else s)

    def getreply(self) -> tuple[int, bytes]:
        """As smtplib's, but bounded in time and size."""
        return self.wire.read_reply()

    def _token(self, deadline: float, refused: Token | None = None) -> Token | None:
        """The access token for the log-in, if it is by token. Before the connection: it may take its time."""
        if self.relay.tokens is None:
            return None
        self.phase = Phase.AUTH
        return token_for(self.relay.tokens, self.wire, deadline - self._monotonic(), refused)

    def _log_in(self, deadline: float, token: Token | None) -> None:
        """Again over a fresh connection and with a new token, if the old one may have been withdrawn."""
        code, text = self._authenticate(deadline, token)
        if is_worn(token, code, self._monotonic()):
            log.info("%s: refused an access token (%d); asking for another", self.relay.name, code)
            self.wire.close()
            token = self._token(deadline, refused=token)
            self._reach(deadline)
            code, text = self._authenticate(deadline, token)
        self._expect(235, code, text)

    def _authenticate(self, deadline: float, token: Token | None) -> tuple[int, bytes]:
        self.wire.deadline, self.wire.silence = deadline, self.relay.command_timeout
        self.phase = Phase.AUTH
        offered = self.esmtp_features.get("auth", "").split()
        return log_in(self.relay, self.wire, offered, token, private=self.tls_version is not None)

    def _reach(self, deadline: float) -> None:
        """Goes as far as the log-in with one of the relay's addresses: the next one where one takes no connection, or
        takes it and then refuses, closes, is silent or fails at TLS. They share the time; the first failure counts.
        """
        self.phase = Phase.RESOLVE
        if self.relay.socket is not None:
            found = [(UNIX, socket.SOCK_STREAM, 0, "", str(self.relay.socket))]
        else:
            found = self.wire.resolve(self.relay.host, self.relay.port, self.relay.connect_timeout)
        addresses = self._learned.in_order(found)
        failed: tuple[Phase, Broken | Refused] | None = None
        while addresses:
            try:
                address = self._greet(addresses, deadline)
            except (Broken, Refused) as error:
                if isinstance(error, Broken) and error.failure is Failure.CERTIFICATE:
                    error = self._with_certificate(error, self._dialled, deadline)
                failed = failed or (self.phase, error)
                if isinstance(error, Broken) and error.failure in _NO_OTHER:
                    break
                log.debug("%s: %s at %s", self.relay.name, error, self.phase)
                self.wire.close()
            else:
                self._learned.reached(address)
                return
        assert failed is not None  # noqa: S101 - a look-up that finds nothing is an error
        self.phase = failed[0]
        raise failed[1]

    def _with_certificate(self, error: Broken, address: list[Any], deadline: float) -> Broken:
        """The failure, with what the certificate holds that was refused.

        A handshake that failed does not show it, hence another one, after which nothing is said.
        """
        phase = self.phase
        self.wire.close()
        try:
            self._dial(address, min(deadline, self._monotonic() + _LOOK))
            self._begin(tls.unverified)
        except (Broken, Refused):
            return error
        finally:
            self.phase = phase
        words = self.wire.describe_certificate()
        return Broken(error.failure, f"{error.text.rstrip('.')}; {words}" if words else error.text)

    def _greet(self, addresses: list[Any], deadline: float) -> Any:
        """From the connection to EHLO (in TLS), with the first of `addresses` that takes one, which is returned.

        Those that were tried are taken out of the list.
        """
        address = self._dial(addresses, deadline)
        self._begin(self._context)
        if self.relay.security is Security.TLS:
            self._welcome()
        elif self.relay.security is Security.STARTTLS:
            self._hello()
        return address

    def _dial(self, addresses: list[Any], deadline: float) -> Any:
        relay, wire = self.relay, self.wire
        self.phase = Phase.CONNECT
        wire.deadline = deadline
        left = list(addresses)
        addresses.clear()
        address = wire.dial(left, relay.name, relay.connect_timeout)
        addresses += left
        self._dialled = [address]
        self.sock = wire.sock
        if relay.local_hostname is None:
            self.local_hostname = _address_literal(wire.sock)
        log.debug("%s: connected", relay.name)
        now, ways = self._monotonic(), len(addresses) + 1
        wire.deadline, wire.silence = now + (deadline - now) / ways, relay.command_timeout / ways
        return address

    def _begin(self, context: Callable[[], ssl.SSLContext]) -> None:
        """From the connection to TLS; without TLS to EHLO."""
        if self.relay.security is Security.TLS:
            self._secure(context)
            return
        self._welcome()
        if self.relay.security is Security.STARTTLS:
            self._start_tls(context)

    def _welcome(self) -> None:
        self.phase = Phase.GREETING
        self._expect(220, *self.getreply())
        self._hello()

    def _secure(self, context: Callable[[], ssl.SSLContext]) -> None:
        self.phase = Phase.TLS
        secure(self.wire, self.relay, context, verified=context is self._context)
        self.sock = self.wire.sock
        log.debug("%s: %s", self.relay.name, self.tls_version)

    def _hello(self) -> None:
        self.phase = Phase.EHLO
        self._expect(250, *self.ehlo())
        for keyword in self.relay.ehlo_ignored:
            self.esmtp_features.pop(keyword, None)
        if self.tls_version is None or not self.relay.verify:
            self.esmtp_features.pop("requiretls", None)  # it holds for a relay that has proved who it is (RFC 8689 §2)

    def _start_tls(self, context: Callable[[], ssl.SSLContext]) -> None:
        self.phase = Phase.TLS
        if not self.has_extn("starttls"):
            raise Broken(Failure.NO_STARTTLS, "the relay does not offer STARTTLS, or someone between removed it")
        self._expect(220, *self.docmd("STARTTLS"))
        self._secure(context)  # `ehlo` begins again: what was learned in plain text is forgotten (RFC 3207 §4.2)

    def _expect(self, wanted: int, code: int, text: bytes) -> None:
        if code == wanted:
            return
        if code < 400:
            raise Broken(Failure.GARBAGE, f"{code} where {wanted} was expected")
        raise Refused(self.phase, code, text)


def _address_literal(sock: socket.socket | None) -> str:
    """The address of this end for EHLO (RFC 5321 §4.1.3): no DNS look-up, which may hang."""
    if sock is None or sock.family == UNIX:
        return "[127.0.0.1]"
    address = ipaddress.ip_address(sock.getsockname()[0].partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        return f"[{address.ipv4_mapped}]" if address.ipv4_mapped else f"[IPv6:{address}]"
    return f"[{address}]"
