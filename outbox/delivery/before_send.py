"""What a hook of the application is asked right before a message is sent, and what it may answer. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from outbox.delivery.retry import MOST_NOTE, Decision, Reason
from outbox.delivery.states import State

HOLD_SECONDS = 300.0
"""How long a message is held by an answer that does not say."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One delivery that is about to be sent, as `before_send` hooks get it. Its bytes are frozen."""

    delivery_id: int
    recipient: str
    message_id: str
    """The header of the message, with its angle brackets."""
    sender: str
    """Of the envelope."""
    kind: str | None
    key: str | None
    """As it was given to `enqueue`; `metadata`, too."""
    metadata: dict[str, Any] | None
    created_at: datetime
    """When it was enqueued."""
    attempts: int
    """That counted, before this one."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Answer: not now. It stays queued, and the hook is asked again after `seconds`."""

    why: str
    """Shown to operators."""
    seconds: float = HOLD_SECONDS


@dataclass(frozen=True, slots=True)
class Cancel:
    """Answer: never. It ends as cancelled."""

    why: str
    """Shown to operators."""


def ended_by(answer: object, name: str) -> Decision | None:
    """What follows from what the hook `name` answered; None: it may be sent. Raises TypeError for another answer."""
    if answer is None:
        return None
    if isinstance(answer, Cancel):
        return Decision(State.CANCELLED, Reason.HOOK, note=_note(name, answer.why))
    if isinstance(answer, Hold):
        return Decision(State.QUEUED, Reason.HOOK, max(1.0, float(answer.seconds)), note=_note(name, answer.why))
    raise TypeError(f"returned a {type(answer).__name__}. Return outbox.Hold, outbox.Cancel, or None to have it sent")


def unanswered(reason: Reason, note: str, delay: float) -> Decision:
    """Nobody knows whether it may be sent, so it is not; it is asked again after `delay` seconds."""
    return Decision(State.QUEUED, reason, delay, deferred=True, note=note[:MOST_NOTE])


GUARDED = Decision(State.CANCELLED, Reason.GUARD, note="the condition given as guard= does not hold any more")
"""Of a message whose condition was false."""


def _note(name: str, why: str) -> str:
    return f"{name}: {why}"[:MOST_NOTE]
