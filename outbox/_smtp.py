"""One SMTP session with a relay: greeting, EHLO, STARTTLS, AUTH, then one transaction after the other.

An `smtplib.SMTP`, so that Flask-Mail's object model holds; what touches the socket is our own (`_smtp_io`). The phase
is recorded before each wait, since "closed before the dot" and "closed after the dot" look the same from outside.
"""

from __future__ import annotations

import ipaddress
import logging
import smtplib
import socket
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from outbox import _smtp_auth, _smtp_body
from outbox._smtp_commands import Commands
from outbox._smtp_io import Broken, Resolver, Wire
from outbox.relay import Relay, Security
from outbox.reply import Phase
from outbox.verdicts import Failure

log = logging.getLogger("outbox.transport")

_SETTLE = 5.0  # seconds at most for replies that no longer decide anything
_FAREWELL = 1.0  # seconds to wait for the reply to QUIT
_NOT_SUPPORTED = frozenset({500, 501, 502, 504, 534})  # to AUTH: this mechanism, perhaps another


class Refused(smtplib.SMTPResponseException):
    """The relay said no before any mail was offered."""

    def __init__(self, phase: Phase, code: int, text: bytes) -> None:
        super().__init__(code, text)
        self.phase = phase
        self.code = code
        self.text = text


@dataclass(frozen=True, slots=True)
class Answer:
    """The reply that decided a transaction, and what it answered."""

    phase: Phase
    code: int
    text: bytes


class Session(smtplib.SMTP):
    """`open` it, then call `transact` as long as `reusable` holds. Not for use by two threads, but for `abort`."""

    ehlo_msg = "EHLO"

    def __init__(
        self, relay: Relay, resolver: Resolver, context: Callable[[], ssl.SSLContext], monotonic: Callable[[], float]
    ) -> None:
        super().__init__(local_hostname=relay.local_hostname or "[127.0.0.1]")
        self.relay = relay
        self.wire = Wire(resolver, monotonic)
        self.phase = Phase.RESOLVE
        self.answered = False  # whether the transaction under way has had a reply to MAIL
        self.reusable = False
        self.transactions = 0
        self.used_at = 0.0
        self._context = context
        self._monotonic = monotonic
        self._dirty = False  # the last transaction was not ended by an accepted mail: RSET goes first

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
        self._connect()
        if relay.security is Security.TLS:
            self._secure()
        self.phase = Phase.GREETING
        self._expect(220, *self.getreply())
        self._hello()
        if relay.security is Security.STARTTLS:
            self._start_tls()
            self._hello()
        if relay.username:
            self._log_in()
        self.reusable = True
        self.used_at = self._monotonic()

    def _connect(self) -> None:
        relay, end = self.relay, self._monotonic() + self.relay.connect_timeout
        self.phase = Phase.RESOLVE
        addresses = self.wire.resolve(relay.host, relay.port, relay.connect_timeout)
        self.phase = Phase.CONNECT
        self.wire.dial(addresses, relay.name, end - self._monotonic())
        self.sock = self.wire.sock
        if relay.local_hostname is None:
            self.local_hostname = _address_literal(self.wire.sock)
        log.debug("%s: connected", relay.name)

    def _secure(self) -> None:
        self.phase = Phase.TLS
        try:
            context = self._context()
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise Broken(Failure.REFUSED_HERE, f"the CA file {self.relay.ca_file} cannot be used: {error}")
        self.wire.start_tls(context, self.relay.host)
        self.sock = self.wire.sock
        log.debug("%s: %s", self.relay.name, self.tls_version)

    def _hello(self) -> None:
        self.phase = Phase.EHLO
        self._expect(250, *self.ehlo())

    def _start_tls(self) -> None:
        self.phase = Phase.TLS
        if not self.has_extn("starttls"):
            raise Broken(Failure.NO_STARTTLS, "the relay does not offer STARTTLS, or someone between removed it")
        self._expect(220, *self.docmd("STARTTLS"))
        self._secure()
        self.esmtp_features = {}  # RFC 3207 §4.2: what was learned in plain text is forgotten

    def _expect(self, wanted: int, code: int, text: bytes) -> None:
        if code == wanted:
            return
        if code < 400:
            raise Broken(Failure.GARBAGE, f"{code} where {wanted} was expected")
        raise Refused(self.phase, code, text)

    def _log_in(self) -> None:
        self.phase = Phase.AUTH
        relay = self.relay
        offered = self.esmtp_features.get("auth", "").split()
        known = _smtp_auth.mechanisms(
            offered, relay.username or "", relay.password or "", relay.auth, self.tls_version is not None
        )
        if not known:
            wanted = relay.auth or "PLAIN, LOGIN or CRAM-MD5"
            raise Broken(
                Failure.NO_MECHANISM,
                f"no common way to log in: the relay offers {' '.join(offered) or 'none'}, wanted is {wanted}",
            )
        for mechanism in known:
            code, text = self._authenticate(mechanism)
            if code == 235:
                return
            if code not in _NOT_SUPPORTED:
                break
        self._expect(235, code, text)

    def _authenticate(self, mechanism: _smtp_auth.Mechanism) -> tuple[int, bytes]:
        log.debug("%s: AUTH %s", self.relay.name, mechanism.name)
        command = b"AUTH " + mechanism.name.encode()
        if mechanism.initial is not None:
            command += b" " + _smtp_auth.encode(mechanism.initial)
        self.wire.write(command + b"\r\n")
        code, text = self.wire.read_reply()
        hints = b""
        for answer in mechanism.answers:
            if code != 334:
                break
            challenge = _smtp_auth.decode(text)
            if mechanism.name == "XOAUTH2":
                hints = b" " + (challenge or b"")
            self.wire.write(_smtp_auth.encode(answer(challenge or b"")) + b"\r\n")
            code, text = self.wire.read_reply()
        return code, text + hints

    def transact(
        self,
        commands: Commands,
        content: bytes | Iterable[bytes],
        before_dot: Callable[[], bool] | None,
        deadline: float,
    ) -> Answer:
        """One mail to one recipient; returns the reply that decides. Raises Broken; `phase` says where."""
        self.wire.deadline, self.wire.silence = deadline, self.relay.command_timeout
        self.reusable = self.answered = False
        self.transactions += 1
        refused = self._offer(commands)
        if refused is None:
            answer = self._send_content(content, before_dot)
            self._dirty = answer.code >= 300
        else:
            answer, self._dirty = refused, True
        self.reusable = answer.code != 421 and not self.wire.has_unread and self.wire.sock is not None
        self.used_at = self._monotonic()
        return answer

    def _offer(self, commands: Commands) -> Answer | None:
        """MAIL, RCPT, DATA: in one write where the relay can take it (RFC 2920). None: it waits for the content."""
        log.debug("%s: %r %r", self.relay.name, commands.mail, commands.rcpt)
        self.phase = Phase.MAIL
        steps = [(Phase.MAIL, commands.mail, 250), (Phase.RCPT, commands.rcpt, 250), (Phase.DATA, b"DATA", 354)]
        pipelining = "pipelining" in self.esmtp_features
        reset = [b"RSET"] if self._dirty else []
        if pipelining:
            self.wire.write(b"\r\n".join([*reset, *(command for _, command, _ in steps), b""]))
        elif reset:
            self.wire.write(b"RSET\r\n")
        if reset and self.wire.read_reply()[0] != 250:
            raise Broken(Failure.GARBAGE, "RSET was refused")
        for index, (phase, command, wanted) in enumerate(steps):
            self.phase = phase
            if not pipelining:
                self.wire.write(command + b"\r\n")
            code, text = self.wire.read_reply()
            self.answered = True
            if code != wanted and not (wanted == 250 and 200 <= code < 300):
                if pipelining and code >= 400 and code != 421:
                    self._settle(len(steps) - index - 1)
                return Answer(phase, code, text)
        return None

    def _settle(self, left: int) -> None:
        """Reads the replies to what was pipelined behind a refused command. They decide nothing."""
        now = self._monotonic()
        self.wire.deadline = min(self.wire.deadline, now + _SETTLE)
        code = 0
        try:
            for _ in range(left):
                code, _ = self.wire.read_reply()
        except Broken:
            self.wire.close()
        if code == 354:  # it waits for content although nobody is to get it: closing cannot deliver anything
            self.wire.close()

    def _send_content(self, content: bytes | Iterable[bytes], before_dot: Callable[[], bool] | None) -> Answer:
        self.phase = Phase.BODY
        try:
            last = b""
            for block in _smtp_body.blocks(content):
                if last:
                    self.wire.write(last)
                last = block
            if before_dot is not None:
                self.wire.write(last)
                last = b""
                if not before_dot():
                    raise Broken(Failure.GIVEN_UP, "given up before the final dot: this worker may no longer send it")
            self.wire.write(last + b"\r\n.\r\n")
        except _smtp_body.BareNewlineError as error:
            raise Broken(Failure.MALFORMED, str(error))
        except Broken as broken:
            return self._early_reply(broken)
        self.phase = Phase.DOT
        self.wire.deadline = self._monotonic() + self.relay.dot_timeout
        self.wire.silence = self.relay.dot_timeout
        code, text = self.wire.read_reply()
        return Answer(Phase.DOT, code, text)

    def _early_reply(self, broken: Broken) -> Answer:
        """What a relay that closes in the middle of the content said before ("552 too large"); else raises `broken`."""
        if broken.failure is not Failure.DISCONNECTED:
            raise broken
        self.wire.deadline = min(self.wire.deadline, self._monotonic() + 0.1)
        try:
            code, text = self.wire.read_reply()
        except Broken:
            raise broken
        finally:
            self.wire.close()
        if code < 400:
            raise broken
        return Answer(Phase.BODY, code, text)

    def is_usable(self) -> bool:
        """Whether the next mail may go over this connection: not too old or worn, and nothing unasked came in."""
        relay = self.relay
        return (
            self.reusable
            and self.transactions < relay.max_messages
            and self._monotonic() - self.used_at < relay.idle_timeout
            and self.wire.is_quiet()
        )

    def ping(self, deadline: float) -> Answer:
        """NOOP and RSET, as a proof that the relay would take a mail now."""
        self.wire.deadline, self.wire.silence = deadline, self.relay.command_timeout
        self.phase = Phase.MAIL
        for command in ("NOOP", "RSET"):
            code, text = self.docmd(command)
            if code != 250:
                break
        return Answer(Phase.MAIL, code, text)

    def quit(self) -> tuple[int, bytes]:
        """Says QUIT, waits a short time for the answer, closes. Never raises for what the relay does."""
        try:
            self.wire.deadline = self._monotonic() + min(_FAREWELL, self.relay.command_timeout)
            return self.docmd("QUIT")
        except Broken as broken:
            return -1, broken.text.encode()
        finally:
            self.close()

    def abort(self) -> None:
        """Ends every wait of the owner at once; from any thread."""
        self.wire.abort()

    def close(self) -> None:
        """Closes the socket without a word."""
        self.reusable = False
        self.sock = None
        self.wire.close()

    def send(self, s: Any) -> None:
        """As smtplib's: a string or bytes, handed to the kernel whole."""
        self.wire.write(s.encode(self.command_encoding) if isinstance(s, str) else s)

    def getreply(self) -> tuple[int, bytes]:
        """As smtplib's, but bounded in time and size."""
        return self.wire.read_reply()


def _address_literal(sock: socket.socket | None) -> str:
    """The address of this end for EHLO (RFC 5321 §4.1.3): no DNS look-up, which may hang."""
    if sock is None:
        return "[127.0.0.1]"
    address = ipaddress.ip_address(sock.getsockname()[0].partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        return f"[{address.ipv4_mapped}]" if address.ipv4_mapped else f"[IPv6:{address}]"
    return f"[{address}]"
