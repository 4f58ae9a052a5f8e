"""What the span of an attempt says: ids, codes and outcomes, and nothing that names a person."""

from __future__ import annotations

from outbox.core import tracing
from outbox.delivery.reply import Result, Verdict
from outbox.delivery.states import State
from outbox.store.outcome import Outcome
from outbox.worker.terms import Terms


def attempted(outcome: Outcome, result: Result, terms: Terms) -> None:
    """An attempt that has just ended, before its outcome is recorded."""
    if not tracing.is_on():
        return
    claimed = outcome.claimed
    message = claimed.message
    host, _, port = ((outcome.transport and terms.address) or "").rpartition(":")
    well = result.verdict is Verdict.ACCEPTED or outcome.state is State.CANCELLED
    tracing.attempted(
        message.trace,
        message.kind,
        {
            "messaging.message.id": message.message_id,
            "messaging.message.envelope.size": message.size,
            "server.address": host or None,
            "server.port": int(port) if host and port.isdecimal() else None,
            "outbox.delivery.id": claimed.id,
            "outbox.delivery.state": outcome.state.value,
            "outbox.delivery.reason": outcome.reason,
            "outbox.delivery.attempt": claimed.attempts + claimed.deferrals + 1,
            "outbox.transport": terms.transport,
            "outbox.phase": result.phase.value,
            "outbox.reply.code": result.reply.code,
            "outbox.reply.enhanced": result.reply.enhanced,
        },
        seconds=result.duration,
        error=None if well else str(outcome.reason or result.verdict.value),
    )
