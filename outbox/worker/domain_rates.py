"""Mail to domains that have a rate: what a claim finds beyond it goes back, and the domain is passed over for a while.

Which mail is to which domain is known only once it is claimed, so permits are reserved then, for just as many.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase

from outbox.core.events import first_line, logger
from outbox.delivery.rate_limits import SECOND, RateLimits
from outbox.store.rates import DOMAIN, SLOWED, Grant, Rates
from outbox.worker.leased import Leased

LONG_SECONDS = 60.0
"""Whoever waits for the queue to be empty does not wait for longer limits than these."""

_PATIENCE_SECONDS = 5.0  # the longest that a domain is passed over, before it is looked at again

_PORTIONS = 4  # of what a claim found, permits for so many times that are reserved where they may be kept
_LEAST = 16  # messages to a domain in one claim, from which on more are expected

_LEAST_SECONDS = 0.2  # that a domain is passed over: each time it is not any more, a claim begins at the start


class DomainRates:
    """One transport's, of one worker. Belongs to the thread that claims."""

    def __init__(
        self,
        source: Rates | None,
        rates: Sequence[tuple[str, RateLimits]],
        monotonic: Callable[[], float],
        transport: str = "",
    ) -> None:
        """`rates`: (pattern, limits); the first pattern that fits holds. `source`: None where there are none."""
        self._source = source
        self._rates = rates
        self._monotonic = monotonic
        self._transport = transport
        self._slowed: Mapping[str, float] = {}
        self._kept: dict[str, tuple[int, float]] = {}  # permits that were not used yet, until when they are good
        self._held: dict[str, float] = {}
        self._long: set[str] = set()

    def slow_to(self, per_second: Mapping[str, float]) -> None:
        """Send to these domains no faster than this, by this transport."""
        self._slowed = per_second

    @property
    def held(self) -> frozenset[str]:
        """The domains to be passed over now."""
        if not self._held:
            return frozenset()
        now = self._monotonic()
        self._held = {domain: until for domain, until in self._held.items() if until > now}
        return frozenset(self._held)

    @property
    def holds_back(self) -> bool:
        """Whether one of them is passed over, though not for long."""
        return bool(self.held - self._long)

    def admit(self, leased: list[Leased]) -> tuple[list[Leased], list[Leased]]:
        """Which of these may go now, and which have to wait; in their order."""
        if not self._rates and not self._slowed:
            return leased, []
        domains = [_domain(one) for one in leased]
        by_domain = Counter(domains)
        left = {domain: self._reserve(domain, wanted) for domain, wanted in by_domain.items()}
        if left == by_domain:
            return leased, []
        admitted: list[Leased] = []
        back: list[Leased] = []
        for one, domain in zip(leased, domains, strict=True):
            left[domain] -= 1
            (admitted if left[domain] >= 0 else back).append(one)
        return admitted, back

    def give_back(self, unbegun: Sequence[Leased]) -> None:
        """What was admitted and did not go. Thread-safe."""
        if self._source is None or not self._rates:
            return
        for domain in {_domain(one) for one in unbegun}:
            limits = self._limits(domain)
            if limits.minute or limits.hour or limits.day:
                number = sum(_domain(one) == domain for one in unbegun)
                try:
                    self._source.give_back(DOMAIN, domain, number, 0.0, limits=limits)
                except Exception as error:  # noqa: BLE001 - they count as used then
                    logger.error("permits for mail to %s can't be given back: %s", domain, first_line(error))

    def _limits(self, domain: str) -> RateLimits:
        return next((limits for pattern, limits in self._rates if fnmatchcase(domain, pattern)), RateLimits())

    def _reserve(self, domain: str, wanted: int) -> int:
        if self._source is None:
            return wanted
        found = wanted
        if (rate := self._slowed.get(domain)) is not None:
            what = f"{self._transport} {domain}"
            slower = self._source.reserve(SLOWED, what, RateLimits(), found, per_second=rate, paced=False)
            found = self._granted(domain, slower, found)
        if found and (limits := self._limits(domain)):
            kept, until = self._kept.pop(domain, (0, 0.0))
            kept = kept if self._monotonic() < until else 0
            lacking = max(0, found - kept)
            if not lacking:
                self._kept[domain] = kept - found, until
                return found
            life = self._life(limits)
            wanted = _PORTIONS * lacking if life and lacking >= _LEAST else lacking
            grant = self._source.reserve(DOMAIN, domain, limits, wanted, paced=False)
            if grant.permits > lacking:
                self._kept[domain] = grant.permits - lacking, grant.began + life
            found = kept + min(lacking, self._granted(domain, grant, lacking))
        return found

    @staticmethod
    def _life(limits: RateLimits) -> float:
        """Seconds for which permits may be kept; 0: what is not used at once would have to be given back."""
        if limits.second is None or limits.minute or limits.hour or limits.day:
            return 0.0
        return limits.cells(paced=False)["second"].life / SECOND

    def _granted(self, domain: str, grant: Grant, wanted: int) -> int:
        if grant.permits < wanted:
            (self._long.add if grant.wait >= LONG_SECONDS else self._long.discard)(domain)
            wait = min(max(grant.wait, _LEAST_SECONDS), _PATIENCE_SECONDS)
            self._held[domain] = self._monotonic() + wait
        return grant.permits


def _domain(leased: Leased) -> str:
    return leased.claimed.recipient.rpartition("@")[2].lower()
