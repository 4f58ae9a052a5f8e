"""Workers, a relay and a table, on a virtual clock that jumps from one event to the next."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import greenlet

from outbox.core.events import Events
from outbox.core.progress import Progress
from outbox.delivery.blame import Blame
from outbox.delivery.breaker import Breaker
from outbox.delivery.evidence import Refusals
from outbox.delivery.retry import RetryPolicy
from outbox.delivery.states import State
from outbox.smtp.learned import Learned
from outbox.worker.claimer import Claimer
from outbox.worker.consequences import Consequences
from outbox.worker.dispatcher import Dispatcher
from outbox.worker.lease_guard import LeaseGuard
from outbox.worker.leased import Leased
from outbox.worker.prefetch import PrefetchBuffer
from outbox.worker.terms import Terms
from outbox.worker.tickets import Unrecorded
from tests.unit.simulation.database import RESCUED_AFTER, Database, Delivery, Hold, Queue, Recorder, Rulings
from tests.unit.simulation.relay import RELAY, Script, ScriptedConnection, ScriptedRelay

POLL = 1.0
"""Seconds between two looks at pauses and queue."""

STARTS = 5.0
"""Seconds that a worker needs to come back."""

_TERMS = Terms(
    policy=RetryPolicy(), lease=1200.0, send_timeout=300.0, dot_timeout=600.0, suppress=False, transport=RELAY.name
)


class _Flag:
    """As `outbox.core.sync.Flag`, without descriptors."""

    def __init__(self) -> None:
        self._set = False

    def is_set(self) -> bool:
        return self._set

    def set(self) -> None:
        self._set = True

    def clear(self) -> None:
        self._set = False


class Worker:
    """One process: the product's parts, put together as `outbox.worker.pool` and `outbox.worker.process` do."""

    def __init__(self, world: World, number: int, connections: int, refusals: int) -> None:
        self.number = number
        self.world = world
        self.stopping = False
        clock, learned, events = world.clock, Learned(), Events()
        events._observers.clear()
        self.lines = [ScriptedConnection(world.relay, learned) for _ in range(connections)]
        self._unrecorded = {line: Unrecorded() for line in self.lines}
        self.breaker = Breaker(most=60.0)
        self.buffer = PrefetchBuffer(Blame(self.breaker, Refusals(refusals)), clock, members=self.lines)
        self.buffer.running_low = _Flag()  # type: ignore[assignment]
        rulings: Any = Rulings(world.database)
        queue: Any = Queue(world.database)
        recorder: Any = Recorder(world.database, number)
        consequences = Consequences(rulings, events, transport=RELAY.name, delay=_TERMS.policy.first)
        lease_guard = LeaseGuard(1e12, world.now, ahead=lambda: 0.0)
        self.dispatcher = Dispatcher(
            queue, self.buffer, recorder, _TERMS, events, lease_guard,
            monotonic=clock, chance=world.random.random, token=world.token, consequences=consequences,
        )  # fmt: skip
        self.claimer = Claimer(
            queue, self.buffer, self.dispatcher, recorder, rulings, consequences, lease_guard,
            worker_id=number, connections=connections, poll=POLL, progress=Progress(), monotonic=clock,
        )  # fmt: skip
        self.claimer.learn(rulings.recent(2 * refusals))

    def tick(self) -> None:
        """What the scheduler does."""
        self.claimer.hold(self.world.database.held(), self.world.database.to_probe())
        self.claimer.nudge()

    def step(self) -> bool:
        """Claim, and let idle connections begin. Whether there may be more to do at once."""
        if self.buffer.running_low.is_set() and not self.stopping:
            for _ in range(50):
                if self.claimer.look():
                    break
            else:
                raise AssertionError("it claims without end")
        began = False
        idle = [line for line in self.lines if line.busy is None] if len(self.buffer) else []
        if len(idle) > 1:
            self.world.random.shuffle(idle)
        for line in idle:
            leased = self.buffer.take(0, self.claimer.low, line)
            if leased is not None:
                began = True
                self._begin(line, leased)
        return began or (self.buffer.running_low.is_set() and not self.stopping)

    def _begin(self, line: ScriptedConnection, leased: Leased) -> None:
        world, delivery = self.world, self.world.database.deliveries[leased.claimed.id]
        line.offering = delivery.offering
        world.begins(self, delivery)

        def work() -> None:
            self.dispatcher.work(leased, line, self._unrecorded[line])
            world.ends(self, delivery)

        line.busy = greenlet.greenlet(work)
        line.busy.switch()

    def close_idle(self) -> None:
        """As a connection's own thread does."""
        for line in self.lines:
            if line.busy is None and self.idle_until(line) <= self.world.now:
                line.close()

    def idle_until(self, line: ScriptedConnection) -> float:
        """When an unused connection closes."""
        return float("inf") if line.host is None else line.host.used_at + RELAY.idle_timeout

    def stop(self) -> None:
        """Finish what is under way, give back the rest."""
        self.stopping = True
        self.claimer.stop()
        self.buffer.close()
        self.dispatcher.give_back(self.buffer.empty())

    def ended(self) -> None:
        """After a stop, once nothing is under way."""
        self.claimer.carry_out()
        for line in self.lines:
            line.close()

    def kill(self) -> None:
        """As kill -9 does."""
        for line in self.lines:
            if line.busy is not None:
                line.busy.throw()
                line.busy = None
            line.close()


@dataclass(frozen=True)
class Restart:
    """A worker ends and comes back."""

    at: float
    worker: int
    killed: bool


@dataclass
class World:
    """All of it. `run` it to a moment."""

    deliveries: list[Delivery]
    script: Script
    workers_wanted: int = 1
    connections: int = 3
    refusals: int = 10
    restarts: tuple[Restart, ...] = ()
    holds: tuple[Hold, ...] = ()
    seed: int = 0
    now: float = 0.0
    workers: dict[int, Worker] = field(default_factory=dict)
    begun: set[int] = field(default_factory=set)
    began: Callable[[Worker, Delivery], None] = lambda worker, delivery: None
    ended: Callable[[Worker, Delivery], None] = lambda worker, delivery: None
    looked: Callable[[], None] = lambda: None
    started: Callable[[Worker], None] = lambda worker: None

    def __post_init__(self) -> None:
        self.clock = lambda: self.now
        self.random = random.Random(self.seed)
        self.relay = ScriptedRelay(self.script, self.clock)
        self.database = Database({one.id: one for one in self.deliveries}, self.clock, by_operators=self.holds)
        self._tokens = 0
        self._ticks_at = 0.0
        self._starts = dict.fromkeys(range(1, self.workers_wanted + 1), 0.0)
        self._restarts = sorted(self.restarts, key=lambda one: one.at)
        self._moments = sorted(
            {*_moments(self.script), *(at for one in self.holds for at in (one.begins, one.begins + one.lasts))}
        )

    def token(self) -> int:
        """A new one."""
        self._tokens += 1
        return self._tokens

    def begins(self, worker: Worker, delivery: Delivery) -> None:
        """A worker begins to offer a delivery."""
        self.begun.add(delivery.id)
        self.began(worker, delivery)

    def ends(self, worker: Worker, delivery: Delivery) -> None:
        """It is over."""
        self.begun.discard(delivery.id)
        self.ended(worker, delivery)

    def run(self, until: float) -> None:
        """Let time go on until all is settled, or that moment."""
        while self.now < until and not self.settled:
            self._change_workers()
            self._tick()
            self._work()
            self.looked()
            self.now = min(until, self._next_event())
            self._go_on()
        self.looked()

    def close(self) -> None:
        """End what is under way."""
        for worker in self.workers.values():
            worker.kill()

    @property
    def settled(self) -> bool:
        """Whether nothing is queued or under way."""
        return not any(one.live for one in self.deliveries)

    def of(self, state: State) -> set[int]:
        """The deliveries in a state."""
        return {one.id for one in self.deliveries if one.state is state}

    def eligible(self) -> list[Delivery]:
        """Due, not paused, and not under way: in the table, or leased by a worker that lives."""
        held = self.database.held()
        return [one for one in self.deliveries if self._waits(one) and self.database.is_free(one, held)]

    def _waits(self, one: Delivery) -> bool:
        if one.state is State.SENDING and one.id not in self.begun and one.worker in self.workers:
            return True
        return one.live and one.due <= self.now

    def _tick(self) -> None:
        """All at once, so that one's look is no reason for the next one's."""
        if self.now >= self._ticks_at:
            self._ticks_at = self.now + POLL
            for worker in self.workers.values():
                if not worker.stopping:
                    worker.tick()

    def _work(self) -> None:
        todo = True
        while todo:
            workers = list(self.workers.values())
            if len(workers) > 1:
                self.random.shuffle(workers)
            todo = sum(worker.step() for worker in workers) > 0  # each has its step

    def _change_workers(self) -> None:
        while self._restarts and self._restarts[0].at <= self.now:
            self._end(self._restarts.pop(0))
        for number, worker in list(self.workers.items()):
            worker.close_idle()
            if worker.stopping and all(line.busy is None for line in worker.lines):
                worker.ended()
                self._gone(number)
        for number, at in list(self._starts.items()):
            if at <= self.now:
                del self._starts[number]
                self.workers[number] = Worker(self, number, self.connections, self.refusals)
                self.started(self.workers[number])

    def _end(self, restart: Restart) -> None:
        worker = self.workers.get(restart.worker)
        if worker is None or worker.stopping:
            return
        if not restart.killed:
            worker.stop()
            return
        worker.kill()
        for one in self.deliveries:
            if one.state is State.SENDING and one.worker == restart.worker:
                one.due, one.worker = self.now + RESCUED_AFTER, None
                self.begun.discard(one.id)
        self._gone(restart.worker)

    def _gone(self, number: int) -> None:
        del self.workers[number]
        self._starts[number] = self.now + STARTS

    def _go_on(self) -> None:
        for worker in list(self.workers.values()):
            for line in worker.lines:
                if line.busy is not None and line.ends <= self.now:
                    line.busy.switch()
                    if line.busy.dead:
                        line.busy = None

    def _next_event(self) -> float:
        found = [line.ends for worker in self.workers.values() for line in worker.lines if line.busy is not None]
        found += [at for at in self._interesting() if at > self.now]
        running = [worker for worker in self.workers.values() if not worker.stopping]
        if self._ticks_at < self.now + POLL:  # something has happened since
            found.append(self._ticks_at)
        if not found or (all(worker.breaker.probe_at <= self.now for worker in running) and self.eligible()):
            found.append(self.now + POLL)
        return max(min(found), self.now + 0.001)

    def _interesting(self) -> Iterator[float]:
        for one in self.deliveries:
            if one.live:
                yield one.due
                if one.expires is not None:
                    yield one.expires
        yield from (probe_at for probe_at, _ in self.database.waits.values())
        yield from self._starts.values()
        yield from self._moments
        if self._restarts:
            yield self._restarts[0].at
        for worker in self.workers.values():
            yield worker.breaker.probe_at
            yield worker.buffer.door.admission._raise_at
            yield worker.claimer._no_other_until
            yield from (worker.idle_until(line) for line in worker.lines if line.busy is None)


def _moments(script: Script) -> Iterator[float]:
    for spell in script.spells:
        yield from (spell.begins, spell.begins + spell.lasts)
    for rule in script.rules:
        yield from (rule.begins, rule.ends)
    for quota in script.quotas:
        yield quota.ends
    yield script.admits_until
    if script.largest is not None:
        yield script.largest.ends
