"""Asks guards and hooks about what was claimed, on threads of its own: one that hangs delays nobody else.

What is under examination is leased and not in the buffer yet. Whoever takes too long is left alone: Python can't end
a thread, so what it answers in the end is not heard, and another thread takes its place, MOST_LEFT times at once.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from outbox.core.clock import monotonic
from outbox.delivery.retry import Decision
from outbox.store.claimed import Claimed
from outbox.worker.checks import Case, Checks
from outbox.worker.leased import Leased

THREADS = 4
MOST_LEFT = 4
"""So many threads may hang at once before nothing is asked any more, and all that is to be asked about waits."""


@dataclass(slots=True, eq=False)
class _Asked:
    leased: Leased
    case: Case
    began: float  # monotonic seconds


class Examiner:
    """Of one dispatcher. Its threads begin with the first message that is to be asked about."""

    def __init__(
        self,
        checks: Checks,
        passed: Callable[[Leased], object],
        ended: Callable[[Leased, Decision], object],
        told: Callable[[int], object],
    ) -> None:
        """`told`: how many are under examination now."""
        self._checks = checks
        self._passed = passed
        self._ended = ended
        self._told = told
        self._waiting: deque[Leased] = deque()
        self._running: list[_Asked] = []
        self._settling = 0
        self._threads = self._left = 0
        self._watched = self._closed = False
        self._changed = threading.Condition()

    def take(self, offered: Iterable[Leased]) -> list[Leased]:
        """Those that nothing is to be asked about; the others follow by `passed` or `ended`."""
        at_once: list[Leased] = []
        with self._changed:
            for leased in offered:
                asks = not self._closed and self._checks.concern(leased.claimed)
                (self._waiting if asks else at_once).append(leased)
            if self._waiting:
                self._count()
                self._start()
                self._changed.notify_all()
        return at_once

    def close(self) -> list[Leased]:
        """Ask nothing more; what was not decided."""
        with self._changed:
            self._closed = True
            left = [*self._waiting, *(one.leased for one in self._running)]
            self._waiting.clear()
            self._running.clear()
            self._count()
            self._changed.notify_all()
        return left

    def _start(self) -> None:
        while self._threads < min(THREADS, len(self._waiting) + len(self._running)) and self._left < MOST_LEFT:
            self._threads += 1
            threading.Thread(target=self._work, name="outbox-examiner", daemon=True).start()
        if not self._watched:
            self._watched = True
            threading.Thread(target=self._watch, name="outbox-examiner-watch", daemon=True).start()

    def _count(self) -> None:
        self._told(len(self._waiting) + len(self._running) + self._settling)

    def _work(self) -> None:
        while (asked := self._next()) is not None:
            decision = self._checks.ended(asked.case)
            with self._changed:
                if asked not in self._running:
                    self._left -= 0 if self._closed else 1
                    return
                self._running.remove(asked)
                self._settling += 1
            self._settle(asked.leased, decision)

    def _next(self) -> _Asked | None:
        with self._changed:
            while not self._waiting and not self._closed:
                self._changed.wait()
            if self._closed:
                return None
            leased = self._waiting.popleft()
            asked = _Asked(leased, Case(leased.claimed), monotonic())
            self._running.append(asked)
            self._changed.notify_all()
            return asked

    def _settle(self, leased: Leased, decision: Decision | None) -> None:
        """What was counted as settling."""
        try:
            if decision is None:
                self._passed(leased)
            else:
                self._ended(leased, decision)
        finally:
            with self._changed:
                self._settling -= 1
                self._count()

    def _watch(self) -> None:
        while True:
            with self._changed:
                if self._closed:
                    return
                late = self._overdue()
                if not late:
                    self._changed.wait(self._patience())
            for one in late:
                self._settle(one, self._checks.late(one.claimed))

    def _overdue(self) -> list[Leased]:
        """Those that are given up; how long one may take counts from when it is asked about."""
        now, late = monotonic(), []
        for asked in [one for one in self._running if now - one.began >= self._checks.seconds]:
            self._running.remove(asked)
            self._threads -= 1
            self._left += 1
            late.append(asked.leased)
            threading.Thread(target=asked.case.cut, name="outbox-examiner-cut", daemon=True).start()
        self._start()
        if not self._threads:
            late += self._waiting
            self._waiting.clear()
        self._settling += len(late)
        return late

    def _patience(self) -> float | None:
        if not self._running:
            return None
        return max(0.01, min(one.began for one in self._running) + self._checks.seconds - monotonic())


class AtOnce:
    """The same in the calling thread, without a limit of time."""

    def __init__(self, checks: Checks, passed: Any, ended: Callable[[Leased, Decision], object], told: Any) -> None:
        self._checks = checks
        self._ended = ended

    def take(self, offered: Iterable[Leased]) -> list[Leased]:
        """As `Examiner.take`; those that may be sent, too."""
        going = []
        for leased in offered:
            decision = self._ask(leased.claimed)
            if decision is None:
                going.append(leased)
            else:
                self._ended(leased, decision)
        return going

    def close(self) -> list[Leased]:
        """Nothing is left."""
        return []

    def _ask(self, claimed: Claimed) -> Decision | None:
        return self._checks.ended(Case(claimed)) if self._checks.concern(claimed) else None
