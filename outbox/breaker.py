"""The circuit breaker of one transport: whether a message may be offered now, and when to probe. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from outbox.policy import LONGEST_WAIT
from outbox.reply import Result, Verdict


class Health(StrEnum):
    """The circuit breaker of one transport."""

    CLOSED = "closed"  # all is well
    OPEN = "open"  # nothing is sent until the next probe
    HALF_OPEN = "half-open"  # one mail is on its way to see


@dataclass(slots=True)
class Breaker:
    """Keeps a server that can't be used from costing anything: one probe at a time, further and further apart.

    Times are monotonic seconds. Not thread-safe: its owner holds a lock.
    """

    faults: int = 3
    """Transport faults in a row that open it; a configuration fault or the account's quota opens it at once."""
    first_probe: float = 5.0
    most: float = 60.0
    state: Health = Health.HALF_OPEN  # the first mail shows whether the server is there, before all connections open
    in_a_row: int = 0
    since: float | None = None
    probe_at: float = 0.0
    probing: bool = False
    error: str | None = None
    _interval: float = 0.0

    @property
    def healthy(self) -> bool:
        """Whether the last mail went through."""
        return self.state is Health.CLOSED and self.in_a_row == 0

    def admit(self, now: float) -> bool:
        """Whether a mail may be offered now. A probe that is admitted must be followed by `success` or `fault`."""
        if self.state is Health.CLOSED:
            return True
        if self.probing or now < self.probe_at:
            return False
        self.state = Health.HALF_OPEN
        self.probing = True
        return True

    def ready(self, now: float) -> int | None:
        """How many mails it would admit now: None for any number."""
        if self.state is Health.CLOSED:
            return None
        return 0 if self.probing or now < self.probe_at else 1

    def success(self) -> None:
        """The server took a mail, or refused it as a working server does.

        While it is open that says nothing: the mail was under way when it opened. Only a probe closes it.
        """
        if self.state is Health.OPEN:
            return
        self.state, self.in_a_row, self.since, self.probing, self.error = Health.CLOSED, 0, None, False, None
        self._interval = 0.0

    def withdrawn(self) -> None:
        """What was admitted was not offered after all."""
        self.probing = False

    def fault(self, result: Result, now: float, chance: float) -> None:
        """The server could not be used. `chance`: random, 0 ≤ chance < 1."""
        self.in_a_row += 1
        self.probing = False
        self.error = f"{result.phase}: {result.reply}"
        at_once = result.verdict is Verdict.CONFIGURATION or result.reply.code is not None
        if self.state is Health.CLOSED and self.in_a_row < self.faults and not at_once:
            return
        if self.since is None:
            self.since = now
        if self.state is Health.OPEN:  # a mail that was under way when it opened: no reason to wait longer
            return
        self.state = Health.OPEN
        self._interval = min(self._interval * 2 or self.first_probe, self.most)
        wait = self._interval * (0.9 + 0.2 * chance)
        if result.retry_after is not None:
            wait = max(wait, min(result.retry_after, LONGEST_WAIT))
        self.probe_at = now + wait
