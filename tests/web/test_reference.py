"""The reference application with the pages mounted: from its log-in to a mail that is sent again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from flask import Flask
from selenium.webdriver.chrome.webdriver import WebDriver
from sqlalchemy.orm import Session

from app import create_app, models
from outbox import operations
from outbox.delivery.states import State
from outbox.operations import Filter
from tests.web.seed import REFUSED, Mail, write
from tests.web.site import Site, serving
from tests.web.test_pages import click, css, texts

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "correct horse battery"


@pytest.fixture
def reference(tmp_path: Path) -> Iterator[Site]:
    """The application with an administrator, a user, and one failed mail."""
    url = f"sqlite:///{tmp_path / 'app.sqlite3'}"
    config = Config(ROOT / "alembic.ini")
    config.set_main_option("sqlalchemy.url", url)
    command.upgrade(config, "head")
    settings = {"SECRET_KEY": "for tests", "DATABASE_URL": url, "APP_ENV": "development"}
    app = create_app(settings, environ={}, instance_path=str(tmp_path / "instance"))
    engine = sa.create_engine(url)
    with Session(engine) as session, session.begin():
        for name in ("chief", "ada"):
            user = models.User(email=f"{name}@example.org", username=name, password=PASSWORD, confirmed=True)
            user.is_admin = name == "chief"
            session.add(user)
        write(session.connection(), Mail({"ann@example.org": State.FAILED}, tries=[REFUSED], reason="refused"))
    engine.dispose()
    with serving(Site(app)) as made:
        yield made
    _database_of(app).dispose()


def test_an_administrator_logs_in_and_requeues(browser: WebDriver, reference: Site) -> None:
    """The pages send a visitor to the log-in; the administrator comes back to them and requeues what failed."""
    browser.get(f"{reference.url}/mail?state=failed")
    assert "/auth/login" in browser.current_url
    log_in(browser, "chief@example.org")
    assert browser.current_url == f"{reference.url}/mail?state=failed"
    assert texts(browser, "tbody .c-recipient") == ["ann@example.org"]
    css(browser, "tbody input[type=checkbox]").click()
    click(browser, "button[value=requeue]")
    click(browser, "#do")
    assert "1 message is queued again and due now." in css(browser, "[role=status]").text
    click(browser, "nav[aria-label=State] a[href*='state=queued']")
    assert texts(browser, "tbody .c-recipient") == ["ann@example.org"]
    with reference.app.app_context(), operations.connected(reference.app.extensions["outbox"].database()) as connection:
        assert operations.count(connection, Filter(states=(State.QUEUED,))) == 1


def test_a_user_is_refused(browser: WebDriver, reference: Site) -> None:
    """Who is logged in and no administrator is refused."""
    browser.get(f"{reference.url}/mail")
    log_in(browser, "ada@example.org")
    browser.get(f"{reference.url}/mail")
    assert "ann@example.org" not in browser.page_source
    assert css(browser, "h1").text == "Not allowed"


def log_in(browser: WebDriver, email: str) -> None:
    css(browser, "input[name=email]").send_keys(email)
    css(browser, "input[name=password]").send_keys(PASSWORD)
    click(browser, "form [type=submit]")


def _database_of(app: Flask) -> sa.Engine:
    return app.extensions["database"].engine  # type: ignore[no-any-return]
