"""The states of a delivery and the only edges between them (the picture is in docs/decisions/0001)."""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """What has become of one delivery."""

    QUEUED = "queued"
    SENDING = "sending"
    SENT = "sent"
    FAILED = "failed"
    UNCERTAIN = "uncertain"
    CANCELLED = "cancelled"


class Lane(StrEnum):
    """The priority of a message; each lane has an index range of its own."""

    HIGH = "high"
    NORMAL = "normal"
    BULK = "bulk"

    @property
    def rank(self) -> int:
        """The number stored in the database: smaller goes first."""
        return _RANKS[self]

    def slot(self, *, retry: bool) -> int:
        """The index range of a delivery in this lane: within a lane, retries queue apart from new mail, so that
        a pile of them can't hold it back."""
        return 2 * self.rank + retry

    @classmethod
    def of_rank(cls, rank: int) -> Lane:
        """The lane stored as `rank`. Raises KeyError for an unknown number."""
        return _LANES[rank]


class OnUncertain(StrEnum):
    """What follows when nobody can know whether the server took the mail (RFC 1047)."""

    RETRY = "retry"
    HOLD = "hold"


_RANKS = {Lane.HIGH: 0, Lane.NORMAL: 1, Lane.BULK: 2}
_LANES = {rank: lane for lane, rank in _RANKS.items()}

LIVE = frozenset({State.QUEUED, State.SENDING})
"""States in which a delivery has a due time: a worker will look at it again."""

FINAL = frozenset(State) - LIVE
"""States that only a person leaves, and only by requeue or mark-sent."""

EDGES: frozenset[tuple[State, State]] = frozenset(
    {
        (State.QUEUED, State.SENDING),  # claim
        (State.SENDING, State.SENDING),  # claim of a lease that ran out: rescue
        (State.SENDING, State.QUEUED),  # retry, release
        (State.SENDING, State.SENT),  # 250 recorded
        (State.SENDING, State.FAILED),  # permanent, expired, attempts used up, poison
        (State.SENDING, State.UNCERTAIN),  # nobody can know, and the message says "hold"
        (State.SENDING, State.CANCELLED),  # its guard, or a hook of the application's, before it is offered
        (State.QUEUED, State.CANCELLED),  # a person
        (State.QUEUED, State.UNCERTAIN),  # the same, where the final dot of a "hold" may have been sent before
        (State.FAILED, State.QUEUED),  # requeue, a person
        (State.FAILED, State.CANCELLED),  # nothing more is to be done about it, says a person
        (State.UNCERTAIN, State.QUEUED),
        (State.CANCELLED, State.QUEUED),
        (State.FAILED, State.SENT),  # mark-sent, a person
        (State.UNCERTAIN, State.SENT),
    }
)


SUPPRESSED_EDGES = EDGES | {(State.SENT, State.QUEUED)}
"""What MAIL_SUPPRESS_SEND kept back is recorded as sent, and can be requeued."""


def may(source: State, target: State, *, suppressed: bool = False) -> bool:
    """Whether a delivery may go from `source` to `target`; `suppressed`: MAIL_SUPPRESS_SEND kept it back."""
    return (source, target) in (SUPPRESSED_EDGES if suppressed else EDGES)


def sources(target: State, *, suppressed: bool = False) -> tuple[State, ...]:
    """The states from which `target` can be reached, in the order of the enum."""
    return tuple(state for state in State if may(state, target, suppressed=suppressed))
