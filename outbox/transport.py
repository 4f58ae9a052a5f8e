"""The transport: Flask-Mail's Connection, made such that each try ends in a value, in time, over verified TLS.

What stock Flask-Mail and smtplib do otherwise is in docs/decisions/0003. Known limits: one recipient a transaction;
content given as an iterable is taken to be 7-bit unless the envelope says SMTPUTF8; a `getaddrinfo` that takes too long
is left behind in its thread.
"""

from __future__ import annotations

import functools
import logging
import ssl
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

import flask_mail

from outbox import clock
from outbox.errors import OutboxError
from outbox.message import Envelope
from outbox.relay import Relay, Security
from outbox.reply import Phase, Reply, Result, Verdict, parse_reply, printable, relay_id, retry_after
from outbox.smtp import commands as smtp_commands
from outbox.smtp.resolver import Resolver
from outbox.smtp.session import Answer, Refused, Session
from outbox.smtp.sockets import Broken
from outbox.smtp.waiting import Waiting
from outbox.verdicts import Failure, Judgement, judge_failure, judge_reply, preset_for

log = logging.getLogger("outbox.transport")

_STALE = frozenset({Failure.DISCONNECTED, Failure.TIMEOUT, Failure.GARBAGE, Failure.OVERSIZED})
_SELF_EVIDENT = frozenset(Failure) - _STALE  # the text says by itself where it happened
_WHERE = {
    Phase.RESOLVE: "resolving the relay's name",
    Phase.CONNECT: "connecting",
    Phase.GREETING: "waiting for the greeting",
    Phase.EHLO: "EHLO",
    Phase.TLS: "starting TLS",
    Phase.AUTH: "logging in",
    Phase.MAIL: "MAIL FROM",
    Phase.RCPT: "RCPT TO",
    Phase.DATA: "DATA",
    Phase.BODY: "sending the content",
    Phase.DOT: "waiting for the reply to the final dot",
}


class Connection(flask_mail.Connection):
    """A connection to one relay that is opened when needed and kept as long as it is beyond doubt.

    Belongs to one thread; only `abort` may be called from another.
    """

    host: Session | None

    def __init__(
        self,
        mail: flask_mail._Mail | flask_mail.Mail,
        relay: Relay,
        *,
        monotonic: Callable[[], float] = clock.monotonic,
        waiting: Waiting | None = None,
    ) -> None:
        """`waiting`: how it waits for the relay; by default its thread does."""
        super().__init__(mail)  # type: ignore[arg-type]  # Flask-Mail itself passes the state, and names the face
        self.relay = relay
        self.extensions: dict[str, str] = {}
        self.tls_version: str | None = None
        self._preset = preset_for(relay.host) if relay.preset == "auto" else relay.preset
        self._monotonic = monotonic
        self._waiting = waiting
        self._resolver = Resolver()
        self._deadline = 0.0
        self._aborted = False

    def __enter__(self) -> Self:
        """Opens nothing yet: `deliver` does, and tells a failure as a value."""
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_value: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()

    def configure_host(self) -> Session:
        """A session that is ready for MAIL. Raises an smtplib.SMTPException."""
        return self._connect(self._monotonic() + self.relay.send_timeout)

    def _connect(self, deadline: float) -> Session:
        self.host = Session(self.relay, self._resolver, lambda: tls_context(self.relay), self._monotonic, self._waiting)
        if self._aborted:
            self.host.abort()
        self.host.open(deadline)
        self.extensions = dict(self.host.esmtp_features)
        self.tls_version = self.host.tls_version
        return self.host

    def send(self, message: flask_mail.Message, envelope_from: Any = None) -> NoReturn:
        """Refuses: mail goes through the outbox, whose worker calls `deliver`."""
        raise OutboxError(
            "This connection belongs to the outbox's worker. Use Outbox.send(), which enqueues the message."
        )

    @property
    def is_open(self) -> bool:
        """Whether the next mail may do without a new connection, as far as is known without asking."""
        return self.host is not None and self.host.reusable

    def deliver(
        self,
        envelope: Envelope,
        content: bytes | Iterable[bytes],
        *,
        before_dot: Callable[[], bool] | None = None,
        timeout: float | None = None,
    ) -> Result:
        """Offers one message to one recipient and says what came of it, whatever server and network do.

        `content` is the wire form (CRLF, not dot-stuffed). `before_dot` is called when all of it is written but what
        goes out in one piece with the dot; if it says False the connection is dropped, and the server cannot have the
        message.
        The time up to the dot, connecting included, is at most `timeout` (and `relay.send_timeout`) seconds,
        the wait for the reply to the dot at most `relay.dot_timeout`. Raises only what `content` or `before_dot` raise.
        """
        started = self._monotonic()
        limit = self.relay.send_timeout
        self._deadline = started + (limit if timeout is None else min(timeout, limit))
        self._aborted = False
        try:
            smtp_commands.check(envelope)
            return self._deliver(envelope, content, before_dot, started)
        except smtp_commands.UnfitError as unfit:
            return self._unfit(unfit, started)

    def _deliver(
        self,
        envelope: Envelope,
        content: bytes | Iterable[bytes],
        before_dot: Callable[[], bool] | None,
        started: float,
    ) -> Result:
        for reuse in (True, False):
            reused = False
            try:
                session, reused = self._session(reuse)
                commands = smtp_commands.commands(envelope, content, session.esmtp_features)
                answer = session.transact(commands, content, before_dot, self._deadline)
            except Broken as broken:
                if reused and not session.answered and broken.failure in _STALE:
                    self._drop()
                    continue
                return self._failure(broken, started)
            except Refused as refused:
                answer = Answer(refused.phase, refused.code, refused.text)
            except smtp_commands.UnfitError:
                raise
            except BaseException:
                self._drop()
                raise
            if reused and answer.code == 421 and answer.phase is Phase.MAIL:
                self._drop()  # it speaks of the time between two mails, not of this one
                continue
            return self._result(answer, started)
        raise AssertionError("unreachable: a fresh connection is never stale")

    def check(self) -> Result:
        """Connects, negotiates TLS, logs in, and asks for a NOOP and an RSET: ACCEPTED if mail could go now.

        `extensions` and `tls_version` tell afterwards what was found.
        """
        started = self._monotonic()
        deadline = started + self.relay.send_timeout
        self._aborted = False
        self.close()
        try:
            answer = self._connect(deadline).ping(deadline)
        except Broken as broken:
            return self._failure(broken, started)
        except Refused as refused:
            answer = Answer(refused.phase, refused.code, refused.text)
        if answer.code != 250:
            return self._result(answer, started)
        reply = parse_reply(answer.code, answer.text)
        return Result(Verdict.ACCEPTED, answer.phase, reply, self._monotonic() - started, reusable=True)

    def probe(self, sender: str, recipient: str | None = None) -> Result:
        """MAIL for `sender`, RCPT for `recipient` if there is one, and RSET: ACCEPTED if the relay takes them. No DATA.

        Goes over the connection that `check` has opened, or over a new one.
        """
        started = self._monotonic()
        self._deadline = started + self.relay.send_timeout
        self._aborted = False
        envelope = Envelope(sender, recipient or sender, 0)
        try:
            smtp_commands.check(envelope)
            session, _ = self._session(reuse=True)
            commands = smtp_commands.commands(envelope, b"", session.esmtp_features)
            answer = session.ask(Phase.MAIL, commands.mail, self._deadline)
            if answer.code < 300 and recipient is not None:
                answer = session.ask(Phase.RCPT, commands.rcpt, self._deadline)
        except Broken as broken:
            return self._failure(broken, started)
        except smtp_commands.UnfitError as unfit:
            return self._unfit(unfit, started)
        except Refused as refused:
            answer = Answer(refused.phase, refused.code, refused.text)
        else:
            self._reset(session, answer)
        if not 200 <= answer.code < 300:
            return self._result(answer, started)
        reply = parse_reply(answer.code, answer.text)
        return Result(Verdict.ACCEPTED, answer.phase, reply, self._monotonic() - started, reusable=self.is_open)

    def _reset(self, session: Session, answer: Answer) -> None:
        """Ends the transaction that `probe` began; a relay that does not go along loses the connection, no more."""
        try:
            if answer.code == 421 or session.ask(Phase.MAIL, b"RSET", self._deadline).code != 250:
                self._drop()
        except Broken:
            self._drop()

    def close(self) -> None:
        """Says QUIT, without insisting on an answer. Never raises."""
        host, self.host = self.host, None
        if host is not None:
            host.leave()

    def abort(self) -> None:
        """Ends a `deliver` under way in another thread at once; one that begins later opens a new connection."""
        self._aborted = True
        if (host := self.host) is not None:
            host.abort()

    def _session(self, reuse: bool) -> tuple[Session, bool]:
        """The session for the next mail, and whether it has been used before."""
        if self.host is not None:
            if reuse and self.host.is_usable():
                return self.host, True
            self.close()
        return self._connect(self._deadline), False

    def _drop(self) -> Phase:
        """Closes without a word; the phase that was reached."""
        host, self.host = self.host, None
        if host is None:
            return Phase.LOCAL
        host.close()
        return host.phase

    def _result(self, answer: Answer, started: float) -> Result:
        reply = parse_reply(answer.code, answer.text)
        judgement = judge_reply(answer.phase, reply, self._preset)
        accepted = judgement.verdict is Verdict.ACCEPTED
        reusable = self.is_open
        if not reusable:
            self._drop()
        return Result(
            judgement.verdict,
            answer.phase,
            reply,
            self._monotonic() - started,
            relay_id=relay_id(reply) if accepted else None,
            retry_after=None if accepted else retry_after(reply),
            reusable=reusable,
            note=judgement.note,
            about=judgement.about,
        )

    def _failure(self, broken: Broken, started: float) -> Result:
        phase = self._drop()
        judgement = judge_failure(phase, broken.failure)
        text = broken.text if broken.failure in _SELF_EVIDENT else f"{broken.text} ({_WHERE[phase]})"
        return self._local(phase, judgement, text, started)

    def _unfit(self, unfit: smtp_commands.UnfitError, started: float) -> Result:
        phase = Phase.LOCAL if unfit.failure is Failure.MALFORMED else Phase.MAIL
        return self._local(phase, judge_failure(phase, unfit.failure), unfit.text, started)

    def _local(self, phase: Phase, judgement: Judgement, text: str, started: float) -> Result:
        return Result(
            judgement.verdict,
            phase,
            Reply(None, None, printable(text)),
            self._monotonic() - started,
            reusable=self.is_open,
            note=judgement.note,
            about=judgement.about,
        )


def tls_context(relay: Relay) -> ssl.SSLContext:
    """TLS 1.2 or later, certificate and host name verified against the relay's CA file or the system's store.

    Raises OSError (ssl.SSLError among them) for a CA file that cannot be used. A file that changed is read again.
    """
    if relay.security is not Security.NONE and not relay.verify:
        _warn_unverified(relay.name)
    changed = relay.ca_file.stat().st_mtime_ns if relay.ca_file is not None else 0
    return _context(relay.ca_file, relay.verify, changed)


@functools.lru_cache(maxsize=16)
def _context(ca_file: Path | None, verify: bool, changed: int) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


@functools.lru_cache(maxsize=64)
def _warn_unverified(name: str) -> None:
    log.warning("%s: the certificate is not verified (OUTBOX_TLS_VERIFY=false): anyone between can read the mail", name)
