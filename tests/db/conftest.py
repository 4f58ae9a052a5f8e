"""What most tests of the queue need."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.orm import Session

from outbox import Outbox
from tests.servers.databases import Database


@pytest.fixture
def engine(database: Database) -> sa.Engine:
    """The database as a worker sees it."""
    return database.worker_engine


@pytest.fixture
def session(engine: sa.Engine) -> Iterator[Session]:
    """In which an application enqueues."""
    with Session(engine) as made:
        yield made


@pytest.fixture
def outbox(session: Session) -> Iterator[Outbox]:
    """An outbox in the context of an application whose session is `session`."""
    app = Flask(__name__)
    app.config.update(MAIL_DEFAULT_SENDER="shop@example.org")
    outbox = Outbox()
    outbox.init_app(app, session=session)
    with app.app_context():
        yield outbox
