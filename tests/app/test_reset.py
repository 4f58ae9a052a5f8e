"""Forgotten passwords."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import Flask

from app import models
from outbox.testing import Mailbox
from tests.app.browser import PASSWORD, Forms, Visitor, without_tokens
from tests.app.conftest import link_in

NEW = "another good password"


@pytest.fixture(autouse=True)
def _ada(add_user: Callable[..., int]) -> None:
    add_user(confirmed=False)


def ask(visitor: Visitor, email: str = "ada@example.org") -> str:
    return without_tokens(visitor.submit("/auth/reset", email=email).text)


def test_a_reset_by_mail_changes_the_password(
    visitor: Visitor, app: Flask, mailbox: Mailbox, user_of: Callable[[str], models.User]
) -> None:
    """The link sets a new password, confirms the address, and its user is told."""
    ask(visitor)
    (mail,) = mailbox
    assert (mail.recipients, mail.kind, mail.priority) == (("ada@example.org",), "password-reset", "high")
    assert mail.expires_at is not None
    mailbox.clear()
    visitor.submit(link_in(mail), password=NEW, password2=NEW)
    (told,) = mailbox
    assert (told.recipients, told.subject) == (("ada@example.org",), "[Flasky] Your password was changed")
    assert user_of("ada").confirmed
    assert "Wrong email address or password" in visitor.log_in(password=PASSWORD).text
    visitor.log_in(password=NEW)
    assert visitor.name() == "ada"


def test_the_answer_does_not_tell_whether_there_is_an_account(visitor: Visitor, mailbox: Mailbox) -> None:
    """The same page for a known and an unknown address; mail for the known one alone."""
    assert ask(visitor, "ada@example.org") == ask(visitor, "nobody@example.org")
    assert len(mailbox) == 1


def test_a_reset_link_works_once(visitor: Visitor, mailbox: Mailbox, later: Callable[[], None]) -> None:
    """A changed password voids every link that was sent before."""
    ask(visitor)
    later()
    ask(visitor)
    first, second = (link_in(mail) for mail in mailbox)
    visitor.submit(first, password=NEW, password2=NEW)
    for link in (first, second):
        assert "no longer valid" in visitor.get(link).text


def test_of_two_uses_at_once_one_gets_through(
    visitor: Visitor, app: Flask, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link that is used by another request between check and write changes nothing."""
    ask(visitor)
    link = link_in(mailbox[0])
    other, hash_password = Visitor(app.test_client()), models.hash_password

    def other_first(password: str) -> str:
        monkeypatch.setattr(models, "hash_password", hash_password)
        with ThreadPoolExecutor(1) as elsewhere:
            values = {"password": "the other password", "password2": "the other password"}
            elsewhere.submit(other.submit, link, **values).result(timeout=30)
        return hash_password(password)

    monkeypatch.setattr(models, "hash_password", other_first)
    assert "no longer valid" in visitor.submit(link, password=NEW, password2=NEW).text
    visitor.log_in(password="the other password")
    assert visitor.name() == "ada"
    assert [mail.kind for mail in mailbox] == ["password-reset", "alert"]


def test_a_reset_ends_the_other_sessions(visitor: Visitor, app: Flask, mailbox: Mailbox) -> None:
    """Whoever was logged in before is logged out."""
    elsewhere = Visitor(app.test_client())
    elsewhere.log_in()
    assert elsewhere.name() == "ada"
    ask(visitor)
    visitor.submit(link_in(mailbox[0]), password=NEW, password2=NEW)
    assert elsewhere.name() is None


def test_an_expired_link_is_refused(visitor: Visitor, app: Flask, mailbox: Mailbox) -> None:
    """After FLASKY_RESET_SECONDS the link is worth nothing."""
    ask(visitor)
    app.config["FLASKY_RESET_SECONDS"] = -1
    assert "no longer valid" in visitor.get(link_in(mailbox[0])).text


def test_a_weak_password_leaves_the_link_good(visitor: Visitor, mailbox: Mailbox) -> None:
    """A fault in the form can be repaired."""
    ask(visitor)
    link = link_in(mailbox[0])
    assert "8 to 128 characters" in visitor.submit(link, password="short", password2="short").text
    visitor.submit(link, password=NEW, password2=NEW)
    visitor.log_in(password=NEW)
    assert visitor.name() == "ada"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:443", "localhost.evil.example"])
def test_a_forged_host_gets_no_link(app: Flask, mailbox: Mailbox, host: str) -> None:
    """No mail is written whose link would hand the token to whoever wrote the Host header."""
    visitor = Visitor(app.test_client())
    page = visitor.client.get("/auth/reset", base_url=f"http://{host}")
    assert page.status_code == 200
    with visitor.client as client:
        data = {**Forms(page.text).forms[0].fields, "email": "ada@example.org"}
        answer = client.post("/auth/reset", data=data, base_url=f"http://{host}")
    assert answer.status_code == 400
    assert "FLASKY_BASE_URL" in answer.text
    assert not mailbox


def test_links_lead_to_the_configured_site(make_app: Callable[..., Flask]) -> None:
    """With FLASKY_BASE_URL set, the Host header does not matter."""
    app = make_app(FLASKY_BASE_URL="https://www.example.org/shop")
    ask(Visitor(app.test_client()))
    assert "https://www.example.org/shop/auth/reset/" in Mailbox(app)[0].text
