"""Sessions end on the server, and nobody shares an account with whoever took its address."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import sqlalchemy as sa
from flask import Flask

from app import models
from outbox.testing import Mailbox
from tests.app.browser import PASSWORD, Visitor
from tests.app.conftest import link_in

NEW = "another good password"


def copy_of(visitor: Visitor, app: Flask) -> Visitor:
    """Somebody who has the visitor's cookie."""
    cookie = visitor.client.get_cookie("session")
    assert cookie is not None
    thief = Visitor(app.test_client())
    thief.client.set_cookie("session", cookie.value)
    return thief


def test_logging_out_ends_the_session_on_the_server(visitor: Visitor, app: Flask, add_user: Callable[..., int]) -> None:
    """A copied cookie is dead with the log-out; the user's other devices stay logged in."""
    add_user()
    visitor.log_in()
    elsewhere, thief = Visitor(app.test_client()), copy_of(visitor, app)
    elsewhere.log_in()
    assert thief.name() == "ada"
    thief = copy_of(visitor, app)
    visitor.press("/", "/auth/logout")
    assert (thief.name(), thief.client.get("/account").status_code) == (None, 302)
    assert elsewhere.name() == "ada"


def test_a_changed_password_ends_a_copied_session(visitor: Visitor, app: Flask, add_user: Callable[..., int]) -> None:
    """The session that changed it goes on, under a new cookie."""
    add_user()
    visitor.log_in()
    thief = copy_of(visitor, app)
    visitor.submit("/auth/change-password", old_password=PASSWORD, password=NEW, password2=NEW)
    assert visitor.name() == "ada"
    assert thief.name() is None


def test_a_session_has_an_end(visitor: Visitor, app: Flask, add_user: Callable[..., int]) -> None:
    """After SESSION_DAYS one logs in again, however busy one was; what is over is cleared away."""
    add_user()
    visitor.log_in()
    with sa.orm.Session(app.extensions["database"].engine) as session, session.begin():
        for one in session.scalars(sa.select(models.LoginSession)):
            one.created_at -= timedelta(days=models.SESSION_DAYS)
    assert visitor.name() is None
    visitor.log_in()
    assert visitor.name() == "ada"
    with sa.orm.Session(app.extensions["database"].engine) as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(models.LoginSession)) == 1


def test_the_database_holds_no_cookie(visitor: Visitor, app: Flask, add_user: Callable[..., int]) -> None:
    """Whoever reads the table can log in as nobody."""
    add_user()
    visitor.log_in()
    with visitor.client.session_transaction() as session:
        _, _, token = session["_user_id"].partition(":")
    with sa.orm.Session(app.extensions["database"].engine) as database:
        [one] = database.scalars(sa.select(models.LoginSession))
    assert len(token) >= 32
    assert token not in (one.key, one.stamp)


def test_an_address_taken_by_a_stranger_is_never_shared(
    visitor: Visitor, app: Flask, mailbox: Mailbox, user_of: Callable[[str], models.User]
) -> None:
    """Its owner can't confirm the stranger's account by mistake; by a new password it is the owner's alone."""
    stranger = Visitor(app.test_client())
    stranger.register("ann@example.org", "ann")
    stranger.log_in("ann@example.org")
    assert stranger.name() == "ann"
    assert "not confirmed yet" in stranger.get("/account").text
    stranger.submit("/auth/change-email", email="stranger@evil.example", password=PASSWORD)
    confirm, change = (link_in(next(m for m in mailbox if m.kind == kind)) for kind in ("confirm", "change-email"))
    page = visitor.get(confirm)  # the owner opens the link in her mail
    assert "If you did not register, reset the password" in page.text
    assert not user_of("ann").confirmed
    visitor.submit("/auth/reset", email="ann@example.org")
    visitor.submit(link_in(mailbox[-1]), password=NEW, password2=NEW)
    assert user_of("ann").confirmed
    assert stranger.name() is None
    stranger.log_in("ann@example.org")
    assert stranger.name() is None
    visitor.log_in("ann@example.org", NEW)
    assert visitor.name() == "ann"
    assert "no longer valid" in visitor.get(change).text
    assert user_of("ann").email == "ann@example.org"


def test_a_link_confirms_no_other_account(
    visitor: Visitor, mailbox: Mailbox, add_user: Callable[..., int], user_of: Callable[[str], models.User]
) -> None:
    """Opened by somebody else who is logged in, it confirms neither."""
    visitor.register("ann@example.org", "ann")
    add_user("bob@example.org", "bob", confirmed=False)
    visitor.log_in("bob@example.org")
    assert "to another account" in visitor.get(link_in(mailbox[0])).text
    assert not user_of("ann").confirmed
    assert not user_of("bob").confirmed


def test_a_link_for_an_address_of_before_confirms_nothing(
    visitor: Visitor, app: Flask, mailbox: Mailbox, user_of: Callable[[str], models.User]
) -> None:
    """The address was changed meanwhile."""
    visitor.register("ann@example.org", "ann")
    visitor.log_in("ann@example.org")
    with sa.orm.Session(app.extensions["database"].engine) as session, session.begin():
        session.execute(sa.update(models.User).values(email="b@example.org", email_key="b@example.org"))
    assert "no longer in use" in visitor.get(link_in(mailbox[0])).text
    assert not user_of("ann").confirmed
