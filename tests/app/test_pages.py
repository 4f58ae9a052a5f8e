"""What every page and response has, and the pages for what goes wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask, abort

from app import create_app
from tests.app.browser import Forms, Visitor


@pytest.mark.parametrize("path", ["/", "/auth/login", "/static/style.css", "/nowhere"])
def test_every_response_is_closed(visitor: Visitor, path: str) -> None:
    """The browser is told what to refuse, on pages, files and errors."""
    response = visitor.client.get(path)
    response.close()
    headers = response.headers
    assert headers["Content-Security-Policy"].startswith("default-src 'self';")
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "same-origin"


def test_pages_are_not_kept_and_https_is_remembered(visitor: Visitor) -> None:
    """No page stays in a cache; a browser that came by https comes by https again."""
    assert visitor.client.get("/").headers["Cache-Control"] == "no-store"
    assert "Strict-Transport-Security" not in visitor.client.get("/").headers
    secure = visitor.client.get("/", base_url="https://localhost")
    assert "max-age=31536000" in secure.headers["Strict-Transport-Security"]


@pytest.mark.parametrize("path", ["/", "/auth/login", "/auth/register", "/auth/reset"])
def test_pages_need_nothing_from_elsewhere(visitor: Visitor, path: str) -> None:
    """No script, style or picture of another host, and none inline, which the policy would refuse."""
    page = visitor.client.get(path).text
    for forbidden in ("//", "<script", "style=", "<style", "onclick"):
        assert forbidden not in page.replace("<!doctype", ""), forbidden


@pytest.mark.parametrize("path", ["/auth/login", "/auth/register", "/auth/reset"])
def test_every_form_needs_its_token(visitor: Visitor, path: str) -> None:
    """A form without its CSRF token is refused with a page that says what to do."""
    data = Forms(visitor.client.get(path).text).forms[0].fields
    assert data.pop("csrf_token")
    response = visitor.client.post(path, data=data)
    assert response.status_code == 400
    assert "APP_ENV=development" in response.text
    response = visitor.client.post(
        path, data=data, base_url="https://localhost", headers={"Referer": "https://localhost/"}
    )
    assert response.status_code == 400
    assert "out of date" in response.text


@pytest.mark.parametrize("code", [400, 403, 404, 405, 413, 418, 429, 500, 503])
def test_errors_have_a_page(app: Flask, code: int) -> None:
    """Each error is a page of the site, with its own status."""
    app.add_url_rule("/fail", view_func=lambda: abort(code))
    response = app.test_client().get("/fail")
    assert response.status_code == code
    assert f'<p class="code">{code}</p>' in response.text


def test_a_fault_of_ours_shows_no_detail(make_app: Callable[..., Flask]) -> None:
    """An exception becomes a page that tells nothing about it."""
    app = make_app(TESTING=False, PROPAGATE_EXCEPTIONS=False)

    def fail() -> str:
        raise RuntimeError("secret detail")

    app.add_url_rule("/fail", view_func=fail)
    response = app.test_client().get("/fail")
    assert response.status_code == 500
    assert "secret detail" not in response.text
    assert "Something went wrong" in response.text


def test_an_unknown_host_is_refused_where_hosts_are_listed(make_app: Callable[..., Flask]) -> None:
    """With TRUSTED_HOSTS set, other names get a plain 400."""
    client = make_app(TRUSTED_HOSTS=["www.example.org"]).test_client()
    assert client.get("/", base_url="http://www.example.org").status_code == 200
    assert client.get("/", base_url="http://evil.example").status_code == 400


def test_an_unmigrated_database_names_the_command(tmp_path: Path) -> None:
    """A visitor's page and a command say how to make the tables."""
    app = create_app(
        {"TESTING": True, "SECRET_KEY": "x", "DATABASE_URL": f"sqlite:///{tmp_path / 'empty.sqlite3'}"}, environ={}
    )
    try:
        page = Visitor(app.test_client()).register()
        assert page.status_code == 503
        assert "python -m alembic upgrade head" in page.text
        result = app.test_cli_runner().invoke(args=["create-admin", "ada@example.org"])
        assert result.exit_code == 1
        assert "python -m alembic upgrade head" in result.output
    finally:
        app.extensions["database"].engine.dispose()


def test_a_database_without_the_outbox_names_the_command(visitor: Visitor, app: Flask) -> None:
    """The same where only the outbox's tables are missing."""
    with app.extensions["database"].engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE outbox_delivery")
        connection.exec_driver_sql("ALTER TABLE outbox_message RENAME TO away")
    page = visitor.register()
    assert page.status_code == 503
    assert "python -m alembic upgrade head" in page.text


def test_the_outbox_is_for_administrators(visitor: Visitor, app: Flask, add_user: Callable[..., int]) -> None:
    """Visitors are sent to the log-in, users are refused, administrators see it and a link to it."""
    add_user()
    add_user("chief@example.org", "chief", is_admin=True)
    assert visitor.client.get("/admin/outbox/").location == "/auth/login?next=/admin/outbox/"
    visitor.log_in()
    assert visitor.client.get("/admin/outbox/").status_code == 403
    assert "/admin/outbox" not in visitor.get("/").text
    chief = Visitor(app.test_client())
    chief.log_in("chief@example.org")
    assert 'href="/admin/outbox/"' in chief.get("/").text
    assert chief.client.get("/admin/outbox/").status_code == 200
