"""The small window of leased mail between the claims and the connections, and when one may be offered."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from outbox.core.sync import Flag
from outbox.delivery.blame import Blame, Ruling
from outbox.delivery.breaker import Breaker
from outbox.delivery.evidence import Offer
from outbox.delivery.reply import Phase, Result, Verdict
from outbox.store.claimed import Claimed
from outbox.worker.door import Door, Member
from outbox.worker.leased import Begun, Entry, Leased, least_suspected
from outbox.worker.moment import early
from outbox.worker.pacer import Pacer, unpaced
from outbox.worker.permit import span
from outbox.worker.together import Sharing, messages_in, taken_along
from outbox.worker.waiters import Waiters


class PrefetchBuffer:
    """What connections take their next message from: the most important first, and only as the breaker allows."""

    def __init__(
        self,
        blame: Blame,
        monotonic: Callable[[], float],
        members: Sequence[Member] = (),
        pacer: Pacer | None = None,  # says when the next message may go
        ramp: float = 0.0,
    ) -> None:
        """`members`, `ramp`: of those that take from it, as `Door` has them."""
        self.pacer = pacer or unpaced(monotonic)
        self._blame = blame
        self._breaker = blame.breaker
        self._monotonic = monotonic
        self._heap: list[Entry] = []
        self._begun: dict[tuple[int, int], Begun] = {}  # by delivery and token
        self._open: set[object] = set()  # of the members, by their last message
        self.door = Door(members, ramp)
        self.examined = 0  # claimed, and not here yet: they are asked about first
        self.took_all = False  # whether the last claim took all that was due and may go at once
        self.is_new = False  # whether it went out of use, came back or was probed: other workers are still to be told
        self.accepted_at: float | None = None  # when the relay took a message last, in monotonic seconds
        self._waiters, self._order = Waiters(), itertools.count()
        self._lock = threading.RLock()
        self.closed = False  # whether `close` was called
        self.running_low = Flag()
        """Set when there is room for more: the claimer's signal."""

    def put(self, leased: Iterable[Leased]) -> None:
        """Add claimed mail."""
        with self._lock:
            before = len(self._heap)
            for one in leased:
                heapq.heappush(self._heap, (one.claimed.slot, next(self._order), one))
            self._waiters.wake(len(self._heap) - before)

    def take(self, timeout: float, low: int, who: Member | None = None, of: Sharing | None = None) -> Leased | None:
        """The next message, or None after `timeout` seconds without one or when `closed`; then `who` closes. `of`: who
        takes several recipients at once. Fewer than `low` left sets `running_low`; after a claim that `took_all` an end
        does, once nothing waits. What is taken must be followed by `done`, `withdraw` or `turned_away`."""
        end = self._monotonic() + timeout
        while True:
            with self._lock:
                now = self._monotonic()
                leased = None if self.closed else self._next(who, now)
                if leased is not None:
                    self._take_along(leased, of, now)
                    if (len(self._heap) < low and not self.took_all) or (self.pacer.runs_low and self._heap):
                        self.running_low.set()
                    return leased
                if self.closed or now >= end or self.door.dismisses(who):
                    self._open.discard(who)
                    return None
                waiter = self._waiters.begin(is_open=who in self._open)
                patience = min(end - now, self._patience(who, now))
            if not waiter.wait(patience):
                with self._lock:
                    self._waiters.give_up(waiter)

    def permitted(self, room: int, busy: bool, is_any: Callable[[], bool]) -> int:
        """For how many of `room` there are permits. Not `busy`: `is_any` says whether one is needed at all."""
        pacer = self.pacer
        if pacer.active:
            room = pacer.permitted(room, len(self) if pacer.per_recipient else messages_in([*self._heap]), busy, is_any)
            with self._lock:
                self._waiters.wake(len(self._heap))
        return room

    def companions(self, leased: Leased) -> Sequence[Leased]:
        """What was taken with it, of the same message, and goes in the same transaction."""
        return self._begun[leased.claimed.id, leased.claimed.token].along

    def moment(self, group: Sequence[Leased]) -> tuple[float, float] | None:
        """Between which moments these may go; None: at any time."""
        return span([self._begun[one.claimed.id, one.claimed.token].permit for one in group])

    def withdraw(self, leased: Leased, who: Member | None = None, phase: Phase = Phase.LOCAL) -> None:
        """A taken message is finished without a result of the server's, in this phase."""
        with self._lock:
            begun = self._end(leased, who, phase)
            self._breaker.withdrawn(probe=begun.probe)
            self._is_news(begun.probe and self.is_down)
            self._waiters.wake_all()

    def turned_away(self, leased: Leased, result: Result, who: Member) -> bool:
        """Whether `result` means that the relay admits no more connections than work now; if so, the message is no
        longer under way, and may be `put` here again, for one of those."""
        with self._lock:
            if not self.door.is_turned_away(result, who, self._monotonic()):
                return False
            begun = self._end(leased, who, result.phase)
            self._breaker.withdrawn(probe=begun.probe)
            self._is_news(begun.probe and self.is_down)
            return True

    def limit(self, share: int) -> None:
        """So many of the connections may be open from now on."""
        with self._lock:
            if share != self.door.share:
                self.door.share = share
                self._waiters.wake_all()
                self.running_low.set()

    @contextmanager
    def judging(self) -> Iterator[Breaker]:
        """For what other workers have found out: nothing is offered meanwhile, and what waits looks again."""
        with self._lock:
            was_down = self.is_down
            yield self._breaker
            if self.is_down is not was_down:
                self._turned()
                self._waiters.wake_all()

    def learn(self, seen: Iterable[tuple[Offer, Result]]) -> list[tuple[Offer, Result, Ruling]]:
        """Take what was written down, the oldest first, as evidence; what follows from it, where something does."""
        with self._lock:
            now, was_down = self._monotonic(), self.is_down
            self._blame.forget_refusals()
            rulings = [(*one, self._blame.replay(*one, now, 0.5)) for one in seen]
            self._is_news(self.is_down is not was_down)
            return [one for one in rulings if one[2].take_back]

    @property
    def hopeful(self) -> bool:
        """Whether the next probes are this worker's own, since the fault may be of one delivery only."""
        return self._breaker.hopeful

    @property
    def is_suspicious(self) -> bool:
        """Whether what other workers have seen should be asked for."""
        return self._blame.is_suspicious

    def done(self, leased: Leased, result: Result, chance: float, who: Member | None = None) -> tuple[Offer, Ruling]:
        """A taken message was offered: as what, and what follows from the outcome. `chance`: random, 0 ≤ chance < 1."""
        with self._lock:
            begun = self._end(leased, who, result.phase)
            was_closed, was_down = self._breaker.healthy, self.is_down
            claimed, message, now = leased.claimed, leased.claimed.message, self._monotonic()
            offer = Offer(claimed.id, message.envelope_from, claimed.recipient, begun.at, message.pk, now)
            ruling = self._blame.judge(offer, result, begun.opening, now, chance)
            if (is_closed := self._breaker.healthy) and not was_closed:  # the way is free (again)
                self.running_low.set()
            self._is_news(ruling.turned or (begun.probe and was_down))
            if result.verdict is Verdict.ACCEPTED:
                self.accepted_at = now
            if ruling.turned:
                self._turned()
            if ruling.turned or not (was_closed and is_closed):  # who waits may go on, or waits for a probe
                self._waiters.wake_all()
            return offer, ruling

    def __len__(self) -> int:
        """How many wait for a connection."""
        return len(self._heap)

    def room(self, size: int) -> int:
        """How many more may be claimed for a window of `size`, as the breaker allows."""
        with self._lock:
            admits, size = self._breaker.ready(self._monotonic()), self.door.part_of(size)
            there = len(self) + self.examined
            return max(0, size - there if admits is None else min(size, admits) - there)

    def surplus(self) -> list[Leased]:
        """Take back what the breaker, or a rate, lets nobody begin now: others, or a later claim, may do better."""
        with self._lock:
            admits = self._breaker.ready(now := self._monotonic())
            if admits is None or self._breaker.hopeful or self._breaker.since is None:
                admits = 0 if self.door.share == 0 else self.pacer.keeps(now)
            if admits is None:
                return []
            first = sorted(self._heap)
            self._heap = first[:admits]
            return [leased for _, _, leased in first[admits:]]

    def empty(self) -> list[Leased]:
        """Take back all that no connection has begun."""
        return self.remove(lambda _: True)

    def remove(self, unwanted: Callable[[Claimed], bool]) -> list[Leased]:
        """Take back what is `unwanted` and no connection has begun."""
        with self._lock:
            taken = [entry for entry in self._heap if unwanted(entry[2].claimed)]
            orders = {order for _, order, _ in taken}
            self._heap = sorted(entry for entry in self._heap if entry[1] not in orders)
            return [leased for _, _, leased in taken]

    def close(self) -> None:
        """Let no more be taken."""
        with self._lock:
            self.closed = True
            self._waiters.wake_all()
        self.running_low.set()

    @property
    def idle(self) -> bool:
        """Nothing waits and nothing is under way."""
        with self._lock:
            return not self._heap and not self._begun and not self.examined

    @property
    def is_down(self) -> bool:
        """Whether the relay is out of use."""
        return self._breaker.since is not None

    @property
    def healthy(self) -> bool:
        """Whether the last mail offered went through."""
        return self._breaker.healthy

    def suspects(self) -> tuple[frozenset[str], frozenset[str]] | None:
        """(senders, domains) to be left alone by the next probe, if it may be another's; None: all is well."""
        with self._lock:
            return None if self._breaker.since is None else self._blame.suspects()

    def _next(self, who: Member | None, now: float) -> Leased | None:
        """What may be begun now."""
        if not self._heap or not self.door.admits(who, now):
            return None
        if self._breaker.ready(now) == 0 or (permit := self.pacer.take(now, self._early(who))) is None:
            return None
        self._breaker.admit(now)
        probe = self._breaker.probing
        leased = least_suspected(self._heap, *self._blame.suspects()) if probe else heapq.heappop(self._heap)[2]
        self._begun[leased.claimed.id, leased.claimed.token] = Begun(self._breaker.openings, probe, now, permit)
        self.door.enter(who)
        return leased

    def _turned(self) -> None:
        """It is out of use, or has come back."""
        self.door.admission.forget()
        if not self.is_down:
            self.door.ramp.begin(self._monotonic())
        self.running_low.set()

    def _is_news(self, is_so: bool) -> None:
        if is_so and not self.is_new:
            self.is_new = True
            self.running_low.set()

    def _take_along(self, leased: Leased, shares: Sharing | None, now: float) -> None:
        if shares is None or not self._heap or self.is_down:  # a probe is to show about whom a failure is
            return
        first = self._begun[key := (leased.claimed.id, leased.claimed.token)]
        along = taken_along(self._heap, leased.claimed, shares, self.pacer, first.permit, now)
        if along:
            for one, permit in along:
                self._begun[one.claimed.id, one.claimed.token] = replace(first, probe=False, permit=permit)
            self._begun[key] = replace(first, along=tuple(one for one, _ in along))

    def _end(self, leased: Leased, who: Member | None, phase: Phase) -> Begun:
        self.door.leave(who)
        (self._open.add if who is not None and who.is_connected else self._open.discard)(who)
        begun = self._begun.pop((leased.claimed.id, leased.claimed.token))
        self.pacer.ended(phase, begun.permit)
        if self.took_all and not self._heap:
            self.running_low.set()
        return begun

    def _early(self, who: Member | None) -> float:
        if not self.pacer.is_tight:  # permits are good at once then
            return 0.0
        return early(is_open=who is None or who in self._open, any_open=self._waiters.any_open)

    def _patience(self, who: Member | None, now: float) -> float:
        """Seconds until the breaker may admit a probe, or the relay one connection more; else a long time."""
        if not self._heap:
            return 3600.0
        if self._breaker.probe_at > now:
            return self._breaker.probe_at - now
        if self.pacer.active:
            return self.pacer.seconds(now, len(self._waiters) - 1, self._early(who))
        return self.door.wait(now)
