"""A relay that follows a script: what it says to which delivery, over which connection, and when."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import greenlet

from outbox.delivery.reply import Phase, parse_reply
from outbox.delivery.verdicts import Failure, judge_reply
from outbox.settings.relay import Relay
from outbox.smtp.broken import Broken
from outbox.smtp.commands import Commands
from outbox.smtp.connection import Connection
from outbox.smtp.session import Answer, Refused, Session

RELAY = Relay(host="relay.example", allow_plaintext=True)
TAKES = 0.25
"""Seconds from MAIL to the reply that decides."""
CONNECTS = 0.05
"""Seconds that a connection needs."""
SILENT = 10.0
"""Seconds until a relay that says nothing is given up."""


class Why(StrEnum):
    """What the relay had in mind when it refused: the model knows, the outbox has to find out."""

    OWN = "own"  # this delivery, its sender or its domain
    ACCOUNT = "account"
    EVERYTHING = "everything"  # whatever it is offered
    SESSION = "session"
    CONNECTIONS = "connections"
    DOWN = "down"


@dataclass(frozen=True)
class Words:
    """One refusal. Without a code the connection breaks in that phase."""

    phase: Phase
    code: int | None = None
    text: str = ""
    takes: float = TAKES

    @property
    def closes(self) -> bool:
        """Whether the connection has come to its end."""
        return self.code is None or self.code == 421


REPLIES: dict[str, Words] = {
    "not allowed": Words(Phase.MAIL, 550, "5.7.60 SMTP; Client does not have permissions to send as this sender"),
    "not verified": Words(Phase.RCPT, 554, "5.7.1 Email address is not verified"),
    "authentication": Words(Phase.MAIL, 530, "5.7.0 Authentication required"),
    "rate": Words(Phase.RCPT, 450, "4.7.1 Recipient address rejected: Number messages per hour exceeded"),
    "throttled": Words(Phase.RCPT, 450, "4.7.1 rate limit for this recipient exceeded, try again in 24 hours"),
    "too much mail": Words(Phase.MAIL, 450, "4.7.1 Error: too much mail from 192.0.2.1"),
    "quota": Words(Phase.DOT, 454, "4.7.0 Throttling failure: Daily message quota exceeded"),
    "quota, told": Words(Phase.DOT, 452, "4.7.0 Daily message quota exceeded, try again in 5 minutes"),
    "a day": Words(Phase.DOT, 451, "4.7.1 Sending rate exceeded, try again in 24 hours"),
    "greylisted": Words(Phase.RCPT, 450, "4.2.0 Greylisted for 300 seconds"),
    "broken": Words(Phase.DATA),
    "broken in the content": Words(Phase.BODY),
    "421": Words(Phase.RCPT, 421, "4.3.0 closing"),
    "421, told": Words(Phase.RCPT, 421, "4.7.0 Try again in 2 hours"),
    "unknown": Words(Phase.DOT),
    "denied": Words(Phase.RCPT, 554, "5.7.1 Relay access denied"),
    "no such user": Words(Phase.RCPT, 550, "5.1.1 no such user"),
    "spam": Words(Phase.DOT, 554, "5.7.1 Message rejected as spam"),
    "later": Words(Phase.DOT, 451, "4.3.0 Temporary server error"),
}

SESSION_ENDS: dict[str, Words] = {
    "421": Words(Phase.MAIL, 421, "4.7.0 Too many messages"),
    "451": Words(Phase.MAIL, 451, "4.7.0 Too many messages in this session"),
    "452": Words(Phase.RCPT, 452, "4.5.3 Number of recipients per session reached"),
    "plain": Words(Phase.MAIL, 451, "4.3.0 Please come back"),
}

NO_MORE: dict[str, Words] = {
    "421": Words(Phase.GREETING, 421, "4.7.0 Too many connections from your host"),
    "421, plain": Words(Phase.GREETING, 421, "Service not available"),
    "432": Words(Phase.DOT, 432, "4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded"),
}

DOWN: dict[str, Words] = {
    "refuses": Words(Phase.CONNECT),
    "silent": Words(Phase.GREETING, takes=SILENT),
    "421": Words(Phase.GREETING, 421, "4.3.2 Service not available"),
    "log-in": Words(Phase.AUTH, 535, "5.7.8 Authentication credentials invalid"),
    "log-in, later": Words(Phase.AUTH, 454, "4.7.0 Temporary authentication failure"),
}

EVERYTHING: dict[str, Words] = {
    "denied": REPLIES["denied"],
    "later": REPLIES["later"],
    "suspended": Words(Phase.MAIL, 550, "5.7.1 Your account has been suspended"),
    "quota": REPLIES["quota"],
    "quota, told": REPLIES["quota, told"],
    "broken": Words(Phase.DATA),
}

LARGE: dict[str, Words] = {
    "552": Words(Phase.MAIL, 552, "5.3.4 Message size exceeds fixed limit"),
    "552, after the content": Words(Phase.DOT, 552, "5.3.4 Message too big"),
    "452": Words(Phase.MAIL, 452, "4.3.1 Insufficient system storage"),
    "421": Words(Phase.BODY, 421, "4.3.0 closing"),
    "cut at DATA": Words(Phase.DATA),
    "cut": Words(Phase.BODY),
}

_ACCOUNT = frozenset({"suspended", "quota", "quota, told"})
_ORDER = list(Phase)


@dataclass(frozen=True)
class Rule:
    """What it has against one sender, domain or delivery, or against one sender's mail to one domain."""

    about: str  # "sender", "domain", "delivery" or "pair"
    value: str
    reply: str
    begins: float = 0.0
    ends: float = 1e9

    def fits(self, offer: Offering, now: float) -> bool:
        """Whether it is about this one, at this moment."""
        return self.begins <= now < self.ends and offer.of(self.about) == self.value


@dataclass(frozen=True)
class Quota:
    """At most `most` messages in each minute, for the account ("" of "account"), a sender or a domain."""

    about: str
    value: str
    most: int
    reply: str
    ends: float = 1e9


@dataclass(frozen=True)
class Largest:
    """It takes no larger messages (`reply` of LARGE)."""

    size: int  # bytes
    reply: str
    ends: float = 1e9

    def fits(self, offer: Offering, now: float) -> bool:
        """Whether it is about this one, at this moment."""
        return now < self.ends and offer.size > self.size


@dataclass(frozen=True)
class Spell:
    """A time in which it is down (`reply` of DOWN) or refuses everything (of EVERYTHING)."""

    begins: float
    lasts: float
    reply: str
    down: bool

    def holds(self, now: float) -> bool:
        """Whether it is on."""
        return self.begins <= now < self.begins + self.lasts


@dataclass(frozen=True)
class Offering:
    """A message as it is offered."""

    id: int
    sender: str
    recipient: str
    size: int = 1000  # bytes

    def of(self, about: str) -> str:
        """Its sender, domain or number."""
        if about == "account":
            return ""
        domain = self.recipient.rpartition("@")[2]
        of = {"sender": self.sender, "domain": domain, "delivery": str(self.id), "pair": f"{self.sender} {domain}"}
        return of[about]


@dataclass(frozen=True)
class Script:
    """All that a relay does."""

    rules: tuple[Rule, ...] = ()
    quotas: tuple[Quota, ...] = ()
    spells: tuple[Spell, ...] = ()
    largest: Largest | None = None
    session: tuple[int, str] | None = None  # messages on one connection, and what ends it
    announced: bool = False  # LIMITS MAILMAX, SIZE
    idle: float | None = None  # seconds after which it takes no more on a connection that was idle
    admits: int = 100  # connections at once
    no_more: str = "421"
    admits_until: float = 1e9  # when it comes to admit all


@dataclass
class ScriptedRelay:
    """Plays a script."""

    script: Script
    now: Callable[[], float]
    sessions: set[ScriptedSession] = field(default_factory=set)
    taken: list[tuple[float, Offering]] = field(default_factory=list)
    connects: list[float] = field(default_factory=list)
    why: dict[int, Why] = field(default_factory=dict)  # of the last refusal, by delivery

    def would_take(self, offer: Offering) -> bool:
        """Whether it takes this message now, over a connection that it has let in."""
        now = self.now()
        return self._down(now) is None and not any(True for _ in self._against(offer, now))

    def ever_refuses(self, about: str, value: str) -> bool:
        """Whether the script has something against this sender or domain, or some of its mail, at any time."""
        script: Iterable[Rule | Quota] = (*self.script.rules, *self.script.quotas)
        return any(
            (one.about, one.value) == (about, value) or (one.about == "pair" and value in one.value.split())
            for one in script
        )

    def ever_names(self, about: str) -> bool:
        """Whether it says something of a sender or a domain that it means otherwise."""
        script: Iterable[Rule | Quota] = (*self.script.rules, *self.script.quotas)
        return any(one.about != about and _words_about(one.reply) == about for one in script)

    def declines(self, offer: Offering) -> bool:
        """Whether it says by EHLO that it takes no such message, or has said so on a connection that is still open."""
        largest = self.script.largest
        return largest is not None and self.script.announced and offer.size > largest.size

    def is_down(self) -> bool:
        """Whether it lets nobody in."""
        return self._down(self.now()) is not None

    def connect(self, session: ScriptedSession) -> Words | None:
        """What it says to a new connection; None: it is let in."""
        self.connects.append(self.now())
        if (words := self._down(self.now())) is not None:
            return words
        if len(self.sessions) >= self._admits() and self.script.no_more != "432":
            return NO_MORE[self.script.no_more]
        self.sessions.add(session)
        return None

    def answer(self, session: ScriptedSession, offer: Offering) -> tuple[Words, Why] | None:
        """What it says to a message; None: it takes it."""
        now = self.now()
        if self._down(now) is not None:
            return Words(Phase.MAIL), Why.DOWN
        found = [*self._against_session(session, now), *self._against(offer, now)]
        if found:
            return min(found, key=lambda one: _ORDER.index(one[0].phase))
        self.taken.append((now, offer))
        return None

    def _down(self, now: float) -> Words | None:
        return next((DOWN[one.reply] for one in self.script.spells if one.down and one.holds(now)), None)

    def _admits(self) -> float:
        return self.script.admits if self.now() < self.script.admits_until else math.inf

    def _against_session(self, session: ScriptedSession, now: float) -> Iterable[tuple[Words, Why]]:
        script = self.script
        if script.session is not None and session.carried >= script.session[0]:
            yield SESSION_ENDS[script.session[1]], Why.SESSION
        if script.idle is not None and session.carried and now - TAKES - session.used_at > script.idle:
            yield Words(Phase.MAIL, 451, "4.4.2 Timeout waiting for data from client."), Why.SESSION
        if script.no_more == "432" and len(self.sessions) > self._admits():
            yield NO_MORE["432"], Why.CONNECTIONS

    def _against(self, offer: Offering, now: float) -> Iterable[tuple[Words, Why]]:
        for spell in self.script.spells:
            if not spell.down and spell.holds(now):
                yield EVERYTHING[spell.reply], Why.ACCOUNT if spell.reply in _ACCOUNT else Why.EVERYTHING
        for rule in self.script.rules:
            if rule.fits(offer, now):
                yield REPLIES[rule.reply], Why.OWN
        largest = self.script.largest
        if largest is not None and largest.fits(offer, now):
            yield LARGE[largest.reply], Why.OWN
        for quota in self.script.quotas:
            if now < quota.ends and offer.of(quota.about) == quota.value and self._is_used_up(quota, now):
                yield REPLIES[quota.reply], Why.ACCOUNT if quota.about == "account" else Why.OWN

    def _is_used_up(self, quota: Quota, now: float) -> bool:
        window = now // 60
        count = 0
        for at, offer in reversed(self.taken):
            if at // 60 != window:
                break
            count += offer.of(quota.about) == quota.value
        return count >= quota.most


def _words_about(reply: str) -> str | None:
    words = REPLIES[reply]
    return None if words.code is None else judge_reply(words.phase, parse_reply(words.code, words.text.encode())).about


class ScriptedSession(Session):
    """A session without a socket."""

    def __init__(self, relay: ScriptedRelay, sleep: Callable[[float], None], **needs: Any) -> None:
        super().__init__(RELAY, None, None, relay.now, **needs)  # type: ignore[arg-type]
        self.wire = _NoWire()  # type: ignore[assignment]
        self._of = relay
        self._sleep = sleep
        self.offering: Offering | None = None
        self.carried = 0
        """Messages that it took."""

    def open(self, deadline: float) -> None:
        """Is let in, or not."""
        self._sleep(CONNECTS)
        words = self._of.connect(self)
        if words is not None:
            self._sleep(words.takes - TAKES)
            self.phase = words.phase
            self.wire.close()
            if words.code is None:
                raise Broken(Failure.TIMEOUT if words.takes == SILENT else Failure.UNREACHABLE, "refused")
            raise Refused(words.phase, words.code, words.text.encode())
        script = self._of.script
        if script.announced and script.session is not None:
            self.esmtp_features["limits"] = f"MAILMAX={script.session[0]}"
            self._most = script.session[0]
        if script.announced and script.largest is not None and self._of.now() < script.largest.ends:
            self.esmtp_features["size"] = str(script.largest.size)
        self.reusable = True
        self.used_at = self._monotonic()

    def transact(self, commands: Commands, content: object, before_dot: Any, deadline: float) -> list[Any]:
        """One message."""
        offer, relay = self.offering, self._of
        assert offer is not None
        self.reusable = self.answered = False
        self.transactions += 1
        self.answers, self.accepted = [None], []
        self._sleep(TAKES)
        said = relay.answer(self, offer)
        words = said[0] if said is not None else Words(Phase.DOT, 250, "2.0.0 OK")
        if said is not None:
            relay.why[offer.id] = said[1]
        self.phase, self.answered = words.phase, words.phase is not Phase.MAIL or words.code is not None
        self.accepted = [0] if words.phase in {Phase.DATA, Phase.BODY, Phase.DOT} else []
        if words.phase in {Phase.BODY, Phase.DOT} and not before_dot(self.accepted):
            raise Broken(Failure.GIVEN_UP, "given up")
        if words.code is None:
            raise Broken(Failure.DISCONNECTED, "the server closed the connection")
        self.carried += said is None
        self.reusable = not words.closes
        self.used_at = self._monotonic()
        if words.closes:
            self.wire.close()
            relay.sessions.discard(self)
        self.last = Answer(words.phase, words.code, words.text.encode())
        self.answers = [self.last]
        return self.answers

    def quit(self) -> tuple[int, bytes]:
        """Is closed."""
        self.close()
        return 221, b""

    def close(self) -> None:
        """Is closed."""
        super().close()
        self._of.sessions.discard(self)


class _NoWire:
    def __init__(self) -> None:
        self.sock: Any = object()

    def is_quiet(self) -> bool:
        return True

    def close(self) -> None:
        self.sock = None

    abort = close


class ScriptedConnection(Connection):
    """The product's connection, over sessions without sockets; one greenlet at a time works with it."""

    def __init__(self, relay: ScriptedRelay, learned: Any) -> None:
        super().__init__(None, RELAY, monotonic=relay.now, learned=learned)  # type: ignore[arg-type]
        self._of = relay
        self.offering: Offering | None = None
        self.ends = 0.0
        self.busy: greenlet.greenlet | None = None

    def _sleep(self, seconds: float) -> None:
        """Let time go by for the greenlet that works with it."""
        self.ends = self._of.now() + seconds
        greenlet.getcurrent().parent.switch()

    def _connect(self, deadline: float, *, one_by_one: bool = False) -> Session:
        self.host = ScriptedSession(self._of, self._sleep, learned=self._learned)
        self.host.open(deadline)
        return self.host

    def _session(self, *, again: bool = False, one_by_one: bool = False) -> tuple[Session, bool]:
        session, reused = super()._session(again=again, one_by_one=one_by_one)
        session.offering = self.offering  # type: ignore[attr-defined]
        return session, reused
