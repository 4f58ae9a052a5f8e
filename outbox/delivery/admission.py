"""How many connections the relay admits at once, learnt from its replies. Pure.

Fewer at once where one is turned away while others work, one more after a quiet time: additive increase, multiplicative
decrease, as TCP has it. A limit is the relay's own business and no fault of its, so it stops nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from outbox.delivery.reply import About, Phase, Result, Verdict

FIRST_WAIT = 3.0
"""Seconds after which one more connection is tried. Short: where many knock at once the relay counts those that it
turns away, too, and the first limit is too low."""

LONGEST_WAIT = 600.0

_AT_THE_DOOR = frozenset({Phase.GREETING, Phase.EHLO})


def is_turned_away(result: Result) -> bool:
    """Whether this may mean "no more connections", which it does where others work."""
    if result.verdict is not Verdict.TRANSPORT:
        return False
    if result.about is About.CONNECTIONS or result.reply.code == 432:
        return True
    return result.phase in _AT_THE_DOOR and (result.reply.code or 0) // 100 == 4


@dataclass(slots=True)
class Admission:
    """The limit for one worker's connections. Times are monotonic seconds. Not thread-safe: its owner holds a lock."""

    most: int
    """Connections that the worker has; the limit is never above."""
    limit: int = 0
    reply: str | None = None
    """What the relay said to the one that was too many; None: all may connect."""
    _raise_at: float = 0.0
    _wait: float = FIRST_WAIT
    _raised: bool = False  # since the last refusal

    def __post_init__(self) -> None:
        self.limit = self.most

    def now(self, now: float) -> int:
        """How many may be open now."""
        if self.limit < self.most and now >= self._raise_at:
            self.limit += 1
            self._raised = True
            self._raise_at = now + self._wait
            if self.limit == self.most:
                self._wait, self.reply = FIRST_WAIT, None
        return self.limit

    def turned_away(self, working: int, reply: str, now: float) -> None:
        """One connection was refused while `working` others work, at least one, or are about to."""
        if self._raised:  # the limit is as it was
            self._wait = min(self._wait * 2, LONGEST_WAIT)
        self._raised = False
        self.limit = max(1, min(self.limit - 1, working))
        self.reply = reply
        self._raise_at = now + self._wait

    def forget(self) -> None:
        """The relay was down: what it admitted before says nothing about now."""
        self.limit, self.reply, self._wait, self._raised = self.most, None, FIRST_WAIT, False
