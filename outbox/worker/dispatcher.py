"""One delivery through its steps: claim, deliver, decide, record. SQL and SMTP meet here, through values."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

from outbox.core.clock import Debounce
from outbox.core.errors import DamagedMessageError
from outbox.core.events import EventName, Events, logger
from outbox.delivery.retry import Decision, Facts, Reason, before_sending
from outbox.delivery.states import State
from outbox.store.claimed import Claimed
from outbox.store.outcome import Outcome
from outbox.store.queue import Queue
from outbox.worker.blob_cache import BlobCache
from outbox.worker.consequences import Consequences
from outbox.worker.examiner import AtOnce, Examiner
from outbox.worker.gate import SendGuard
from outbox.worker.lease_guard import LeaseGuard
from outbox.worker.leased import Leased
from outbox.worker.offers import Offers, local
from outbox.worker.prefetch import PrefetchBuffer
from outbox.worker.recorder import Recorder
from outbox.worker.router import Share
from outbox.worker.terms import Connection, Terms
from outbox.worker.tickets import Ticket, Unrecorded

COMPLAINT_SECONDS = 60.0
"""How often a worker says that mail of another environment is due."""

KEY_SECONDS = (15.0, 600.0)
"""How long mail waits whose key this worker does not have, at first and at most: another worker may have it."""

UNANSWERED_SECONDS = 60.0
"""How long a commit may still take effect whose connection was lost."""


def fence_token() -> int:
    """A new number for a claim: positive, and within 64 bits."""
    return secrets.randbits(62) + 1


def _may_be_barred(claimed: Claimed) -> bool:
    """Whether anything could keep it from being sent; of most nothing can, which is seen at once."""
    message = claimed.message
    return (
        claimed.marked or claimed.suppressed is not None or message.expires_in is not None or message.locked is not None
    )


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
        examiner: type[Examiner | AtOnce] = Examiner,
    ) -> None:
        """What may have to wait for the database on a connection's thread happens within a `step()`."""
        self._queue = queue
        self._buffer = buffer
        self._recorder = recorder
        self._terms = terms
        self._events = events
        self._monotonic = monotonic
        self._token = token
        self._share = share
        self._blob_cache = BlobCache(
            lambda digest: queue.contents.blob_size(digest),
            lambda digest, start, length: queue.contents.blob_part(digest, start, length),
            lambda message, start, length: queue.contents.text_part(message, start, length),
            step,
        )
        self._complain = Debounce(COMPLAINT_SECONDS)
        self._unanswered: list[tuple[int, float]] = []  # (token, until when to look for its rows)
        self._guard = SendGuard(queue, recorder, terms, lease_guard, monotonic, step)
        self._consequences = consequences
        checks = terms.checks
        self._examiner = None if checks is None else examiner(checks, self._passed, self._ended, self._examined)
        self._offers = Offers(buffer, recorder, terms, events, self._guard, chance, consequences)

    def cut_off(self) -> None:
        """The grace period of a stop is over: no final dot is sent any more."""
        self._guard.cutoff.set()

    def claim(
        self, worker_id: int, limit: int, *, probe: bool = False, ids: Sequence[int] = (), whole: bool = False
    ) -> int:
        """Lease up to `limit` due deliveries into the buffer; how many rows that touched. As `Queue.claim`."""
        return self.lease(worker_id, limit, probe=probe, ids=ids, whole=whole).rows

    def lease(
        self, worker_id: int, limit: int, *, probe: bool = False, ids: Sequence[int] = (), whole: bool = False
    ) -> Leases:
        """As `claim`; and how many of them are to be offered."""
        self._abandon_unanswered(worker_id)
        deadline = self._monotonic() + self._terms.lease
        token = self._token()
        self._unanswered.append((token, self._monotonic() + UNANSWERED_SECONDS))
        pacer = self._buffer.pacer
        exact = pacer.is_tight and pacer.per_recipient  # there are permits for so many
        whole = whole or (pacer.is_tight and not exact)
        claimed = self._queue.claim(worker_id, token, limit, probe=probe, ids=ids, whole=whole, exact=exact)
        self._unanswered.pop()
        claimed, found = self._recorder.renew(claimed), len(claimed)
        offered = self._may_be_sent([Leased(one, deadline) for one in claimed])
        offered, beyond = self._buffer.pacer.domains.admit(offered)
        self._release(beyond)
        self._buffer.put(offered if self._examiner is None else self._examiner.take(offered))
        for one in claimed:
            if one.rescued:
                self._events.emit(EventName.RESCUED, one.message.message_id, delivery=one.id, rescues=one.rescues)
        if self._complain.passes():
            self._report_foreign()
        return Leases(found, len(offered))

    def _may_be_sent(self, claimed: list[Leased]) -> list[Leased]:
        """What is to go to a connection; the rest ends here, in one commit: it needs none, and no relay that works."""
        asked = ((one, self._barred(one, self._facts(one))) for one in claimed if _may_be_barred(one.claimed))
        barred = [(leased, decision) for leased, decision in asked if decision is not None]
        if not barred:
            return claimed
        terms = self._terms
        self._recorder.submit(
            *(Outcome.of(leased.claimed, ended, local(ended), terms.transport, None) for leased, ended in barred)
        )
        ended = {id(leased) for leased, _ in barred}
        return [leased for leased in claimed if id(leased) not in ended]

    def _barred(self, leased: Leased, facts: Facts) -> Decision | None:
        claimed, policy = leased.claimed, self._terms.policy
        if claimed.message.locked is not None:  # nothing of it is lost
            first, most = KEY_SECONDS
            delay = min(most, first * 2.0 ** min(claimed.deferrals, 10))
            return Decision(State.QUEUED, Reason.KEY, delay=delay, deferred=True, note=claimed.message.locked)
        return before_sending(
            facts, rescued=claimed.rescued, marked=claimed.marked, policy=policy, suppressed=claimed.suppressed
        )

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

    def work(
        self, leased: Leased, connection: Connection, unrecorded: Unrecorded, others: Sequence[Leased] = ()
    ) -> None:
        """Take one delivery through deliver, decide and record, or several of one message that share a transaction.

        `unrecorded`: this connection's outcomes till now.
        """
        for ticket in self._work([leased, *others], connection, unrecorded):
            unrecorded.add(ticket)

    def _work(self, group: list[Leased], connection: Connection, unrecorded: Unrecorded) -> list[Ticket]:
        tickets: list[Ticket] = []
        ready: list[tuple[Leased, Facts]] = []
        for leased in group:
            ended = self._prepared(leased, connection)
            if isinstance(ended, Facts):
                ready.append((leased, ended))
            else:
                tickets.append(ended)
        if not ready:
            return tickets
        message = ready[0][0].claimed.message
        try:
            content = self._blob_cache.content(message)
        except DamagedMessageError as error:
            damaged = Decision(State.FAILED, Reason.DAMAGED, note=str(error))
            return tickets + [self._offers.settle(leased, connection, damaged) for leased, _ in ready]
        except Exception as error:  # noqa: BLE001 - the database was away, or can't read this one
            logger.error("%s: its content can't be read: %s", message.message_id, type(error).__name__)
            return tickets + self._offers.break_off(ready, connection, error)
        if self._terms.suppress:
            note = "not sent: MAIL_SUPPRESS_SEND is on"
            suppressed = Decision(State.SENT, Reason.SUPPRESSED, counted=True, note=note)
            return tickets + [self._offers.settle(leased, connection, suppressed) for leased, _ in ready]
        return tickets + self._offers.offer(ready, content, connection, unrecorded)

    def _prepared(self, leased: Leased, connection: Connection) -> Facts | Ticket:
        """What the decision about it needs to know; or it ends here, before it is offered."""
        claimed = leased.claimed
        if not (self._guard.may_begin(leased) and self._terms.may_reach(claimed.recipient)):
            return self._return(leased, connection)
        facts = self._facts(leased)
        if _may_be_barred(claimed) and (barred := self._barred(leased, facts)) is not None:  # since its claim
            return self._offers.settle(leased, connection, barred)
        if claimed.rescues > self._terms.policy.poison and not self._guard.marked([leased]):
            return self._return(leased, connection)
        return facts

    def _examined(self, number: int) -> None:
        """So many are asked about."""
        self._buffer.examined = number
        self._buffer.running_low.set()

    def _passed(self, leased: Leased) -> None:
        """It may be sent, as far as its guard and hooks are concerned."""
        one, held = leased.claimed, self._consequences and self._consequences.held
        if held and held.holds(one.recipient, one.message.kind, one.message.envelope_from, one.id, one.batch_id):
            self.give_back([leased])
        else:
            self._buffer.put([leased])

    def _ended(self, leased: Leased, decision: Decision) -> None:
        """It may not."""
        self._buffer.pacer.domains.give_back([leased])
        self._recorder.submit(Outcome.of(leased.claimed, decision, local(decision), self._terms.transport, None))

    def give_all_back(self) -> None:
        """Release what waits for a connection, and what is asked about: nothing more is asked."""
        self.give_back([*self._buffer.empty(), *(self._examiner.close() if self._examiner is not None else ())])

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

    def _return(self, leased: Leased, connection: Connection) -> Ticket:
        """It was taken and not begun."""
        self._buffer.withdraw(leased, connection)
        return self.give_back([leased])[0]

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
