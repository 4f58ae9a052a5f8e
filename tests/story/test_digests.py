"""Two workers, and what was gathered: one message."""

from __future__ import annotations

from sqlalchemy.orm import Session

from tests.servers.databases import Database
from tests.story.conftest import MakeStage
from tests.story.handlers_app import create_app
from tests.story.stage import Relay, until
from tests.story.test_handlers import start


def test_a_worker_makes_a_digest(sqlite_database: Database, make_stage: MakeStage, relay: Relay) -> None:
    """When its window has ended, and sends it."""
    stage = make_stage(sqlite_database, relay.port)
    app = create_app({**stage.environ, "STORY_DIGEST": "1"})
    with app.app_context(), Session(stage.engine) as session:
        mail = app.extensions["outbox"]
        for number in range(3):
            mail.gather("comments", "ann@example.org", number, session)
        session.commit()
    for _ in range(2):
        start(stage, STORY_DIGEST="1")
    until(lambda: stage.states() == {"sent": 1}, "it is sent")
    assert len(relay.taken()) == 1
