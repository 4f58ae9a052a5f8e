"""The small window of leased mail between the claims and the connections, and when one may be offered."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from outbox.bell import Bell, Flag, ThreadBell
from outbox.breaker import Breaker
from outbox.claims import Claimed
from outbox.reply import Result, Verdict


@dataclass(frozen=True, slots=True)
class Leased:
    """A claimed delivery and how long it may be worked on."""

    claimed: Claimed
    deadline: float  # monotonic seconds: the end of the lease, counted from before the claim


_Entry = tuple[int, int, Leased]  # slot, order of arrival


class Feed:
    """What connections take their next mail from: the most important first, and only as the breaker allows."""

    def __init__(self, breaker: Breaker, monotonic: Callable[[], float], bell: Bell | None = None) -> None:
        self._breaker = breaker
        self._monotonic = monotonic
        self._heap: list[_Entry] = []
        self._waiting = 0
        self._order = itertools.count()
        self._lock = threading.RLock()
        self._bell = bell or ThreadBell()
        self._closed = False
        self._busy = 0
        self.hungry = Flag()
        """Set when there is room for more: the claimer's signal."""

    def put(self, leased: Iterable[Leased]) -> None:
        """Add claimed mail."""
        with self._lock:
            for one in leased:
                heapq.heappush(self._heap, (one.claimed.slot, next(self._order), one))
            self._bell.ring()

    def take(self, timeout: float, low: int) -> Leased | None:
        """The next mail, or None after `timeout` seconds without one or when closed (see `closed`).

        Fewer than `low` left sets `hungry`. What is taken must be given back by
        `done` or `withdraw`.
        """
        end = self._monotonic() + timeout
        while True:
            with self._lock:
                now = self._monotonic()
                entry = None if self._closed else self._next(now)
                if entry is not None:
                    self._busy += 1
                    if len(self._heap) < low:
                        self.hungry.set()
                    return entry[2]
                if self._closed or now >= end:
                    return None
                self._waiting += 1
                strokes, patience = self._bell.strokes, min(end - now, self._patience(now))
            try:
                self._bell.wait(strokes, patience)
            finally:
                with self._lock:
                    self._waiting -= 1

    def withdraw(self) -> None:
        """A taken mail is finished without a result of the server's."""
        with self._lock:
            self._busy -= 1
            self._breaker.withdrawn()
            self._bell.ring()

    def done(self, result: Result, chance: float) -> bool | None:
        """A taken mail was offered: tell the breaker. True: the transport has just come up; False: it has gone down.

        `chance`: random, 0 ≤ chance < 1.
        """
        with self._lock:
            self._busy -= 1
            troubled = self._breaker.since is not None
            if result.verdict in {Verdict.TRANSPORT, Verdict.CONFIGURATION, Verdict.UNKNOWN}:
                self._breaker.fault(result, self._monotonic(), chance)
            else:
                if not self._breaker.healthy:  # the way is free (again): claim for all connections
                    self.hungry.set()
                self._breaker.success()
            if self._waiting:
                self._bell.ring()
            up = self._breaker.since is None
            return up if up is troubled else None

    def __len__(self) -> int:
        """How many wait for a connection."""
        return len(self._heap)

    def room(self, size: int) -> int:
        """How many more may be claimed for a window of `size`, as the breaker allows."""
        with self._lock:
            admits = self._breaker.ready(self._monotonic())
            room = size - len(self)
            return max(0, room if admits is None else min(room, admits - len(self)))

    def surplus(self) -> list[Leased]:
        """Take back what the breaker lets no connection begin now: others, or a later claim, may do better with it."""
        with self._lock:
            admits = self._breaker.ready(self._monotonic())
            if admits is None:
                return []
            first = sorted(self._heap)
            self._heap = first[:admits]
            return [leased for _, _, leased in first[admits:]]

    def empty(self) -> list[Leased]:
        """Take back all that no connection has begun."""
        with self._lock:
            left = [leased for _, _, leased in self._heap]
            self._heap.clear()
            return left

    def remove(self, unwanted: Callable[[Claimed], bool]) -> list[Leased]:
        """Take back what is `unwanted` and no connection has begun."""
        with self._lock:
            taken = [entry for entry in self._heap if unwanted(entry[2].claimed)]
            orders = {order for _, order, _ in taken}
            self._heap = sorted(entry for entry in self._heap if entry[1] not in orders)
            return [leased for _, _, leased in taken]

    def close(self) -> None:
        """Let no more be taken."""
        with self._lock:
            self._closed = True
            self._bell.ring()
        self.hungry.set()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    @property
    def idle(self) -> bool:
        """Nothing waits and nothing is under way."""
        with self._lock:
            return not len(self) and not self._busy

    @property
    def healthy(self) -> bool:
        """Whether the last mail offered went through."""
        with self._lock:
            return self._breaker.healthy

    def _next(self, now: float) -> _Entry | None:
        """What may be begun now."""
        if not self._heap or not self._breaker.admit(now):
            return None
        return heapq.heappop(self._heap)

    def _patience(self, now: float) -> float:
        """Seconds until the breaker may admit a probe; else a long time."""
        if len(self) and self._breaker.probe_at > now:
            return self._breaker.probe_at - now
        return 3600.0
