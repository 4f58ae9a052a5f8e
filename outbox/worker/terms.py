"""The settings by which one attempt goes, and what it needs of a connection."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol

from outbox.core import clock
from outbox.delivery.reply import Result, Verdict
from outbox.delivery.retry import RetryPolicy
from outbox.delivery.staging import Allowed
from outbox.message.values import Envelope
from outbox.worker.checks import Checks
from outbox.worker.returning import Returning

Content = Iterable[bytes]
BeforeDotOfAll = Callable[[Sequence[int]], bool]


class Connection(Protocol):
    """What is needed of `smtp.connection.Connection`."""

    def deliver(
        self,
        envelope: Envelope,
        content: Content,
        *,
        before_dot: Callable[[], bool] | None = None,
        timeout: float | None = None,
        when: Callable[[], None] | None = None,
    ) -> Result: ...

    @property
    def is_connected(self) -> bool: ...

    def close(self) -> None: ...

    def abort(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Terms:
    """The settings that one pass needs. Times in seconds."""

    policy: RetryPolicy
    lease: float
    send_timeout: float  # one message, the reply to its final dot included
    dot_timeout: float  # of that, the reply to the final dot
    suppress: bool  # MAIL_SUPPRESS_SEND
    transport: str  # as `Relay.name`, for the attempt
    address: str = ""  # host:port
    redirect_to: str | None = None  # OUTBOX_REDIRECT_TO
    allowed: Allowed | None = None  # OUTBOX_ALLOW_RECIPIENTS, where mail is not redirected
    returning: Returning | None = None  # signs envelope senders
    checks: Checks | None = None  # what is asked about each before it is sent; None: nothing can be
    soft_until: datetime | None = None  # 5xx replies count as temporary
    ramp: float = 0.0  # after an outage: see `Relay.ramp`
    policies: Mapping[str, RetryPolicy] = field(default_factory=dict)
    """Of the kinds that are tried again otherwise than `policy` says."""

    def policy_of(self, kind: str | None) -> RetryPolicy:
        """When and how often a message of this kind is tried again."""
        return self.policies.get(kind, self.policy) if self.policies and kind else self.policy

    def may_reach(self, recipient: str) -> bool:
        """Whether mail may go to this address."""
        return self.allowed is None or recipient in self.allowed

    def softened(self, result: Result | None) -> Result | None:
        """`result`, in which a server's 5xx counts as temporary, while that is asked for."""
        if self.soft_until is None or result is None or result.verdict is not Verdict.PERMANENT:
            return result
        is_reply = 500 <= (result.reply.code or 0) < 600 and clock.utcnow() < self.soft_until
        return replace(result, verdict=Verdict.TRANSIENT) if is_reply else result

    @property
    def margin(self) -> float:
        """Kept free at the end of a lease, on top of the wait for the reply to the final dot."""
        return min(2.0, self.lease * 0.1)
