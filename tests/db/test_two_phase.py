"""Two-phase commit: PostgreSQL prepares no transaction that notifies, so those don't; polling finds their mail."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from outbox.models import OutboxMessage
from outbox.store.enqueue import Posting, enqueue
from outbox.store.enqueue_many import enqueue_many
from tests.db.mails import composed
from tests.servers.postgres import PostgresServer
from tests.servers.process import ServerUnavailable

WAKE = Posting(wake=True)


@pytest.fixture(scope="module")
def url() -> Iterator[sa.URL]:
    """A server that can prepare transactions, which is off by default."""
    try:
        server = PostgresServer(fsync=False, max_prepared_transactions="10")
    except ServerUnavailable as reason:
        pytest.skip(str(reason))
    server.create("prepared")
    yield server.url("prepared")
    server.close()


@pytest.mark.parametrize("way", ["one", "key", "blob", "many"])
def test_it_commits(url: sa.URL, way: str) -> None:
    """Each way that mail is written in."""
    engine = sa.create_engine(url)
    OutboxMessage.metadata.drop_all(engine)
    OutboxMessage.metadata.create_all(engine)
    with Session(engine, twophase=True) as session:
        if way == "many":
            enqueue_many(session, [(composed(), WAKE), (composed(message_id="<2@example.org>"), WAKE)])
        else:
            mail = composed(blob=b"x" * 100 if way == "blob" else b"")
            enqueue(session, mail, Posting(wake=True, key="k" if way == "key" else None))
        session.commit()
        assert session.scalar(sa.select(sa.func.count()).select_from(OutboxMessage)) == (2 if way == "many" else 1)
    engine.dispose()
