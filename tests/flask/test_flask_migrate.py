"""docs/migrations.md, "Flask-Migrate": the tables come by one migration, and no later one drops them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Self

import flask_migrate
import pytest
import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

import outbox.schema
from outbox import Message, Outbox
from outbox.models import Base
from tests.servers.databases import Database

TABLES = set(Base.metadata.tables)

pytestmark = pytest.mark.filterwarnings("ignore:'get_engine' is deprecated")  # in the env.py that Flask-Migrate makes


class App:
    """An application with a history, its outbox included."""

    def __init__(self, folder: Path, database: Database, **options: Any) -> None:
        self.folder = folder
        self.flask = Flask(__name__)
        self.flask.config.update(SQLALCHEMY_DATABASE_URI=database.url, MAIL_DEFAULT_SENDER="shop@example.org")
        self.db = SQLAlchemy(self.flask)
        self.user = sa.Table("user", self.db.metadata, sa.Column("id", sa.Integer, primary_key=True))
        flask_migrate.Migrate(self.flask, self.db, directory=str(folder), **options)
        self.mail = Outbox(self.flask, session=self.db)
        with self.flask.app_context():
            flask_migrate.init()
            flask_migrate.migrate(message="users")
            flask_migrate.revision(message="Add the outbox")
            made = self.migration("add_the_outbox")
            empty = made.read_text()
            up, down = "outbox.schema.upgrade(op, version=1)", "outbox.schema.downgrade(op, version=0)"
            text = re.sub(r"(def upgrade\(\):.*?)pass", rf"\1{up}", empty, flags=re.DOTALL)
            text = re.sub(r"(def downgrade\(\):.*?)pass", rf"\1{down}", text, flags=re.DOTALL)
            made.write_text(f"import outbox.schema\n{text}")
            flask_migrate.upgrade()

    def migration(self, name: str) -> Path:
        """The file that was made under this name."""
        (made,) = self.folder.glob(f"versions/*_{name}.py")
        return made

    def __enter__(self) -> Self:
        self._context = self.flask.app_context()
        self._context.push()
        return self

    def __exit__(self, *_: object) -> None:
        self.db.session.remove()
        self.db.engine.dispose()
        self._context.pop()

    def tables(self) -> set[str]:
        return set(sa.inspect(self.db.engine).get_table_names())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "migrations"


def test_the_next_migration_leaves_the_outbox_alone(empty_database: Database, folder: Path) -> None:
    """A column is added to the application's own table: nothing else is in it, and the mail is there after it."""
    with App(folder, empty_database, include_name=outbox.schema.include_name) as app:
        assert app.tables() == TABLES | {"user", "alembic_version"}
        app.mail.send(Message("Hello", recipients=["ann@example.org"], body="x"))
        app.db.session.commit()
        app.user.append_column(sa.Column("name", sa.String(20)))
        flask_migrate.migrate(message="names")
        made = app.migration("names").read_text()
        assert "add_column" in made
        assert "outbox" not in made
        flask_migrate.upgrade()
        with app.db.engine.connect() as connection:
            assert connection.execute(sa.text("SELECT subject FROM outbox_message")).scalar() == "Hello"
            assert outbox.schema.missing(connection) == []
        flask_migrate.downgrade(revision="base")
        assert app.tables() == {"alembic_version"}


@pytest.mark.databases("sqlite")
def test_without_it_they_are_dropped(empty_database: Database, folder: Path) -> None:
    """What the documentation warns of is true."""
    with App(folder, empty_database) as app:
        flask_migrate.migrate(message="nothing of ours")
        assert "op.drop_table('outbox_message')" in app.migration("nothing_of_ours").read_text()
