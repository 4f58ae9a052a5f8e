"""One delivery through its steps: claim, deliver, decide, record. SQL and SMTP meet here, through values."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import NamedTuple

from outbox.core.clock import Debounce
from outbox.core.errors import DamagedMessageError
from outbox.core.events import EventName, Events, logger
from outbox.delivery.reply import About, Phase, Reply, Result, Verdict
from outbox.delivery.retry import Decision, Facts, Reason, before_sending, decide
from outbox.delivery.states import State
from outbox.store.failures import OUTAGES
from outbox.store.outcome import Outcome
from outbox.store.queue import Queue
from outbox.worker import staging
from outbox.worker.blob_cache import BlobCache
from outbox.worker.consequences import Consequences
from outbox.worker.gate import BeforeDot, SendGuard
from outbox.worker.lease_guard import LeaseGuard
from outbox.worker.prefetch import Leased, PrefetchBuffer
from outbox.worker.recorder import Recorder
from outbox.worker.router import Share
from outbox.worker.terms import Connection, Terms
from outbox.worker.tickets import Ticket, Unrecorded

OUTAGE_SECONDS = 5.0
"""The longest wait of a mail whose content could not be read because the database was away."""

COMPLAINT_SECONDS = 60.0
"""How often a worker says that mail of another environment is due."""

UNANSWERED_SECONDS = 60.0
"""How long a commit may still take effect whose connection was lost."""


def fence_token() -> int:
    """A new number for a claim: positive, and within 64 bits."""
    return secrets.randbits(62) + 1


class Leases(NamedTuple):
    """What one claim came to."""

    rows: int
    offered: int
    """Those of them that go to a connection: what has expired, for one, ends at its claim."""


class Dispatcher:
    """Carries claimed mail to the server and hands what became of it to the recorder. Used by all connections."""

    def __init__(
        self,
        queue: Queue,
        buffer: PrefetchBuffer,
        recorder: Recorder,
        terms: Terms,
        events: Events,
        lease_guard: LeaseGuard,
        *,
        monotonic: Callable[[], float],
        chance: Callable[[], float],
        token: Callable[[], int],
        step: Callable[[], AbstractContextManager[None]] = nullcontext,
        consequences: Consequences | None = None,
        share: Share = Share(),  # noqa: B008 - it has no state
    ) -> None:
        """What may have to wait for the database on a connection's thread happens within a `step()`."""
        self._queue = queue
        self._buffer = buffer
        self._recorder = recorder
        self._terms = terms
        self._events = events
        self._monotonic = monotonic
        self._chance = chance
        self._token = token
        self._consequences = consequences
        self._share = share
        self._blob_cache = BlobCache(
            lambda digest: queue.blob_size(digest),
            lambda digest, start, length: queue.blob_part(digest, start, length),
            lambda message, start, length: queue.text_part(message, start, length),
            step,
        )
        self._judging = threading.Lock()
        self._complain = Debounce(COMPLAINT_SECONDS)
        self._unanswered: list[tuple[int, float]] = []  # (token, until when to look for its rows)
        self._guard = SendGuard(queue, recorder, terms, lease_guard, monotonic, step)

    def cut_off(self) -> None:
        """The grace period of a stop is over: no final dot is sent any more."""
        self._guard.cutoff.set()

    def claim(self, worker_id: int, limit: int, *, probe: bool = False, ids: Sequence[int] = ()) -> int:
        """Lease up to `limit` due deliveries into the buffer; how many rows that touched. As `Queue.claim`."""
        return self.lease(worker_id, limit, probe=probe, ids=ids).rows

    def lease(self, worker_id: int, limit: int, *, probe: bool = False, ids: Sequence[int] = ()) -> Leases:
        """As `claim`; and how many of them are to be offered."""
        self._abandon_unanswered(worker_id)
        deadline = self._monotonic() + self._terms.lease
        token = self._token()
        self._unanswered.append((token, self._monotonic() + UNANSWERED_SECONDS))
        claimed = self._queue.claim(worker_id, token, limit, probe=probe, ids=ids)
        self._unanswered.pop()
        claimed, found = self._recorder.renew(claimed), len(claimed)
        offered = self._may_be_sent([Leased(one, deadline) for one in claimed])
        offered, beyond = self._buffer.pacer.domains.admit(offered)
        self._release(beyond)
        self._buffer.put(offered)
        for one in claimed:
            if one.rescued:
                self._events.emit(EventName.RESCUED, one.message.message_id, delivery=one.id, rescues=one.rescues)
        if self._complain.passes():
            self._report_foreign()
        return Leases(found, len(offered))

    def _may_be_sent(self, claimed: list[Leased]) -> list[Leased]:
        """What is to go to a connection; the rest ends here, in one commit: it needs none, and no relay that works."""
        asked = ((leased, self._barred(leased, self._facts(leased))) for leased in claimed)
        barred = [(leased, decision) for leased, decision in asked if decision is not None]
        if not barred:
            return claimed
        terms = self._terms
        self._recorder.submit(
            *(Outcome.of(leased.claimed, ended, _local(ended), terms.transport, None) for leased, ended in barred)
        )
        ended = {id(leased) for leased, _ in barred}
        return [leased for leased in claimed if id(leased) not in ended]

    def _barred(self, leased: Leased, facts: Facts) -> Decision | None:
        claimed, policy = leased.claimed, self._terms.policy
        return before_sending(facts, rescued=claimed.rescued, marked=claimed.marked, policy=policy)

    def _report_foreign(self) -> None:
        """Log due mail of other environments, which this worker does not send."""
        for foreign in self._queue.foreign():
            self._events.emit(
                EventName.UNSERVED,
                foreign.message_id,
                delivery=foreign.id,
                reason="environment",
                environment=foreign.environment,
                remedy="this worker's OUTBOX_ENVIRONMENT differs; start one that matches, or cancel the mail",
            )

    def work(self, leased: Leased, connection: Connection, unrecorded: Unrecorded) -> None:
        """Take one delivery through deliver, decide and record. `unrecorded`: this connection's outcomes till now."""
        if (ticket := self._work(leased, connection, unrecorded)) is not None:
            unrecorded.add(ticket)

    def _work(self, leased: Leased, connection: Connection, unrecorded: Unrecorded) -> Ticket | None:
        claimed = leased.claimed
        if not (self._guard.may_begin(leased) and self._terms.may_reach(claimed.recipient)):
            return self._return(leased, connection)
        facts = self._facts(leased)
        if (barred := self._barred(leased, facts)) is not None:  # since its claim
            return self._settle(leased, connection, barred)
        if claimed.rescues > self._terms.policy.poison and not self._guard.marked(leased):
            return self._return(leased, connection)
        try:
            content = self._blob_cache.content(claimed.message)
        except DamagedMessageError as error:
            return self._settle(leased, connection, Decision(State.FAILED, Reason.DAMAGED, note=str(error)))
        except Exception as error:  # noqa: BLE001 - the database was away, or can't read this one
            logger.error("%s: its content can't be read: %s", claimed.message.message_id, type(error).__name__)
            return self._settle(leased, connection, self._broke(facts, error))
        if self._terms.suppress:
            note = "not sent: MAIL_SUPPRESS_SEND is on"
            return self._settle(leased, connection, Decision(State.SENT, Reason.SUPPRESSED, counted=True, note=note))
        return self._offer(leased, facts, content, connection, unrecorded)

    def give_back(self, unbegun: list[Leased]) -> list[Ticket]:
        """Release deliveries that were claimed and not begun, due as they were before."""
        self._buffer.pacer.domains.give_back(unbegun)
        return self._release(unbegun)

    def _release(self, unbegun: list[Leased]) -> list[Ticket]:
        return self._recorder.submit(*(Outcome.released(leased.claimed) for leased in unbegun))

    def _abandon_unanswered(self, worker_id: int) -> None:
        """Nobody works on what a claim leased whose answer was lost; without this it would wait for the lease's end."""
        for token, until in list(self._unanswered):
            if self._queue.abandon_claim(worker_id, token) or self._monotonic() > until:
                self._unanswered.remove((token, until))

    def _offer(
        self,
        leased: Leased,
        facts: Facts,
        content: Iterator[bytes],
        connection: Connection,
        unrecorded: Unrecorded,
    ) -> Ticket | None:
        message = leased.claimed.message
        gate = BeforeDot(self._guard, leased, unrecorded)
        timeout = min(self._terms.send_timeout, self._guard.remaining(leased))
        try:
            envelope = staging.envelope(leased.claimed, self._terms.redirect_to)
            result = connection.deliver(envelope, content, before_dot=gate, timeout=timeout)
            result = staging.of_sink(result, self._terms.redirect_to)
        except Exception as error:  # noqa: BLE001 - a defect of ours must stop this mail only
            logger.exception("%s: internal error while sending", message.message_id)
            connection.abort()
            return self._settle(leased, connection, self._broke(facts, error))
        if gate.refused:
            self._buffer.withdraw(leased, connection, result.phase)
            return self._record(leased, Decision(State.QUEUED, Reason.STOPPED, note=gate.refused), result)
        if self._buffer.turned_away(leased, result, connection):
            connection.close()
            if result.phase is Phase.DOT:  # it was refused, which takes away the mark of one that may be held
                return self._record(leased, Decision(State.QUEUED, Reason.TRANSPORT), result, About.CONNECTIONS)
            self._buffer.put([leased])
            return None
        chance = self._chance()
        with self._judging:  # what follows from outcomes is noted in their order
            offer, ruling = self._buffer.done(leased, result, chance, connection)
            pending = self._consequences is not None and self._consequences.note(ruling, offer, result)
        if pending:
            self._buffer.running_low.set()
        if ruling.turned:
            self._say_turned(result)
        if result.verdict is not Verdict.ACCEPTED:  # which nothing else decides about
            facts = replace(facts, withheld=ruling.withheld, down=self._buffer.is_down)
        decision = decide(result, facts, self._terms.policy, chance)
        return self._record(leased, staging.noted(decision, self._terms.redirect_to), result, ruling.about)

    def _say_turned(self, result: Result) -> None:
        self._events.emit(
            EventName.TRANSPORT_DOWN if self._buffer.is_down else EventName.TRANSPORT_UP,
            transport=self._terms.transport,
            verdict=result.verdict,
            phase=result.phase,
            reply=result.reply.text,
        )

    def _broke(self, facts: Facts, error: Exception) -> Decision:
        note = f"internal error while sending: {type(error).__name__}"
        if facts.rescues + 1 > self._terms.policy.poison:
            return Decision(State.FAILED, Reason.POISON, suspected=True, note=note)
        delay = self._terms.policy.backoff(facts.rescues + 1, self._chance())
        if isinstance(error, OUTAGES):
            delay = min(delay, OUTAGE_SECONDS)
        return Decision(State.QUEUED, Reason.POISON, delay, suspected=True, note=note)

    def _return(self, leased: Leased, connection: Connection) -> Ticket:
        """It was taken and not begun."""
        self._buffer.withdraw(leased, connection)
        return self.give_back([leased])[0]

    def _settle(self, leased: Leased, connection: Connection, decision: Decision) -> Ticket:
        """Decided without a word from the server, which the breaker is to learn nothing from."""
        self._buffer.withdraw(leased, connection)
        return self._record(leased, decision, _local(decision))

    def _record(self, leased: Leased, decision: Decision, result: Result, about: About | None = None) -> Ticket:
        outcome = Outcome.of(leased.claimed, decision, result, self._terms.transport, about)
        return self._recorder.submit(outcome)[0]

    def _facts(self, leased: Leased) -> Facts:
        claimed = leased.claimed
        expires_in = claimed.message.expires_in
        if expires_in is not None:  # counted from the claim
            expires_in -= self._guard.age(leased)
        return Facts(
            attempts=claimed.attempts,
            rescues=claimed.rescues,
            on_uncertain=claimed.message.on_uncertain,
            expires_in=expires_in,
            healthy=self._buffer.healthy,
            deferrals=claimed.deferrals,
            elsewhere=self._share.is_carried_elsewhere(claimed.route),
        )


def _local(decision: Decision) -> Result:
    """The result of an attempt that never reached the network."""
    verdicts = {State.SENT: Verdict.ACCEPTED, State.UNCERTAIN: Verdict.UNKNOWN, State.FAILED: Verdict.PERMANENT}
    verdict = verdicts.get(decision.state, Verdict.TRANSIENT)
    return Result(verdict, Phase.LOCAL, Reply(None, None, decision.note or ""), duration=0.0)
