"""Mail that comes back, from bytes to events: delivery reports, complaints, automatic replies."""

from __future__ import annotations

from outbox.message.reports.parts import MOST_BYTES, UnreadableError
from outbox.message.reports.reading import events

__all__ = ["MOST_BYTES", "UnreadableError", "events"]
