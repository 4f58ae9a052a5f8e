"""A pause reaches workers that run, within seconds, and so does its end."""

from __future__ import annotations

import signal
from typing import Any

import sqlalchemy as sa

from outbox.models import OutboxPause
from outbox.operations import pauses
from outbox.store.pauses import What
from outbox.store.types import DbNow
from tests.servers.databases import Database
from tests.story.conftest import MakeStage
from tests.story.stage import Relay, Stage, until
from tests.wire.actions import Later, Take
from tests.wire.server import SmtpServer


def pause(stage: Stage, what: What, value: str = "", **options: Any) -> None:
    """Set one, committed."""
    with stage.engine.begin() as connection:
        pauses.pause(connection, what, value, by="ann", **options)


def resume(stage: Stage) -> None:
    """Lift all."""
    with stage.engine.begin() as connection:
        pauses.resume(connection, by="ann")


def test_a_worker_follows_pauses_while_it_runs(stage: Stage, relay: Relay) -> None:
    """What is paused stays queued while the rest goes on; it is sent when the pause is lifted."""
    pause(stage, What.KIND, "newsletter")
    worker = stage.start()
    held = set(stage.send_together(20, kind="newsletter"))
    sent = set(stage.send_together(3))
    until(lambda: stage.states() == {"sent": 3, "queued": 20}, "the others are sent")
    assert {mail.id for mail in relay.taken()} == sent
    resume(stage)
    assert stage.settle() == {"sent": 23}
    assert {mail.id for mail in relay.taken()} == sent | held
    worker.signal(signal.SIGTERM)
    assert worker.wait(30) == 0


def test_a_pause_takes_back_what_was_claimed_ahead(sqlite_database: Database, make_stage: MakeStage) -> None:
    """With a slow relay and all claimed: what is not under way goes back at no cost; the pause ends by itself."""
    with SmtpServer({"dot": Take(Later(1.0, "250 2.0.0 ok"))}) as server:
        stage = make_stage(sqlite_database, server.port, OUTBOX_LEASE_SECONDS="120", OUTBOX_CONNECTIONS="1")
        stage.send_together(12)
        stage.fork()
        until(lambda: stage.states()["sending"] > 8, "the worker has claimed ahead")
        pause(stage, What.TRANSPORT, f"127.0.0.1:{server.port}", seconds=600)
        until(lambda: "sending" not in stage.states(), "nothing is under way")
        sent = stage.states()["sent"]
        assert 1 <= sent <= 8
        assert stage.states() == {"sent": sent, "queued": 12 - sent}
        assert {row.attempts for row in stage.deliveries() if row.state == "queued"} == {0}
        server.script.clear()
        with stage.engine.begin() as connection:
            connection.execute(sa.update(OutboxPause).values(until=DbNow(1.0)))
        assert stage.settle() == {"sent": 12}


def test_once_ends_although_mail_is_paused(sqlite_database: Database, relay: Relay, make_stage: MakeStage) -> None:
    """`--once` and `--drain` do not wait for what is held back."""
    stage = make_stage(sqlite_database, relay.port)
    pause(stage, What.ALL)
    stage.send(2)
    for option in ("--once", "--drain"):
        assert stage.start(option, ready=False).wait(30) == 0
    assert stage.states() == {"queued": 2}
