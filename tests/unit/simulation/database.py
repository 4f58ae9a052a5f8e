"""The outbox' tables in memory, as a worker's queue, recorder and rulings see them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from outbox.delivery.lane_shares import Turns
from outbox.delivery.reply import About, Phase, Result
from outbox.delivery.states import Lane, OnUncertain, State
from outbox.store.claimed import Claimed
from outbox.store.held import Held
from outbox.store.messages import StoredMessage
from outbox.store.pauses import BY, FIRST_PROBE, LONGEST_PROBE, Pause, What
from outbox.store.record import Outcome
from outbox.store.rulings import RECENT_SECONDS, Seen
from outbox.worker.tickets import Ticket
from tests.unit.simulation.relay import RELAY, Offering

EPOCH = datetime(2026, 11, 1, tzinfo=UTC)
RESCUED_AFTER = 15.0
"""Seconds after which what a killed worker held is claimed by another."""


@functools.cache
def _content(size: int) -> bytes:
    return bytes(size)


@dataclass
class Delivery:
    """A row of the table."""

    id: int
    sender: str
    recipient: str
    due: float = 0.0
    expires: float | None = None
    lane: Lane = Lane.NORMAL
    size: int = 1000  # bytes
    slot: int = 0
    state: State = State.QUEUED
    worker: int | None = None
    token: int | None = None
    attempts: int = 0
    deferrals: int = 0
    rescues: int = 0
    code: int | None = None
    reason: str | None = None

    def __post_init__(self) -> None:
        self.slot = self.lane.slot(retry=False)
        self.offering = Offering(self.id, self.sender, self.recipient, self.size)

    @property
    def domain(self) -> str:
        """The recipient's."""
        return self.recipient.rpartition("@")[2]

    @property
    def live(self) -> bool:
        """Whether it is yet to be sent."""
        return self.state is State.QUEUED or self.state is State.SENDING


@dataclass
class Attempt:
    """A row of the history."""

    at: float
    seen: Seen
    counted: bool


@dataclass(frozen=True)
class Hold:
    """An operator's pause."""

    begins: float
    lasts: float
    what: What
    value: str = ""

    def holds(self, now: float) -> bool:
        """Whether it is in force."""
        return self.begins <= now < self.begins + self.lasts


@dataclass
class Database:
    """What all workers share."""

    deliveries: dict[int, Delivery]
    now: Callable[[], float]
    attempts: list[Attempt] = field(default_factory=list)
    pauses: dict[int, Pause] = field(default_factory=dict)
    waits: dict[int, tuple[float, float]] = field(default_factory=dict)  # (when to probe, wait) by pause
    changed: Callable[[str, Pause], None] = lambda what, pause: None
    recorded: Callable[[Delivery, Outcome], None] = lambda delivery, outcome: None
    by_operators: Sequence[Hold] = ()
    _ids: int = 0
    _held: Held | None = None
    _in_force: tuple[Hold, ...] = ()

    def to_probe(self) -> list[Pause]:
        """The pauses of which one delivery is to be offered now."""
        return [one for one in self.pauses.values() if self.waits[one.id][0] <= self.now()]

    def held(self) -> Held:
        """What they hold back, and those of operators."""
        in_force = tuple(one for one in self.by_operators if one.holds(self.now()))
        if self._held is None or in_force != self._in_force:
            operators = [Pause(0, one.what, one.value, "", "somebody", EPOCH, None) for one in in_force]
            self._held = Held.by([*self.pauses.values(), *operators], {RELAY.name})
            self._in_force = in_force
        return self._held

    def pause(self, what: What, value: str, reply: str) -> bool:
        """Set one."""
        if any((one.what, one.value) == (what, value) for one in self.pauses.values()):
            return False
        self._ids += 1
        pause = Pause(self._ids, what, value, "", BY, EPOCH, None, transport=RELAY.name, automatic=True, reply=reply)
        self.pauses[pause.id], self._held = pause, None
        self.waits[pause.id] = self.now() + FIRST_PROBE, FIRST_PROBE
        self.changed("paused", pause)
        return True

    def lift(self, what: What, value: str) -> bool:
        """Lift one."""
        for one in list(self.pauses.values()):
            if (one.what, one.value) == (what, value):
                del self.pauses[one.id], self.waits[one.id]
                self._held = None
                self.changed("released", one)
                return True
        return False

    def is_free(self, one: Delivery, held: Held) -> bool:
        """Whether no pause holds it back; those of a refused scope let go what has expired."""
        expired = one.expires is not None and one.expires <= self.now()
        if held.living and not expired:
            return False
        if expired:
            held = replace(held, refused_senders=frozenset(), refused_domains=frozenset())
        if held.probed is not None:
            what, value = held.probed
            if value != (one.sender if what is What.SENDER else one.domain):
                return False
        return not held.holds(one.recipient, None, one.sender)


class Queue:
    """As `outbox.store.queue.Queue`, for one worker."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._held = Held()
        self._turns = Turns()

    def search(self, *, again: bool) -> None:
        """Nothing: each claim begins at the start."""

    def hold(self, held: Held) -> None:
        self._held = held

    def claim(self, worker_id: int, token: int, limit: int, *, probe: bool = False, **_: object) -> list[Claimed]:
        if self._held.everything:
            return []
        shares = self._turns.next_probe(self._heads()) if probe else self._turns.next(limit)
        found = self._take(worker_id, token, shares, limit)
        if len(found) < limit:  # to each whatever those before it leave
            found += self._take(worker_id, token, [(slot, limit) for slot, _ in shares], limit - len(found))
        return found

    def is_any(self, *, probe: bool = False) -> bool:
        return not self._held.everything and bool(self._due())

    def _take(self, worker_id: int, token: int, shares: Sequence[tuple[int, int]], limit: int) -> list[Claimed]:
        due, found = self._due(), []
        for slot, share in shares:
            chosen = [one for one in due if one.slot == slot][: min(share, limit - len(found))]
            found.extend(self._lease(one, worker_id, token, self._database.now()) for one in chosen)
        return found

    def _due(self) -> list[Delivery]:
        now = self._database.now()
        due = [one for one in self._database.deliveries.values() if one.due <= now and one.live]
        free = (one for one in due if self._database.is_free(one, self._held))
        return sorted(free, key=lambda one: (one.due, one.id)) if due else []

    def _heads(self) -> dict[int, tuple[datetime, int]]:
        heads: dict[int, tuple[datetime, int]] = {}
        for one in self._due():
            heads.setdefault(one.slot, (EPOCH + timedelta(seconds=one.due), one.id))
        return heads

    def _lease(self, one: Delivery, worker_id: int, token: int, now: float) -> Claimed:
        rescued = one.state is State.SENDING
        one.rescues += rescued
        was_due, one.due = one.due, now + 1200.0
        one.state, one.worker, one.token = State.SENDING, worker_id, token
        left = None if one.expires is None else one.expires - now
        message = StoredMessage(
            one.id, f"<{one.id}@x>", "", None, one.sender, one.size, False, (), (), OnUncertain.RETRY, EPOCH, left,
            _content(one.size), (),
        )  # fmt: skip
        due_at = EPOCH + timedelta(seconds=was_due)
        return Claimed(
            one.id, token, one.recipient, one.slot, due_at, one.attempts, one.rescues, rescued, False, message,
            one.deferrals,
        )  # fmt: skip

    def foreign(self) -> list[object]:
        return []

    def abandon_claim(self, worker_id: int, token: int) -> int:
        return 0

    def mark(self, *claimed: Claimed) -> bool:
        return all(self._database.deliveries[one.id].token == one.token for one in claimed)

    def connected(self) -> nullcontext[None]:
        return nullcontext()


class Recorder:
    """As `outbox.worker.recorder.Recorder`, for one worker: what is submitted is written at once."""

    trouble: str | None = None

    def __init__(self, database: Database, worker_id: int) -> None:
        self._database = database
        self._worker_id = worker_id

    def submit(self, *outcomes: Outcome, later: bool = False) -> list[Ticket]:
        for outcome in outcomes:
            self._write(outcome)
        tickets = [Ticket(outcome) for outcome in outcomes]
        for ticket in tickets:
            ticket.settled = True
        return tickets

    def _write(self, outcome: Outcome) -> None:
        database, claimed, result = self._database, outcome.claimed, outcome.result
        one = database.deliveries[claimed.id]
        assert one.token == claimed.token, "a lease was lost that nobody took"
        database.recorded(one, outcome)
        one.state, one.worker, one.token = outcome.state, None, None
        one.slot |= (outcome.counted or outcome.deferred) and outcome.state is State.QUEUED
        one.attempts += outcome.counted
        one.deferrals += outcome.deferred
        one.rescues += outcome.suspected
        one.due = (claimed.due_at - EPOCH).total_seconds() if outcome.delay is None else database.now() + outcome.delay
        if result is not None:
            one.code, one.reason = result.reply.code, outcome.reason
            seen = Seen(one.id, one.sender, one.recipient, one.id, replace(result, about=outcome.about))
            if outcome.transport is not None:
                database.attempts.append(Attempt(database.now(), seen, outcome.counted))

    def renew(self, claimed: Iterable[Claimed]) -> list[Claimed]:
        return list(claimed)

    def sound(self, timeout: float) -> bool:
        return True

    def flush(self, timeout: float) -> bool:
        return True


class Rulings:
    """As `outbox.store.rulings.Rulings`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def pause(self, what: What, value: str, *, reason: str, reply: str) -> bool:
        return self._database.pause(what, value, reply)

    def release(self, what: What, value: str) -> bool:
        return self._database.lift(what, value)

    def take_probe(self, pause_id: int) -> float | None:
        database = self._database
        if pause_id not in database.waits or database.waits[pause_id][0] > database.now():
            return None
        wait = min(database.waits[pause_id][1] * 2, LONGEST_PROBE)
        database.waits[pause_id] = database.now() + wait, wait
        return wait

    def look_again(self, pause_id: int) -> None:
        probe_at, wait = self._database.waits[pause_id]
        self._database.waits[pause_id] = min(probe_at, self._database.now() + FIRST_PROBE), wait

    def take_back(self, ids: Sequence[int], *, phase: Phase, code: int, delay: float) -> int:
        database, count = self._database, 0
        for one in (database.deliveries[number] for number in sorted(ids)):
            failed = one.state is State.FAILED and one.reason == "refused"
            if one.code != code or not (failed or (one.state is State.QUEUED and one.reason == "deferred")):
                continue
            one.state, one.due, one.reason = State.QUEUED, database.now() + delay, "transport"
            one.slot |= 1
            one.attempts = max(0, one.attempts - 1)
            one.deferrals += 1
            count += 1
        for attempt in database.attempts:
            result = attempt.seen.result
            if attempt.seen.delivery in ids and (result.phase, result.reply.code) == (phase, code):
                attempt.counted, attempt.seen = False, replace(attempt.seen, result=_about_relay(result))
        return count

    def recent(self, limit: int) -> list[Seen]:
        since = self._database.now() - RECENT_SECONDS
        return [attempt.seen for attempt in self._database.attempts[-limit:] if attempt.at > since]


def _about_relay(result: Result) -> Result:
    return replace(result, about=About.RELAY)
