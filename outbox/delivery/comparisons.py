"""Which senders a paused domain has refused: another's mail to it tells whether the pause is its own fault. Pure.

A domain may have been refused to one sender only, and others may have sent nothing to it until it was paused. Theirs
must not wait for the probe of the pause, which comes after minutes or hours and may be the same sender's again.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

FIRST_WAIT = 60.0
"""Seconds between two looks for mail of another sender; twice as many after each that was refused."""

LONGEST_WAIT = 4 * 3600.0

REMEMBERED = 200
"""At most this many senders of one domain are remembered."""


@dataclass(slots=True)
class _Compared:
    next_at: float | None = None  # monotonic seconds; None: not known to be paused yet
    wait: float = FIRST_WAIT
    refused: dict[str, None] = field(default_factory=dict)


class Comparisons:
    """Those of one worker. `refused` is thread-safe, the rest belongs to the thread that claims."""

    def __init__(self) -> None:
        self._domains: dict[str, _Compared] = {}

    def refused(self, domain: str, sender: str) -> None:
        """Mail of this sender was refused in this domain, which is paused or about to be."""
        compared = self._domains.setdefault(domain, _Compared())
        if compared.next_at is not None and sender not in compared.refused:
            wait = min(2 * compared.wait, LONGEST_WAIT)
            compared.next_at += wait - compared.wait
            compared.wait = wait
        if len(compared.refused) < REMEMBERED:
            compared.refused[sender] = None

    def due(self, paused: Collection[str], now: float, most: int) -> list[tuple[str, list[str]]]:
        """(domain, senders that it refused) of those `paused`, at most `most`, where it is time to look for mail of
        another sender."""
        for domain in list(self._domains):
            if domain not in paused and self._domains[domain].next_at is not None:
                del self._domains[domain]
        found: list[tuple[str, list[str]]] = []
        for domain in sorted(paused):
            compared = self._domains.setdefault(domain, _Compared())
            if compared.next_at is None:
                compared.next_at = now + compared.wait
            elif compared.next_at <= now and len(found) < most:
                compared.next_at = now + compared.wait
                found.append((domain, list(compared.refused)))
        return found
