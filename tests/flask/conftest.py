"""An application with an outbox, its session made by plain SQLAlchemy, and a look at what was committed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy.orm import Session, scoped_session

from outbox import Outbox
from outbox.models import OutboxDelivery, OutboxMessage
from outbox.operations import wire
from tests.flask.terminal import Terminal
from tests.servers.databases import Database
from tests.web.seed import Template
from tests.web.site import Site, site


@dataclass
class Committed:
    """What other connections see: the only mail that a worker would find."""

    engine: sa.Engine

    def subjects(self) -> list[str]:
        """The subjects of all messages, in order."""
        return [message.subject for message in self.messages()]

    def messages(self) -> list[OutboxMessage]:
        """All messages, in order."""
        with Session(self.engine) as session:
            return list(session.scalars(sa.select(OutboxMessage).order_by(OutboxMessage.id)))

    def recipients(self) -> list[str]:
        """The recipients of all deliveries, sorted."""
        with Session(self.engine) as session:
            return sorted(session.scalars(sa.select(OutboxDelivery.recipient)))

    def mail(self) -> EmailMessage:
        """The only message there is, as a reader's mail program understands it."""
        (message,) = self.messages()
        with self.engine.connect() as connection:
            return message_from_bytes(wire(connection, message.id), policy=policy.default)  # type: ignore[return-value]


@pytest.fixture
def engine(sqlite_database: Database) -> sa.Engine:
    return sqlite_database.engine


@pytest.fixture
def committed(engine: sa.Engine) -> Committed:
    return Committed(engine)


@pytest.fixture
def outbox() -> Outbox:
    return Outbox()


@pytest.fixture
def make_app(db: scoped_session[Session], outbox: Outbox) -> Callable[..., Flask]:
    """Makes an application that is bound to `outbox`, with the given configuration."""

    def make(session: Any = db, **config: Any) -> Flask:
        app = Flask(__name__)
        app.config.update({"TESTING": True, "MAIL_DEFAULT_SENDER": "shop@example.org"} | config)
        outbox.init_app(app, session=session)
        app.teardown_appcontext(lambda error: db.remove())
        return app

    return make


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    return make_app()


@pytest.fixture
def context(app: Flask) -> Iterator[None]:
    """For tests that play the part of a view without a request."""
    with app.app_context():
        yield


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    """Varied mail, written once."""
    return Template(tmp_path_factory.mktemp("seeded"))


@pytest.fixture
def seeded(template: Template, tmp_path: Path) -> Iterator[Database]:
    """A database with varied mail."""
    database = template.copy(tmp_path / "seeded.sqlite3")
    yield database
    database.dispose()


@pytest.fixture
def ids(template: Template) -> dict[str, int]:
    """The delivery's id of each recipient."""
    return template.ids


@pytest.fixture
def pages(seeded: Database) -> Iterator[Site]:
    """The smallest application with the pages, everything allowed."""
    made = site(seeded.url)
    yield made
    made.close()


@pytest.fixture
def client(pages: Site) -> FlaskClient:
    return pages.app.test_client()


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Terminal]:
    """A terminal whose database is not migrated."""
    made = Terminal(tmp_path)
    yield made
    made.engine.dispose()


@pytest.fixture
def terminal(bare: Terminal) -> Terminal:
    """A terminal with an empty outbox."""
    bare.migrate()
    return bare
