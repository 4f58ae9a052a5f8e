"""What a worker's row says of its relays. Rows of other versions may say it otherwise, or nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import sqlalchemy as sa

from outbox.operations.tables import TRANSPORT, WORKER
from outbox.settings.shown import nearest

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


def must_be_known(connection: sa.Connection, name: str, configured: Iterable[str]) -> None:
    """A mistyped name would pause nothing, and nobody would notice. Raises ValueError.

    `configured`: the names of the caller's own transports. Workers with other settings may have others.
    """
    known = {one.lower() for one in configured}
    if name.lower() in known:
        return
    known.update(one.lower() for one in connection.scalars(sa.select(TRANSPORT.c.name).distinct()))
    for health in connection.scalars(sa.select(WORKER.c.health)):
        known.update(str(one.get("name")).lower() for one in transports_said(health))
    if name.lower() not in known:
        close = nearest(name.lower(), known)
        hint = f"did you mean {close}" if close else f"there is {', '.join(sorted(known))}"
        raise ValueError(f"no mail goes by a transport {name!r}: {hint}")
