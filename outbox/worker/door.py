"""How many connections of a worker may be at work at once: as many as the relay admits, and a ramp lets go."""

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
        self.admission = Admission(max(1, len(members)))
        self.ramp = Ramp(ramp, self.admission.most)

    def admits(self, who: Member | None, now: float) -> bool:
        """Whether this one may begin a message."""
        limit, ramped = self.admission.now(now), self.ramp.limit(now)
        if ramped is not None and who is not None:
            if sum(one in self._working for one in self._others(who)) >= ramped:
                return False
            limit = min(limit, ramped)
        if who is None or limit >= self.admission.most or who.is_connected:
            return True
        return sum(one in self._working or one.is_connected for one in self._others(who)) < limit

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
        return _LOOK_SECONDS if self.admission.limit < self.admission.most else 3600.0

    def _others(self, who: Member) -> list[Member]:
        return [one for one in self._members if one is not who]
