"""Log-ins are limited in rate."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
import sqlalchemy as sa
from flask import Flask
from werkzeug.test import TestResponse

from app import db, models, throttle
from app.words import minutes
from outbox.models import OutboxMessage
from tests.app.browser import PASSWORD, Forms, Visitor

WRONG = "wrong password"


@pytest.fixture(autouse=True)
def _users(add_user: Callable[..., int]) -> None:
    add_user()
    add_user("bob@example.org", "bob")


def log_in(visitor: Visitor, password: str = WRONG, *, email: str = "ada@example.org", machine: str) -> TestResponse:
    """Log in from the machine with that address."""
    page = visitor.client.get("/auth/login")
    data = {**Forms(page.text).forms[0].fields, "email": email, "password": password}
    return visitor.client.post("/auth/login", data=data, environ_base={"REMOTE_ADDR": machine})


def age(app: Flask, by: timedelta) -> None:
    """Let every try be so much longer ago."""
    with app.app_context():
        for one in db.session.scalars(sa.select(models.LoginTry)):
            one.at -= by
        db.session.commit()


def tries(app: Flask) -> int:
    with app.app_context():
        return db.session.scalar(sa.select(sa.func.count()).select_from(models.LoginTry)) or 0


def test_too_many_wrong_passwords(visitor: Visitor, app: Flask) -> None:
    """After five the next is turned away unread, the right one too, and told for how long."""
    for _ in range(throttle.PER_PAIR):
        assert log_in(visitor, machine="192.0.2.1").status_code == 200
    for password in (WRONG, PASSWORD):
        response = log_in(visitor, password, machine="192.0.2.1")
        assert response.status_code == 429
        assert "Too many attempts. Please try again in 15 minutes." in response.text
    age(app, throttle.WINDOW)
    assert log_in(visitor, PASSWORD, machine="192.0.2.1").status_code == 302


def test_the_wait_gets_shorter(visitor: Visitor, app: Flask) -> None:
    """Asking again while one waits does not make the wait longer."""
    for _ in range(throttle.PER_PAIR):
        log_in(visitor, machine="192.0.2.1")
    age(app, timedelta(minutes=10))
    for _ in range(throttle.PER_PAIR + 1):
        assert "in 5 minutes" in log_in(visitor, machine="192.0.2.1").text
    age(app, timedelta(minutes=5))
    assert log_in(visitor, PASSWORD, machine="192.0.2.1").status_code == 302


def test_the_owner_elsewhere_gets_in(visitor: Visitor) -> None:
    """Who guesses from one machine locks nobody out of their account on another."""
    for _ in range(throttle.PER_PAIR + 1):
        log_in(visitor, machine="192.0.2.1")
    assert log_in(visitor, PASSWORD, machine="192.0.2.2").status_code == 302


def test_case_and_spaces_do_not_help(visitor: Visitor) -> None:
    """The same account in other letters is the same account."""
    for _ in range(throttle.PER_PAIR):
        log_in(visitor, machine="192.0.2.1")
    assert log_in(visitor, email="ADA@example.org", machine="192.0.2.1").status_code == 429


def test_one_machine_and_many_accounts(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """One password tried on many accounts, known or not, ends as well."""
    monkeypatch.setattr(throttle, "PER_MACHINE", 3)
    for number in range(3):
        assert log_in(visitor, email=f"u{number}@example.org", machine="192.0.2.1").status_code == 200
    assert log_in(visitor, PASSWORD, machine="192.0.2.1").status_code == 429
    assert log_in(visitor, PASSWORD, machine="192.0.2.2").status_code == 302


def test_many_machines_and_one_account(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """One account tried from many machines ends as well, others go on."""
    monkeypatch.setattr(throttle, "PER_ACCOUNT", 3)
    for number in range(3):
        log_in(visitor, machine=f"192.0.2.{number}")
    assert log_in(visitor, machine="192.0.2.9").status_code == 429
    assert log_in(visitor, email="bob@example.org", machine="192.0.2.9").status_code == 200


def test_a_success_forgives(visitor: Visitor, app: Flask) -> None:
    """A log-in takes its own failures back; log-ins that succeed never add up."""
    for _ in range(throttle.PER_PAIR - 1):
        log_in(visitor, machine="192.0.2.1")
    before = tries(app)
    assert log_in(visitor, PASSWORD, machine="192.0.2.1").status_code == 302
    assert tries(app) == before - (throttle.PER_PAIR - 1)
    age(app, throttle.HOUR + timedelta(seconds=1))
    for _ in range(3):
        Visitor(app.test_client()).log_in()
    assert tries(app) == 0


def test_nothing_personal_is_kept(visitor: Visitor, app: Flask) -> None:
    """What is kept of a try tells neither the account nor the machine."""
    log_in(visitor, machine="192.0.2.1")
    with app.app_context():
        kept = " ".join(db.session.scalars(sa.select(models.LoginTry.who)))
    assert "ada" not in kept
    assert "192.0.2.1" not in kept


@pytest.mark.parametrize(("seconds", "words"), [(1, "1 minute"), (60, "1 minute"), (61, "2 minutes"), (0, "1 minute")])
def test_minutes(seconds: int, words: str) -> None:
    """A wait is told in minutes, rounded up."""
    assert minutes(timedelta(seconds=seconds)) == words


def test_one_machine_and_mail_to_many_addresses(visitor: Visitor, app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Registrations and resets together; others go on meanwhile, and so does the machine when time is over."""
    monkeypatch.setattr(throttle, "MAILS_PER_MACHINE", 4)
    for number in (1, 2):
        assert post(visitor, "/auth/register", machine="192.0.2.1", number=number).status_code == 302
        assert post(visitor, "/auth/reset", machine="192.0.2.1", number=number).status_code == 302
    written = messages(app)
    for path in ("/auth/register", "/auth/reset"):
        response = post(visitor, path, machine="192.0.2.1", number=3)
        assert (response.status_code, "Please try again in 15 minutes." in response.text) == (429, True)
    assert messages(app) == written
    assert post(visitor, "/auth/register", machine="192.0.2.2", number=4).status_code == 302
    age(app, throttle.WINDOW)
    assert post(visitor, "/auth/register", machine="192.0.2.1", number=5).status_code == 302
    assert messages(app) > written


def post(visitor: Visitor, path: str, *, machine: str, number: int) -> TestResponse:
    """The form of that page, for the address of that number."""
    page = visitor.client.get(path)
    typed = {
        "email": f"user{number}@example.com",
        "username": f"user{number}",
        "password": PASSWORD,
        "password2": PASSWORD,
    }
    fields = Forms(page.text).forms[0].fields
    data = {name: typed.get(name, value) for name, value in fields.items()}
    return visitor.client.post(path, data=data, environ_base={"REMOTE_ADDR": machine})


def messages(app: Flask) -> int:
    """How many there are."""
    with app.app_context():
        return db.session.scalar(sa.select(sa.func.count()).select_from(OutboxMessage)) or 0
