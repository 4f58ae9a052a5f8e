"""Changes to one's own account."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from flask import Flask

from app import models
from app.extensions import mail
from outbox.testing import Mailbox
from tests.app.browser import PASSWORD, Visitor, without_tokens
from tests.app.conftest import link_in

NEW = "another good password"


@pytest.fixture
def ada(visitor: Visitor, add_user: Callable[..., int]) -> Visitor:
    add_user()
    visitor.log_in()
    return visitor


def ask_for(visitor: Visitor, email: str, password: str = PASSWORD) -> str:
    return without_tokens(visitor.submit("/auth/change-email", email=email, password=password).text)


def test_a_change_of_address_writes_to_both(
    ada: Visitor, app: Flask, mailbox: Mailbox, user_of: Callable[[str], models.User]
) -> None:
    """A link goes to the new address, a notice to the old; it counts when the link is opened, and the old is told."""
    ask_for(ada, "countess@example.org")
    link, notice = mailbox
    assert (link.recipients, link.kind, link.priority) == (("countess@example.org",), "change-email", "high")
    assert link.expires_at is not None
    assert notice.recipients == ("ada@example.org",)
    assert "countess@example.org" in notice.text
    assert user_of("ada").email == "ada@example.org"
    mailbox.clear()
    assert "Your address is now countess@example.org" in ada.get(link_in(link)).text
    assert user_of("ada").email == "countess@example.org"
    (told,) = mailbox
    assert told.recipients == ("ada@example.org",)
    assert ada.name() == "ada"
    assert "Wrong email address" in Visitor(app.test_client()).log_in("ada@example.org").text
    again = Visitor(app.test_client())
    again.log_in("COUNTESS@example.org")
    assert again.name() == "ada"


def test_a_link_to_change_the_address_works_once(ada: Visitor, mailbox: Mailbox) -> None:
    """It is void once it was used, and so are the others that were sent before, also after a change back."""
    ask_for(ada, "one@example.org")
    ask_for(ada, "two@example.org")
    one, two = (link_in(mail) for mail in mailbox if mail.kind == "change-email")
    ada.get(one)
    for link in (one, two):
        assert "no longer valid" in ada.get(link).text
    ask_for(ada, "ada@example.org")
    ada.get(link_in(mailbox[-2]))
    assert "no longer valid" in ada.get(one).text


def test_the_link_asks_for_a_log_in(
    ada: Visitor, app: Flask, mailbox: Mailbox, user_of: Callable[..., models.User]
) -> None:
    """Whoever merely follows the link, a mail scanner for instance, changes nothing; after the log-in it counts."""
    ask_for(ada, "new@example.org")
    link = link_in(mailbox[0])
    other = Visitor(app.test_client())
    response = other.client.get(link)
    assert response.location.startswith("/auth/login?next=/auth/change-email/")
    assert user_of("ada").email == "ada@example.org"
    other.submit(response.location, email="ada@example.org", password=PASSWORD)
    assert user_of("ada").email == "new@example.org"


def test_the_link_is_for_its_own_user(
    ada: Visitor, app: Flask, mailbox: Mailbox, add_user: Callable[..., int], user_of: Callable[..., models.User]
) -> None:
    """Somebody else's link changes neither account."""
    ask_for(ada, "new@example.org")
    add_user("bob@example.org", "bob")
    bob = Visitor(app.test_client())
    bob.log_in("bob@example.org")
    assert "no longer valid" in bob.get(link_in(mailbox[0])).text
    assert user_of("bob").email == "bob@example.org"
    assert user_of("ada").email == "ada@example.org"


def test_an_address_of_somebody_else_is_not_told(
    ada: Visitor, app: Flask, mailbox: Mailbox, add_user: Callable[..., int]
) -> None:
    """The page is the same for an address that is taken; its owner is told, and no link is written."""
    add_user("bob@example.org", "bob")
    taken = ask_for(ada, "Bob@example.org")
    first, notice = mailbox
    assert first.recipients == ("bob@example.org",)
    assert "already have an account" in first.subject
    assert notice.recipients == ("ada@example.org",)
    free = ask_for(ada, "free@example.org")
    assert taken.replace("Bob@", "") == free.replace("free@", "")


def test_an_address_taken_in_the_meantime_is_refused(
    ada: Visitor, mailbox: Mailbox, add_user: Callable[..., int], user_of: Callable[..., models.User]
) -> None:
    """The link fails if somebody else has the address by now; nothing changes and nobody is told."""
    ask_for(ada, "bob@example.org")
    add_user("bob@example.org", "bob")
    before = len(mailbox)
    assert "can no longer be used" in ada.get(link_in(mailbox[0])).text
    assert user_of("ada").email == "ada@example.org"
    assert len(mailbox) == before
    assert ada.name() == "ada"


@pytest.mark.parametrize(
    ("email", "password", "told"),
    [
        ("ada@example.org", PASSWORD, "already your address"),
        ("new@example.org", "wrong password", "password is not correct"),
        ("nonsense", PASSWORD, "@"),
    ],
)
def test_a_change_of_address_can_be_refused(
    ada: Visitor, mailbox: Mailbox, email: str, password: str, told: str
) -> None:
    """No mail comes of a request that cannot be met."""
    assert told in ask_for(ada, email, password)
    assert not mailbox


def test_an_address_can_change_its_case(ada: Visitor, mailbox: Mailbox, user_of: Callable[..., models.User]) -> None:
    """One's own address in another case is no one else's."""
    ask_for(ada, "Ada@example.org")
    ada.get(link_in(mailbox[0]))
    assert user_of("ada").email == "Ada@example.org"


def test_a_change_of_password_is_told_and_ends_the_other_sessions(ada: Visitor, app: Flask, mailbox: Mailbox) -> None:
    """This session goes on; others, and links to reset the password, are void."""
    elsewhere = Visitor(app.test_client())
    elsewhere.log_in()
    elsewhere.submit("/auth/reset", email="ada@example.org")
    ada.submit("/auth/change-password", old_password=PASSWORD, password=NEW, password2=NEW)
    reset, told = mailbox
    assert (told.recipients, told.kind) == (("ada@example.org",), "alert")
    assert ada.name() == "ada"
    assert elsewhere.name() is None
    assert "no longer valid" in elsewhere.get(link_in(reset)).text
    elsewhere.log_in(password=NEW)
    assert elsewhere.name() == "ada"


def test_a_change_of_password_needs_the_old_one(ada: Visitor, mailbox: Mailbox) -> None:
    """A session that somebody left open is not enough."""
    page = ada.submit("/auth/change-password", old_password="wrong password", password=NEW, password2=NEW)
    assert "password is not correct" in page.text
    assert not mailbox


@pytest.mark.parametrize("path", ["/account", "/auth/change-password", "/auth/change-email"])
def test_an_account_is_for_its_user(visitor: Visitor, path: str) -> None:
    """Without a log-in one is sent to it."""
    assert visitor.client.get(path).location == f"/auth/login?next={path}"


def switches(page: str) -> dict[str, bool]:
    """The lists on the account page, and whether each is on."""
    found = re.findall(r'<input type="checkbox" name="list" value="(\w+)"( checked)?>', page)
    return {name: bool(checked) for name, checked in found}


def test_notification_settings(ada: Visitor, app: Flask, mailbox: Mailbox) -> None:
    """What is ticked comes and the rest does not, as the link in the message says as well."""
    assert switches(ada.get("/account").text) == {"news": True, "tips": True}
    page = ada.submit("/account", list="news").text
    assert "notification settings were saved" in page
    assert switches(page) == {"news": True, "tips": False}
    for name in ("news", "tips"):
        sent = app.test_cli_runner().invoke(args=["send-list", name, "Spring"], input="It is spring.\n")
        assert (sent.exit_code, sent.output) == (0, "1 queued.\n")
    mailbox.drain()
    assert {one.kind: one.states["ada@example.org"] for one in mailbox} == {"news": "sent", "tips": "failed"}
    link = re.search(r"No more of this: http://localhost:5000(\S+)", mailbox[-1].text or "")
    assert link is not None
    stranger = app.test_client()
    assert "You are unsubscribed" in stranger.get(link[1]).text
    stranger.post(link[1], data={"do": "undo"})
    assert switches(ada.get("/account").text) == {"news": True, "tips": True}


def test_nobody_sets_the_mail_of_an_address_that_is_not_confirmed(
    visitor: Visitor, add_user: Callable[..., int], app: Flask
) -> None:
    """It may be somebody else's."""
    add_user(confirmed=False)
    visitor.log_in()
    assert switches(visitor.get("/account").text) == {}
    token = re.search(r'name="csrf_token" value="([^"]+)"', visitor.get("/account").text)
    assert token is not None
    visitor.client.post("/account/notifications", data={"csrf_token": token[1]})
    with app.app_context():
        assert all(one.on for one in mail.subscriptions("ada@example.org"))
