"""An application whose engine is in AUTOCOMMIT: its mail does not wait for a commit, and it must be told."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy import event
from sqlalchemy.orm import Session

from outbox import Message, Outbox
from outbox.models import OutboxDelivery
from tests.servers.databases import Database


def enqueued(engine: sa.Engine, times: int = 1) -> None:
    """Enqueue in a session on `engine`, and roll back."""
    app = Flask(__name__)
    app.config.update(MAIL_DEFAULT_SENDER="shop@example.org")
    outbox = Outbox()
    with Session(engine) as session:
        outbox.init_app(app, session=session)
        with app.app_context():
            for _ in range(times):
                outbox.send(Message("m", recipients=["ghost@example.org"], body="x"))
                outbox.enqueue_many([Message("m", recipients=["ghost@example.org"], body="x")])
                session.rollback()


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Any:
    """The warnings about it so far."""
    caplog.set_level(logging.WARNING, "outbox")
    return lambda: [record.getMessage() for record in caplog.records if "AUTOCOMMIT" in record.getMessage()]


def test_it_is_told_once(database: Database, told: Any) -> None:
    """With the remedy: what was rolled back is in the outbox, and would be sent."""
    options: dict[str, Any] = {"isolation_level": "AUTOCOMMIT"}
    if database.name == "sqlite":
        options = {"connect_args": {"isolation_level": None}}
    engine = sa.create_engine(database.address, **options)
    enqueued(engine, times=2)
    with engine.connect() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(OutboxDelivery)).scalar() == 4
    engine.dispose()
    (said,) = told()
    assert "without isolation_level='AUTOCOMMIT'" in said


def test_an_execution_option_is_seen_too(database: Database, told: Any) -> None:
    """As web applications set it for reading."""
    enqueued(database.engine.execution_options(isolation_level="AUTOCOMMIT"))
    assert len(told()) == 1


def test_transactions_are_not_complained_of(database: Database, told: Any) -> None:
    """SQLAlchemy's default; and on SQLite, too, a listener that begins transactions."""
    enqueued(database.engine)
    if database.name == "sqlite":
        engine = sa.create_engine(database.address, connect_args={"isolation_level": None})
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
        enqueued(engine)
        engine.dispose()
    assert told() == []
