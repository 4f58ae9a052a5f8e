"""The schema: up, down and against the models, on each database."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.operations import Operations
from flask import Flask

import outbox.schema
from app import models
from outbox.models import Base
from outbox.testing import Mailbox
from tests.app.browser import Visitor
from tests.app.conftest import ROOT, link_in, migrate
from tests.db import prerelease
from tests.servers.databases import Database

NAMES = {*models.Base.metadata.tables, *Base.metadata.tables}


def tables(database: Database) -> set[str]:
    return set(sa.inspect(database.engine).get_table_names())


def test_up_is_what_the_models_say_and_down_is_nothing(empty_database: Database) -> None:
    """After `upgrade head` the models find no difference; after `downgrade base` nothing is left; and up again."""
    migrate(empty_database.url)
    assert tables(empty_database) == NAMES | {"alembic_version"}
    with empty_database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, [models.Base.metadata, Base.metadata]) == []
    migrate(empty_database.url, "base")
    assert tables(empty_database) == {"alembic_version"}
    migrate(empty_database.url)
    assert tables(empty_database) == NAMES | {"alembic_version"}


def test_registering_works_on_each_database(empty_database: Database, make_app: Callable[..., Flask]) -> None:
    """User and mail are written together; addresses and names differ in more than case; accents count."""
    migrate(empty_database.url)
    app = make_app(DATABASE_URL=empty_database.url)
    visitor = Visitor(app.test_client())
    visitor.register()
    assert [mail.kind for mail in Mailbox(app)] == ["confirm", "new-user"]
    visitor.log_in("ADA@example.org")
    visitor.get(link_in(Mailbox(app)[0]))
    assert visitor.name() == "ada"
    with sa.orm.Session(app.extensions["database"].engine) as session:
        session.add(models.User(email="adá@example.org", username="adá", password_hash="x"))
        session.commit()
        user = models.by_username(session, "ADÁ")
        assert user is not None
        assert user.created_at.tzinfo is not None
        assert user.created_at.microsecond
        session.add(models.User(email="ADÁ@example.org", username="other", password_hash="x"))
        with pytest.raises(sa.exc.IntegrityError):
            session.commit()


def test_a_database_of_before_the_first_release(empty_database: Database) -> None:
    """One that was migrated when 0003 was the newest: its rows stay, its tables become what the models say."""
    migrate(empty_database.url, "0003")
    with empty_database.engine.begin() as connection:
        Base.metadata.drop_all(connection)
        prerelease.create(Operations(MigrationContext.configure(connection)))
        connection.exec_driver_sql(
            "INSERT INTO outbox_audit (at, action, actor, count, filters) VALUES ('2026-11-26', 'purge', 'me', 1, '')"
        )
    migrate(empty_database.url)
    with empty_database.engine.connect() as connection:
        assert outbox.schema.missing(connection) == []
        assert connection.exec_driver_sql("SELECT version FROM outbox_schema").scalar() == 1
        assert connection.exec_driver_sql("SELECT actor FROM outbox_audit").scalar() == "me"


@pytest.mark.databases("sqlite", "postgresql")
def test_a_migration_that_fails_leaves_nothing_behind(
    empty_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All or nothing, where the database can."""
    from alembic.operations import Operations

    create_table = Operations.create_table

    def fail(self: Operations, name: str, *args: object, **more: object) -> object:
        if name == "users":
            raise OSError("no space left on device")
        return create_table(self, name, *args, **more)

    monkeypatch.setattr(Operations, "create_table", fail)
    with pytest.raises(OSError, match="no space"):
        migrate(empty_database.url)
    assert tables(empty_database) == set()


def test_the_command_takes_the_database_from_the_environment(tmp_path: Path) -> None:
    """`python -m alembic upgrade head` with DATABASE_URL, from another folder too, and is silent about the rest."""
    path = tmp_path / "new" / "app.sqlite3"
    done = subprocess.run(
        [sys.executable, "-m", "alembic", "-c", str(ROOT / "alembic.ini"), "upgrade", "head"],
        cwd=tmp_path,
        env={"DATABASE_URL": f"sqlite:///{path}", "PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "Running upgrade 0001 -> 0002" in done.stderr
    assert path.is_file()


def test_migrating_turns_no_logger_off(tmp_path: Path) -> None:
    """A program that migrates keeps its own logging."""
    import logging

    mine = logging.getLogger("tests.mine")
    migrate(f"sqlite:///{tmp_path / 'x.sqlite3'}")
    assert not mine.disabled
    assert logging.getLogger().handlers == logging.getLogger().handlers
