"""Registering and confirming."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import sqlalchemy as sa
from flask import Flask

from app import models
from outbox.testing import Mailbox
from tests.app.browser import PASSWORD, Visitor, without_tokens
from tests.app.conftest import ADMIN, link_in


def count_users(app: Flask) -> int:
    with app.extensions["database"].engine.connect() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(models.User)) or 0


def test_registering_writes_mail_to_the_user_and_to_the_administrator(visitor: Visitor, mailbox: Mailbox) -> None:
    """A registration puts two mails into the outbox: a link for the user, the news for FLASKY_ADMIN."""
    page = visitor.register("Ada@Example.org", "ada")
    assert "We have sent a link to Ada@example.org" in page.text
    confirm, new_user = mailbox
    assert (confirm.recipients, confirm.kind, confirm.priority) == (("Ada@example.org",), "confirm", "high")
    assert confirm.expires_at is not None
    assert confirm.subject == "[Flasky] Confirm your account"
    assert (new_user.recipients, new_user.kind) == ((ADMIN,), "new-user")
    assert "ada" in new_user.text
    assert "Ada@example.org" in new_user.html


def test_without_an_administrator_only_the_user_gets_mail(make_app: Callable[..., Flask]) -> None:
    """FLASKY_ADMIN may be unset."""
    app = make_app(FLASKY_ADMIN=None)
    Visitor(app.test_client()).register()
    assert [mail.kind for mail in Mailbox(app)] == ["confirm"]


def test_several_administrators(make_app: Callable[..., Flask]) -> None:
    """FLASKY_ADMIN may name several, with commas between; all get the mail."""
    app = make_app(FLASKY_ADMIN="Ada <ada@example.org>, bob@example.org")
    Visitor(app.test_client()).register()
    assert Mailbox(app)[1].recipients == ("ada@example.org", "bob@example.org")


def test_the_link_confirms_the_address_each_time_it_is_opened(
    visitor: Visitor, mailbox: Mailbox, user_of: Callable[[str], models.User]
) -> None:
    """The confirmation link works for who registered, and a second time."""
    visitor.register()
    assert not user_of("ada").confirmed
    link = link_in(mailbox[0])
    assert "Log in with the password that you chose" in visitor.get(link).text
    assert not user_of("ada").confirmed
    visitor.log_in()
    for _ in range(2):
        assert "address is confirmed" in visitor.get(link).text
        assert user_of("ada").confirmed


def test_a_link_that_was_tampered_with_confirms_nothing(
    visitor: Visitor, mailbox: Mailbox, user_of: Callable[[str], models.User]
) -> None:
    """A changed token is refused."""
    visitor.register()
    assert "not valid or has expired" in visitor.get(link_in(mailbox[0])[:-2] + "xx").text
    assert not user_of("ada").confirmed


def test_an_unconfirmed_user_can_have_the_mail_again(visitor: Visitor, app: Flask, mailbox: Mailbox) -> None:
    """The account page offers a new link as long as the address is not confirmed."""
    visitor.register()
    mailbox.clear()
    visitor.log_in()
    visitor.press("/account", "/auth/confirm")
    (mail,) = mailbox
    assert mail.recipients == ("ada@example.org",)
    visitor.get(link_in(mail))
    assert "not confirmed yet" not in visitor.get("/account").text


def test_an_address_that_is_known_is_told_to_its_owner_only(
    visitor: Visitor, app: Flask, mailbox: Mailbox, add_user: Callable[..., int]
) -> None:
    """The page is the same for a known address as for a new one; its owner gets a mail, however it is typed."""
    add_user("ada@example.org", "ada")
    known = without_tokens(visitor.register("ADA@example.org", "other").text)
    (notice,) = mailbox
    assert notice.recipients == ("ada@example.org",)
    assert "already have an account" in notice.subject
    new = without_tokens(visitor.register("new@example.org", "new").text)
    assert known.replace("ADA@example.org", "") == new.replace("new@example.org", "")
    assert count_users(app) == 2


def test_a_user_name_is_given_once_in_any_case(visitor: Visitor, app: Flask, add_user: Callable[..., int]) -> None:
    """User names differ in more than case."""
    add_user("ada@example.org", "Ada")
    assert "This user name is taken." in visitor.register("other@example.org", "aDA").text
    assert count_users(app) == 1


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"email": "nonsense"}, "@"),
        ({"email": "ada@example.org\nBcc: all@example.org"}, "@-sign"),
        ({"email": ""}, "Please enter an email address."),
        ({"username": "1ada"}, "Start with a letter"),
        ({"username": "ada<b>"}, "Start with a letter"),
        ({"username": "a" * 65}, "between 1 and 64"),
        ({"password": "short", "password2": "short"}, "8 to 128 characters"),
        ({"password": "x" * 129, "password2": "x" * 129}, "8 to 128 characters"),
        ({"password2": "something else"}, "The passwords do not match."),
    ],
)
def test_what_cannot_be_an_account_is_refused(
    visitor: Visitor, app: Flask, mailbox: Mailbox, values: dict[str, str], told: str
) -> None:
    """Each fault is told beside its field; no user and no mail come of it."""
    page = visitor.register(**{"email": "ada@example.org", "username": "ada", **values})
    assert told in page.text
    assert 'aria-invalid="true"' in page.text
    assert '="None"' not in page.text
    assert count_users(app) == 0
    assert not mailbox


def test_what_two_requests_want_at_once_only_one_gets(
    visitor: Visitor, app: Flask, mailbox: Mailbox, add_user: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that is taken between the check and the write is an error on the page, and no mail is written."""
    from app.auth import forms

    monkeypatch.setattr(forms.RegistrationForm, "validate_username", lambda form, field: add_user("b@example.org"))
    page = visitor.register()
    assert page.status_code == 200
    assert "has just been taken" in page.text
    assert not mailbox
    assert count_users(app) == 1


def test_an_address_beyond_ascii_can_register(visitor: Visitor, mailbox: Mailbox) -> None:
    """Internationalised domains are kept as people read them."""
    visitor.register("ada@bücher.example")
    assert mailbox[0].recipients[0] in {"ada@bücher.example", "ada@xn--bcher-kva.example"}
    visitor.client.post("/auth/logout")
    visitor.log_in("ada@bücher.example")
    assert visitor.name() == "ada"


def test_passwords_are_kept_as_scrypt_hashes(visitor: Visitor, user_of: Callable[[str], models.User]) -> None:
    """Nothing but a salted hash is stored."""
    visitor.register()
    user = user_of("ada")
    assert user.password_hash.startswith("scrypt:")
    assert PASSWORD not in user.password_hash
    assert user.verify_password(PASSWORD)
    with pytest.raises(AttributeError):
        _ = user.password
