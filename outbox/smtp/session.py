"""One SMTP session with a relay: one transaction after the other, each told by the reply that decided it.

The phase is recorded before each wait, since "closed before the dot" and "closed after the dot" look the same from
outside. Nothing follows the final dot before its reply was read: what was answered there counts, whatever comes after.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from outbox.delivery.reply import Phase
from outbox.delivery.verdicts import Failure
from outbox.settings.relay import Relay
from outbox.smtp import content as body
from outbox.smtp.broken import Broken
from outbox.smtp.channel import Channel, Refused, log
from outbox.smtp.commands import Commands, max_messages
from outbox.smtp.learned import Learned
from outbox.smtp.resolver import Resolver

__all__ = ["Answer", "Refused", "Session"]

_DOT = b"\r\n.\r\n"
_SETTLE = 5.0  # seconds at most for replies that no longer decide anything
_PROMPT = (
    4  # the share of the command timeout after which a group's next reply is missed, until groups are known to pass
)
_OURS_TO_END = frozenset({Failure.TIMEOUT, Failure.ABORTED})  # ends of a wait that say nothing of the relay
_RECORD = 16_384  # bytes of one TLS record: written whole or not at all


@dataclass(frozen=True, slots=True)
class Answer:
    """The reply that decided a transaction, and what it answered."""

    phase: Phase
    code: int
    text: bytes


class GroupBroken(Broken):
    """The first commands of a group were answered, the next one was not: the others may never have arrived."""

    def __init__(self) -> None:
        super().__init__(Failure.TIMEOUT, "no reply to a command that was pipelined")


class Session(Channel):
    """`open` it, then call `transact` as long as `is_usable`."""

    def __init__(
        self,
        relay: Relay,
        resolver: Resolver,
        context: Callable[[], ssl.SSLContext],
        monotonic: Callable[[], float],
        *,
        learned: Learned,
        one_by_one: bool = False,
    ) -> None:
        """`one_by_one`: leave PIPELINING alone, though it is offered."""
        super().__init__(relay, resolver, context, monotonic, learned=learned)
        self._one_by_one = one_by_one
        self.pipelined = False  # whether commands go out in groups
        self.slow = False  # whether a reply to RCPT or DATA was so late that a group's would have been missed
        self._most: int | None = None  # messages on one connection, as announced
        self.answered = False  # whether the transaction under way has had a reply to MAIL
        self.reusable = False
        self.transactions = 0
        self.used_at = 0.0
        self._dirty = False  # the last transaction was not ended by an accepted mail: RSET goes first

    def open(self, deadline: float) -> None:
        """As Channel's; afterwards the session is usable."""
        super().open(deadline)
        self._most = max_messages(self.esmtp_features)
        wanted = self.relay.pipelining and not self._one_by_one and self._learned.pipelining is not False
        self.pipelined = wanted and "pipelining" in self.esmtp_features
        self.reusable = True
        self.used_at = self._monotonic()

    @property
    def is_established(self) -> bool:
        """Whether MAIL could be said over it, or has been, and it is not closed yet."""
        return self.wire.sock is not None and (self.reusable or self.transactions > 0)

    def close(self) -> None:
        """As Channel's; afterwards the session is not usable."""
        self.reusable = False
        super().close()

    def leave(self) -> None:
        """QUIT where that can be said, else just the end: a relay that waits for content is told nothing."""
        if self.reusable:
            self.quit()
        else:
            self.close()

    def is_usable(self) -> bool:
        """Whether the next mail may go over this connection: not too old or worn, and nothing unasked came in."""
        return (
            self.reusable
            and self.transactions < self._max_messages()
            and self._monotonic() - self.used_at < self.relay.idle_timeout
            and self.wire.is_quiet()
        )

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
        answer = refused or self._send_content(content, before_dot)
        self._dirty = refused is not None or answer.code >= 300
        self.reusable = answer.code != 421 and not self.wire.has_unread and self.wire.sock is not None
        self.used_at = self._monotonic()
        return answer

    def ping(self, deadline: float) -> Answer:
        """NOOP and RSET, as a proof that the relay would take a mail now."""
        self.wire.deadline, self.wire.silence = deadline, self.relay.command_timeout
        self.phase = Phase.MAIL
        for command in ("NOOP", "RSET"):
            code, text = self.docmd(command)
            if code != 250:
                break
        return Answer(Phase.MAIL, code, text)

    def ask(self, phase: Phase, command: bytes, deadline: float) -> Answer:
        """One command by itself, and its reply."""
        self.wire.deadline, self.wire.silence = deadline, self.relay.command_timeout
        self.phase = phase
        self.wire.write(command + b"\r\n")
        return Answer(phase, *self.wire.read_reply())

    def _max_messages(self) -> int:
        limits = (self.relay.max_messages, self._most, self._learned.max_messages(self._monotonic()))
        return min(limit for limit in limits if limit is not None)

    def _offer(self, commands: Commands) -> Answer | None:
        """MAIL, RCPT, DATA: in one write where the relay can take it (RFC 2920). None: it waits for the content."""
        log.debug("%s: %r %r", self.relay.name, commands.mail, commands.rcpt)
        self.phase = Phase.MAIL
        if self.pipelined:
            self.wire.write(_group(commands, self._dirty))
        elif self._dirty:
            self.wire.write(b"RSET\r\n")
        if self._dirty and self.wire.read_reply()[0] != 250:
            raise Broken(Failure.GARBAGE, "RSET was refused")
        if (answer := self._step(Phase.MAIL, commands.mail)) is not None:
            self._settle(answer, 2)
        elif (answer := self._step(Phase.RCPT, commands.rcpt)) is not None:
            self._settle(answer, 1)
        else:
            answer = self._step(Phase.DATA, b"DATA")
            if self.pipelined:
                self._learned.pipelining_works()
        return answer

    def _step(self, phase: Phase, command: bytes) -> Answer | None:
        """One command and its reply; None if that is the one that lets the transaction go on."""
        self.phase = phase
        if not self.pipelined:
            self.wire.write(command + b"\r\n")
        code, text = self._next_of_group() if self._in_doubt else self.wire.read_reply()
        self.answered = True
        if code == 354 if phase is Phase.DATA else 200 <= code < 300:
            return None
        return Answer(phase, code, text)

    @property
    def _in_doubt(self) -> bool:
        """Whether the next reply may be missing because its command was lost on the way."""
        return self.phase is not Phase.MAIL and self._learned.pipelining is None

    def _next_of_group(self) -> tuple[int, bytes]:
        """As `read_reply`; raises GroupBroken where a reply that should follow at once is missing."""
        began, prompt = self._monotonic(), self.relay.command_timeout / _PROMPT
        if self.pipelined:
            self.wire.silence = prompt
        try:
            code, text = self.wire.read_reply()
        except Broken as broken:
            if self.pipelined and broken.failure is Failure.TIMEOUT and self._monotonic() < self.wire.deadline:
                raise GroupBroken
            raise
        finally:
            self.wire.silence = self.relay.command_timeout
        self.slow = self.slow or self._monotonic() - began >= prompt
        return code, text

    def _settle(self, refused: Answer, left: int) -> None:
        """Reads the replies to what was pipelined behind a refused command. They decide nothing."""
        if not self.pipelined or refused.code < 400 or refused.code == 421:
            return
        self.wire.deadline = min(self.wire.deadline, self._monotonic() + _SETTLE)
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
            last = self._send_all_but_last(content)
            if len(last) > _RECORD // 2:  # else it goes with the dot: one write, one packet, one record
                self.wire.write(last)
                last = b""
            if before_dot is not None and not before_dot():
                raise Broken(Failure.GIVEN_UP, "given up before the final dot: this worker may no longer send it")
            self.wire.write(last + _DOT)
        except body.BareNewlineError as error:
            raise Broken(Failure.MALFORMED, str(error))
        except Broken as broken:
            return self._early_reply(broken)
        self.phase = Phase.DOT
        self.wire.deadline = self._monotonic() + self.relay.dot_timeout
        self.wire.silence = self.relay.dot_timeout
        code, text = self._final_reply()
        return Answer(Phase.DOT, code, text)

    def _final_reply(self) -> tuple[int, bytes]:
        """The reply to the final dot. One that has arrived counts, though time is up or the worker has to stop:
        a thread that was held up for long may find both at once."""
        try:
            return self.wire.read_reply()
        except Broken as broken:
            if broken.failure not in _OURS_TO_END:
                raise
            try:
                return self.wire.read_arrived()
            except Broken:
                raise broken
            finally:
                self.wire.close()

    def _send_all_but_last(self, content: bytes | Iterable[bytes]) -> bytes:
        """Writes the content but for its last block, which is returned."""
        last = b""
        for block in body.blocks(content):
            if last:
                self.wire.write(last)
            last = block
        return last

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


def _group(commands: Commands, reset: bool) -> bytes:
    """The commands of one transaction in one piece. RSET first where the one before may have left something behind."""
    lines = (commands.mail, commands.rcpt, b"DATA", b"")
    return b"\r\n".join((b"RSET", *lines) if reset else lines)
