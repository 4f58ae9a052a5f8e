"""Writes outcomes down, those of all connections in one commit, and does not rest until the database has them.

After a server's 250 the only duty left is to record it: so it is the recording that is repeated, never the mail.
"""

from __future__ import annotations

import random
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from outbox.bell import Bell, ThreadBell
from outbox.clock import monotonic
from outbox.dialect import DATABASE_ERROR, OUTAGES
from outbox.events import logger
from outbox.ledger import Ledger, Outcome

BATCH = 500
"""Outcomes in one commit at the most."""

_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 2.0


class Ticket:
    """Tells when an outcome is durable."""

    __slots__ = ("_bell", "outcome", "settled")

    def __init__(self, outcome: Outcome, bell: Bell) -> None:
        self.outcome = outcome
        self.settled = False
        self._bell = bell

    def durable(self, timeout: float) -> bool:
        """Wait until the outcome is committed; False after `timeout` seconds without."""
        end = monotonic() + timeout
        while True:
            strokes = self._bell.strokes
            if self.settled:
                return True
            left = end - monotonic()
            if left <= 0:
                return False
            self._bell.wait(strokes, left)


class Recorder:
    """Commits what the connections hand in, in groups: one after the other, or two at a time where commits are slow.

    With one group at a time connections and recorder fall into step where a commit takes long: all wait for it, then
    all send. So a second one begins when `crowd` outcomes wait for the first to end.
    """

    def __init__(
        self,
        ledger: Ledger,
        worker_id: int,
        recorded: Callable[[Outcome, bool], None],
        *,
        crowd: int = 1,
        bell: Bell | None = None,
    ) -> None:
        """`recorded(outcome, lost)` is called after the commit; `lost`: the lease was, and the row stayed as it was."""
        self._ledger = ledger
        self._worker_id = worker_id
        self._recorded = recorded
        self._crowd = crowd
        self._bell = bell or ThreadBell()
        self._pending: deque[Ticket] = deque()
        self._groups = 0  # under way
        lock = threading.Lock()
        self._work = threading.Condition(lock)  # for those who record
        self._calm = threading.Condition(lock)  # for those who wait until all is recorded
        self._closed = False
        self._abandoned = threading.Event()
        self.trouble: str | None = None
        """Why the last commit failed; None while the database answers."""

    def submit(self, *outcomes: Outcome, later: bool = False) -> list[Ticket]:
        """Hand in outcomes; each ticket tells when its own is durable. `later`: the caller will call `begin` soon."""
        tickets = [Ticket(outcome, self._bell) for outcome in outcomes]
        with self._work:
            self._pending.extend(tickets)
        if not later:
            self.begin()
        return tickets

    def begin(self) -> None:
        """Record what was handed in, unless that is under way."""
        if self._pending:
            with self._work:
                if self._is_work():
                    self._work.notify()

    def run(self) -> None:
        """Commit until closed and nothing is left, or until abandoned. For two threads."""
        with self._ledger.connected():
            while batch := self._next():
                try:
                    self._commit(batch)
                finally:
                    with self._work:
                        self._groups -= 1
                        if not self._pending and not self._groups:
                            self._calm.notify_all()

    def flush(self, timeout: float) -> bool:
        """Wait until all that was handed in is durable; False after `timeout` seconds."""
        with self._calm:
            return self._calm.wait_for(lambda: not self._pending and not self._groups, timeout)

    def close(self) -> None:
        """Take nothing more to wait for: `run` returns when all is written."""
        with self._work:
            self._closed = True
            self._work.notify_all()

    def abandon(self) -> None:
        """Give up on a database that does not answer; the leases run out and another worker takes over."""
        self._abandoned.set()
        self.close()

    def _is_work(self) -> bool:
        return len(self._pending) >= (self._crowd if self._groups else 1)

    def _next(self) -> list[Ticket]:
        with self._work:
            self._work.wait_for(lambda: self._closed or self._is_work())
            batch = [self._pending.popleft() for _ in range(min(BATCH, len(self._pending)))]
            self._groups += bool(batch)
            return batch

    def _commit(self, batch: list[Ticket]) -> None:
        pause = _FIRST_PAUSE
        while not self._abandoned.is_set():
            try:
                lost = self._ledger.record(self._worker_id, [ticket.outcome for ticket in batch])
            except OUTAGES as error:
                if self.trouble is None:
                    logger.error("recording waits for the database: %s", _first_line(error))
                self.trouble = _first_line(error)
                self._abandoned.wait(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, no secret
                pause = min(pause * 2, _LONGEST_PAUSE)
                continue
            except DATABASE_ERROR as error:
                self._one_by_one(batch, error)
                return
            self.trouble = None
            self._settle(batch)
            for ticket in batch:  # only now: who is told may be slow, and connections wait
                self._recorded(ticket.outcome, ticket.outcome.claimed.id in lost)
            return

    def _settle(self, batch: list[Ticket]) -> None:
        for ticket in batch:
            ticket.settled = True
        self._bell.ring()

    def _one_by_one(self, batch: list[Ticket], error: Exception) -> None:
        """Something in the batch can't be stored: find it, and store it without the words that the server sent."""
        if len(batch) > 1:
            for ticket in batch:
                self._commit([ticket])
            return
        outcome = batch[0].outcome
        result = outcome.result
        if result is None or result.reply.text == _UNSTORABLE:
            logger.error("%s: what became of it can't be recorded: %s", outcome.claimed.message.message_id, error)
            self._settle(batch)
            return
        plain = replace(result, reply=replace(result.reply, text=_UNSTORABLE), relay_id=None)
        batch[0].outcome = replace(outcome, result=plain)
        self._commit(batch)


_UNSTORABLE = "(the reply holds text that the database can't store)"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
