"""Sessions that read from a replica: mail is written on the primary, in the transaction of what it belongs to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.orm import Session

from outbox import Message, Outbox
from outbox.models import OutboxMessage
from tests.servers.databases import Database, Databases


class ByStatement(Session):
    """As SQLAlchemy's manual has it."""

    primary: sa.Engine
    replica: sa.Engine

    def get_bind(self, mapper: Any = None, clause: Any = None, **kw: Any) -> sa.Engine:
        writes = self._flushing or isinstance(clause, sa.Update | sa.Delete)
        return self.primary if writes else self.replica


class ByAnyWrite(ByStatement):
    """Without a look at what the session is doing."""

    def get_bind(self, mapper: Any = None, clause: Any = None, **kw: Any) -> sa.Engine:
        return self.primary if isinstance(clause, sa.sql.dml.UpdateBase) else self.replica


class ByFlush(ByStatement):
    """Without a look at the statement; it looks at the mapper."""

    def get_bind(self, mapper: Any = None, clause: Any = None, **kw: Any) -> sa.Engine:
        assert mapper is None or issubclass(mapper.class_, OutboxMessage)
        return self.primary if self._flushing else self.replica


@pytest.fixture(params=[ByStatement, ByAnyWrite, ByFlush])
def routing(request: pytest.FixtureRequest, databases: Databases, database: Database) -> Iterator[type[ByStatement]]:
    with databases.with_schema(database.name) as replica:
        yield type("Routing", (request.param,), {"primary": database.engine, "replica": replica.engine})


@pytest.mark.parametrize("way", ["one", "key", "many"])
def test_mail_is_written_on_the_primary(routing: type[ByStatement], way: str) -> None:
    """Whatever the session tells a write by; and that is where workers look."""
    app = Flask("shop")
    outbox = Outbox()
    with app.app_context(), routing() as session:
        outbox.init_app(app, session=lambda: session)
        mail = Message("Hello", recipients=["a@example.org"], sender="shop@example.org", body="x")
        if way == "many":
            outbox.enqueue_many([mail, (mail, {"key": "k"})])
        else:
            outbox.enqueue(mail, key="k" if way == "key" else None)
        session.rollback()
        assert count(routing.primary) == 0
        outbox.enqueue(mail)
        session.commit()
        assert (count(routing.primary), count(routing.replica)) == (1, 0)
        assert outbox.database(app).url == routing.primary.url
        outbox.database(app).dispose()


def count(engine: sa.Engine) -> int:
    with engine.connect() as connection:
        return int(connection.execute(sa.select(sa.func.count()).select_from(OutboxMessage)).scalar_one())
