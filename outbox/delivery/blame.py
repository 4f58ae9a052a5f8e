"""Who is to blame for what became of an attempt: one delivery, a sender, a domain, or the relay. Pure.

The circuit breaker says whether the relay can be used; the evidence of many deliveries says whose fault a refusal is.
Here both are asked about each outcome, and one ruling comes back. See docs/decisions/0014.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from outbox.core.value import value
from outbox.delivery.breaker import IN_TRANSACTION, Breaker, Cause, cause_of
from outbox.delivery.evidence import REMEMBERED, Blamed, Offer, Refusals, Scopes, is_recipients_own
from outbox.delivery.reply import About, Result, Verdict


@value(frozen=True, slots=True)
class Ruling:
    """What follows from one outcome for others, and for how it is written down."""

    about: About | None
    withheld: bool = False
    """The refusal is not the delivery's own: it does not count, and fails nothing."""
    take_back: tuple[int, ...] = ()
    """Deliveries whose refusals, already written down, are not their own either."""
    blamed: tuple[Blamed, ...] = ()
    """To be paused by itself."""
    slowed: bool = False
    """It asks for nothing but a lower rate."""
    turned: bool = False
    """The relay has just gone out of use, or come back."""


def _never(_offer: Offer, _result: Result, _now: float) -> bool:
    return False


class Blame:
    """The judge of one worker's transport. Not thread-safe: its owner holds a lock."""

    def __init__(
        self, breaker: Breaker, refusals: Refusals, slows: Callable[[Offer, Result, float], bool] = _never
    ) -> None:
        """`slows`: is given each outcome, and says whether it asks for nothing but a lower rate."""
        self.breaker = breaker
        self._slows = slows
        self._refusals = refusals
        self._scopes = Scopes()
        self._senders: set[str] = set()
        self._domains: set[str] = set()
        self._accepted_at = -math.inf  # the last that went through
        self._faulty: set[int] = set()  # deliveries that met a fault since the last that went through

    def judge(self, offer: Offer, result: Result, opening: int, now: float, chance: float) -> Ruling:
        """Learn from an outcome.

        `opening`: the breaker's `openings` when it was admitted; `chance`: random, 0 ≤ chance < 1.
        """
        down = self.breaker.since is not None
        ruling = self._ruling(offer, result, opening, now, chance)
        self._suspect(offer, result)
        if self.breaker.healthy:
            self._faulty.clear()
        turned = (self.breaker.since is not None) is not down
        return replace(ruling, turned=True) if turned else ruling

    def suspects(self) -> tuple[frozenset[str], frozenset[str]]:
        """(senders, domains) that failed since the breaker opened: the next probe had better be of another."""
        return frozenset(self._senders), frozenset(self._domains)

    def _suspect(self, offer: Offer, result: Result) -> None:
        if self.breaker.since is None:
            self._senders.clear()
            self._domains.clear()
        elif result.phase in IN_TRANSACTION and len(self._domains) < REMEMBERED:
            self._senders.add(offer.sender)
            self._domains.add(offer.domain)

    def forget_refusals(self) -> None:
        """Before `replay`, which brings back what is still evidence."""
        self._refusals.accepted()

    def replay(self, offer: Offer, result: Result, now: float, chance: float) -> Ruling:
        """Learn from an outcome that another worker, or this one before it was restarted, has recorded."""
        if result.verdict is Verdict.ACCEPTED:
            self._refusals.accepted()
            return Ruling(None)
        ruling = self._stop(offer, result, self.breaker.openings, now, chance)
        if ruling is None:
            return Ruling(None)
        self.breaker.probe_at = now  # it may be over by now
        return ruling

    @property
    def is_suspicious(self) -> bool:
        """Whether what other workers have seen should be asked for: together it may be enough to stop."""
        return self.breaker.since is None and self._refusals.is_suspicious

    def _ruling(self, offer: Offer, result: Result, opening: int, now: float, chance: float) -> Ruling:
        if result.verdict is Verdict.ACCEPTED:
            self._accepted_at = now
            self.breaker.accepted(opening)
            self._refusals.accepted()
            self._slows(offer, result, now)
            return Ruling(None, blamed=tuple(self._scopes.accepted(offer)))
        cause = cause_of(result)
        if cause is None:
            return self._refused(offer, result, opening, now, chance)
        if self.breaker.since is None and self._slows(offer, result, now):
            self.breaker.withdrawn(probe=True)
            return Ruling(result.about, slowed=True)
        blamed = tuple(self._scopes.refused(offer, result)) if cause is Cause.ACCOUNT else ()
        if blamed and self.breaker.since is None:
            self.breaker.withdrawn(probe=True)
            return Ruling(blamed[0].scope.about, blamed=blamed)
        again, alone = offer.delivery in self._faulty, self._faulty <= {offer.delivery}
        if len(self._faulty) < REMEMBERED:
            self._faulty.add(offer.delivery)
        silent = self._accepted_at <= offer.began
        self.breaker.fault(result, opening, now, chance, again=again, alone=alone, silent=silent)
        about = About.RELAY if cause is Cause.CONNECTION else None
        return Ruling(result.about or about, blamed=blamed)

    def _refused(self, offer: Offer, result: Result, opening: int, now: float, chance: float) -> Ruling:
        if stopped := self._stop(offer, result, opening, now, chance):
            return stopped
        withheld = self.breaker.cause in {Cause.ACCOUNT, Cause.REFUSALS} and not is_recipients_own(result)
        self.breaker.refused(opening, now, chance)
        return Ruling(About.RELAY if withheld else result.about, withheld=withheld)

    def _stop(self, offer: Offer, result: Result, opening: int, now: float, chance: float) -> Ruling | None:
        alike = self._refusals.refused(offer, result)
        if not alike:
            return None
        self.breaker.stop(result, opening, now, chance)
        others = tuple(one for one in alike if one != offer.delivery)
        return Ruling(About.RELAY, withheld=True, take_back=others)
