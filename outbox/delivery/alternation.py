"""Whether a domain is refused for its own sake where the words speak of the account: a rate of the account, or of one
sender, is over at one moment and used up at another, and either shows in other domains as well. Pure.

A limited rate is counted by the minute at the least. Mail that is refused in the domain and accepted elsewhere, refused
and accepted again, all within half a minute, meets no such rate of whoever sent all four; if several senders did,
none of the account, and none of one sender only.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

RATE_SECONDS = 30.0
"""Seconds within which a used-up rate may recover once, not twice."""

REMEMBERED = 50
"""At most this many senders of a domain are remembered."""


@dataclass(slots=True)
class _Turns:
    """Refusals in the domain, and acceptances elsewhere, by turns. Times are monotonic seconds."""

    refused: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=8))  # (began, ended), since `last`
    last: tuple[float, float] | None = None  # when a refusal began, and when the acceptance after it ended
    refused_at: float = 0.0
    no_rate_until: float = 0.0

    def refuse(self, began: float, ended: float) -> None:
        self.refused_at = ended
        if self.last is None or began >= self.last[1]:  # else nobody knows which came first
            self.refused.append((began, ended))

    def accept(self, began: float, ended: float) -> None:
        before = [one for one in self.refused if one[1] <= began]
        if not before:
            return
        earlier, self.last = self.last, (before[-1][0], ended)
        self.refused.clear()
        if earlier is not None and ended - earlier[0] <= RATE_SECONDS:
            self.no_rate_until = ended + RATE_SECONDS


class Alternation:
    """What becomes of mail to one domain since it was last accepted there, and of its senders' mail elsewhere."""

    def __init__(self) -> None:
        self._all = _Turns()
        self._by_sender: dict[str, _Turns] = {}
        self._passed: dict[str, float] = {}

    def refused(self, sender: str, began: float, ended: float) -> None:
        """Mail of this sender was refused in the domain."""
        self._all.refuse(began, ended)
        self._by_sender.setdefault(sender, _Turns()).refuse(began, ended)
        if len(self._by_sender) > REMEMBERED:
            del self._by_sender[next(iter(self._by_sender))]

    def accepted(self, sender: str, began: float, ended: float) -> None:
        """Mail of this sender was accepted elsewhere."""
        self._all.accept(began, ended)
        if sender in self._by_sender:
            self._by_sender[sender].accept(began, ended)
        self._passed.pop(sender, None)
        self._passed[sender] = ended
        if len(self._passed) > REMEMBERED:
            del self._passed[next(iter(self._passed))]

    def is_no_rate(self, now: float) -> bool:
        """Whether neither a rate of the account nor one of one sender explains the refusals of the last half minute."""
        if any(turns.no_rate_until >= now for turns in self._by_sender.values()):
            return True
        return self._all.no_rate_until >= now and sum(self._is_free(sender, now) for sender in self._by_sender) > 1

    def _is_free(self, sender: str, now: float) -> bool:
        """Whether it was refused here and accepted elsewhere a moment ago."""
        since = now - RATE_SECONDS
        return self._by_sender[sender].refused_at >= since and self._passed.get(sender, since - 1) >= since
