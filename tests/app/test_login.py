"""Logging in and out, and who may see what."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask

from app import models
from tests.app.browser import PASSWORD, Forms, Visitor


@pytest.fixture(autouse=True)
def _ada(add_user: Callable[..., int]) -> None:
    add_user()


@pytest.mark.parametrize("email", ["ada@example.org", "ADA@Example.ORG"])
def test_address_and_password_log_in(visitor: Visitor, email: str) -> None:
    """The address counts in any case."""
    assert visitor.name() is None
    visitor.log_in(email)
    assert visitor.name() == "ada"


@pytest.mark.parametrize(
    ("email", "password"),
    [("ada@example.org", "wrong password"), ("nobody@example.org", PASSWORD), ("ada@example.org", PASSWORD.upper())],
)
def test_a_wrong_pair_is_refused_in_the_same_words(visitor: Visitor, email: str, password: str) -> None:
    """The page does not tell whether the address or the password was wrong."""
    page = visitor.log_in(email, password)
    assert "Wrong email address or password" in page.text
    assert visitor.name() is None


def test_a_page_that_needs_a_log_in_is_reached_after_it(visitor: Visitor) -> None:
    """The log-in goes on to where one wanted to go."""
    response = visitor.client.get("/account?tab=1")
    assert response.location == "/auth/login?next=/account?tab%3D1"
    response = visitor.submit(response.location, follow=False, email="ada@example.org", password=PASSWORD)
    assert response.location == "/account?tab=1"


@pytest.mark.parametrize("target", ["//evil.example", "/\\evil.example", "https://evil.example", "/%09/evil.example"])
def test_a_log_in_does_not_lead_to_another_site(visitor: Visitor, target: str) -> None:
    """An address elsewhere in `next` is ignored."""
    response = visitor.submit(f"/auth/login?next={target}", follow=False, email="ada@example.org", password=PASSWORD)
    assert response.location == "/"
    assert visitor.client.get(f"/auth/login?next={target}").location == "/"


def test_logging_in_ends_the_session_before(visitor: Visitor) -> None:
    """What an attacker put into the visitor's session does not survive the log-in."""
    page = visitor.client.get("/auth/login")
    with visitor.client.session_transaction() as session:
        session["planted"] = "x"
    data = {**Forms(page.text).forms[0].fields, "email": "ada@example.org", "password": PASSWORD}
    visitor.client.post("/auth/login", data=data)
    with visitor.client.session_transaction() as session:
        assert "planted" not in session
        assert "csrf_token" not in session


def test_logging_out_takes_a_post_with_a_token(visitor: Visitor) -> None:
    """Neither a link nor another site's form can log a user out."""
    visitor.log_in()
    assert visitor.client.get("/auth/logout").status_code == 405
    assert visitor.client.post("/auth/logout").status_code == 400
    assert visitor.name() == "ada"
    visitor.press("/", "/auth/logout")
    assert visitor.name() is None


def test_a_session_of_another_key_is_nobodys(make_app: Callable[..., Flask], visitor: Visitor) -> None:
    """A cookie that was signed with another SECRET_KEY is worth nothing."""
    visitor.log_in()
    other = Visitor(make_app(SECRET_KEY="another key").test_client())
    cookie = visitor.client.get_cookie("session")
    assert cookie is not None
    other.client.set_cookie("session", cookie.value)
    assert other.name() is None


def test_the_session_cookie_is_closed(visitor: Visitor) -> None:
    """HttpOnly, Secure, SameSite=Lax, and an end."""
    page = visitor.client.get("/auth/login")
    data = {**Forms(page.text).forms[0].fields, "email": "ada@example.org", "password": PASSWORD}
    cookie = visitor.client.post("/auth/login", data=data).headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "Secure" in cookie
    assert "SameSite=Lax" in cookie
    assert "Expires" in cookie


def test_an_unknown_address_takes_the_same_work(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """One password hash is computed for a known and for an unknown address, so that time does not tell."""
    computed: list[str] = []

    def check(hashed: str, password: str) -> bool:
        computed.append(hashed.split("$")[0])
        return False

    monkeypatch.setattr(models, "check_password_hash", check)
    visitor.log_in()
    visitor.log_in("nobody@example.org")
    assert len(computed) == 2
    assert computed[0] == computed[1]
