"""How many connections of a worker may be open at once, and at work: as the relay, a common limit and a ramp admit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from outbox.delivery.admission import Admission, is_turned_away
from outbox.delivery.ramp import Ramp
from outbox.delivery.reply import Result

_LOOK_SECONDS = 1.0  # between two looks whether the relay admits one connection more


class Member(Protocol):
    """What is asked of a connection to the relay."""

    @property
    def is_connected(self) -> bool: ...


class Door:
    """Not thread-safe: its owner holds a lock. Times are monotonic seconds."""

    def __init__(self, members: Sequence[Member], ramp: float = 0.0) -> None:
        """`members`: the connections, where there may be a limit to how many are open at once. `ramp`: as `Ramp`'s
        step."""
        self._members = members
        self._working: set[object] = set()
        self._leaving: set[object] = set()  # about to close
        self.share: int | None = None
        """How many this worker may have open, of those that all may have together; None: there is no such limit."""
        self.admission = Admission(max(1, len(members)))
        self.ramp = Ramp(ramp, self.admission.most)

    def admits(self, who: Member | None, now: float) -> bool:
        """Whether this one may begin a message."""
        limit, ramped = self.admission.now(now), self.ramp.limit(now)
        if who is None or (ramped is None and self.share is None and limit >= self.admission.most):
            return True
        if ramped is not None:
            if sum(one in self._working for one in self._others(who)) >= ramped:
                return False
            limit = min(limit, ramped)
        if who.is_connected:
            return not self._is_surplus(who)
        return sum(self._is_open(one) for one in self._others(who)) < min(limit, self._most)

    def dismisses(self, who: Member | None) -> bool:
        """Whether this one, which has nothing to do, has to close: another worker lacks it."""
        self._leaving.discard(who)  # it has done so, if it had to
        if who is None or not who.is_connected or not self._is_surplus(who):
            return False
        self._leaving.add(who)
        return True

    @property
    def opened(self) -> int:
        """How many are open, or about to be."""
        return sum(self._is_open(one) for one in self._members)

    def part_of(self, size: int) -> int:
        """Of what is claimed ahead for all connections, that for those which may be open."""
        return size if self.share is None else -(-size * self.share // self.admission.most)

    def enter(self, who: Member | None) -> None:
        """It begins one."""
        if who is not None:
            self._working.add(who)

    def leave(self, who: Member | None) -> None:
        """It has ended it."""
        self._working.discard(who)

    def is_turned_away(self, result: Result, who: Member, now: float) -> bool:
        """Whether `result` means that the relay admits no more connections than work now, which is then the limit."""
        if not is_turned_away(result):
            return False
        working = sum(one.is_connected for one in self._others(who))
        if not working:
            return False
        trying = sum(one in self._working and not one.is_connected for one in self._others(who))
        self.admission.turned_away(working + trying, f"{result.phase}: {result.reply}", now)
        return True

    def wait(self, now: float) -> float:
        """Seconds until one more may work; a long time where all may."""
        if self.ramp.limit(now) is not None:
            return self.ramp.wait(now)
        is_limited = self.admission.limit < self.admission.most or self.share is not None
        return _LOOK_SECONDS if is_limited else 3600.0

    @property
    def _most(self) -> int:
        return self.admission.most if self.share is None else self.share

    def _is_open(self, one: Member) -> bool:
        return one in self._working or one in self._leaving or one.is_connected

    def _is_surplus(self, who: Member) -> bool:
        if self.share is None:
            return False
        return sum(self._is_open(one) and one not in self._leaving for one in self._others(who)) >= self.share

    def _others(self, who: Member) -> list[Member]:
        return [one for one in self._members if one is not who]
