"""An application on a migrated SQLite file, visitors for it, and what is in its outbox."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from flask import Flask

from app import create_app, models, throttle
from outbox.models import OutboxThrottle
from outbox.testing import Mail
from tests.app.browser import PASSWORD, Visitor

ROOT = Path(__file__).resolve().parents[2]
ADMIN = "chief@example.org"


def migrate(url: str, revision: str = "head") -> None:
    """Bring the database at `url` to `revision`."""
    config = Config(ROOT / "alembic.ini")
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    if revision == "base":
        command.downgrade(config, "base")
    else:
        command.upgrade(config, revision)


def link_in(mail: Mail) -> str:
    """The path of the first link in the text; the HTML has the same."""
    url = re.search(r"https?://\S+", mail.text or "")[0]  # type: ignore[index]
    assert url in (mail.html or "")
    return re.sub(r"https?://[^/]+", "", url)


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("app") / "migrated.sqlite3"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(autouse=True)
def _cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same hash at a thirtieth of its cost, which is there to slow down whoever guesses."""
    cheap = "scrypt:1024:8:1"
    monkeypatch.setattr(models, "_HASH_OF_NOBODY", models._HASH_OF_NOBODY.replace(models._METHOD, cheap))
    monkeypatch.setattr(models, "_METHOD", cheap)


@pytest.fixture
def make_app(tmp_path: Path, migrated_file: Path) -> Iterator[Callable[..., Flask]]:
    """Makes applications on one fresh, migrated database; CSRF tokens are checked as in production."""
    made: list[Flask] = []
    shutil.copyfile(migrated_file, tmp_path / "app.sqlite3")

    def make(**config: Any) -> Flask:
        settings = {
            "TESTING": True,
            "SECRET_KEY": "for tests only",
            "DATABASE_URL": f"sqlite:///{tmp_path / 'app.sqlite3'}",
            "FLASKY_ADMIN": ADMIN,
            **config,
        }
        made.append(create_app(settings, environ={}, instance_path=str(tmp_path / "instance")))
        return made[-1]

    yield make
    for app in made:
        app.extensions["database"].engine.dispose()


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    return make_app()


@pytest.fixture
def visitor(app: Flask) -> Visitor:
    return Visitor(app.test_client())


@pytest.fixture
def add_user(app: Flask) -> Callable[..., int]:
    """Adds a user who needs no mail; returns the id."""

    def add(email: str = "ada@example.org", username: str = "ada", **values: Any) -> int:
        with sa.orm.Session(app.extensions["database"].engine) as session:
            user = models.User(email=email, username=username, password=PASSWORD, **{"confirmed": True, **values})
            session.add(user)
            session.commit()
            return user.id

    return add


@pytest.fixture
def later(app: Flask) -> Callable[[], None]:
    """Lets an hour go by for all that limits mail to one address."""

    def pass_by() -> None:
        with sa.orm.Session(app.extensions["database"].engine) as session, session.begin():
            session.execute(sa.delete(OutboxThrottle))
            for one in session.scalars(sa.select(models.LoginTry)):
                one.at -= throttle.HOUR

    return pass_by


@pytest.fixture
def user_of(app: Flask) -> Callable[[str], models.User]:
    """Reads the committed user with a user name."""

    def read(username: str) -> models.User:
        with sa.orm.Session(app.extensions["database"].engine, expire_on_commit=False) as session:
            user = models.by_username(session, username)
            assert user is not None, f"no user {username}"
            return user

    return read
