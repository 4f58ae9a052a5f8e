"""One SMTP transaction: one message to one recipient or several, told by the replies that decided it.

The phase is recorded before each wait, since "closed before the dot" and "closed after the dot" look the same from
outside. Nothing follows the final dot before its reply was read: what was answered there counts, whatever comes after.
Each recipient has its own reply to RCPT; those that are accepted share the content and, but in LMTP (RFC 2033), the
reply to the final dot.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable, Iterable, Sequence

from outbox.core.value import value
from outbox.delivery.reply import Phase
from outbox.delivery.verdicts import Failure
from outbox.settings.relay import Relay
from outbox.smtp import content as body
from outbox.smtp.broken import Broken
from outbox.smtp.channel import Channel, log
from outbox.smtp.commands import Commands
from outbox.smtp.learned import Learned
from outbox.smtp.resolver import Resolver

_DOT = b"\r\n.\r\n"
_SETTLE = 5.0  # seconds at most for replies that no longer decide anything
_PROMPT = (
    4  # the share of the command timeout after which a group's next reply is missed, until groups are known to pass
)
_OURS_TO_END = frozenset({Failure.TIMEOUT, Failure.ABORTED})  # ends of a wait that say nothing of the relay
_AFTER_DATA = frozenset({Phase.BODY, Phase.DOT})
_RECORD = 16_384  # bytes of one TLS record: written whole or not at all


@value(frozen=True, slots=True)
class Answer:
    """The reply that decided about a recipient, and what it answered."""

    phase: Phase
    code: int
    text: bytes


class GroupBroken(Broken):
    """The first commands of a group were answered, the next one was not: the others may never have arrived."""

    def __init__(self) -> None:
        super().__init__(Failure.TIMEOUT, "no reply to a command that was pipelined")


class Transacting(Channel):
    """A channel that transactions go over, one after the other."""

    def __init__(
        self,
        relay: Relay,
        resolver: Resolver,
        context: Callable[[], ssl.SSLContext],
        monotonic: Callable[[], float],
        *,
        learned: Learned,
    ) -> None:
        super().__init__(relay, resolver, context, monotonic, learned=learned)
        self.pipelined = False  # whether commands go out in groups
        self.slow = False  # whether a reply to RCPT or DATA was so late that a group's would have been missed
        self.answered = False  # whether the transaction under way has had a reply to MAIL
        self.answers: list[Answer | None] = []  # of that transaction, by recipient, as far as they are decided
        self.accepted: list[int] = []  # its recipients that RCPT was accepted for
        self.last = Answer(Phase.LOCAL, 0, b"")  # the reply that ended it
        self.asked = 0  # the last one that RCPT was said for, and answered or waited for
        self.reusable = False
        self.transactions = 0
        self.used_at = 0.0
        self._is_traced = log.isEnabledFor(logging.DEBUG)
        self._late = False  # a final reply was read after its time
        self._dirty = False  # the last transaction was not ended by an accepted mail: RSET goes first

    @property
    def has_sent(self) -> bool:
        """Whether some of the content of the last transaction was sent, which can't be had a second time."""
        return self.phase in _AFTER_DATA

    @property
    def undecided(self) -> list[int]:
        """Whose turn it was when the transaction broke off: all that were accepted, or the one that was asked for."""
        if self.phase is Phase.RCPT:
            return [self.asked]
        if not self.accepted:
            return [0]
        return [number for number in self.accepted if self.answers[number] is None]

    def transact(
        self,
        commands: Commands,
        content: bytes | Iterable[bytes],
        before_dot: Callable[[Sequence[int]], bool] | None,
        deadline: float,
    ) -> list[Answer | None]:
        """One mail; returns by recipient the reply that decides. None: it was not asked for, since the session ended.

        Raises Broken; `phase`, `answers`, `accepted` and `asked` say where. `before_dot` is given `accepted`.
        """
        self.wire.deadline, self.wire.silence = deadline, self.relay.command_timeout
        self.reusable = self.answered = False
        self.transactions += 1
        self.answers, self.accepted, self.asked = [None] * len(commands.rcpts), [], 0
        self.last = last = self._offer(commands) or self._send_content(content, before_dot)
        if self._late:
            self.wire.close()
        self._dirty = last.phase is not Phase.DOT or last.code >= 300
        self.reusable = last.code != 421 and not self.wire.has_unread and self.wire.sock is not None
        self.used_at = self._monotonic()
        return self.answers

    def _offer(self, commands: Commands) -> Answer | None:
        """MAIL, RCPT, DATA: in one write where the relay can take it (RFC 2920). None: it waits for the content; else
        the reply that ended the transaction."""
        if self._is_traced:
            log.debug("%s: %r %r", self.relay.name, commands.mail, commands.rcpts)
        self.phase = Phase.MAIL
        if self.pipelined:
            self.wire.write(_group(commands, self._dirty))
        elif self._dirty:
            self.wire.write(b"RSET\r\n")
        if self._dirty and self.wire.read_reply()[0] != 250:
            raise Broken(Failure.GARBAGE, "RSET was refused")
        if (answer := self._step(Phase.MAIL, commands.mail)) is not None:
            self.answers = [answer] * len(commands.rcpts)
            self._settle(answer, len(commands.rcpts) + 1)
            return answer
        for self.asked, command in enumerate(commands.rcpts):
            answer = self.answers[self.asked] = self._step(Phase.RCPT, command)
            if answer is None:
                self.accepted.append(self.asked)
            elif answer.code < 400 or answer.code == 421:  # out of step, or closing: the others are not asked for
                if answer.code < 400:
                    self.wire.close()
                return answer
        if not self.accepted:
            assert answer is not None  # noqa: S101 - there is a recipient
            self._settle(answer, 1)
            return answer
        answer = self._step(Phase.DATA, b"DATA")
        if self.pipelined:
            self._learned.pipelining_works()
        return self._decide(answer) if answer is not None else None

    def _decide(self, answer: Answer) -> Answer:
        """The reply is that of all recipients that were accepted."""
        for number in self.accepted:
            self.answers[number] = answer
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

    def _send_content(
        self, content: bytes | Iterable[bytes], before_dot: Callable[[Sequence[int]], bool] | None
    ) -> Answer:
        self.phase = Phase.BODY
        try:
            last = self._send_all_but_last(content)
            if len(last) > _RECORD // 2:  # else it goes with the dot: one write, one packet, one record
                self.wire.write(last)
                last = b""
            if before_dot is not None and not before_dot(self.accepted):
                raise Broken(Failure.GIVEN_UP, "given up before the final dot: this worker may no longer send it")
            self.wire.write(last + _DOT)
        except body.BareNewlineError as error:
            raise Broken(Failure.MALFORMED, str(error))
        except Broken as broken:
            return self._decide(self._early_reply(broken))
        self.phase = Phase.DOT
        self.wire.deadline = self._monotonic() + self.relay.dot_timeout
        self.wire.silence = self.relay.dot_timeout
        if self.relay.protocol == "lmtp":
            return self._replies_by_recipient()
        return self._decide(Answer(Phase.DOT, *self._final_reply()))

    def _replies_by_recipient(self) -> Answer:
        """After the final dot in LMTP. What is told is the worst for the session."""
        worst = Answer(Phase.DOT, 0, b"")
        for number in self.accepted:
            answer = self.answers[number] = Answer(Phase.DOT, *self._final_reply())
            if worst.code != 421 and (answer.code > worst.code or answer.code == 421):
                worst = answer
        return worst

    def _final_reply(self) -> tuple[int, bytes]:
        """The reply to the final dot. One that has arrived counts, though time is up or the worker has to stop:
        a thread that was held up for long may find both at once."""
        try:
            return self.wire.read_reply()
        except Broken as broken:
            if broken.failure not in _OURS_TO_END:
                raise
            self._late = True
            try:
                return self.wire.read_arrived()
            except Broken:
                raise broken

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
    lines = (commands.mail, *commands.rcpts, b"DATA", b"")
    return b"\r\n".join((b"RSET", *lines) if reset else lines)
