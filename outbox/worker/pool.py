"""The threads of one worker: a claimer, one for each connection, the recorders, on SQLite one that watches the file.

Their start, their end, and a watch over them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from outbox.core.clock import awake, monotonic
from outbox.core.events import EventName, Events, logger
from outbox.core.progress import Progress
from outbox.delivery.blame import Blame
from outbox.delivery.breaker import Health
from outbox.monitoring.counters import Meters
from outbox.store.databases.news import FileWatch
from outbox.store.held import Held
from outbox.store.outcome import Outcome
from outbox.store.pauses import Pause
from outbox.store.queue import Queue
from outbox.store.record import OutcomeStore
from outbox.store.rulings import Rulings, Seen
from outbox.worker.asked import Asked
from outbox.worker.asked_claimer import AskedClaimer
from outbox.worker.claimer import Claimer
from outbox.worker.consequences import Consequences
from outbox.worker.dispatcher import Dispatcher, fence_token
from outbox.worker.lease_guard import LeaseGuard
from outbox.worker.pacer import Pacer
from outbox.worker.prefetch import PrefetchBuffer
from outbox.worker.recorder import Recorder
from outbox.worker.report import Totals, tell, transport_health
from outbox.worker.router import Share
from outbox.worker.shared_health import SharedHealth
from outbox.worker.terms import Connection, Terms
from outbox.worker.tickets import Unrecorded
from outbox.worker.together import sharing_of

_STUCK_SECONDS = 10.0  # each step has a time limit below the lease's end; a thread this late is in none of them
_READERS = 4  # connections that mark or read a message at once, each over one of the database's connections
_CONFIRM_SECONDS = 5.0  # after a cut-off stop, for the database to take what is left to record
_CUT_OFF_SECONDS = 3.0  # for the connections to notice that they are cut off, and for a claim under way to come back
_JOIN_SECONDS = 0.5  # for a thread that has nothing left to do


class Pool:
    """Runs the dispatch of one worker on threads of its own."""

    def __init__(
        self,
        queue: Queue,
        outcome_store: OutcomeStore,
        worker_id: int,
        terms: Terms,
        blame: Blame,
        rulings: Rulings,
        events: Events,
        lease_guard: LeaseGuard,
        *,
        connect: Callable[[], Connection],
        connections: int,
        poll: float,
        idle: float,
        chance: Callable[[], float],
        progress: Progress,
        watch: FileWatch | None = None,
        meters: Meters | None = None,
        share: Share = Share(),  # noqa: B008 - it has no state
        asked: Asked | None = None,
        shared: SharedHealth | None = None,
        pacer: Pacer | None = None,
    ) -> None:
        """`poll`: seconds between looks at an empty queue; `idle`: seconds after which an unused connection closes.
        `asked`: what is claimed; None: all that is due."""
        self._meters = meters
        self._progress = progress
        self._worker_id = worker_id
        self._terms = terms
        self._breaker = blame.breaker
        self._consequences = Consequences(rulings, events, transport=terms.transport, delay=terms.policy.first)
        self._events = events
        self._idle = idle
        self._connections: list[Connection] = [connect() for _ in range(connections)]
        self._buffer = PrefetchBuffer(blame, monotonic, self._connections, pacer, terms.ramp)
        self.shared = shared  # what other workers know of the transport, and are told
        self._reading = threading.BoundedSemaphore(_READERS)
        self._recorder = Recorder(
            outcome_store,
            worker_id,
            self._recorded,
            crowd=max(2, connections // 2),
            step=lambda: progress.step("recording"),
        )
        self._dispatcher = Dispatcher(
            queue,
            self._buffer,
            self._recorder,
            terms,
            events,
            lease_guard,
            monotonic=monotonic,
            chance=chance,
            token=fence_token,
            step=self._step,
            consequences=self._consequences,
            share=share,
        )
        claimer = Claimer if asked is None else partial(AskedClaimer, asked)
        self.claimer = claimer(
            queue,
            self._buffer,
            self._dispatcher,
            self._recorder,
            rulings,
            self._consequences,
            lease_guard,
            worker_id=worker_id,
            connections=connections,
            poll=poll,
            progress=progress,
            meters=meters,
            share=share,
            shared=shared,
        )
        self._ends: dict[Connection, float] = {}  # by when each that is under way must be through, by `awake`
        self.totals = Totals()
        self._recording = [self._thread(self._recorder.run, f"recorder{share.of_thread}-{number}") for number in (1, 2)]
        self._claiming = self._thread(self.claimer.run, f"claimer{share.of_thread}")
        self._carrying = [
            self._thread(self._carry, f"connection{share.of_thread}-{number}", connection)
            for number, connection in enumerate(self._connections, 1)
        ]
        self._watch = watch
        self.fault = threading.Event()  # a thread died of a defect: the process must end and be started again

    def start(self) -> None:
        """Begin to claim and send."""
        for thread in self._threads():
            thread.daemon = True
            thread.start()
        if self._watch is not None:
            threading.Thread(target=self._watch.run, args=(self.nudge,), name="outbox-watch", daemon=True).start()

    def nudge(self, *, again: bool = False) -> None:
        """Look at the queue now; `again`: also at what a look before has passed over."""
        self.claimer.nudge(again=again)

    def hold(self, held: Held, probes: Sequence[Pause] = ()) -> None:
        """As the claimer's."""
        self.claimer.hold(held, probes)

    def wait_dry(self, timeout: float) -> bool:
        """Wait until a look at the queue found nothing due and all that was claimed is recorded."""
        return self.claimer.dry.wait(timeout) and self.has_settled(timeout)

    def has_settled(self, timeout: float) -> bool:
        """Whether nothing is under way and all that was claimed is recorded."""
        return self._buffer.idle and self._recorder.flush(timeout)

    def stop(self, grace: float) -> bool:
        """Finish what is under way within `grace` seconds, give back the rest; False: not all could be recorded."""
        self.claimer.stop()
        if self._watch is not None:
            self._watch.stop()
        self._buffer.close()
        self._dispatcher.give_all_back()
        end = monotonic() + grace
        for thread in (self._claiming, *self._carrying):
            thread.join(max(0.0, end - monotonic()))
        cut_off = monotonic()
        if any(thread.is_alive() for thread in self._carrying):
            self._cut_off()
        self._claiming.join(max(0.0, cut_off + _CUT_OFF_SECONDS - monotonic()))  # else its mail stays under lease
        self._dispatcher.give_all_back()
        recorded = self._recorder.flush(max(_CONFIRM_SECONDS, end - monotonic()))
        if recorded and not self._claiming.is_alive():
            self.claimer.carry_out()
        if recorded:
            self._recorder.close()
        else:
            self._recorder.abandon()
        for thread in self._recording:
            thread.join(_JOIN_SECONDS)
        return recorded and not self._claiming.is_alive()  # which may yet come back with mail under lease

    def leave(self) -> None:
        """Begin nothing more, and join nothing: what the relay has answered is recorded, if the database lets us."""
        self.claimer.stop()
        self._buffer.close()
        self._dispatcher.cut_off()
        self._dispatcher.give_all_back()
        self._recorder.flush(_CONFIRM_SECONDS)

    def learn(self, seen: Iterable[Seen]) -> None:
        """Take what earlier attempts came to, the oldest first, as evidence. Before `start`."""
        self.claimer.learn(seen)

    @property
    def down(self) -> bool:
        """Whether the transport can't be used now."""
        breaker = self._breaker
        return breaker.state is Health.OPEN and not breaker.hopeful and breaker.probe_at > monotonic()

    @property
    def buffer(self) -> PrefetchBuffer:
        """What waits for a connection; whether the relay is out of use, to be probed now and then."""
        return self._buffer

    @property
    def held(self) -> Held:
        """The pauses that it goes by."""
        return self._consequences.held

    @property
    def alive(self) -> bool:
        """Whether all of its threads run."""
        return not self.fault.is_set() and all(thread.is_alive() for thread in self._threads())

    @property
    def records(self) -> bool:
        """Whether what becomes of mail can be recorded."""
        return self._recorder.trouble is None

    @property
    def hangs(self) -> str | None:
        """Why a connection does not get on: its mail's lease has run out long ago."""
        now = awake()
        return "a connection hangs" if any(now > end + _STUCK_SECONDS for end in list(self._ends.values())) else None

    @property
    def hanging(self) -> str | None:
        """The name of a thread that has not ended after a stop."""
        return next((thread.name for thread in self._threads() if thread.is_alive()), None)

    def health(self) -> dict[str, Any]:
        """For the worker's row: transport, counters, faults."""
        return {
            "transport": transport_health(self._breaker, self._buffer, self._terms, monotonic()),
            "counts": dict(self.totals.counts),
            "lost_leases": self.totals.lost_leases,
            "suppressed": self._terms.suppress,
            "database": self._recorder.trouble or self.claimer.trouble,
        }

    def _threads(self) -> list[threading.Thread]:
        return [*self._recording, self._claiming, *self._carrying]

    def _thread(self, run: Callable[..., None], name: str, *arguments: Any) -> threading.Thread:
        return threading.Thread(target=self._guard(run, *arguments), name=f"outbox-{name}")

    def _guard(self, run: Callable[..., None], *arguments: Any) -> Callable[[], None]:
        def guarded() -> None:
            try:
                run(*arguments)
            except BaseException:  # noqa: BLE001 - whatever it is, the process must not go on without the thread
                logger.exception("a thread of the worker died; the worker exits so that it can be restarted")
                self.fault.set()

        return guarded

    def _carry(self, connection: Connection) -> None:
        unrecorded, shares = Unrecorded(), sharing_of(connection, self._terms)
        while True:
            leased = self._buffer.take(self._idle, self.claimer.low, connection, shares)
            if leased is not None:
                self._ends[connection] = awake() + leased.deadline - monotonic()
                self._dispatcher.work(leased, connection, unrecorded, self._buffer.companions(leased))
                del self._ends[connection]
            else:
                connection.close()
                if self._buffer.closed:
                    return

    @contextmanager
    def _step(self) -> Iterator[None]:
        """Within it a connection's thread may have to wait for the database."""
        with self._reading, self._progress.step("reading or marking a message"):
            yield

    def _cut_off(self) -> None:
        self._dispatcher.cut_off()
        end = monotonic() + _CUT_OFF_SECONDS
        while (left := [thread for thread in self._carrying if thread.is_alive()]) and monotonic() < end:
            for connection in self._connections:
                connection.abort()  # more than once: it may have been between two mails
            left[0].join(0.2)

    def _recorded(self, outcome: Outcome, lost: bool) -> None:
        if self._meters is not None:
            self._meters.recorded(outcome, lost)
        if not lost:
            self.totals.add(outcome, tell(self._events, outcome, self._terms.transport))
            return
        self.totals.lost_leases += 1
        verdict, claimed = outcome.result.verdict if outcome.result else None, outcome.claimed
        self._events.emit(EventName.LOST_LEASE, claimed.message.message_id, delivery=claimed.id, verdict=verdict)
