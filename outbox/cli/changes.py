"""What a person can do to mail by a command: each change, what it applies to, and how it is done."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, Engine

from outbox import operations
from outbox.cli.common import settings, who
from outbox.delivery.states import State, sources
from outbox.operations import Filter

HELD_CAP = 1_000

Held = list[tuple[operations.pauses.Pause, int]]


@dataclass(frozen=True, slots=True)
class Change:
    """What one of the commands does."""

    verb: str  # "requeue"
    done: str  # "requeued"
    target: State
    default: tuple[State, ...]  # where a filter says no state
    name: str  # in the JSON object

    def eligible(self, wanted: Filter) -> Filter | None:
        """What of `wanted` it can change."""
        return operations.eligible(wanted, self.target)

    def batches(self, engine: Engine, wanted: Filter, note: str | None) -> Iterator[operations.Batch]:
        """Do it, a batch at a time; what each changed."""
        return operations.in_batches(engine, wanted, self.target, by=who(), note=note)

    def able(self) -> list[str]:
        """The states that it can change."""
        return [str(source) for source in sources(self.target) if source is not State.SENDING]

    def held(self, connection: Connection, eligible: Filter) -> Held | None:
        """The pauses that hold some of it all the same, each with how much; None: they don't matter."""
        return None


class SendNow(Change):
    """Another due time, and no other state."""

    def eligible(self, wanted: Filter) -> Filter | None:
        return operations.to_send_now(wanted)

    def batches(self, engine: Engine, wanted: Filter, note: str | None) -> Iterator[operations.Batch]:
        return operations.send_now_in_batches(engine, wanted, by=who(), note=note, wake=settings().wake)

    def able(self) -> list[str]:
        return [str(State.QUEUED)]

    def held(self, connection: Connection, eligible: Filter) -> Held:
        return operations.pauses.holding_of(connection, eligible, HELD_CAP)


REQUEUE = Change("requeue", "requeued", State.QUEUED, (State.FAILED, State.UNCERTAIN), "queued")
CANCEL = Change("cancel", "cancelled", State.CANCELLED, (State.QUEUED,), "cancelled")
MARK_SENT = Change("mark as sent", "marked as sent", State.SENT, (State.FAILED, State.UNCERTAIN), "sent")
SEND_NOW = SendNow("send now", "made due now", State.QUEUED, (State.QUEUED,), "send-now")
