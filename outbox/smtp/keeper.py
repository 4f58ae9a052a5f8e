"""The session of one connection: opened when needed, kept as long as it is beyond doubt, looked at by `check`.

A `flask_mail.Connection`, so that Flask-Mail's object model holds.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, NoReturn, Self

import flask_mail

from outbox.core import clock
from outbox.core.errors import OutboxError
from outbox.core.loggers import get_logger
from outbox.delivery.reply import About, Phase, Result, Verdict, parse_reply
from outbox.delivery.verdicts import Failure, Judgement, judge_failure, preset_for
from outbox.message.dkim.signer import Signer
from outbox.message.values import Envelope
from outbox.settings.relay import Relay
from outbox.smtp import commands as smtp_commands
from outbox.smtp import results, tls
from outbox.smtp.broken import Broken
from outbox.smtp.learned import Learned
from outbox.smtp.resolver import Resolver
from outbox.smtp.session import Answer, Refused, Session

log = get_logger("outbox.transport")


class Keeper(flask_mail.Connection):
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
        learned: Learned | None = None,
        signer: Signer | None = None,
    ) -> None:
        """`learned`: what it shares with others. `signer`: signs each message."""
        super().__init__(mail)  # type: ignore[arg-type]  # Flask-Mail itself passes the state, and names the face
        self.relay = relay
        self.extensions: dict[str, str] = {}
        self.tls_version: str | None = None
        self._name = relay.name
        self._preset = preset_for(relay.host) if relay.preset == "auto" else relay.preset
        self._monotonic = monotonic
        self._signer = signer
        self._learned = learned or Learned()
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

    def _connect(self, deadline: float, *, one_by_one: bool = False) -> Session:
        self.host = Session(
            self.relay,
            self._resolver,
            lambda: tls.verifying(self.relay),
            self._monotonic,
            learned=self._learned,
            one_by_one=one_by_one,
        )
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

    @property
    def is_connected(self) -> bool:
        """Whether the relay has let it in: a session is open, in a transaction or between two."""
        return self.host is not None and self.host.is_established

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
        except Exception as error:  # noqa: BLE001 - told as a value, like whatever else is wrong
            return self._defect(error, started)
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
            smtp_commands.check(envelope, envelope.recipient)
            session, _ = self._session()
            commands = smtp_commands.commands(envelope, (envelope.recipient,), b"", session.esmtp_features)
            answer = session.ask(Phase.MAIL, commands.mail, self._deadline)
            if answer.code < 300 and recipient is not None:
                answer = session.ask(Phase.RCPT, commands.rcpts[0], self._deadline)
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

    def _session(self, *, again: bool = False, one_by_one: bool = False) -> tuple[Session, bool]:
        """The session for the next mail, and whether it has been used before; a fresh one if `again`."""
        if self.host is not None:
            if not again and self.host.is_usable():
                return self.host, True
            self.close()
        return self._connect(self._deadline, one_by_one=one_by_one), False

    def _drop(self) -> Phase:
        """Closes without a word; the phase that was reached."""
        host, self.host = self.host, None
        if host is None:
            return Phase.LOCAL
        host.close()
        return host.phase

    def _result(self, answer: Answer, started: float, *, fresh: bool = True) -> Result:
        reply, judgement = results.judged(answer, self._preset, self.relay.rules, fresh=fresh)
        if judgement.about in {About.SESSION, About.CONNECTIONS}:  # an idle one would go on to be one too many
            self.close()
        elif not self.is_open:
            self._drop()
        duration = self._monotonic() - started
        return results.of_reply(answer.phase, reply, judgement, duration, reusable=self.is_open, relay=self._name)

    def _failure(self, broken: Broken, started: float) -> Result:
        phase = self._drop()
        judgement = judge_failure(phase, broken.failure)
        return self._local(phase, judgement, results.told(broken, phase), started)

    def _defect(self, error: Exception, started: float) -> Result:
        log.error("%s: internal error while connecting", self.relay.name, exc_info=error)
        return self._failure(Broken(Failure.OURS, f"internal error: {type(error).__name__}"), started)

    def _unfit(self, unfit: smtp_commands.UnfitError, started: float) -> Result:
        phase = Phase.LOCAL if unfit.failure is Failure.MALFORMED else Phase.MAIL
        return self._local(phase, judge_failure(phase, unfit.failure), unfit.text, started)

    def _local(self, phase: Phase, judgement: Judgement, text: str, started: float) -> Result:
        return results.without_reply(phase, judgement, text, self._monotonic() - started, reusable=self.is_open)
