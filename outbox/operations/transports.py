"""What a worker's row says of its relays. Rows of other versions may say it otherwise, or nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

REMEDY = "Name it again (it may have another URL), or cancel that mail."


def left_behind(route: str) -> str:
    """What is wrong with mail whose transports were taken out of the settings."""
    return (
        f"mail is left that only {' or '.join(route.split())} may carry, which OUTBOX_TRANSPORTS does not name any more"
    )


def transports_said(health: Any) -> list[Mapping[str, Any]]:
    """One entry for each relay, as the worker wrote it at its last heartbeat."""
    said = health.get("transports", health.get("transport")) if isinstance(health, dict) else None
    return [one for one in (said if isinstance(said, list) else [said]) if isinstance(one, dict)]


def up_or_down(said: Mapping[str, Any]) -> Literal["up", "down"]:
    """A relay is up while its circuit breaker is closed; half-open means that one delivery is finding out."""
    return "up" if said.get("state") == "closed" else "down"
