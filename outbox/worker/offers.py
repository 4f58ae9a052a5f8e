"""Offers a message to its recipients over a connection, and decides what came of it for each."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import cast

from outbox.core.events import EventName, Events, logger
from outbox.delivery.blame import Ruling
from outbox.delivery.reply import About, Phase, Reply, Result, Verdict
from outbox.delivery.retry import Decision, Facts, Reason, decide
from outbox.delivery.states import State
from outbox.store.failures import OUTAGES
from outbox.store.outcome import Outcome
from outbox.worker import spans, staging
from outbox.worker.consequences import Consequences
from outbox.worker.gate import BeforeDot, SendGuard
from outbox.worker.leased import Leased
from outbox.worker.moment import MissedError, Moment
from outbox.worker.prefetch import PrefetchBuffer
from outbox.worker.recorder import Recorder
from outbox.worker.round import Round
from outbox.worker.terms import Connection, Terms
from outbox.worker.tickets import Ticket, Unrecorded
from outbox.worker.together import Sharing

OUTAGE_SECONDS = 5.0
"""The longest wait of a mail whose content could not be read because the database was away."""


class Offers:
    """Those of one dispatcher. Used by all connections."""

    def __init__(
        self,
        buffer: PrefetchBuffer,
        recorder: Recorder,
        terms: Terms,
        events: Events,
        guard: SendGuard,
        chance: Callable[[], float],
        consequences: Consequences | None,
    ) -> None:
        self._buffer = buffer
        self._recorder = recorder
        self._terms = terms
        self._events = events
        self._guard = guard
        self._chance = chance
        self._consequences = consequences
        self._judging = threading.Lock()

    def offer(
        self,
        ready: list[tuple[Leased, Facts]],
        content: Iterable[bytes],
        connection: Connection,
        unrecorded: Unrecorded,
    ) -> list[Ticket]:
        group = [leased for leased, _ in ready]
        gate = BeforeDot(self._guard, group, unrecorded)
        timeout = min(self._terms.send_timeout, self._guard.left(group[0]))
        try:
            results = self._delivered(group, content, connection, gate, timeout)
        except MissedError:
            return self._missed(group, connection)
        except Exception as error:  # noqa: BLE001 - a defect of ours must stop this mail only
            logger.exception("%s: internal error while sending", group[0].claimed.message.message_id)
            connection.abort()
            return self.break_off(ready, connection, error)
        results = [self._terms.softened(one) for one in results]
        round_ = Round(results, self._chance())
        tickets = []
        for number, (leased, facts) in enumerate(ready):
            result = results[number]
            if result is None:
                self._buffer.withdraw(leased, connection)
                round_.left.append(leased)
            elif gate.refused and number in gate.asked:
                self._buffer.withdraw(leased, connection)  # no relay counts a message whose final dot never came
                stopped = Decision(State.QUEUED, Reason.STOPPED, note=gate.refused)
                tickets.append(self.record(leased, stopped, result))
            elif (ticket := self._came_to(leased, facts, result, connection, round_)) is not None:
                tickets.append(ticket)
        if len(tickets) > 1:
            self._recorder.begin()
        self._buffer.put(round_.left)
        return tickets

    def _delivered(
        self, group: list[Leased], content: Iterable[bytes], connection: Connection, gate: BeforeDot, timeout: float
    ) -> Sequence[Result | None]:
        """What came of the transaction, for each of the group."""
        first = group[0].claimed
        envelope = staging.envelope(first, self._terms.redirect_to)
        if self._terms.returning is not None:
            envelope = self._terms.returning.marked(envelope, first)
        when = self._when(group)
        if len(group) == 1:
            result = connection.deliver(envelope, content, before_dot=gate, timeout=timeout, **when)
            return [staging.of_sink(result, self._terms.redirect_to)]
        recipients = [leased.claimed.recipient for leased in group]
        sharing = cast("Sharing", connection)
        return sharing.deliver_together(envelope, recipients, content, before_dot=gate, timeout=timeout, **when)

    def _when(self, group: list[Leased]) -> dict[str, Moment]:
        """When MAIL may be said, where there is a rate."""
        moment = self._buffer.moment(group) if self._buffer.pacer.active else None
        return {} if moment is None else {"when": self._guard.moment(*moment)}

    def _missed(self, group: list[Leased], connection: Connection) -> list[Ticket]:
        """Their permits were over before MAIL could be said: they go by the next ones."""
        for leased in group:
            self._buffer.withdraw(leased, connection)
        self._buffer.put(group)
        self._buffer.running_low.set()
        return []

    def _came_to(
        self, leased: Leased, facts: Facts, result: Result, connection: Connection, round_: Round
    ) -> Ticket | None:
        """What is to be recorded of one; None: it is to be offered again."""
        later = round_.is_several
        if round_.is_known_to_turn_away(result) or self._buffer.turned_away(leased, result, connection):
            if round_.turned_away(result):
                self._buffer.withdraw(leased, connection, result.phase)
            connection.close()
            if result.phase is Phase.DOT:  # it was refused, which takes away the mark of one that may be held
                turned = Decision(State.QUEUED, Reason.TRANSPORT)
                return self.record(leased, turned, result, About.CONNECTIONS, later=later)
            round_.left.append(leased)
            return None
        if (ruling := round_.ruling_on(result)) is None:
            ruling = self._judge(leased, result, connection, round_.chance)
            round_.judged(result, ruling)
        else:  # one fault, however many shared the transaction
            self._buffer.withdraw(leased, connection, result.phase)
        if result.verdict is not Verdict.ACCEPTED:  # which nothing else decides about
            shared = round_.is_shared(result)
            facts = replace(
                facts, withheld=ruling.withheld, down=self._buffer.is_down, together=shared, slowed=ruling.slowed
            )
        decision = decide(result, facts, self._terms.policy_of(leased.claimed.message.kind), round_.chance)
        return self.record(leased, staging.noted(decision, self._terms.redirect_to), result, ruling.about, later=later)

    def _judge(self, leased: Leased, result: Result, connection: Connection, chance: float) -> Ruling:
        with self._judging:  # what follows from outcomes is noted in their order
            offer, ruling = self._buffer.done(leased, result, chance, connection)
            pending = self._consequences is not None and self._consequences.note(ruling, offer, result)
        if pending or ruling.slowed:
            self._buffer.running_low.set()
        if ruling.turned:
            self._say_turned(result)
        return ruling

    def _say_turned(self, result: Result) -> None:
        self._events.emit(
            EventName.TRANSPORT_DOWN if self._buffer.is_down else EventName.TRANSPORT_UP,
            transport=self._terms.transport,
            verdict=result.verdict,
            phase=result.phase,
            reply=result.reply.text,
        )

    def _broke(self, facts: Facts, error: Exception, chance: float) -> Decision:
        note = f"internal error while sending: {type(error).__name__}"
        if facts.rescues + 1 > self._terms.policy.poison:
            return Decision(State.FAILED, Reason.POISON, suspected=True, note=note)
        delay = self._terms.policy.backoff(facts.rescues + 1, chance)
        if isinstance(error, OUTAGES):
            delay = min(delay, OUTAGE_SECONDS)
        return Decision(State.QUEUED, Reason.POISON, delay, suspected=True, note=note)

    def settle(self, leased: Leased, connection: Connection, decision: Decision) -> Ticket:
        """Decided without a word from the server, which the breaker is to learn nothing from."""
        self._buffer.withdraw(leased, connection)
        return self.record(leased, decision, local(decision))

    def break_off(self, ready: list[tuple[Leased, Facts]], connection: Connection, error: Exception) -> list[Ticket]:
        """They met an error of our own, or of the database's."""
        chance = self._chance()  # one for all: they fall due together
        return [self.settle(leased, connection, self._broke(facts, error, chance)) for leased, facts in ready]

    def record(
        self, leased: Leased, decision: Decision, result: Result, about: About | None = None, *, later: bool = False
    ) -> Ticket:
        outcome = Outcome.of(leased.claimed, decision, result, self._terms.transport, about)
        spans.attempted(outcome, result, self._terms)
        return self._recorder.submit(outcome, later=later)[0]


def local(decision: Decision) -> Result:
    """The result of an attempt that never reached the network."""
    verdicts = {State.SENT: Verdict.ACCEPTED, State.UNCERTAIN: Verdict.UNKNOWN, State.FAILED: Verdict.PERMANENT}
    verdict = verdicts.get(decision.state, Verdict.TRANSIENT)
    return Result(verdict, Phase.LOCAL, Reply(None, None, decision.note or ""), duration=0.0)
