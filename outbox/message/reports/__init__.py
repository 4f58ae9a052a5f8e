"""Mail that comes back, from bytes to events: delivery reports, complaints, automatic replies; and who unsubscribes."""

from __future__ import annotations

from outbox.message.reports.parts import MOST_BYTES, UnreadableError
from outbox.message.reports.reading import events
from outbox.message.reports.unsubscribing import Asked, asked

__all__ = ["MOST_BYTES", "Asked", "UnreadableError", "asked", "events"]
