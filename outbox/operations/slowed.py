"""Mail that goes by a lower rate since its relay throttles, and people who want that forgotten."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import sqlalchemy as sa

from outbox.operations import audit
from outbox.operations.tables import TRANSPORT
from outbox.store.paces import slowed_by
from outbox.store.types import DbNow, utc


@dataclass(frozen=True, slots=True)
class SlowedMail:
    """One transport's mail, or its mail to one domain."""

    transport: str
    domain: str | None  # None: all of the transport's
    per_second: float  # messages, by which it goes now
    reply: str  # that of the last throttle, after its phase
    since: datetime  # when it went by the full rate last
    until: datetime  # when more than what was refused is tried

    @property
    def words(self) -> str:
        """For a person."""
        who = self.transport if self.domain is None else f"mail to {self.domain} by {self.transport}"
        return f"{who} is slowed to {self.per_second:.3g}/s by {self.reply} until {self.until:%Y-%m-%d %H:%M:%S} UTC"


def slowed(connection: sa.Connection, environment: str) -> list[SlowedMail]:
    """All of it."""
    now = DbNow().label("now")
    mine = TRANSPORT.c.environment == environment, TRANSPORT.c.paces.is_not(None)
    found = []
    for row in connection.execute(sa.select(TRANSPORT.c.name, TRANSPORT.c.paces, now).where(*mine)):
        at = utc(row.now).timestamp()
        for scope, one in sorted(slowed_by(row.paces).items()):
            if (rate := one.pace.at(at)) is not None:
                until = datetime.fromtimestamp(max(at, one.pace.probes_at), UTC)
                since = datetime.fromtimestamp(one.began, UTC)
                found.append(SlowedMail(row.name, scope or None, round(rate, 3), one.reply, since, until))
    return found


def forget(connection: sa.Connection, transport: str, *, environment: str, by: str, note: str = "") -> bool:
    """Send by this transport as fast as before, whatever the relay has said. False: nothing of it is slowed."""
    ours = TRANSPORT.c.environment == environment, TRANSPORT.c.name == transport, TRANSPORT.c.paces.is_not(None)
    done = bool(connection.execute(TRANSPORT.update().where(*ours).values(paces=sa.null())).rowcount)
    if done:
        audit.write(connection, "resume", by=by, count=1, filters=f"lower rates of {transport}", note=note)
    return done
