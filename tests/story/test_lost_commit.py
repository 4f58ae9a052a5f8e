"""The request that does not know whether it has committed, and is tried again with the same `key`: one mail."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from outbox import Message
from tests.servers.databases import Database
from tests.servers.proxy import CommitCutter
from tests.story.conftest import MakeStage
from tests.story.stage import ROOT, Relay, Stage

KEY = "order-4711-confirmation"

DIES_AFTER_COMMIT = """
import os, signal
import sqlalchemy as sa
from sqlalchemy.orm import Session
from outbox import Message
from tests.story.worker_app import create_app

with Session(sa.create_engine(os.environ["DATABASE_URL"])) as session:
    app = create_app(os.environ, session=lambda: session)
    with app.app_context():
        mail = Message("Paid", recipients=["ann@example.org"], body="x")
        app.extensions["outbox"].enqueue(mail, key=os.environ["KEY"])
        session.commit()
        os.kill(os.getpid(), signal.SIGKILL)
"""


def request(stage: Stage, engine: sa.Engine) -> str:
    """One try of the request, from enqueueing to COMMIT; the Message-ID it was given."""
    with stage.app.app_context(), Session(engine) as session:
        mail = Message("Paid", recipients=["ann@example.org"], body="x")
        message_id = stage.outbox.enqueue(mail, session, key=KEY).message_id
        session.commit()
        return message_id


@pytest.mark.databases("postgresql", "mariadb")
@pytest.mark.parametrize("sent_before", [False, True], ids=["tried again at once", "tried again after it was sent"])
@pytest.mark.quick("postgresql")
def test_a_commit_whose_reply_was_lost(
    database: Database, relay: Relay, make_stage: MakeStage, sent_before: bool
) -> None:
    """The connection breaks between the COMMIT and its reply: the second try finds the first one's mail."""
    stage = make_stage(database, relay.port)
    with CommitCutter((str(database.address.host), int(database.address.port or 0))) as proxy:
        engine = sa.create_engine(database.address.set(port=proxy.port))
        with engine.connect():
            pass  # the pool's first connection asks the server for its version, in a transaction of its own
        proxy.arm()
        with pytest.raises(sa.exc.OperationalError):
            request(stage, engine)
        assert proxy.cut.is_set()
        if sent_before:
            stage.fork()
            assert stage.settle() == {"sent": 1}
        second = request(stage, engine)
        engine.dispose()
    stage.send()  # by which time a second copy would have gone out
    if not sent_before:
        stage.fork()
    assert stage.settle() == {"sent": 2}
    assert [one.id for one in relay.taken() if one.to == "ann@example.org"] == [second]


def test_a_request_that_died_right_after_its_commit(
    sqlite_database: Database, relay: Relay, make_stage: MakeStage
) -> None:
    """On SQLite no reply can get lost, but the process that would have read it can: the second try sends no second."""
    stage = make_stage(sqlite_database, relay.port)
    died = subprocess.run(
        [sys.executable, "-c", DIES_AFTER_COMMIT],
        cwd=ROOT,
        env={**stage.environ, "KEY": KEY, "PATH": "", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert died.returncode == -signal.SIGKILL, died.stderr
    second = request(stage, stage.engine)
    stage.send()
    stage.fork()
    assert stage.settle() == {"sent": 2}
    assert [one.id for one in relay.taken() if one.to == "ann@example.org"] == [second]
