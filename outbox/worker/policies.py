"""When and how often a delivery is tried again: what kinds say of themselves."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from outbox.delivery.retry import RetryPolicy
from outbox.settings.kinds import Policy


def of_kinds(kinds: Iterable[Policy], general: RetryPolicy) -> dict[str, RetryPolicy]:
    """Of those that say it themselves; what they leave open is as `general` has it."""
    return {
        one.name: replace(
            general,
            first=one.retry_first or min(general.first, one.retry_max or general.most),
            most=one.retry_max or max(general.most, one.retry_first or 0.0),
            attempts=one.attempts or general.attempts,
        )
        for one in kinds
        if one.retries_by_itself
    }
