"""The transport: Flask-Mail's Connection, made such that each attempt ends in a value, in time, over verified TLS.

What stock Flask-Mail and smtplib do otherwise is in docs/decisions/0003. Known limits: content given as an iterable is
taken to be 7-bit unless the envelope says SMTPUTF8; a `getaddrinfo` that takes too long is left behind in its thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial

from outbox.delivery.reply import Result
from outbox.message.values import Envelope
from outbox.smtp import commands as smtp_commands
from outbox.smtp import results, sharing
from outbox.smtp.added_headers import with_headers
from outbox.smtp.broken import Broken
from outbox.smtp.keeper import Keeper
from outbox.smtp.learned import NO_LIMIT, Sharing
from outbox.smtp.session import Answer, Refused, Session
from outbox.smtp.turn import Turn


class Connection(Keeper):
    """A connection to one relay that is opened when needed and kept as long as it is beyond doubt.

    Belongs to one thread; only `abort` may be called from another.
    """

    @property
    def most_recipients(self) -> int:
        """How many recipients one transaction may have, as far as is known: see `deliver_together`."""
        if self.relay.idempotency_header is not None:  # each delivery has content of its own
            return 1
        return self._sharing().recipients or 1

    def deliver(
        self,
        envelope: Envelope,
        content: bytes | Iterable[bytes],
        *,
        before_dot: Callable[[], bool] | None = None,
        timeout: float | None = None,
        when: Callable[[], None] | None = None,
    ) -> Result:
        """Offers one message to one recipient and says what came of it, whatever server and network do.

        `content` is the wire form (CRLF, not dot-stuffed). `before_dot` is called when all of it is written but what
        goes out in one piece with the dot; if it says False the connection is dropped, and the server cannot have the
        message.
        The time up to the dot, connecting included, is at most `timeout` (and `relay.send_timeout`) seconds,
        the wait for the reply to the dot at most `relay.dot_timeout`. `when` is called right before MAIL, over a
        connection that is ready for it, and may wait. Raises only what `content`, `before_dot` or `when` raise.
        """
        ask = None if before_dot is None else lambda _: before_dot()
        result = self.deliver_together(
            envelope, (envelope.recipient,), content, before_dot=ask, timeout=timeout, when=when
        )[0]
        assert result is not None  # noqa: S101 - the first is always offered
        return result

    def deliver_together(
        self,
        envelope: Envelope,
        recipients: Sequence[str],
        content: bytes | Iterable[bytes],
        *,
        before_dot: Callable[[Sequence[int]], bool] | None = None,
        timeout: float | None = None,
        when: Callable[[], None] | None = None,
    ) -> list[Result | None]:
        """As `deliver`, to several recipients in one transaction, in place of the envelope's own; a result for each.

        None: it was not offered, since the relay takes fewer in one transaction, or for a fault that another one met;
        of those that were, the first has a result. All recipients are ASCII, or none is. `before_dot` is called with
        the numbers of those that RCPT was accepted for.
        """
        started = self._monotonic()
        self._deadline = started + self.relay.time_for(timeout)
        self._aborted = False
        results: list[Result | None] = [None] * len(recipients)
        fit = {}
        for number, recipient in enumerate(recipients):
            try:
                smtp_commands.check(envelope, recipient)
                fit[number] = recipient
            except smtp_commands.UnfitError as unfit:
                results[number] = self._unfit(unfit, started)
        if fit:
            try:
                whole = with_headers(self.relay, envelope, content, self._signer)
                for number, result in self._deliver(*whole, fit, before_dot, when, started):
                    results[number] = result
            except smtp_commands.UnfitError as unfit:
                for number in fit:
                    results[number] = self._unfit(unfit, started)
        return results

    def _deliver(
        self,
        envelope: Envelope,
        content: bytes | Iterable[bytes],
        recipients: dict[int, str],
        before_dot: Callable[[Sequence[int]], bool] | None,
        when: Callable[[], None] | None,
        started: float,
    ) -> list[tuple[int, Result]]:
        """The results by number. What is met before a reply to MAIL is one recipient's: the others were not offered."""
        turn = Turn(self._name, self._learned, self._preset, self.relay.rules)
        first = next(iter(recipients))
        while True:
            reused = False
            try:
                session, reused = self._session(again=turn.again, one_by_one=turn.one_by_one)
                chosen = sharing.fitting(recipients, self._sharing()) if len(recipients) > 1 else recipients
                commands = smtp_commands.commands(envelope, [*chosen.values()], content, session.esmtp_features)
            except Broken as broken:
                return [(first, self._failure(broken, started))]
            except Refused as refused:
                return [(first, self._result(Answer(refused.phase, refused.code, refused.text), started))]
            except smtp_commands.UnfitError:
                raise
            except Exception as error:  # noqa: BLE001 - no command of the message was said: it cannot be at fault
                return [(first, self._defect(error, started))]
            if when is not None:
                when()
            alone = len(recipients) == 1 and first == 0
            ask = before_dot if before_dot is None or alone else partial(_ask, before_dot, [*chosen])
            try:
                answers = session.transact(commands, content, ask, self._deadline)
            except Broken as broken:
                if turn.repairs(session, reused, broken):
                    self._drop()
                    continue
                result, numbers = self._failure(broken, started), [*chosen]
                told = self._told(chosen, session, started, fresh=not reused)
                return [*told, *((numbers[place], result) for place in session.undecided)]
            except BaseException:
                self._drop()
                raise
            if reused and any(one and turn.is_about_session(session, one) for one in answers):
                self.close()  # with a QUIT, so that a relay that counts connections has one less before the next
                continue
            turn.passed(session, session.last, self._monotonic())
            return [*self._told(chosen, session, started, fresh=not reused)]

    def _told(
        self, chosen: Mapping[int, str], session: Session, started: float, *, fresh: bool
    ) -> Iterator[tuple[int, Result]]:
        """What the replies mean, by number; nothing of those that may pass in another transaction."""
        of: dict[int, Result] = {}  # by reply: several share one
        left, most = sharing.left_over(
            chosen, session, lambda one: results.judged(one, self._preset, self.relay.rules, fresh=fresh)
        )
        if most != NO_LIMIT:
            self._learned.too_many(self.relay.name, most, self._monotonic())
        for number, answer in zip(chosen, session.answers, strict=True):
            if answer is not None and number not in left:
                if id(answer) not in of:
                    of[id(answer)] = self._result(answer, started, fresh=fresh)
                yield number, of[id(answer)]

    def _sharing(self) -> Sharing:
        return self._learned.sharing(self._monotonic()).within(Sharing(self.relay.max_recipients))


def _ask(before_dot: Callable[[Sequence[int]], bool], numbers: Sequence[int], places: Sequence[int]) -> bool:
    return before_dot([numbers[place] for place in places])
