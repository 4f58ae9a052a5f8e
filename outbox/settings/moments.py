"""The form of a setting that names a point in time."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from outbox.settings.shown import shown
from outbox.settings.values import Form


def _parse(raw: Any) -> datetime:
    try:
        moment = raw if isinstance(raw, datetime) else datetime.fromisoformat(str(raw).strip())
    except ValueError:
        raise ValueError(f"is {shown(raw)}, not a date or a time such as 2026-12-01 or 2026-12-01T18:00") from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


MOMENT = Form("a date or a time in UTC, as in 2026-12-01T18:00", _parse)
