"""The small window of leased mail between the claims and the connections, and when one may be offered."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from outbox.claims import Claimed
from outbox.policy import Breaker
from outbox.reply import Result, Verdict


@dataclass(frozen=True, slots=True)
class Leased:
    """A claimed delivery and how long it may be worked on."""

    claimed: Claimed
    deadline: float  # monotonic seconds: the end of the lease, counted from before the claim


class Feed:
    """What connections take their next mail from: the most important first, and only as the breaker allows."""

    def __init__(self, breaker: Breaker, monotonic: Callable[[], float]) -> None:
        self._breaker = breaker
        self._monotonic = monotonic
        self._heap: list[tuple[int, int, Leased]] = []
        self._order = itertools.count()
        self._changed = threading.Condition()
        self._closed = False
        self._busy = 0
        self.hungry = threading.Event()
        """Set when there is room for more: the claimer's signal."""

    def put(self, leased: Iterable[Leased]) -> None:
        """Add claimed mail."""
        with self._changed:
            for one in leased:
                heapq.heappush(self._heap, (one.claimed.slot, next(self._order), one))
            self._changed.notify_all()

    def take(self, timeout: float, low: int) -> Leased | None:
        """The next mail, or None after `timeout` seconds without one or when closed (see `closed`).

        Fewer than `low` left sets `hungry`. What is taken must be given back by `done` or `withdraw`.
        """
        end = self._monotonic() + timeout
        with self._changed:
            while not self._closed:
                now = self._monotonic()
                if self._heap and self._breaker.admit(now):
                    self._busy += 1
                    leased = heapq.heappop(self._heap)[2]
                    if len(self._heap) < low:
                        self.hungry.set()
                    return leased
                if now >= end:
                    return None
                self._changed.wait(min(end - now, self._patience(now)))
        return None

    def withdraw(self) -> None:
        """A taken mail is finished without a result of the server's."""
        with self._changed:
            self._busy -= 1
            self._breaker.withdrawn()
            self._changed.notify_all()

    def done(self, result: Result, chance: float) -> bool:
        """A taken mail was offered: tell the breaker. True where the transport has just gone out of use, or come back.

        `chance`: random, 0 ≤ chance < 1.
        """
        with self._changed:
            self._busy -= 1
            troubled = self._breaker.since is not None
            if result.verdict in {Verdict.TRANSPORT, Verdict.CONFIGURATION, Verdict.UNKNOWN}:
                self._breaker.fault(result, self._monotonic(), chance)
            else:
                if not self._breaker.healthy:  # the way is free (again): claim for all connections
                    self.hungry.set()
                self._breaker.success()
            self._changed.notify_all()
            return (self._breaker.since is not None) is not troubled

    def __len__(self) -> int:
        """How many wait for a connection."""
        return len(self._heap)

    def room(self, size: int) -> int:
        """How many more may be claimed for a window of `size`, as the breaker allows."""
        with self._changed:
            admits = self._breaker.ready(self._monotonic())
            room = size - len(self._heap)
            return max(0, room if admits is None else min(room, admits - len(self._heap)))

    def surplus(self) -> list[Leased]:
        """Take back what the breaker lets no connection begin now: others, or a later claim, may do better with it."""
        with self._changed:
            admits = self._breaker.ready(self._monotonic())
            if admits is None:
                return []
            first = sorted(self._heap)
            self._heap = first[:admits]
            return [leased for _, _, leased in first[admits:]]

    def empty(self) -> list[Leased]:
        """Take back all that no connection has begun."""
        with self._changed:
            left = [leased for _, _, leased in self._heap]
            self._heap.clear()
            return left

    def remove(self, unwanted: Callable[[Claimed], bool]) -> list[Leased]:
        """Take back what is `unwanted` and no connection has begun."""
        with self._changed:
            taken = [entry for entry in self._heap if unwanted(entry[2].claimed)]
            orders = {order for _, order, _ in taken}
            self._heap = sorted(entry for entry in self._heap if entry[1] not in orders)
            return [leased for _, _, leased in taken]

    def close(self) -> None:
        """Let no more be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self.hungry.set()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    @property
    def idle(self) -> bool:
        """Nothing waits and nothing is under way."""
        with self._changed:
            return not self._heap and not self._busy

    @property
    def healthy(self) -> bool:
        """Whether the last mail offered went through."""
        with self._changed:
            return self._breaker.healthy

    def _patience(self, now: float) -> float:
        """Seconds until the breaker may admit a probe; a long time where that is not what is waited for."""
        if self._heap and self._breaker.probe_at > now:
            return self._breaker.probe_at - now
        return 3600.0
