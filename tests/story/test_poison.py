"""One bad mail stops only itself."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from outbox import Message
from outbox.models import OutboxBlob, OutboxMessage
from tests.servers.databases import Database
from tests.story.conftest import MakeStage
from tests.story.faults import POISON
from tests.story.stage import Relay, Stage, until


def send_poison(stage: Stage) -> None:
    """Enqueue the mail that the fault is about."""
    with stage.transaction() as session:
        stage.outbox.send(Message("Poison", recipients=[POISON], body="x"))
        session.commit()


def reasons(stage: Stage) -> dict[str, tuple[str, str | None]]:
    """State and reason of what was not sent."""
    return {row.recipient: (row.state, row.reason) for row in stage.deliveries() if row.state != "sent"}


@pytest.mark.quick("postgresql")
def test_damaged_mail_fails_and_the_rest_flows(stage: Stage, relay: Relay) -> None:
    """Content that was cut, a big part that is gone: failed with the reason, and no other mail notices."""
    with stage.transaction() as session:
        for recipient in ("cut@example.org", "gone@example.org"):
            message = Message("Damaged", recipients=[recipient], body="x")
            if recipient.startswith("gone"):
                message.attach("big.bin", "application/octet-stream", b"x" * 50_000)
            stage.outbox.send(message)
        session.commit()
    stage.send_together(20)
    with stage.engine.begin() as connection:
        cut = sa.select(sa.func.min(OutboxMessage.id)).scalar_subquery()
        first = connection.scalar(sa.select(cut))
        connection.execute(sa.update(OutboxMessage).where(OutboxMessage.id == first).values(skeleton=b"cut"))
        match connection.dialect.name:
            case "postgresql":
                connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
            case "mysql" | "mariadb":
                connection.exec_driver_sql("SET SESSION foreign_key_checks = 0")
            case _:
                connection.exec_driver_sql("COMMIT")
                connection.exec_driver_sql("PRAGMA foreign_keys = OFF")
                connection.exec_driver_sql("BEGIN")
        connection.execute(sa.delete(OutboxBlob))
    stage.fork()
    assert stage.settle() == {"sent": 20, "failed": 2}
    assert reasons(stage) == {"cut@example.org": ("failed", "damaged"), "gone@example.org": ("failed", "damaged")}
    notes = [attempt.note for attempt in stage.attempts() if attempt.note]
    assert any("3 bytes are stored where" in note for note in notes)
    assert any("is missing" in note for note in notes)
    assert len(relay.taken()) == 20


def test_a_mail_that_crashes_the_code_fails(sqlite_database: Database, relay: Relay, make_stage: MakeStage) -> None:
    """Tried a bounded number of times, then failed with the reason; the rest flows."""
    stage = make_stage(sqlite_database, relay.port, STORY_POISON="raise", OUTBOX_RETRY_MAX_SECONDS="0.5")
    send_poison(stage)
    stage.send_together(20)
    worker = stage.fork()
    assert stage.settle() == {"sent": 20, "failed": 1}
    assert reasons(stage) == {POISON: ("failed", "poison")}
    assert len(stage.attempts()) == 20 + 6
    assert "this mail crashes what touches it" in worker.log()


def test_a_mail_that_kills_workers_fails_alone(sqlite_database: Database, relay: Relay, make_stage: MakeStage) -> None:
    """Worker after worker dies of it: in the end it has failed, and the mails beside it arrive, each once or so."""
    settings = {"OUTBOX_POISON_RESCUES": "2", "OUTBOX_HEARTBEAT_SECONDS": "0.2", "OUTBOX_DEAD_AFTER_SECONDS": "0.6"}
    stage = make_stage(sqlite_database, relay.port, STORY_POISON="kill", OUTBOX_CONNECTIONS="2", **settings)
    send_poison(stage)
    stage.send_together(20)
    deaths = 0
    while not stage.settled():
        assert deaths < 8, "the poison goes on killing workers"
        worker = stage.fork()
        until(lambda: stage.settled() or worker.dead, "the end of the worker or of the mail")  # noqa: B023
        deaths += worker.dead
    assert stage.states() == {"sent": 20, "failed": 1}
    assert reasons(stage) == {POISON: ("failed", "poison")}
    assert len(relay.copies()) == 20
    assert len(relay.taken()) - 20 <= deaths * 2
