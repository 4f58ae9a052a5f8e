"""What follows from the outcome of an attempt: pure decisions. `now` and randomness are arguments."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

from outbox.core.value import value
from outbox.delivery.breaker import IN_TRANSACTION, LONGEST_PROBE_WAIT
from outbox.delivery.reply import About, Phase, Result, Verdict
from outbox.delivery.states import OnUncertain, State, may
from outbox.delivery.suppression import Suppressed

MOST_NOTE = 255
"""Characters of a decision's note."""


class Reason(StrEnum):
    """Why a delivery is in its state, in one word, for filters and for people."""

    REFUSED = "refused"  # the server will never take it
    EXPIRED = "expired"  # too old to be of use
    ATTEMPTS = "attempts"  # attempted as often as allowed
    UNKNOWN = "unknown"  # nobody can know whether the server took it
    DAMAGED = "damaged"  # its stored form can't be put together
    KEY = "key"  # it is sealed with a key that the worker does not have
    POISON = "poison"  # workers or connections broke on it alone
    DEFERRED = "deferred"  # the server asked to try later
    TRANSPORT = "transport"  # the server can't be used now
    CONFIGURATION = "configuration"  # log-in, certificate or right to send
    SUPPRESSION = "suppression"  # its address is on the list of those that get no mail of this scope
    SUPPRESSED = "suppressed"  # MAIL_SUPPRESS_SEND: recorded, not sent
    GUARD = "guard"  # cancelled: the condition given as `guard=` does not hold any more; queued: it can't be asked
    HOOK = "hook"  # held or cancelled by a hook of the application's, or queued since it can't be asked
    STOPPED = "stopped"  # by the worker, before the final dot: the message could have been sent twice
    REPLACED = "replaced"  # a newer message of its kind took its place while it was queued
    TOGETHER = "together"  # refused together with other recipients of the message: offered with fewer, then alone
    BY_HAND = "by-hand"  # marked as sent by a person
    ERASED = "erased"  # its recipient was erased (outbox-erase)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When and how often to try again. Times in seconds."""

    first: float = 60.0
    most: float = 4 * 3600.0
    attempts: int = 30
    poison: int = 5
    lead: float = 10.0
    """What one attempt needs: the last one before an expiry is due at least this long before it: a worker sees it a
    poll late and has to connect. What it began in time it may finish after the expiry."""
    probe: float = 60.0  # the longest wait of a delivery whose relay, not itself, is under suspicion

    def backoff(self, attempt: int, chance: float) -> float:
        """Seconds to wait after the `attempt`-th try (from 1): doubled each time, capped, ± 20 %.

        `chance`: random, 0 ≤ chance < 1.
        """
        grown = self.first * 2.0 ** min(attempt - 1, 60)
        return min(grown, self.most) * (0.8 + 0.4 * chance)

    def within(self, delay: float, facts: Facts, chance: float) -> float | None:
        """`delay`, or an earlier one if the delivery expires before it: None if it has had its last attempt.

        The last attempt comes within the last minute before the expiry, spread over it by `chance` (0 ≤ chance < 1),
        so that a message is not given up while there is time. An attempt that failed in that minute was the last one,
        unless it was the only one: what lives for seconds gets a second attempt, too.
        """
        left = facts.expires_in
        if left is None or delay <= left - self.lead:
            return delay
        if left <= 0 or (facts.attempts and left <= max(_LAST_STRETCH, self.lead)):
            return None
        least = min(self.lead, left / 4)
        most = max(least, min(_LAST_STRETCH, left / 2))
        return min(delay, left - least - (most - least) * chance)


@value(frozen=True, slots=True)
class Facts:
    """What the decision needs to know of the delivery."""

    attempts: int  # that counted before this try
    rescues: int
    on_uncertain: OnUncertain
    expires_in: float | None  # seconds; None: never
    healthy: bool  # the transport had carried other mail right before this try
    deferrals: int = 0  # attempts before this one that did not count
    withheld: bool = False  # the refusal is not the delivery's own: every message meets it
    down: bool = True  # the transport is out of use after this attempt
    elsewhere: bool = False  # another transport can carry it
    slowed: bool = False  # it asks for nothing but a lower rate
    together: bool = False  # the reply was to several recipients of the message


@value(frozen=True, slots=True)
class Decision:
    """What to write down."""

    state: State
    reason: Reason | None
    delay: float | None = None  # seconds; None with QUEUED: due as it was before
    counted: bool = False
    suspected: bool = False
    deferred: bool = False  # adds to `deferrals`
    note: str | None = None

    def __post_init__(self) -> None:
        """Raises ValueError for a state that no attempt leads to."""
        if not may(State.SENDING, self.state):
            raise ValueError(f"an attempt can't end in {self.state}: `delivery.states.EDGES` has no such edge")


LONGEST_WAIT = 24 * 3600.0
"""Seconds: the most that a server's "try again in …" is believed."""
_SHARED = frozenset({Phase.DATA, Phase.BODY, Phase.DOT})
_OF_ALL = frozenset({About.MESSAGE, About.SENDER})
_FEWER = "refused together with other recipients, one of whom may be the reason: offered again with fewer"
_LAST_STRETCH = 60.0
"""Seconds before an expiry in which the last attempt comes."""


def decide(result: Result, facts: Facts, policy: RetryPolicy, chance: float) -> Decision:
    """The one place where the outcome of an attempt becomes the next state of its delivery."""
    if facts.withheld:
        return _blameless(result, facts, policy, chance, Reason.TRANSPORT)
    match result.verdict:
        case Verdict.ACCEPTED:
            return Decision(State.SENT, None, counted=True)
        case Verdict.PERMANENT:
            if facts.together and result.phase in _SHARED and result.about not in _OF_ALL:
                return Decision(State.QUEUED, Reason.TOGETHER, 0.0, deferred=True, note=_FEWER)
            return Decision(State.FAILED, Reason.REFUSED, counted=True)
        case Verdict.TRANSIENT:
            return _again(result, facts, policy, chance)
        case Verdict.UNKNOWN:
            return _unknown(result, facts, policy, chance)
        case Verdict.TRANSPORT:
            return _blameless(result, facts, policy, chance, Reason.TRANSPORT)
        case Verdict.CONFIGURATION:
            return _blameless(result, facts, policy, chance, Reason.CONFIGURATION)
        case _:
            assert_never(result.verdict)


def before_sending(
    facts: Facts, *, rescued: bool, marked: bool, policy: RetryPolicy, suppressed: Suppressed | None = None
) -> Decision | None:
    """A delivery that must not be sent (any more): None where it may."""
    if marked and facts.on_uncertain is OnUncertain.HOLD:
        note = "a worker died after it had marked the final dot: the server may have the message"
        return Decision(State.UNCERTAIN, Reason.UNKNOWN, note=note)
    if facts.rescues > policy.poison and rescued and marked:
        # leased is not yet begun: from here on it is only tried with a mark, so that those which were merely waiting
        # in a worker that another mail killed don't fail with it
        note = f"given up: {facts.rescues} times a worker or connection broke while it held this message"
        return Decision(State.FAILED, Reason.POISON, note=note)
    if facts.expires_in is not None and facts.expires_in <= 0:
        return Decision(State.FAILED, Reason.EXPIRED, note="expired before it could be sent")
    if suppressed is not None:
        return Decision(State.FAILED, Reason.SUPPRESSION, note=str(suppressed))
    return None


def _again(result: Result, facts: Facts, policy: RetryPolicy, chance: float) -> Decision:
    delay = policy.backoff(facts.attempts + 1, chance)
    if result.retry_after is not None:
        delay = min(max(result.retry_after, 1.0), LONGEST_WAIT)
    if facts.attempts + 1 >= policy.attempts:
        note = f"given up after {facts.attempts + 1} attempts"
        return Decision(State.FAILED, Reason.ATTEMPTS, counted=True, note=note)
    due = policy.within(delay, facts, chance)
    if due is None:
        return Decision(State.FAILED, Reason.EXPIRED, counted=True, note="expires before it could be tried again")
    return Decision(State.QUEUED, Reason.DEFERRED, due, counted=True)


def _unknown(result: Result, facts: Facts, policy: RetryPolicy, chance: float) -> Decision:
    if facts.on_uncertain is OnUncertain.HOLD:
        note = "held: nobody can know whether the server took it"
        return Decision(State.UNCERTAIN, Reason.UNKNOWN, counted=True, note=note)
    again = _again(result, facts, policy, chance)
    if again.state is not State.QUEUED:  # "failed" would hide that it may have arrived
        return Decision(State.UNCERTAIN, Reason.UNKNOWN, counted=True, note=again.note)
    note = "sent again: nobody can know whether the server took it (RFC 1047)"
    return Decision(State.QUEUED, Reason.UNKNOWN, again.delay, counted=True, note=note)


def _blameless(result: Result, facts: Facts, policy: RetryPolicy, chance: float, reason: Reason) -> Decision:
    """The server's or our own fault: costs nothing, unless this mail alone breaks connections that work for others.

    What got as far as MAIL steps behind the others, further each time: should the fault be its own after all, it keeps
    nobody waiting.
    """
    if result.phase not in IN_TRANSACTION or result.about is About.CONNECTIONS:
        return Decision(State.QUEUED, reason)
    if result.about is About.SESSION:  # over a fresh connection, which believes what it is told
        return Decision(State.QUEUED, reason, 0.0)
    suspected = facts.healthy and result.reply.code is None
    if suspected and facts.rescues + 1 > policy.poison:
        note = f"given up: {facts.rescues + 1} connections broke on this message while others went through"
        return Decision(State.FAILED, Reason.POISON, suspected=True, note=note)
    if facts.slowed:  # by when it is offered again, less is
        delay = min(2.0 ** min(facts.deferrals, 60), policy.probe)
        delay = max(delay, min(result.retry_after or 0.0, policy.probe))
        due = policy.within(delay, facts, chance)
        return Decision(State.QUEUED, reason, delay if due is None else due, deferred=True)
    if facts.elsewhere and (facts.down or not (facts.deferrals or facts.rescues)):
        return Decision(State.QUEUED, reason, 0.0, suspected=suspected, deferred=True)
    delay = policy.backoff(max(facts.deferrals, facts.rescues) + 1, chance)
    told = result.retry_after
    is_relays = facts.down and not facts.healthy
    if is_relays or result.about is About.ACCOUNT:  # it may be any delivery's turn to see whether it is over
        delay = min(delay, policy.probe)
        told = None if told is None else min(told, LONGEST_PROBE_WAIT)
    if told is not None:
        delay = max(delay, min(told, LONGEST_WAIT))
    due = policy.within(delay, facts, chance)
    if due is None:  # no time for one more attempt: its next claim finds it expired
        due = delay if facts.expires_in is None else min(delay, max(facts.expires_in, 0.0) + 1.0)
    return Decision(State.QUEUED, reason, due, suspected=suspected, deferred=True)


def believed(seconds: float) -> float | None:
    """A server's "try again in …", as far as it is believed; None: it is no wait."""
    return min(max(seconds, 0.0), LONGEST_WAIT) if math.isfinite(seconds) else None
