"""What must hold while a simulated outbox runs: each promise of docs/decisions/0014 as a check after each event."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from typing import NoReturn

from outbox.delivery.breaker import IN_TRANSACTION, LONGEST_PROBE_WAIT
from outbox.delivery.reply import About, Verdict
from outbox.delivery.retry import Reason
from outbox.delivery.states import State
from outbox.store.pauses import Pause, What
from outbox.store.record import Outcome
from tests.unit.simulation.database import Delivery
from tests.unit.simulation.relay import SILENT, Why
from tests.unit.simulation.world import POLL, Worker, World

PROBE = 60.0 * 1.1
"""The longest probe interval of the breaker, with its jitter."""

SLACK = 2 * POLL + 1.0
"""Until a worker has looked at pauses and queue, connected and offered."""

ENDS = 5.0 + SLACK
"""Until a worker whose relay is out of use looks for what has expired."""

COMPARED = 7 * 60.0 + SLACK
"""Until a paused domain was offered mail of each of three senders."""

BUSY = 12
"""Offers that a worker may begin in one minute while nothing gets through, beside one for each connection and delivery:
the faults that open the breaker, its first probes, and those that are 5, 10 and 20 s apart."""


class Watch:
    """Looks at everything that a world does, and raises AssertionError."""

    def __init__(self, world: World) -> None:
        self.world = world
        world.began, world.ended, world.looked, world.started = self.began, self.ended, self.looked, self.started
        world.database.recorded, world.database.changed = self.recorded, self.changed
        self.offers: list[tuple[float, int, str]] = []
        self._failure: AssertionError | None = None  # which the product may have taken for a fault of the database
        self._quiet_since: float | None = None  # nothing was offered though something could be
        self._told_until = 0.0
        self._waits: dict[int, float] = {}  # since when each delivery waits that could be offered
        self._overtook: dict[int, Counter[int]] = defaultdict(Counter)  # by who waits: who was refused meanwhile
        self._due_now: dict[int, float] = {}  # since when it is the turn of one that waits
        self._good: dict[int, tuple[float, int]] = {}  # since when each waits that the relay would take; live ones then
        self._apart: dict[int, float] = {}  # since when each waits that is paused for another sender's sake
        self._expired: dict[int, float] = {}  # since when each has expired and could end
        self._began: dict[int, float] = {}
        self._last: dict[int, Outcome] = {}
        self._probes: dict[int, float] = {}  # since when an automatic pause waits for its probe, by pause
        self._set_at: dict[int, float] = {}  # when each pause was set
        self._to_lift: dict[int, float] = {}  # since when each pause is out of date, by pause
        self._in_vain: dict[int, deque[float]] = defaultdict(deque)  # by worker: when offers began that got nowhere
        self._refused_by: dict[str, set[str]] = defaultdict(set)  # senders by domain, since it last took mail of any
        self._accepted_at = -1e9
        self.for_all: set[int] = set()
        """Deliveries of which an attempt counted, or that failed, for what every message met."""
        self.pauses: list[tuple[float, str, Pause]] = []

    def fail(self, what: str) -> NoReturn:
        """With the history so far."""
        history = "\n".join(f"  {at:10.2f}  {number:3d}  {words}" for at, number, words in self.offers[-60:])
        self._failure = AssertionError(f"at {self.world.now:.2f}: {what}\n{history}")
        raise self._failure

    # What happens

    def started(self, worker: Worker) -> None:
        self._quiet_since = None  # a worker's first look
        self._apart.clear()  # it compares anew
        self._to_lift.clear()  # what a killed one knew is lost, until the next probe

    def began(self, worker: Worker, one: Delivery) -> None:
        now = self.world.now
        self._check_quiet()
        self._quiet_since = now
        self._began[one.id] = now
        self._waits.pop(one.id, None)
        self._apart.pop(one.id, None)
        self._overtook.pop(one.id, None)
        self._due_now.pop(one.id, None)
        for pause in self.world.database.pauses.values():
            if pause.value == (one.sender if pause.what is What.SENDER else one.domain):
                self._probes.pop(pause.id, None)
        self._check_busy(worker)

    def ended(self, worker: Worker, one: Delivery) -> None:
        self._quiet_since = self.world.now

    def recorded(self, one: Delivery, outcome: Outcome) -> None:
        """Before the row changes."""
        now, result = self.world.now, outcome.result
        if result is None:
            return
        words = f"{one.sender} > {one.domain}: {result.phase} {result.reply} -> {outcome.state}/{outcome.reason}"
        self.offers.append((now, one.id, f"{words} {outcome.delay} {'counted' * outcome.counted}"))
        why = self.world.relay.why.get(one.id)
        if result.phase not in IN_TRANSACTION and outcome.reason != Reason.EXPIRED:
            why = Why.DOWN
        if result.reply.code is None and result.verdict is Verdict.PERMANENT:
            why = Why.OWN if self.world.relay.declines(one.offering) else why
        self._check_fault(one, outcome, why)
        if result.verdict is Verdict.ACCEPTED:
            self._accepted_at = now
            self._good.pop(one.id, None)
            self._refused_by.pop(one.domain, None)
            for pause in self.world.database.pauses.values():
                known = now > self._set_at[pause.id] + SLACK  # else its next probe shows it
                if known and pause.value == (one.sender if pause.what is What.SENDER else one.domain):
                    self._to_lift.setdefault(pause.id, now)
            for lines in self._in_vain.values():
                lines.clear()
            return
        if (
            why is Why.OWN
            and result.verdict in {Verdict.TRANSIENT, Verdict.PERMANENT}
            and self._in_vain[one.worker or 0]
        ):
            self._in_vain[one.worker or 0].pop()  # a reply of its own, as a relay gives that works
        if result.retry_after is not None and result.about is About.ACCOUNT:
            self._told_until = max(self._told_until, now + min(result.retry_after, LONGEST_PROBE_WAIT))
        if why in {Why.DOWN, Why.CONNECTIONS}:  # whoever's turn it is: nobody gets through
            self._due_now = dict.fromkeys(self._due_now, now)
        if result.phase in IN_TRANSACTION:
            self._refused_by[one.domain].add(one.sender)
        if result.phase in IN_TRANSACTION and why not in {Why.SESSION, Why.CONNECTIONS, Why.DOWN}:
            self._count_overtaken(one)
        self._last[one.id] = outcome

    def changed(self, what: str, pause: Pause) -> None:
        """A scope was paused or released."""
        self.pauses.append((self.world.now, what, pause))
        self.offers.append((self.world.now, 0, f"{what} {pause.what} {pause.value}: {pause.reply}"))
        self._set_at[pause.id] = self.world.now
        relay = self.world.relay
        means_it = relay.ever_refuses(pause.what.value, pause.value) or relay.ever_names(pause.what.value)
        if what == "paused" and not means_it:
            self.fail(f"{pause.what} {pause.value} is paused, against which the relay has nothing")
        if what == "released":
            self._probes.pop(pause.id, None)
            self._to_lift.pop(pause.id, None)

    def looked(self) -> None:
        """All that could begin at this moment has begun."""
        if self._failure is not None:
            raise self._failure
        world, now = self.world, self.world.now
        eligible = {one.id for one in world.eligible()} if any(self._running()) else set()
        if not eligible:
            self._quiet_since = None
        elif self._quiet_since is None:
            self._quiet_since = now
        self._check_quiet()
        for number in list(self._waits):
            if number not in eligible:
                del self._waits[number]
                self._overtook.pop(number, None)
                self._due_now.pop(number, None)
        self._check_turns()
        for number in eligible:
            self._waits.setdefault(number, now)
        self._look_at_good(eligible)
        self._look_at_probes()
        self._look_at_comparisons()
        self._look_at_expired()

    def _running(self) -> list[Worker]:
        return [worker for worker in self.world.workers.values() if not worker.stopping]

    # What must hold

    def _check_quiet(self) -> None:
        """Something is offered within one probe interval, whatever was refused before."""
        world = self.world
        if self._quiet_since is None or any(line.busy for worker in self._running() for line in worker.lines):
            return
        if world.now > max(self._quiet_since + PROBE, self._told_until) + SLACK:
            self.fail(
                f"nothing was offered for {world.now - self._quiet_since:.1f} s, though {sorted(self._waits)} wait"
            )

    def _count_overtaken(self, one: Delivery) -> None:
        """And it is another's turn: once one was refused for the second time, only what waits as well goes before."""
        began = self._began[one.id]
        for number, since in self._waits.items():
            if number != one.id and since < began:
                self._overtook[number][one.id] += 1
                if self._overtook[number][one.id] > 1:
                    self._due_now.setdefault(number, self.world.now)

    def _check_turns(self) -> None:
        """One probe interval for each that waits as well, and one for the share of claims that goes to retries."""
        turns = 1 + len(self._waits)
        for number, since in self._due_now.items():
            if self.world.now > max(since + turns * (PROBE + SLACK + SILENT), self._told_until + SLACK + SILENT):
                self.fail(f"{number} waits for {self.world.now - since:.1f} s since another was refused twice")

    def _look_at_good(self, eligible: set[int]) -> None:
        """What the relay would take is offered within one probe interval for each that is before it."""
        world, now = self.world, self.world.now
        good = {number for number in eligible if world.relay.would_take(world.database.deliveries[number].offering)}
        for number in list(self._good):
            if number not in good and number not in world.begun:
                del self._good[number]
        live = sum(one.live for one in world.deliveries)
        for number in good:
            since, before = self._good.setdefault(
                number, (now, live)
            )  # those that ended since then were before it, too
            if now > max(since, self._told_until) + (1 + before) * (PROBE + SLACK + SILENT):
                self.fail(f"{number} would be taken, and waits for {now - since:.1f} s")

    def _look_at_probes(self) -> None:
        """An automatic pause whose time has come is probed, within one probe interval for each that is before it."""
        database, now = self.world.database, self.world.now
        if not self._running():
            self._probes.clear()
            return
        for pause in database.pauses.values():
            if now > self._to_lift.get(pause.id, now) + SLACK:
                self.fail(f"{pause.what} {pause.value} stays paused, though the relay has accepted its mail")
            held = database.held().only(pause.what, pause.value)
            waiting = [one for one in self.world.deliveries
                       if one.state is State.QUEUED and one.due <= now and database.is_free(one, held)]  # fmt: skip
            if not waiting or database.waits[pause.id][0] > now:
                continue
            since = self._probes.setdefault(pause.id, now)
            if now > max(since, self._told_until) + len(database.pauses) * (PROBE + SLACK + SILENT):
                self.fail(f"the pause of {pause.what} {pause.value} is not probed for {now - since:.1f} s")

    def _look_at_expired(self) -> None:
        """What has expired ends, whatever the relay does or is paused by itself, but for an operator's pause."""
        world, database = self.world, self.world.database
        held = database.held().but_expired()
        expired = {
            one.id
            for one in world.deliveries
            if one.state is State.QUEUED and one.due <= world.now and one.expires is not None
            and one.expires <= world.now and database.is_free(one, held)
        } if self._running() else set()  # fmt: skip
        for number in list(self._expired):
            if number not in expired:
                del self._expired[number]
        for number in expired:
            if world.now > self._expired.setdefault(number, world.now) + ENDS:
                self.fail(f"{number} has expired, and is queued for {world.now - self._expired[number]:.1f} s")

    def _look_at_comparisons(self) -> None:
        """A domain paused for one sender's sake is offered another's, which tells: one probe interval for the first
        sender, twice as long for each that was refused before."""
        world, database = self.world, self.world.database
        apart: set[int] = set()
        if self._running():
            for pause in database.pauses.values():
                held = database.held().only(pause.what, pause.value)
                apart.update(
                    one.id
                    for one in world.deliveries
                    if pause.what is What.DOMAIN and one.state is State.QUEUED and one.due <= world.now
                    and database.is_free(one, held) and world.relay.would_take(one.offering)
                    and not world.relay.ever_refuses("sender", one.sender)
                    and one.sender not in self._refused_by[pause.value]
                )  # fmt: skip
        for number in list(self._apart):
            if number not in apart:
                del self._apart[number]
        turns = (1 + len(database.pauses)) * (PROBE + SLACK + SILENT)
        for number in apart:
            since = self._apart.setdefault(number, world.now)
            if world.now > max(since, self._told_until) + turns + COMPARED:
                self.fail(f"{number} is paused for another sender's sake for {world.now - since:.1f} s")

    def _check_fault(self, one: Delivery, outcome: Outcome, why: Why | None) -> None:
        """What is not its own costs it nothing; what is, costs no other."""
        result = outcome.result
        if result is None or result.verdict is Verdict.ACCEPTED or outcome.reason == Reason.EXPIRED:
            return
        if not outcome.counted and outcome.state is not State.FAILED:
            return
        if why is Why.EVERYTHING:
            self.for_all.add(one.id)
        elif why is not Why.OWN:
            self.fail(f"{one.id} pays for {why}: {result.phase} {result.reply} -> {outcome.state} ({outcome.reason})")

    def _check_busy(self, worker: Worker) -> None:
        """A relay that takes nothing is not asked without end."""
        now, mine = self.world.now, self._in_vain[worker.number]
        if now - self._accepted_at > 60.0:
            mine.append(now)
        while mine and mine[0] <= now - 60.0:
            mine.popleft()
        if len(mine) > BUSY + len(worker.lines) + sum(one.live for one in self.world.deliveries):
            self.fail(f"worker {worker.number} began {len(mine)} offers in a minute in which none got through")

    def check_end(self, heals: float | None) -> None:
        """Once the relay takes everything, all is sent but what it had refused for ever."""
        left = {one.id for one in self.world.deliveries if one.live}
        if heals is not None and left:
            self.fail(f"{sorted(left)} are not sent, though the relay takes everything since {heals:.0f}")
