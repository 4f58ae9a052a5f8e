"""Records outcomes, those of all connections in one commit, and repeats that until the database has them.

After a server's 250 the only duty left is to record it: so it is the recording that is repeated, never the mail.
Whatever the error is: an outcome is durable once the database has it, and not before. Until then `trouble` says why,
and nothing more is sent (see `dispatcher`).
"""

from __future__ import annotations

import random
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext

from outbox.core.clock import Debounce, monotonic
from outbox.core.events import first_line, logger
from outbox.store.claimed import Claimed
from outbox.store.failures import disconnected
from outbox.store.outcome import Outcome
from outbox.store.record import OutcomeStore
from outbox.worker.tickets import Ticket

BATCH = 500
"""At most this many outcomes in one commit."""

ALARM_SECONDS = 60.0
"""How often the log says that outcomes can't be recorded."""

_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 2.0
_ENOUGH = 5  # so many outcomes refused one after the other: it is not they that are at fault


class Recorder:
    """Commits what the connections hand in, in groups: one after the other, or two at a time where commits are slow.

    With one group at a time connections and recorder fall into step where a commit takes long: all wait for it, then
    all send. So a second one begins when `crowd` outcomes wait for the first to end.
    """

    def __init__(
        self,
        outcome_store: OutcomeStore,
        worker_id: int,
        recorded: Callable[[Outcome, bool], None],
        *,
        crowd: int = 1,
        step: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """`recorded(outcome, lost)` is called after the commit; `lost`: the lease was, and the row stayed as it was.

        What may hang happens within a `step()`.
        """
        self._step = step
        self._outcome_store = outcome_store
        self._worker_id = worker_id
        self._recorded = recorded
        self._crowd = crowd
        self._pending: deque[Ticket] = deque()
        self._open: dict[int, Ticket] = {}  # by delivery: what is not settled
        self._groups = 0  # under way
        lock = threading.Lock()
        self._work = threading.Condition(lock)  # for those who record
        self._calm = threading.Condition(lock)  # for those who wait until all is recorded
        self._sound = threading.Condition(lock)  # for those who wait until outcomes can be recorded
        self._closed = False
        self._abandoned = False
        self._refused: set[Ticket] = set()  # what the database did not take the last time
        self._failures = 0  # in a row
        self._resume_at = 0.0  # monotonic: nothing is repeated before
        self._alarm = Debounce(ALARM_SECONDS)
        self.trouble: str | None = None
        """Why there are outcomes that can't be recorded; None while there are none."""

    def submit(self, *outcomes: Outcome, later: bool = False) -> list[Ticket]:
        """Hand in outcomes; each ticket tells when its own is durable. `later`: the caller will call `begin` soon."""
        tickets = [Ticket(outcome) for outcome in outcomes]
        with self._work:
            self._pending.extend(tickets)
            for ticket in tickets:
                self._open[ticket.outcome.claimed.id] = ticket
            if not later and self._is_work():
                self._work.notify()
        return tickets

    def begin(self) -> None:
        """Record what was handed in, unless that is under way."""
        if self._pending:
            with self._work:
                if self._is_work():
                    self._work.notify()

    def renew(self, claimed: Iterable[Claimed]) -> list[Claimed]:
        """What of this, claimed just now, is to be offered.

        The rest was claimed before, too, and what became of it is still to be recorded: under the new lease then.
        """
        fresh = []
        with self._work:
            for one in claimed:
                if (ticket := self._open.get(one.id)) is None:
                    fresh.append(one)
                else:
                    ticket.outcome = ticket.outcome.under(one)
        return fresh

    def sound(self, timeout: float) -> bool:
        """Wait until there is no trouble; False after `timeout` seconds with it."""
        if self.trouble is None:
            return True
        with self._sound:
            return self._sound.wait_for(lambda: self.trouble is None, timeout)

    def run(self) -> None:
        """Commit until closed and nothing is left, or until abandoned. For two threads."""
        with self._outcome_store.connected():
            while self.turn():
                pass

    def turn(self) -> bool:
        """Commit one group, once there is one; False where there will be none."""
        batch = self._next()
        if not batch:
            return False
        try:
            self._commit(batch)
        finally:
            with self._work:
                self._groups -= 1
                if not self._pending and not self._groups:
                    self._calm.notify_all()
        return True

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
        with self._work:
            self._abandoned = self._closed = True
            self._work.notify_all()

    def _is_work(self) -> bool:
        return len(self._pending) >= (self._crowd if self._groups else 1)

    def _next(self) -> list[Ticket]:
        with self._work:
            while not self._abandoned:
                pause = self._resume_at - monotonic()
                if self._pending and pause > 0:
                    self._work.wait(pause)
                elif self._closed or self._is_work():
                    break
                else:
                    self._work.wait()
            if self._abandoned:
                return []
            batch = [self._pending.popleft() for _ in range(min(BATCH, len(self._pending)))]
            self._groups += bool(batch)
            return batch

    def _commit(self, batch: list[Ticket]) -> None:
        error = self._try(batch)
        if error is None:
            return
        left = batch
        if self._failures and not disconnected(error):  # the second time: perhaps it is a few of them
            left = self._one_by_one(batch)
        if left:
            self._put_back(left, error)

    def _try(self, batch: Sequence[Ticket]) -> Exception | None:
        """Why it could not be recorded."""
        outcomes = [ticket.outcome for ticket in batch]
        try:
            with self._step():
                lost = self._outcome_store.record(self._worker_id, outcomes)
        except Exception as error:  # noqa: BLE001 - whatever it is, the outcome is not durable
            return error
        settled = self._settle(batch, outcomes, lost)
        with self._step():
            for outcome in settled:  # only now: who is told may be slow, and connections wait
                self._recorded(outcome, outcome.claimed.id in lost)
        return None

    def _settle(self, batch: Sequence[Ticket], outcomes: Sequence[Outcome], lost: set[int]) -> list[Outcome]:
        """What is settled; what was claimed again meanwhile stays to be recorded."""
        settled = []
        with self._work:
            for ticket, outcome in zip(batch, outcomes, strict=True):
                self._refused.discard(ticket)
                if ticket.outcome is not outcome and outcome.claimed.id in lost:
                    self._pending.append(ticket)
                    continue
                if self._open.get(outcome.claimed.id) is ticket:
                    del self._open[outcome.claimed.id]
                if ticket.outcome is not outcome:  # it was recorded first, and is claimed for nothing
                    again = Ticket(Outcome.released(ticket.outcome.claimed))
                    self._pending.append(again)
                    self._open[outcome.claimed.id] = again
                ticket.settle()
                settled.append(outcome)
            if not self._refused:
                if self.trouble is not None:
                    logger.info("outcomes are recorded again")
                self.trouble, self._failures = None, 0
                self._sound.notify_all()
        return settled

    def _one_by_one(self, batch: Sequence[Ticket]) -> list[Ticket]:
        """Record what can be; what can't, first what is not known."""
        refused: list[Ticket] = []
        for number, ticket in enumerate(batch):
            if number == len(refused) == _ENOUGH:
                return [*batch[number:], *refused]
            if self._try([ticket]) is not None and not self._record_without_words(ticket):
                refused.append(ticket)
        return refused

    def _record_without_words(self, ticket: Ticket) -> bool:
        """Whether it was the server's words that can't be stored, and the outcome is recorded without them now."""
        whole, plain = ticket.outcome, ticket.outcome.without_words()
        if plain is None or not all(
            self._rehearses(outcome) is storable for outcome, storable in ((plain, True), (whole, False), (plain, True))
        ):
            return False
        with self._work:
            if ticket.outcome is whole:
                ticket.outcome = plain
        return self._try([ticket]) is None

    def _rehearses(self, outcome: Outcome) -> bool:
        try:
            with self._step():
                self._outcome_store.rehearse(self._worker_id, outcome)
        except Exception:  # noqa: BLE001 - which one, is told of the recording
            return False
        return True

    def _put_back(self, left: Sequence[Ticket], error: Exception) -> None:
        words = first_line(error)
        with self._work:
            self._pending.extendleft(reversed(left))
            self._refused.update(left)
            self._failures += 1
            pause = min(_FIRST_PAUSE * 2 ** min(self._failures, 30), _LONGEST_PAUSE)
            self._resume_at = monotonic() + pause * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, no secret
            self.trouble = f"outcomes can't be recorded: {words}"
        if self._alarm.passes():
            logger.error(
                "outcomes can't be recorded, and until they are nothing more is sent: %s. This is repeated until it "
                "succeeds. If the database is up: has its user all rights on outbox_attempt and outbox_delivery, and "
                "are the tables those of this release (outbox-check)?",
                words,
            )
