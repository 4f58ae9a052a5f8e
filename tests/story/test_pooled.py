"""Workers behind PgBouncer in transaction mode: woken by OUTBOX_LISTEN_URL, and killed again and again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.servers.databases import Database
from tests.servers.pgbouncer import PgBouncer
from tests.story.conftest import MakeStage
from tests.story.soak import soak
from tests.story.stage import Relay, until

pytestmark = pytest.mark.databases("postgresql")


@pytest.fixture
def through(pooler: PgBouncer) -> str:
    """The workers' URL; the application has one of its own, as its driver would prepare statements."""
    return pooler.address.render_as_string(hide_password=False)


def test_listening_beside_a_pooler(through: str, database: Database, relay: Relay, make_stage: MakeStage) -> None:
    """A commit wakes the worker, though it polls once a minute."""
    settings = {"OUTBOX_POLL_SECONDS": "60", "OUTBOX_LISTEN_URL": database.url}
    stage = make_stage(database, relay.port, DATABASE_URL=through, **settings)
    worker = stage.start()
    for count in (1, 2, 3):  # the first by the look at its start
        stage.send()
        until(lambda count=count: len(relay.taken()) == count, "it is sent long before the next poll", 30)
    assert "polling continues" not in worker.log()


@pytest.mark.long
def test_killed_again_and_again_behind_a_pooler(through: str, database: Database, tmp_path: Path) -> None:
    """300 messages and 15 kills: as without it."""
    account = soak(database, tmp_path, mails=300, kills=15, policy="retry", seed=15, DATABASE_URL=through)
    assert len(account.committed) == 300
    assert list(account.faults("retry")) == []
