"""Claims: leases what is due for the connections of one worker, as pauses, breaker and rulings allow."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from outbox.core import clock
from outbox.core.clock import Debounce
from outbox.core.events import first_line, logger
from outbox.core.progress import Progress
from outbox.delivery.evidence import Offer
from outbox.monitoring.counters import Meters
from outbox.store.held import Held
from outbox.store.pauses import LONGEST_PROBE, Pause, What
from outbox.store.queue import Queue
from outbox.store.rulings import Rulings, Seen
from outbox.worker.consequences import Consequences
from outbox.worker.dispatcher import Dispatcher
from outbox.worker.lease_guard import LeaseGuard
from outbox.worker.prefetch import PrefetchBuffer
from outbox.worker.recorder import Recorder
from outbox.worker.router import Share
from outbox.worker.shared_health import SharedHealth

CLAIM_PER_CONNECTION = 16
"""How many mails are leased ahead for each connection: enough that none waits for a claim."""

_SOON_SECONDS = 0.01  # the pause between two looks at the queue right after something was due
_GIVE_WAY_SECONDS = 0.2  # for a preferred transport to take its probe out of what is new
_ASK_SECONDS = 2.0  # between two looks at what other workers were refused
_RECENT = 200  # attempts that are looked at then

_EXPIRED_SECONDS = 5.0  # at least, between two looks at what has expired while the relay can't be used
_EXPIRED_SHARE = 0.05  # the most of its time that a worker spends on them

_ALIKE_SECONDS = 60.0  # before all that is due is searched again for a sender or domain that did not fail


class Claimer:
    """The thread that claims. `hold`, `nudge` and `stop` are thread-safe, the rest belongs to it."""

    def __init__(
        self,
        queue: Queue,
        buffer: PrefetchBuffer,
        dispatcher: Dispatcher,
        recorder: Recorder,
        rulings: Rulings,
        consequences: Consequences,
        lease_guard: LeaseGuard,
        *,
        worker_id: int,
        connections: int,
        poll: float,
        progress: Progress,
        meters: Meters | None = None,
        share: Share = Share(),  # noqa: B008 - it has no state
        shared: SharedHealth | None = None,
        monotonic: Callable[[], float] = clock.monotonic,
    ) -> None:
        """`poll`: seconds between looks at an empty queue. `share`: what this transport is to carry. `shared`: what
        other workers know of it, and are told."""
        self._shared = shared
        if shared is not None:
            shared.begin(buffer)
        self._found = False  # by the last claim
        self._share = share
        self._monotonic = monotonic
        self._queue = queue
        self._buffer = buffer
        self._dispatcher = dispatcher
        self._recorder = recorder
        self._rulings = rulings
        self._consequences = consequences
        self._lease_guard = lease_guard
        self._worker_id = worker_id
        self._size = connections * CLAIM_PER_CONNECTION
        self.low = connections * CLAIM_PER_CONNECTION // 2
        """Fewer waiting than so many, and connections ask for more, unless the last claim took all that was due."""
        self._poll = self._pause = poll
        self._progress = progress
        self._meters = meters
        self._held = Held()
        self._complain = Debounce(60.0, monotonic)
        self._asked = Debounce(_ASK_SECONDS, monotonic)
        self._no_other_until = self._expired_at = 0.0
        self._probes: Sequence[Pause] = ()
        self._stopping = threading.Event()
        self.dry = threading.Event()
        """Set while the last look at the queue found nothing due."""
        self.trouble: str | None = None
        """Why the last claim failed; None while the database answers."""

    def nudge(self, *, again: bool = False) -> None:
        """Look at the queue now; `again`: at all of it."""
        self._queue.search(again=again)
        self._buffer.running_low.set()

    def stop(self) -> None:
        """Claim nothing more."""
        self._stopping.set()
        self.nudge()

    def hold(self, held: Held, probes: Sequence[Pause] = ()) -> None:
        """Leave these alone from now on: what waits for a connection goes back, what is under way is finished.

        `probes`: automatic pauses of which one delivery is to be offered now.
        """
        self._probes = probes
        if held != self._consequences.held or probes:
            self._consequences.held = held
            self.nudge()

    def run(self) -> None:
        """Claims until told to stop. On a thread of its own."""
        with self._queue.connected():
            self._claim_on()
            self._buffer.pacer.end()

    def _claim_on(self) -> None:
        while not self._stopping.is_set():
            if pause := self.look():
                self._queue.wait(self._buffer.running_low, pause)

    def look(self) -> float:
        """One look at what is to be done: seconds until the next, unless something calls for an earlier one."""
        self._buffer.running_low.clear()
        if self.dry.is_set() and self._share.gives_way:  # under load there is enough for both
            self._stopping.wait(_GIVE_WAY_SECONDS)
        self.carry_out()
        self._apply_pauses()  # also those that were carried out just now
        if surplus := self._buffer.surplus():
            self._dispatcher.give_back(surplus)
        may_claim = self._may_claim()
        room = self._buffer.room(self._size) if may_claim else 0
        lacks = not self._buffer.healthy or self._buffer.pacer.lacks(len(self._buffer))
        found = self._claim_safely(room) if room or (may_claim and lacks) else 0
        if found and found >= room and len(self._buffer) < self.low:
            return 0.0
        if found:  # more may follow: look again soon, unless the connections have enough to do till they ask
            self._pause = _SOON_SECONDS if len(self._buffer) < self.low else self._poll
        else:
            self._pause = min(self._pause * 2, self._poll)
        if room and not found and self.trouble is None and self._buffer.idle and not self._buffer.pacer.holds_back:
            self.dry.set()
        # once calm, the scheduler's poll is what wakes; should it stand still, this does in its stead
        return self._pause if self._pause < self._poll else 2 * self._poll

    def _may_claim(self) -> bool:
        """Not while outcomes can't be recorded: after an outage the recorder goes first."""
        return self._lease_guard.alive(self._monotonic()) and self._recorder.trouble is None

    def _apply_pauses(self) -> None:
        held = replace(self._consequences.held, served=self._share.served, rated=self._buffer.pacer.domains.held)
        if held != self._held:
            new, self._held = held.added_to(self._held), held  # what probes an older pause goes on
            self._queue.hold(held)
            back = self._buffer.remove(
                lambda one: new.holds(one.recipient, one.message.kind, one.message.envelope_from, one.id, one.batch_id)
            )
            self._dispatcher.give_back(back)

    def learn(self, seen: Iterable[Seen]) -> None:
        """Take what earlier attempts came to, the oldest first, as evidence. Before `run`, or on its thread."""
        offers = ((Offer(one.delivery, one.sender, one.recipient, message=one.message), one.result) for one in seen)
        for offer, result, ruling in self._buffer.learn(offers):
            self._consequences.note(ruling, offer, result)

    def carry_out(self) -> None:
        """What rulings ask for, once the outcomes that they rest on are written down. Not beside `run`."""
        if self._shared is not None and self._shared.has_news:
            with self._progress.step("telling the other workers of the relay"):
                self._shared.tell()
        if not self._consequences.pending:
            return
        try:
            with self._progress.step("carrying out rulings"):
                self._consequences.carry_out(lambda: self._recorder.flush(_SOON_SECONDS))
        except Exception as error:  # noqa: BLE001 - most likely the database is away: the next look tries again
            if self._complain.passes():
                logger.error("a pause, or refusals to be taken back, can't be written: %s", first_line(error))

    def _ask_others(self) -> None:
        """Whether what all workers of this transport were refused is enough to stop."""
        if self._buffer.is_suspicious and self._asked.passes() and self._recorder.flush(_SOON_SECONDS):
            self.learn(self._rulings.recent(_RECENT))
            if self._buffer.is_down:  # what was claimed before would be the probe by its lane, not by turn
                self._dispatcher.give_back(self._buffer.empty())

    def _end_expired(self) -> None:
        """What has expired ends, all of it, though the relay can't be used: else it would take the place of probes."""
        began = self._monotonic()
        if self._buffer.healthy or began < self._expired_at:
            return
        try:
            with self._holding(self._held.but_expired()):
                while not self._stopping.is_set() and self._may_claim():
                    if not self._dispatcher.claim(self._worker_id, self._size):
                        break
        finally:  # a look that fails keeps nothing else from being claimed: the next goes on without it
            ended = self._monotonic()
            self._expired_at = ended + max(_EXPIRED_SECONDS, (ended - began) / _EXPIRED_SHARE)

    def _claim(self, room: int) -> int:
        """Lease what may be offered now: what is due, or one to probe a relay that is under suspicion."""
        suspects = self._buffer.suspects()
        if suspects is None or self._shared is None or self._buffer.hopeful:
            return self._claim_of(suspects, room)
        if not self._queue.is_any(probe=True) or not self._shared.may_probe():
            return 0
        try:
            return self._claim_of(suspects, room)
        finally:
            if self._buffer.idle:
                self._shared.give_back()

    def _claim_of(self, suspects: tuple[frozenset[str], frozenset[str]] | None, room: int) -> int:
        most = room if suspects is None else 1
        probes = self._claim_probes(most)
        probes += self._claim_comparisons(most - probes)
        if suspects is None or probes:
            if room <= probes:
                return probes
            return probes + self._dispatcher.claim(self._worker_id, room - probes, whole=not self._buffer.healthy)
        if any(suspects) and not self._has_no_other:  # preferably of another sender and domain
            with self._holding(self._held.avoiding(*suspects)):
                found = self._dispatcher.claim(self._worker_id, most, probe=True)
            if found:
                return found
            self._no_other_until = self._monotonic() + _ALIKE_SECONDS  # it looks at all that is due
        return self._dispatcher.claim(self._worker_id, most, probe=True)

    @property
    def _has_no_other(self) -> bool:
        """Whether all that is due is of senders or domains that failed, as a look has found a short while ago."""
        return self._monotonic() < self._no_other_until

    def _claim_probes(self, most: int) -> int:
        """One delivery of each automatic pause whose time has come, `most` at most: the relay may have nothing else."""
        probes, self._probes = self._probes, ()
        if self._held.everything:  # by a person: that nothing is found then says nothing of a pause
            return 0
        found = 0
        for pause in probes:
            wait = self._rulings.take_probe(pause.id) if found < most else None
            if wait is None:
                continue
            with self._holding(self._held.only(pause.what, pause.value)):
                rows, offered = self._dispatcher.lease(self._worker_id, 1)
            found += offered
            if not rows and wait >= LONGEST_PROBE:  # for hours there has been none of it
                self._consequences.release(pause.what, pause.value)
            elif not offered:  # else what falls due a moment later, or waits behind expired mail, would wait for hours
                self._rulings.look_again(pause.id)
        return found

    def _claim_comparisons(self, most: int) -> int:
        """One delivery to a paused domain of a sender that it has not refused yet, now and then, `most` in all."""
        if self._held.everything or most <= 0:
            return 0
        found = 0
        for domain, senders in self._consequences.comparisons.due(self._held.refused_domains, self._monotonic(), most):
            with self._holding(self._held.only(What.DOMAIN, domain).avoiding(senders, ())):
                found += self._dispatcher.lease(self._worker_id, 1).offered
        return found

    @contextmanager
    def _holding(self, held: Held) -> Iterator[None]:
        self._queue.hold(held)
        try:
            yield
        finally:
            self._queue.hold(self._held)

    def _claim_safely(self, room: int) -> int:
        if room:
            self.dry.clear()
        began = self._monotonic()
        try:
            with self._progress.step("claiming"):
                self._end_expired()
                self._ask_others()
                room = self._buffer.permitted(room, self._found, self._queue.is_any)
                found = self._claim(room) if room else 0
        except Exception as error:  # noqa: BLE001 - most likely the database is away: look again at the next poll
            line = first_line(error)
            if self.trouble is None:
                logger.error("claiming waits for the database: %s", line)
            self.trouble = line
            return 0
        self.trouble, self._found = None, found > 0
        self._buffer.took_all = 2 * found < room and self._buffer.healthy and not self._buffer.pacer.active
        if found and self._meters is not None:
            self._meters.claimed(self._monotonic() - began)
        return found
