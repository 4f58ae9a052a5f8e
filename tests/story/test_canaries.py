"""A relay that refuses: a worker sends the canary alone, pauses the batch, and sends the rest when a person says so."""

from __future__ import annotations

from flask import Flask
from sqlalchemy.orm import scoped_session, sessionmaker

from outbox import Message, Outbox
from tests.servers.databases import Database
from tests.story.conftest import MakeStage
from tests.story.stage import until
from tests.wire.server import SmtpServer


def test_a_relay_that_refuses_gets_the_canary_alone(sqlite_database: Database, make_stage: MakeStage) -> None:
    """20 of 200; two workers agree; the status says why."""
    app, mail = Flask(__name__), Outbox()
    app.config.update(MAIL_DEFAULT_SENDER="news@example.org")
    news = mail.kind("news", canary=0.1)
    with SmtpServer({"rcpt": "550 5.1.1 no such user"}) as server:
        stage = make_stage(sqlite_database, server.port)
        mail.init_app(app, session=scoped_session(sessionmaker(stage.engine)))
        stage.start()
        stage.start()
        with app.app_context():
            letters = ((str(n), Message("News", [f"reader{n}@example.net"], "Hello.")) for n in range(200))
            news.batch("news-7").enqueue(letters, portion=50)
        until(lambda: any(one["what"] == "batch" for one in stage.status()["pauses"]), "it is paused")
        (pause,) = stage.status()["pauses"]
        assert "of the first 20 deliveries" in pause["reason"]
        assert 180 <= stage.states()["queued"] < 200
        until(lambda: not stage.states()["sending"], "nothing is under way")
        assert stage.command("outbox-resume", "--batch", "news-7", "--yes").returncode == 0
        assert stage.settle() == {"failed": 200}
