"""The relay was away for an hour: what goes first when it is back, what goes no more, and what it cost."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from outbox import Message
from outbox.models import OutboxDelivery, OutboxMessage
from tests.servers.databases import Database
from tests.story.conftest import MakeStage
from tests.story.stage import Stage, free_port, until
from tests.wire.actions import Later, Take
from tests.wire.server import Client, SmtpServer

pytestmark = pytest.mark.long

HOUR = timedelta(hours=1)
WINDOW = 16  # mails leased ahead by one connection: so many may be before one that is more important


def enqueue(stage: Stage, kind: str, count: int, **options: object) -> None:
    """So many mails to `kind-<number>@example.org`, in one transaction."""
    with stage.transaction() as session:
        for number in range(count):
            mail = Message(kind, recipients=[f"{kind}-{number}@example.org"], body="x\n")
            stage.outbox.enqueue(mail, **options)
        session.commit()


def an_hour_passes(stage: Stage) -> None:
    """Every time that the mail waiting carries is an hour earlier, which is the same."""
    with stage.engine.begin() as connection:
        times = sa.select(OutboxMessage.id, OutboxMessage.created_at, OutboxMessage.expires_at)
        for row in connection.execute(times).all():
            changed = sa.update(OutboxMessage).where(OutboxMessage.id == row.id)
            connection.execute(changed.values(created_at=row.created_at - HOUR, expires_at=row.expires_at - HOUR))
        queued = OutboxDelivery.state == "queued"
        for row in connection.execute(sa.select(OutboxDelivery.id, OutboxDelivery.due_at).where(queued)).all():
            changed = sa.update(OutboxDelivery).where(OutboxDelivery.id == row.id, queued)
            connection.execute(changed.values(due_at=row.due_at - HOUR))


def places(order: list[str], kind: str) -> list[int]:
    """At which places mails of this kind were taken."""
    return [place for place, recipient in enumerate(order) if recipient.startswith(f"{kind}-")]


def attempts(stage: Stage, kinds: Iterable[str]) -> set[tuple[str, int, str | None]]:
    """State, attempts and reason of the mails of these kinds."""
    rows = [row for row in stage.deliveries() if row.recipient.rpartition("-")[0] in kinds]
    return {(row.state, row.attempts, row.reason) for row in rows}


@pytest.mark.databases("postgresql")
def test_after_an_hour_the_important_goes_first(database: Database, make_stage: MakeStage) -> None:
    """High before normal before bulk, retries hold up no new mail, what has expired fails, and no attempt is lost."""

    def defer(client: Client) -> str | None:
        return "450 4.2.0 greylisted" if "deferred-" in client.line else None

    port = free_port()
    # a lease of seconds ends attempts that a busy machine makes slow, and those would wait for 3000 s
    settings = {"OUTBOX_LEASE_SECONDS": "120", "OUTBOX_RETRY_FIRST_SECONDS": "3000"}
    stage = make_stage(database, port, OUTBOX_CONNECTIONS="1", **settings)
    with SmtpServer({"rcpt": defer}, port=port):
        worker = stage.fork()
        enqueue(stage, "deferred", 150)
        until(lambda: attempts(stage, ["deferred"]) == {("queued", 1, "deferred")}, "all are deferred")
    now = datetime.now(UTC)
    enqueue(stage, "bulk", 100, priority="bulk")
    enqueue(stage, "normal", 120, expires_at=now + 2 * HOUR)
    enqueue(stage, "code", 10, priority="high", expires_at=now + HOUR / 2)
    enqueue(stage, "high", 30, priority="high")
    until(lambda: stage.transport(worker).get("state") == "open", "the breaker opens")
    until(lambda: {row.state for row in stage.deliveries()} == {"queued"}, "nothing is held")
    an_hour_passes(stage)
    until(lambda: attempts(stage, ["code"]) == {("failed", 0, "expired")}, "what has expired fails, relay or not")

    with SmtpServer({"dot": Take(Later(0.01, "250 2.0.0 ok"))}, port=port) as server:
        server.wait_for(50)
        enqueue(stage, "urgent", 1, priority="high")
        enqueue(stage, "new", 1)
        asked = len(server.messages)
        assert stage.settle() == {"sent": 402, "failed": 10}
        order = [mail.rcpt for mail in server.messages]
        offered = [line for line in server.commands if line.startswith("RCPT")]

    assert len(order) == len(set(order)) == 402
    assert not any("code-" in line for line in offered)
    assert attempts(stage, ["high", "normal", "bulk", "urgent", "new"]) == {("sent", 1, None)}
    assert attempts(stage, ["deferred"]) == {("sent", 2, None)}
    assert max(places(order, "high")) < 30 + WINDOW
    assert max(places(order, "urgent")) < asked + 2 * WINDOW
    normal, retries, bulk = (places(order, kind) for kind in ("normal", "deferred", "bulk"))
    before_last_normal = [place for place in retries if place < max(normal)]
    assert 0 < len(before_last_normal) < 50, "retries have a share, and no more"
    assert max(places(order, "new")) < max(normal) + 2 * WINDOW
    assert sum(place > max(places(order, "new")) for place in retries) > 75, "new mail does not wait for old retries"
    assert sum(place < max(normal) for place in bulk) < 70, "bulk has a share, and no more"
