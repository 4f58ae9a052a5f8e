"""Reports of what is recorded: the worker's totals, and the event of each outcome."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from outbox.core.events import EventName, Events
from outbox.delivery.breaker import Breaker, Health
from outbox.delivery.reply import About, Verdict
from outbox.delivery.states import State
from outbox.store.outcome import Outcome
from outbox.worker.prefetch import PrefetchBuffer
from outbox.worker.terms import Terms

_UNSENT_KEPT = 10_000
_OF_STATE = {state: EventName(state) for state in (State.SENT, State.FAILED, State.UNCERTAIN, State.CANCELLED)}


@dataclass(slots=True)
class Totals:
    """What this worker has done since it started."""

    counts: dict[str, int] = field(default_factory=lambda: {"sent": 0, "retried": 0, "failed": 0, "uncertain": 0})
    lost_leases: int = 0
    unsent: dict[int, str] = field(default_factory=dict)
    """Deliveries given back for a fault of relay or account, and its words; `_UNSENT_KEPT` of them at most."""
    broken: dict[int, str] = field(default_factory=dict)
    """The same where the relay said nothing: the next message that it takes shows that it was not down."""

    @classmethod
    def of(cls, several: Sequence[Totals]) -> Totals:
        """Their sum."""
        if len(several) == 1:
            return several[0]
        whole = cls()
        for one in several:
            for name, count in one.counts.items():
                whole.counts[name] += count
            whole.lost_leases += one.lost_leases
            whole.unsent |= one.unsent
            whole.broken |= one.broken
        return whole

    def add(self, outcome: Outcome, name: str) -> None:
        """One outcome more, which is recorded, and the name of its event."""
        self._keep_unsent(outcome)
        if name in self.counts:
            self.counts[name] += 1

    def _keep_unsent(self, outcome: Outcome) -> None:
        if outcome.state is State.SENT and not self.unsent and not self.broken:
            return
        result = outcome.result
        for kept in (self.unsent, self.broken):
            kept.pop(outcome.claimed.id, None)
        if result is not None and _relays_fault(outcome):
            kept = self.broken if result.reply.code is None else self.unsent
            if len(kept) < _UNSENT_KEPT:
                kept[outcome.claimed.id] = f"{result.phase}: {result.reply}"
        elif outcome.state is State.SENT:
            self.broken.clear()


def _relays_fault(outcome: Outcome) -> bool:
    """Whether nothing but the relay or the account kept the delivery from being sent."""
    result = outcome.result
    if result is None or outcome.state is not State.QUEUED or outcome.counted or outcome.suspected:
        return False
    own = {About.RECIPIENT, About.MESSAGE}
    if outcome.about is About.RELAY:  # every message meets it
        return True
    return result.verdict in {Verdict.TRANSPORT, Verdict.CONFIGURATION} and (outcome.about or result.about) not in own


def tell(events: Events, outcome: Outcome, transport: str) -> EventName:
    """Emit the event of an outcome that is recorded; its name. `transport`: which released it without an attempt."""
    name, claimed, result = _event_name(outcome), outcome.claimed, outcome.result
    events.emit(
        name,
        claimed.message.message_id,
        delivery=claimed.id,
        to=claimed.recipient,
        kind=claimed.message.kind,
        relay=outcome.transport if result else transport,
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


def _event_name(outcome: Outcome) -> EventName:
    if outcome.state is State.QUEUED:
        return EventName.RETRIED if outcome.counted else EventName.RELEASED
    return _OF_STATE[outcome.state]


def transport_health(breaker: Breaker, buffer: PrefetchBuffer, terms: Terms, now: float) -> dict[str, Any]:
    """The relay's health, for the worker's row."""
    admission, ramp = buffer.door.admission, buffer.door.ramp
    return {
        "name": terms.transport,
        "address": terms.address,
        "state": Health.CLOSED if breaker.since is None else breaker.state,
        "since_seconds": None if breaker.since is None else round(now - breaker.since, 1),
        "error": breaker.error,
        "cause": breaker.cause,
        "about": breaker.about,
        "soft_bounce_until": None if terms.soft_until is None else f"{terms.soft_until:%Y-%m-%d %H:%M} UTC",
        "connections": admission.limit,
        "connections_most": admission.most,
        "connections_reply": admission.reply,
        "connections_share": buffer.door.share,
        "ramp_connections": ramp.limit(now),
        "ramp_seconds": round(ramp.left(now), 1),
        "next_probe_seconds": 0.0 if breaker.since is None else max(0.0, round(breaker.probe_at - now, 1)),
    }
