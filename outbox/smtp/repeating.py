"""A connection to a provider that takes a message with the same idempotency key once: what is unknown is offered again.

At once, over a fresh connection, in the time that the first offer has left. Only an accepted one takes the place of the
unknown: any other answer may be about the second copy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from outbox.delivery.reply import Result, Verdict
from outbox.message.values import Envelope
from outbox.smtp.connection import Connection

NOTE = "offered twice with one idempotency key: no answer came to the first"


class RepeatingConnection(Connection):
    """As Connection. Known limit: a message is in memory as a whole."""

    def deliver_together(
        self,
        envelope: Envelope,
        recipients: Sequence[str],
        content: bytes | Iterable[bytes],
        *,
        before_dot: Callable[[Sequence[int]], bool] | None = None,
        timeout: float | None = None,
        when: Callable[[], None] | None = None,
    ) -> list[Result | None]:
        """As Connection's. `before_dot` is asked once: the second offer ends before the first one's time is up."""
        whole = content if isinstance(content, bytes) else b"".join(content)
        started = self._monotonic()
        first = super().deliver_together(envelope, recipients, whole, before_dot=before_dot, timeout=timeout, when=when)
        left = self.relay.time_for(timeout) - (self._monotonic() - started)
        if left <= 0 or self._aborted or not envelope.message_id or not any(map(_is_unknown, first)):
            return first
        second = super().deliver_together(envelope, recipients, whole, timeout=left)
        duration = self._monotonic() - started
        return [one and other and repeated(one, other, duration) for one, other in zip(first, second, strict=True)]


def repeated(first: Result, second: Result, duration: float) -> Result:
    """What both offers come to."""
    if first.verdict is not Verdict.UNKNOWN or second.verdict is not Verdict.ACCEPTED:
        return first
    return replace(second, note=NOTE, duration=duration)


def _is_unknown(result: Result | None) -> bool:
    return result is not None and result.verdict is Verdict.UNKNOWN
