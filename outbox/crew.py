"""The threads of one worker: a claimer, one for all connections, the recorders, on SQLite one that watches the file.

Their start, their end, and a watch over them.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from outbox.blame import Blame
from outbox.breaker import Health
from outbox.clock import awake, monotonic
from outbox.consequences import Consequences
from outbox.dispatch import Connection, Dispatcher, Terms
from outbox.events import Events, logger
from outbox.evidence import Offer
from outbox.feed import Feed
from outbox.hub import Hub
from outbox.ledger import Ledger, Outcome
from outbox.meters import Meters
from outbox.pauses import Held, Pause
from outbox.progress import Progress
from outbox.pulse import Pulse
from outbox.queue import Queue
from outbox.recorder import Recorder, Unrecorded
from outbox.reply import About, Verdict
from outbox.rulings import Rulings, Seen
from outbox.smtp.waiting import Waiting
from outbox.states import State
from outbox.wake import FileWatch

CLAIM_PER_CONNECTION = 16
"""How many mails are leased ahead for each connection: enough that none waits for a claim."""

_SOON_SECONDS = 0.01  # the pause between two looks at the queue right after something was due

_STILL_SECONDS = 30.0  # a hub that did not turn for so long is held up by something that does not end

_STUCK_SECONDS = 10.0  # each step has a time limit below the lease's end; a thread this late is in none of them

_UNSENT_KEPT = 10_000

_CONFIRM_SECONDS = 5.0  # after a cut-off stop, for the database to take what is left to record

_CUT_OFF_SECONDS = 3.0  # for the connections to notice that they are cut off

_JOIN_SECONDS = 0.5  # for a thread that has nothing left to do


class Carrier(Connection, Protocol):
    """A connection as the crew holds it."""


@dataclass(slots=True)
class Tally:
    """What this worker has done since it started."""

    counts: dict[str, int] = field(default_factory=lambda: {"sent": 0, "retried": 0, "failed": 0, "uncertain": 0})
    lost_leases: int = 0
    unsent: dict[int, str] = field(default_factory=dict)
    """Deliveries given back for a fault of relay or account, and its words; `_UNSENT_KEPT` of them at most."""
    broken: dict[int, str] = field(default_factory=dict)
    """The same where the relay said nothing: the next message that it takes shows that it was not down."""


class Crew:
    """Runs the dispatch of one worker on threads of its own."""

    def __init__(
        self,
        queue: Queue,
        ledger: Ledger,
        worker_id: int,
        terms: Terms,
        blame: Blame,
        rulings: Rulings,
        events: Events,
        pulse: Pulse,
        *,
        connect: Callable[[Waiting], Carrier],
        connections: int,
        poll: float,
        idle: float,
        chance: Callable[[], float],
        progress: Progress,
        watch: FileWatch | None = None,
        meters: Meters | None = None,
    ) -> None:
        """`poll`: seconds between looks at an empty queue; `idle`: seconds after which an unused connection closes."""
        self._queue = queue
        self._held = Held()
        self._meters = meters
        self._progress = progress
        self._worker_id = worker_id
        self._terms = terms
        self._blame = blame
        self._breaker = blame.breaker
        self._rulings = rulings
        self._consequences = Consequences(rulings, events, transport=terms.transport, delay=terms.policy.first)
        self._probes: Sequence[Pause] = ()
        self._events = events
        self._pulse = pulse
        self._poll = poll
        self._idle = idle
        self._size = connections * CLAIM_PER_CONNECTION
        self._low = connections * CLAIM_PER_CONNECTION // 2
        self._hub = Hub()
        self._carriers: list[Carrier] = [connect(self._hub) for _ in range(connections)]
        self._feed = Feed(blame, monotonic, self._hub.bell(), self._carriers)
        self._recorder = Recorder(
            ledger,
            worker_id,
            self._recorded,
            crowd=max(2, connections // 2),
            bell=self._hub.bell(),
            step=lambda: progress.step("recording"),
        )
        self._dispatcher = Dispatcher(
            queue,
            self._feed,
            self._recorder,
            terms,
            events,
            pulse,
            monotonic=monotonic,
            chance=chance,
            token=lambda: secrets.randbits(62) + 1,
            aside=self._aside,
            gathers=True,
            consequences=self._consequences,
        )
        self._ends: dict[Carrier, float] = {}  # by when each that is under way must be through, by `awake`
        self._stopping = threading.Event()
        self._dry = threading.Event()
        self.tally = Tally()
        self.trouble: str | None = None
        """Why the last claim failed; None while the database answers."""
        self._recording = [
            threading.Thread(target=self._guard(self._recorder.run), name=f"outbox-recorder-{number}")
            for number in (1, 2)
        ]
        self._claiming = threading.Thread(target=self._guard(self._run_claims), name="outbox-claimer")
        self._carrying = threading.Thread(target=self._guard(self._carry_all), name="outbox-connections")
        self._watch = watch
        self.fault = threading.Event()
        """Set when one of the threads died of a defect: the process must end and be started again."""

    def start(self) -> None:
        """Begin to claim and send."""
        for thread in self._threads():
            thread.daemon = True
            thread.start()
        if self._watch is not None:
            threading.Thread(target=self._watch.run, args=(self.nudge,), name="outbox-watch", daemon=True).start()

    def nudge(self) -> None:
        """Look at the queue now."""
        self._feed.hungry.set()

    def hold(self, held: Held, probes: Sequence[Pause] = ()) -> None:
        """Leave these alone from now on: what waits for a connection goes back, what is under way is finished.

        `probes`: automatic pauses of which one delivery is to be offered now.
        """
        self._probes = probes
        if held != self._held or probes:
            self._held = self._consequences.held = held
            self.nudge()

    def wait_dry(self, timeout: float) -> bool:
        """Wait until a look at the queue found nothing due and all that was claimed is recorded."""
        if not self._dry.wait(timeout):
            return False
        return self._feed.idle and self._recorder.flush(timeout)

    def stop(self, grace: float) -> bool:
        """Finish what is under way within `grace` seconds, give back the rest; False: not all could be recorded."""
        self._stopping.set()
        if self._watch is not None:
            self._watch.stop()
        self._feed.close()
        self._dispatcher.give_back(self._feed.empty())
        end = monotonic() + grace
        for thread in (self._claiming, self._carrying):
            thread.join(max(0.0, end - monotonic()))
        if self._carrying.is_alive():
            self._cut_off()
        self._dispatcher.give_back(self._feed.empty())
        recorded = self._recorder.flush(max(_CONFIRM_SECONDS, end - monotonic()))
        self._recorder.close() if recorded else self._recorder.abandon()
        for thread in self._recording:
            thread.join(_JOIN_SECONDS)
        return recorded and not self._claiming.is_alive()  # which may yet come back with mail under lease

    def leave(self) -> None:
        """Begin nothing more, and join nothing: what the relay has answered is recorded, if the database lets us."""
        self._stopping.set()
        self._feed.close()
        self._dispatcher.cutoff.set()
        self._dispatcher.give_back(self._feed.empty())
        self._recorder.flush(_CONFIRM_SECONDS)

    def learn(self, seen: Iterable[Seen]) -> None:
        """Take what earlier attempts came to, the oldest first, as evidence. Before `start`."""
        for one in seen:
            offer = Offer(one.delivery, one.sender, one.recipient)
            self._consequences.note(self._blame.replay(offer, one.result, monotonic(), 0.5), offer, one.result)

    @property
    def down(self) -> bool:
        """Whether the transport can't be used now."""
        return self._breaker.state is Health.OPEN and not self._breaker.hopeful

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
        """Why the connections don't get on: theirs is one thread, or a mail's lease has run out long ago."""
        now = awake()
        if self._carrying.is_alive() and now - self._hub.turned_at > _STILL_SECONDS:
            return "the thread of the connections hangs"
        if any(now > end + _STUCK_SECONDS for end in list(self._ends.values())):
            return "a connection hangs"
        return None

    @property
    def hanging(self) -> str | None:
        """The name of a thread that has not ended after a stop."""
        return next((thread.name for thread in self._threads() if thread.is_alive()), None)

    def health(self) -> dict[str, Any]:
        """For the worker's row: transport, counters, faults."""
        breaker, now = self._breaker, monotonic()
        return {
            "transport": {
                "name": self._terms.transport,
                "state": Health.CLOSED if breaker.since is None else breaker.state,
                "since_seconds": None if breaker.since is None else round(now - breaker.since, 1),
                "error": breaker.error,
                "cause": breaker.cause,
                "about": breaker.about,
                "connections": self._feed.admission.limit,
                "connections_reply": self._feed.admission.reply,
                "next_probe_seconds": 0.0 if breaker.since is None else max(0.0, round(breaker.probe_at - now, 1)),
            },
            "counts": dict(self.tally.counts),
            "lost_leases": self.tally.lost_leases,
            "suppressed": self._terms.suppress,
            "database": self._recorder.trouble or self.trouble,
        }

    def _threads(self) -> list[threading.Thread]:
        return [*self._recording, self._claiming, self._carrying]

    def _guard(self, run: Callable[..., None], *arguments: Any) -> Callable[[], None]:
        def guarded() -> None:
            try:
                run(*arguments)
            except BaseException:  # noqa: BLE001 - whatever it is, the process must not go on without the thread
                logger.exception("a thread of the worker died; the worker ends so that it can be started again")
                self.fault.set()

        return guarded

    def _run_claims(self) -> None:
        with self._queue.connected():
            self._claim_on()

    def _claim_on(self) -> None:
        pause = self._poll
        while not self._stopping.is_set():
            self._feed.hungry.clear()
            self._heed_pauses()
            if surplus := self._feed.surplus():
                self._dispatcher.give_back(surplus)
            self._carry_out()
            room = self._feed.room(self._size) if self._may_claim() else 0
            found = self._claim_safely(room) if room else 0
            if found and found >= room and len(self._feed) < self._low:
                continue
            if found:  # more may follow: look again soon, unless the connections have enough to do and will ask
                pause = _SOON_SECONDS if len(self._feed) < self._low else self._poll
            else:
                pause = min(pause * 2, self._poll)
            if room and not found and self.trouble is None and self._feed.idle:
                self._dry.set()
            # once calm, the scheduler's poll is what wakes; should it stand still, this does in its stead
            self._queue.wait(self._feed.hungry, pause if pause < self._poll else 2 * self._poll)

    def _may_claim(self) -> bool:
        """Not while outcomes can't be recorded: after an outage the recorder goes first."""
        return self._pulse.alive(monotonic()) and self._recorder.trouble is None

    def _heed_pauses(self) -> None:
        held = self._held
        if self._queue.hold(held):
            back = self._feed.remove(lambda one: held.holds(one.recipient, one.message.kind, one.message.envelope_from))
            self._dispatcher.give_back(back)

    def _carry_out(self) -> None:
        """What rulings ask for, once the outcomes that they rest on are written down."""
        if not self._consequences.pending:
            return
        try:
            self._consequences.carry_out(lambda: self._recorder.flush(_SOON_SECONDS))
        except Exception as error:  # noqa: BLE001 - most likely the database is away: the next look tries again
            logger.error("a pause, or refusals to be taken back, wait for the database: %s", type(error).__name__)

    def _claim(self, room: int) -> int:
        """Lease what may be offered now: what is due, or one to probe a relay that is under suspicion."""
        suspects = self._feed.suspects()
        probes = self._claim_probes(room if suspects is None else 1)
        if suspects is None or probes:
            return probes + self._dispatcher.claim(self._worker_id, room - probes) if room > probes else probes
        if any(suspects):  # preferably of another sender and domain
            with self._holding(self._held.avoiding(*suspects)):
                found = self._dispatcher.claim(self._worker_id, room)
            if found:
                return found
        return self._dispatcher.claim(self._worker_id, room)

    def _claim_probes(self, most: int) -> int:
        """One delivery of each automatic pause whose time has come, `most` at most: the relay may have nothing else."""
        probes, self._probes = self._probes, ()
        found = 0
        for pause in probes:
            if found < most and self._rulings.take_probe(pause.id):
                with self._holding(self._held.only(pause.what, pause.value)):
                    found += self._dispatcher.claim(self._worker_id, 1)
        return found

    @contextmanager
    def _holding(self, held: Held) -> Iterator[None]:
        self._queue.hold(held)
        try:
            yield
        finally:
            self._queue.hold(self._held)

    def _claim_safely(self, room: int) -> int:
        self._dry.clear()
        began = monotonic()
        try:
            with self._progress.step("claiming"):
                found = self._claim(room)
        except Exception as error:  # noqa: BLE001 - most likely the database is away: look again at the next poll
            line = (str(error).strip().splitlines() or [type(error).__name__])[0]
            if self.trouble is None:
                logger.error("claiming waits for the database: %s", line)
            self.trouble = line
            return 0
        self.trouble = None
        if found and self._meters is not None:
            self._meters.claimed(monotonic() - began)
        return found

    def _carry_all(self) -> None:
        self._hub.turned = self._recorder.begin  # what came in one turn is recorded in one commit
        self._hub.run([partial(self._carry, carrier) for carrier in self._carriers])

    def _carry(self, carrier: Carrier) -> None:
        unrecorded = Unrecorded()
        while True:
            leased = self._feed.take(self._idle, self._low, carrier)
            if leased is not None:
                self._ends[carrier] = awake() + leased.deadline - monotonic()
                self._dispatcher.work(leased, carrier, unrecorded)
                del self._ends[carrier]
            elif self._feed.closed:
                break
            else:
                carrier.close()
        carrier.close()

    def _aside(self, call: Callable[[], Any]) -> Any:
        """`call`, made in another thread: it may have to wait for the database."""

        def watched() -> Any:
            with self._progress.step("reading or marking a message"):
                return call()

        return self._hub.aside(watched)

    def _cut_off(self) -> None:
        self._dispatcher.cutoff.set()
        end = monotonic() + _CUT_OFF_SECONDS
        while self._carrying.is_alive() and monotonic() < end:
            for carrier in self._carriers:
                carrier.abort()  # more than once: it may have been between two mails
            self._carrying.join(0.2)

    def _recorded(self, outcome: Outcome, lost: bool) -> None:
        message_id, result = outcome.claimed.message.message_id, outcome.result
        if self._meters is not None:
            self._meters.recorded(outcome, lost)
        if lost:
            self.tally.lost_leases += 1
            self._events.emit(
                "lost-lease", message_id, delivery=outcome.claimed.id, verdict=result.verdict if result else None
            )
            return
        self._keep_unsent(outcome)
        name = tell(self._events, outcome)
        if name in self.tally.counts:
            self.tally.counts[name] += 1

    def _keep_unsent(self, outcome: Outcome) -> None:
        result, tally = outcome.result, self.tally
        for kept in (tally.unsent, tally.broken):
            kept.pop(outcome.claimed.id, None)
        if result is not None and _relays_fault(outcome):
            kept = tally.broken if result.reply.code is None else tally.unsent
            if len(kept) < _UNSENT_KEPT:
                kept[outcome.claimed.id] = f"{result.phase}: {result.reply}"
        elif outcome.state is State.SENT:
            tally.broken.clear()


def _relays_fault(outcome: Outcome) -> bool:
    """Whether nothing but the relay or the account kept the delivery from being sent."""
    result = outcome.result
    if result is None or outcome.state is not State.QUEUED or outcome.counted or outcome.suspected:
        return False
    own = {About.RECIPIENT, About.MESSAGE}
    return result.verdict in {Verdict.TRANSPORT, Verdict.CONFIGURATION} and (outcome.about or result.about) not in own


def tell(events: Events, outcome: Outcome) -> str:
    """Emit the event of an outcome that is recorded; its name."""
    name, claimed, result = _event_name(outcome), outcome.claimed, outcome.result
    events.emit(
        name,
        claimed.message.message_id,
        delivery=claimed.id,
        to=claimed.recipient,
        kind=claimed.message.kind,
        relay=outcome.transport,
        reason=outcome.reason,
        phase=result.phase if result else None,
        code=result.reply.code if result else None,
        enhanced=result.reply.enhanced if result else None,
        reply=result.reply.text if result else None,
        duration=result.duration if result else None,
        delay=outcome.delay,
        note=outcome.note,
    )
    return name


def _event_name(outcome: Outcome) -> str:
    if outcome.state is State.QUEUED:
        return "retried" if outcome.counted else "released"
    return outcome.state.value
