"""Which replies ask for a lower rate, and of what: the transport's mail, or that to one domain. Pure."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Collection

from outbox.delivery.evidence import Offer
from outbox.delivery.reply import About, Phase, Result, Verdict

WORKS_SECONDS = 10.0
"""A throttle asks for a lower rate where mail was accepted so lately; else none is taken, which other rules judge."""

MEASURED_SECONDS = 2.0
"""Over which it is measured how fast mail goes."""

_SHORTEST_SECONDS = 0.2
_IN_A_ROW, _ROW_SECONDS = 20, 5.0  # throttles, nothing accepted between them: no rate is low enough
_VARIOUS = 3  # domains, or deliveries of one sender
_REMEMBERED = 1_000  # outcomes

_LONGEST_TOLD = 10.0  # seconds: who asks to wait longer is not asking for a lower rate
_SPEED = re.compile(r"\brate\b|\bthrottl|\bslow|\b(?:per|an?|/) ?second\b|\btoo (?:many|much)\b", re.IGNORECASE)
_LONGER = re.compile(r"\b(?:daily|days?|hour|hourly|week|weekly|month|monthly|quota|credits?|allowance)\b", re.I)
"""Used up for longer than a lower rate could help against."""


def is_throttle(result: Result) -> bool:
    """Whether the relay asks for a lower rate, rather than for a pause."""
    if result.verdict is not Verdict.TRANSPORT or result.about is not About.ACCOUNT:
        return False
    if (result.retry_after or 0.0) > _LONGEST_TOLD or _LONGER.search(result.reply.text):
        return False
    return _SPEED.search(result.reply.text) is not None


class Throttles:
    """The throttles that one worker meets on one transport, beside what it gets through. Times are monotonic seconds.

    Not thread-safe: its owner holds a lock.
    """

    def __init__(self) -> None:
        self._accepted: deque[tuple[float, Offer]] = deque(maxlen=_REMEMBERED)
        self._refused: deque[tuple[float, Offer, Phase]] = deque(maxlen=_REMEMBERED)
        self._in_a_row: dict[str, tuple[int, float]] = {}  # by scope: how many, since when

    def accepted(self, offer: Offer, now: float) -> None:
        """The relay took a message."""
        self._accepted.append((now, offer))
        if self._in_a_row:
            self._in_a_row.pop("", None)
            self._in_a_row.pop(offer.domain, None)

    def throttled(self, offer: Offer, result: Result, now: float, known: Collection[str]) -> tuple[str, bool] | None:
        """Of what the rate is too high: a domain, "" for all of the transport's mail; and whether it is evidence of
        that: not where one delivery, or one sender, is refused alone. None: no lower rate helps.

        `known`: the scopes that go by a lower rate already.
        """
        if not is_throttle(result):
            return None
        again = self._is_alone(offer, now)
        self._refused.append((now, offer, result.phase))
        scope = self._scope(offer, result, now, known)
        lately = now - (6 if scope in known else 1) * WORKS_SECONDS
        is_new = scope in known and not self._accepted  # it has just begun, and others get their mail through
        if not is_new and not any(at >= lately and scope in ("", one.domain) for at, one in reversed(self._accepted)):
            return None
        number, since = self._in_a_row.get(scope, (0, now))
        self._in_a_row[scope] = number + 1, since
        if number >= _IN_A_ROW and now - since > _ROW_SECONDS:
            return None
        return scope, not (again or self._is_senders(offer, now))

    def _is_alone(self, offer: Offer, now: float) -> bool:
        """Whether this delivery was refused before, and no other was lately. What is above a rate by a little comes at
        regular times, and so do second attempts: so one delivery is often refused again where others are, too."""
        if not any(one.delivery == offer.delivery for _, one, _ in self._refused):
            return False
        return all(one.delivery == offer.delivery for at, one, _ in self._refused if at > now - WORKS_SECONDS)

    def offered(self, scope: str, now: float) -> tuple[float, float]:
        """(offered, accepted) messages a second lately."""
        since = now - MEASURED_SECONDS
        taken = [at for at, one in self._accepted if at > since and scope in ("", one.domain)]
        refused = [at for at, one, _ in self._refused if at > since and scope in ("", one.domain)]
        seconds = max(_SHORTEST_SECONDS, now - min([*taken, *refused], default=now))
        return (len(taken) + len(refused)) / seconds, len(taken) / seconds

    def _scope(self, offer: Offer, result: Result, now: float, known: Collection[str]) -> str:
        """At RCPT it is the domain's, unless as many domains are refused as pass."""
        if result.phase is not Phase.RCPT:
            return ""
        if offer.domain in known:
            return offer.domain
        since = now - WORKS_SECONDS
        refused = {one.domain for at, one, phase in self._refused if at > since and phase is Phase.RCPT}
        passed = {one.domain for at, one in self._accepted if at > since} - refused
        return "" if len(refused) >= _VARIOUS and len(refused) >= len(passed) else offer.domain

    def _is_senders(self, offer: Offer, now: float) -> bool:
        """Whether several were refused lately, all of this sender, of whom none passed, while others' mail did."""
        since = now - WORKS_SECONDS
        refused = [one.sender for at, one, _ in self._refused if at > since]
        passed = {one.sender for at, one in self._accepted if at > since}
        return len(refused) >= _VARIOUS and set(refused) == {offer.sender} and offer.sender not in passed
