"""What a database does not let people do is told in one line, with what to do about it."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from outbox import operations
from outbox.core.errors import DatabaseError
from outbox.operations import pauses
from outbox.store.engines import worker_engine
from outbox.store.pauses import What
from tests.db.mails import put
from tests.servers.databases import Database


@pytest.mark.databases("postgresql")
def test_a_user_without_rights(database: Database) -> None:
    """On PostgreSQL: rights to the tables."""
    engine = database.worker_engine
    put(engine, "a@example.org")
    role = f"nobody_{engine.url.database}"
    with engine.begin() as connection:
        connection.execute(sa.text(f"CREATE ROLE {role}"))
    try:
        url = sa.make_url(database.url).update_query_dict({"options": f"-c role={role}"})
        told = _told(worker_engine(url))
    finally:
        with engine.begin() as connection:
            connection.execute(sa.text(f"DROP ROLE {role}"))
    assert told.endswith(". Give its user the right to use the tables whose names begin with outbox_.")


@pytest.mark.databases("sqlite")
def test_a_file_that_cannot_be_written(database: Database) -> None:
    """On SQLite: rights to the file and its folder."""
    put(database.worker_engine, "a@example.org")
    told = _told(worker_engine(f"sqlite:///file:{database.path}?mode=ro&uri=true"))
    assert told.endswith(
        ": attempt to write a readonly database. Give this process the right to write the file and its folder."
    )


@pytest.mark.databases("postgresql", "mariadb")
def test_a_server_that_is_not_there(database: Database) -> None:
    """It, or the address, or the password."""
    told = _told(worker_engine(sa.make_url(database.url).set(port=1)))
    assert told.endswith(" Check that the database runs, and that its address and password are right.")
    assert "?." not in told


def _told(engine: sa.Engine) -> str:
    try:
        with pytest.raises(DatabaseError) as caught, operations.transaction(engine) as connection:
            pauses.pause(connection, What.KIND, "news", by="ann")
    finally:
        engine.dispose()
    return str(caught.value)
