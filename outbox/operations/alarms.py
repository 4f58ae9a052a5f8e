"""From where on the status calls something a problem."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from outbox.settings import Settings


@dataclass(frozen=True, slots=True)
class Alarms:
    """Times in seconds; shares from 0 to 1, of which 0 means never."""

    oldest: float = 300.0  # the oldest due delivery has been due for longer
    window: float = 900.0  # how far back outcomes are looked at,
    outcomes: int = 20  # if there are so many in it
    refused: float = 0.33  # so many of them were refused
    deferred: float = 0.5
    paused: float = 0.1  # so many of those that are due are paused,
    paused_seconds: float = 86_400.0  # for longer than this or without an end
    growing: float = 600.0  # the time until all that is due is sent has been growing for this long
    drain: float = 60.0  # and is longer than this
    delay: float | None = None  # a message is warned of when it is queued for so long
    complained: float = 0.001  # so many of one domain's messages by one transport were complained about
    bounced: float = 0.05
    reports: int = 5  # if there are so many reports,
    reports_seconds: float = 7 * 86_400.0  # about mail sent within this time

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """As configured."""
        return cls(
            oldest=settings.alarm_oldest_seconds,
            window=settings.alarm_window_seconds,
            outcomes=settings.alarm_outcomes,
            refused=settings.alarm_refused,
            deferred=settings.alarm_deferred,
            paused=settings.alarm_paused,
            paused_seconds=settings.alarm_paused_seconds,
            growing=settings.alarm_growing_seconds,
            complained=settings.alarm_complained,
            bounced=settings.alarm_bounced,
            reports=settings.alarm_reports,
            reports_seconds=settings.alarm_reports_seconds,
            delay=settings.delay_warning_seconds,
        )
