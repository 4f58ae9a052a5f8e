"""The circuit breaker of one transport: whether a message may be offered now, and when to probe. Pure.

It opens when the relay can't be used, on the evidence of more than one delivery (docs/decisions/0014). One probe at a
time goes out then. After a reply that speaks of the account the first probes follow at once, for if the reply was about
one sender, one domain or one recipient, another delivery shows it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from outbox.delivery.reply import About, Phase, Result, Verdict

IN_TRANSACTION = frozenset({Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.BODY, Phase.DOT})

SPARE_PROBES = 3
"""Probes without a wait, after a reply that may be about the delivery's own sender, domain or recipient."""

LONGEST_PROBE_WAIT = 900.0
"""Seconds: the most that an open breaker believes of a server's "try again in …"."""


class Health(StrEnum):
    """The circuit breaker of one transport."""

    CLOSED = "closed"  # all is well
    OPEN = "open"  # nothing is sent until the next probe
    HALF_OPEN = "half-open"  # one message is on its way to see


class Cause(StrEnum):
    """Why a breaker is open, which decides what closes it."""

    CONNECTION = "connection"  # the relay lets nobody as far as MAIL: any reply to MAIL or later closes it
    BROKEN = "broken"  # sessions break off in the middle of a transaction: as above
    ACCOUNT = "account"  # replies that speak of the account: only an accepted message closes it
    REFUSALS = "refusals"  # every message meets the same refusal: as above


def cause_of(result: Result) -> Cause | None:
    """What a failed attempt says against the relay; None: nothing, the reply is about the delivery."""
    if result.verdict is Verdict.UNKNOWN:
        return Cause.BROKEN
    if result.verdict not in {Verdict.TRANSPORT, Verdict.CONFIGURATION} or result.about is About.SESSION:
        return None  # a session that has come to its end says nothing against the next
    if result.phase not in IN_TRANSACTION or result.about is About.CONNECTIONS:
        return Cause.CONNECTION
    if result.about is About.RELAY and result.verdict is Verdict.CONFIGURATION:
        return Cause.ACCOUNT
    unspecific = result.reply.code is None or (result.reply.code == 421 and result.about is not About.ACCOUNT)
    return Cause.BROKEN if unspecific else Cause.ACCOUNT


@dataclass(slots=True)
class Breaker:
    """Keeps a server that can't be used from costing anything: one probe at a time, further and further apart.

    Times are monotonic seconds. Not thread-safe: its owner holds a lock.
    """

    faults: int = 3
    """Connections in a row that fail or break before it opens. One refused log-in or certificate is enough, as is one
    reply that speaks of the account, whose first probes follow at once."""
    first_probe: float = 5.0
    most: float = 60.0
    has_stand_in: bool = False
    """Whether another transport carries the mail meanwhile: then one connection that fails is enough where nothing else
    went through."""
    state: Health = Health.HALF_OPEN  # the first message shows whether the server is there, before all connections open
    in_a_row: int = 0
    since: float | None = None
    probe_at: float = 0.0
    probing: bool = False
    error: str | None = None
    cause: Cause | None = None
    about: About | None = None
    openings: int = 0
    """How often it has opened; what was admitted before the last time says nothing about the relay now."""
    _interval: float = 0.0
    _spare: int = 0

    @property
    def healthy(self) -> bool:
        """Whether the last message went through."""
        return self.state is Health.CLOSED and self.in_a_row == 0

    @property
    def hopeful(self) -> bool:
        """Whether more probes follow at once, since the fault may be of one delivery only."""
        return self._spare > 0

    def admit(self, now: float) -> bool:
        """Whether a message may be offered now. A probe that is admitted must be followed by an outcome."""
        if self.state is Health.CLOSED:
            return True
        if self.probing or now < self.probe_at:
            return False
        self.state = Health.HALF_OPEN
        self.probing = True
        return True

    def ready(self, now: float) -> int | None:
        """How many messages it would admit now: None for any number."""
        if self.state is Health.CLOSED:
            return None
        return 0 if self.probing or now < self.probe_at else 1

    def accepted(self, opening: int) -> None:
        """The server took a message that was admitted after so many `openings`."""
        if self.since is not None and opening < self.openings:
            return  # it was under way when the breaker opened
        self._close()

    def refused(self, opening: int, now: float, chance: float) -> None:
        """The server refused or deferred a message as a working server does. `chance`: random, 0 ≤ chance < 1."""
        if self.cause not in {Cause.ACCOUNT, Cause.REFUSALS}:
            self.accepted(opening)
        elif opening >= self.openings:
            self.probing = False
            self._wait(now, chance, None)

    def withdrawn(self, *, probe: bool) -> None:
        """What was admitted, as a `probe` or not, was not offered after all."""
        if probe:
            self.probing = False

    def fault(
        self,
        result: Result,
        opening: int,
        now: float,
        chance: float,
        *,
        again: bool = False,
        alone: bool = False,
        silent: bool = False,
    ) -> None:
        """The server could not be used. `chance`: random, 0 ≤ chance < 1.

        `again`: for a delivery that has met a fault before; `alone`: and no other has since the last that went through;
        `silent`: none went through while it was offered.
        """
        cause = cause_of(result) or Cause.CONNECTION
        self.in_a_row += 1
        if self.since is not None and opening < self.openings:
            return
        self.probing = False
        self.error = f"{result.phase}: {result.reply}"
        if self.since is None:
            at_once = cause is Cause.ACCOUNT or result.verdict is Verdict.CONFIGURATION
            if cause is Cause.CONNECTION:
                is_told = self.state is not Health.CLOSED or result.reply.code is not None
                at_once = at_once or is_told or (silent and self.has_stand_in)
            only_one = alone and cause is Cause.BROKEN
            if not at_once and (only_one or self.in_a_row < self.faults):
                return
            self._open(now)
            self._spare = SPARE_PROBES if cause is Cause.ACCOUNT else 0
        self.cause, self.about, self.state = cause, result.about, Health.OPEN
        if cause is Cause.CONNECTION:
            self._spare = 0  # no delivery is offered by probes that reach nobody, so that they had better wait
        self._wait(now, chance, result.retry_after, again)

    def stop(self, result: Result, opening: int, now: float, chance: float) -> None:
        """Every message meets the same refusal, of which `result` is the last. `chance`: random, 0 ≤ chance < 1."""
        if self.cause is Cause.REFUSALS and opening < self.openings:
            return  # known, and not the probe's
        if self.since is None:
            self._open(now)
        self._spare = 0
        self.probing = False
        self.error = f"{result.phase}: {result.reply}"
        self.cause, self.about, self.state = Cause.REFUSALS, About.RELAY, Health.OPEN
        self._wait(now, chance, None)

    def adopt(self, error: str, cause: Cause, about: About | None, probe_in: float, now: float) -> None:
        """Another worker has found that the relay can't be used, or that it still can't: the next probe is then."""
        if self.since is None:
            self._open(now)
        self._spare, self.probing, self.state = 0, False, Health.OPEN
        self.error, self.cause, self.about = error, cause, about
        self.probe_at = now + probe_in
        self._interval = min(max(self._interval, self.first_probe, probe_in), self.most)

    def adopt_recovery(self) -> None:
        """Another worker's probe went through: as at the start, one message first."""
        self._close()
        self.state, self.probe_at = Health.HALF_OPEN, 0.0

    def _open(self, now: float) -> None:
        self.since = now
        self.openings += 1

    def _wait(self, now: float, chance: float, told: float | None, again: bool = False) -> None:
        self.state = Health.OPEN
        if self._spare:
            self._spare -= not again  # it has a wait of its own, and shows nothing new
            self.probe_at = now
            return
        self._interval = min(self._interval * 2 or self.first_probe, self.most)
        wait = self._interval * (0.9 + 0.2 * chance)
        if told is not None and self.about is About.ACCOUNT:  # else it may be one delivery's own
            wait = max(wait, min(told, LONGEST_PROBE_WAIT))
        self.probe_at = now + wait

    def _close(self) -> None:
        self.state, self.in_a_row, self.since, self.probing = Health.CLOSED, 0, None, False
        self.error = self.cause = self.about = None
        self._interval, self._spare = 0.0, 0
