"""Rows and mail of a view stand or fall together."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.orm import Session

from app import models
from app.auth import mails as auth_mails
from outbox.testing import Mailbox
from tests.app.browser import PASSWORD, Visitor
from tests.app.conftest import link_in


class Crash(Exception):
    """Something went wrong after the mail was written."""


@pytest.fixture
def commits(app: Flask) -> list[str]:
    """The ends of transactions that wrote something."""
    ended: list[str] = []
    engine = app.extensions["database"].engine

    def note(connection: sa.Connection) -> None:
        if connection.connection.dbapi_connection.in_transaction:
            ended.append("commit")

    sa.event.listen(engine, "commit", note)
    return ended


def crash_at_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The session writes all it has, then fails."""

    def commit(session: Session) -> None:
        session.flush()
        raise Crash

    monkeypatch.setattr(Session, "commit", commit)


def test_a_crash_after_the_mail_leaves_neither_user_nor_mail(
    visitor: Visitor, app: Flask, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A registration that fails at its end never was."""
    written: list[str] = []
    new_user = auth_mails.new_user

    def fail(user: models.User) -> None:
        new_user(user)
        with app.extensions["database"].engine.connect() as other:
            assert other.scalar(sa.text("SELECT count(*) FROM outbox_message")) == 0, "mail is visible before commit"
        written.append(user.username)
        raise Crash

    monkeypatch.setattr(auth_mails, "new_user", fail)
    with pytest.raises(Crash):
        visitor.register()
    assert written == ["ada"]
    assert not mailbox
    with app.extensions["database"].engine.connect() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(models.User)) == 0
    monkeypatch.undo()
    visitor.register()
    assert len(mailbox) == 2


def test_each_flow_commits_once(
    visitor: Visitor, mailbox: Mailbox, commits: list[str], user_of: Callable[..., models.User]
) -> None:
    """One commit for the rows and the mail of a request."""

    def count(action: Callable[[], object]) -> int:
        commits.clear()
        action()
        return len(commits)

    assert count(visitor.register) == 1
    assert count(visitor.log_in) == 2  # the try is written down, then taken back; no mail
    assert count(lambda: visitor.get(link_in(mailbox[0]))) == 1
    change = {"email": "new@example.org", "password": PASSWORD}
    assert count(lambda: visitor.submit("/auth/change-email", **change)) == 1
    assert count(lambda: visitor.get(link_in(mailbox[-2]))) == 1
    assert user_of("ada").email == "new@example.org"
    assert count(lambda: visitor.submit("/auth/reset", email="new@example.org")) == 1
    again = {"password": "a new password", "password2": "a new password"}
    assert count(lambda: visitor.submit(link_in(mailbox[-1]), **again)) == 1


def test_a_failed_commit_changes_no_password_and_tells_nobody(
    visitor: Visitor, app: Flask, mailbox: Mailbox, add_user: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the new hash nor the notice survive."""
    add_user()
    visitor.log_in()
    crash_at_commit(monkeypatch)
    with pytest.raises(Crash):
        visitor.submit(
            "/auth/change-password", old_password=PASSWORD, password="new password", password2="new password"
        )
    monkeypatch.undo()
    assert not mailbox
    assert "Wrong email address" not in Visitor(app.test_client()).log_in().text


def test_a_savepoint_does_not_commit(app: Flask) -> None:
    """On SQLite a SAVEPOINT belongs to the session's transaction, also as its first statement."""
    from app import db

    with app.app_context():
        with db.session.begin_nested():
            db.session.add(models.User(email="a@example.org", username="a", password_hash="x"))
        db.session.rollback()
        assert models.by_username(db.session, "a") is None


def test_a_write_after_a_read_waits_for_the_other_writer(app: Flask) -> None:
    """On SQLite a request that has read is not refused with "database is locked" because a worker commits meanwhile."""
    from app import db

    engine = app.extensions["database"].engine
    with app.app_context():
        assert models.by_username(db.session, "a") is None
        with engine.begin() as worker:
            worker.execute(sa.insert(models.User), [values("b")])
        db.session.execute(sa.insert(models.User), [values("a")])
        db.session.commit()
        assert models.by_username(db.session, "b") is not None


def values(name: str) -> dict[str, str]:
    email = f"{name}@example.org"
    return {"email": email, "email_key": email, "username": name, "username_key": name, "password_hash": "x"}
