"""What `outbox-pause` is asked to pause: a mistyped name would pause nothing, and nobody would notice."""

from __future__ import annotations

from sqlalchemy import Engine

from outbox import operations
from outbox.cli.command import No
from outbox.cli.common import settings
from outbox.operations import Filter, pauses, transports
from outbox.operations.pauses import What

Targets = list[tuple[What, str]]


def must_exist(engine: Engine, targets: Targets, environment: str | None) -> None:
    """Whether there are these deliveries and transports. Raises No, or ValueError."""
    ids = tuple(int(value) for what, value in targets if what is What.MESSAGE)
    names = [pauses.value_of(what, value) for what, value in targets if what is What.TRANSPORT]
    if not ids and not names:
        return
    with operations.connected(engine) as connection:
        found = operations.find(connection, Filter(ids=ids, environment=environment), limit=len(ids)) if ids else []
        for name in names:
            transports.must_be_known(connection, name, [one.name for one in settings().transports])
    if lacking := set(ids) - {row.id for row in found}:
        raise No(
            f"There is no delivery {min(lacking)} here: it was purged, it is of another environment, or its ID is "
            "mistyped (outbox-list)."
        )
