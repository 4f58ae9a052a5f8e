"""When a delivery is offered again, over a fresh connection: if the failure was about the connection."""

from __future__ import annotations

from collections.abc import Sequence

from outbox.delivery.reply import About, Phase, parse_reply
from outbox.delivery.reply_rule import Rule
from outbox.delivery.verdicts import Failure, judge_reply
from outbox.smtp.broken import Broken
from outbox.smtp.learned import Learned
from outbox.smtp.session import Answer, GroupBroken, Session

STALE = frozenset({Failure.DISCONNECTED, Failure.TIMEOUT, Failure.GARBAGE, Failure.OVERSIZED})
"""How a connection fails that was closed, or lost its step, while it was idle."""

_BEFORE_CONTENT = frozenset({Phase.MAIL, Phase.RCPT, Phase.DATA})
_AFTER_RCPT = frozenset({Phase.RCPT, Phase.DATA, Phase.BODY, Phase.DOT})


class Turn:
    """One delivery over one connection, and again over a fresh one if the failure was not about the delivery."""

    def __init__(self, relay: str, learned: Learned, preset: str, taught: Sequence[Rule] = ()) -> None:
        self.again = False  # a fresh connection is wanted
        self.one_by_one = False  # and no PIPELINING on it
        self._relay = relay
        self._learned = learned
        self._preset = preset
        self._taught = taught
        self._ended: tuple[int, bool] | None = None  # messages that the connection before carried; whether it said why

    def repairs(self, session: Session, reused: bool, broken: Broken) -> bool:
        """Whether the failure is about the connection: stale, or its commands do not get through in groups."""
        if isinstance(broken, GroupBroken):
            self.again = self.one_by_one = True
        elif reused and not session.answered and broken.failure in STALE:
            self.again = True
        else:
            return False
        return True

    def is_about_session(self, session: Session, answer: Answer) -> bool:
        """Whether a reply on a reused connection may be about that: a limit a session, the time between two messages.

        Not once content was sent, which can't be had a second time.
        """
        if session.has_sent or answer.code < 400 or answer.phase not in _BEFORE_CONTENT:
            return False
        about = self._about(answer)
        at_mail = answer.phase is Phase.MAIL and answer.code < 500 and about is not About.CONNECTIONS
        if not at_mail and about is not About.SESSION:
            return False
        self.again = True
        self._ended = session.transactions - 1, about is About.SESSION
        return True

    def passed(self, session: Session, answer: Answer, now: float) -> None:
        """The reply is the delivery's own: what it proves about the relay."""
        if self._ended is not None and not (answer.phase is Phase.MAIL or self._about(answer) is About.SESSION):
            messages, told = self._ended
            self._learned.session_ended(self._relay, messages, now, told=told)
        if self.one_by_one and answer.phase in _AFTER_RCPT:
            if session.slow:  # no command was lost: it takes its time
                self._learned.pipelining_works()
            else:
                self._learned.pipelining_fails(self._relay)

    def _about(self, answer: Answer) -> About | None:
        return judge_reply(answer.phase, parse_reply(answer.code, answer.text), self._preset, self._taught).about
