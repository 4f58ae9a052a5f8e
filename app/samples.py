"""A sample of each mail, for the preview gallery: made-up people, and links that lead nowhere."""

from __future__ import annotations

from datetime import UTC, datetime

from app import lists
from app.auth import mails
from app.models import User
from outbox import Message

NEW_ADDRESS = "ada.lovelace@example.com"


def somebody(*, confirmed: bool = True) -> User:
    """A user whom the database does not know."""
    return User(
        id=0,
        email="ada@example.org",
        username="Ada",
        stamp="0" * 32,
        confirmed=confirmed,
        created_at=datetime(2026, 3, 14, 9, 30, tzinfo=UTC),
    )


@mails.CONFIRM.preview("new user")
def confirm() -> None:
    mails.confirm(somebody(confirmed=False))


@mails.CONFIRM.preview("long name and address")
def confirm_long() -> None:
    user = somebody(confirmed=False)
    user.username = "Wolfeschlegelsteinhausenbergerdorff-Featherstonehaugh"
    user.email = "a-very-long-local-part-that-does-not-end@mail.subdomain.of-a-long-domain.example.org"
    mails.confirm(user)


@mails.RESET.preview("forgotten password")
def reset_password() -> None:
    mails.reset_password(somebody())


@mails.CHANGE_EMAIL.preview("new address")
def change_email() -> None:
    mails.change_email(somebody(), NEW_ADDRESS)


@mails.NOTICE.preview("already registered")
def already_registered() -> None:
    mails.already_registered(somebody())


@mails.ALERT.preview("password changed")
def password_changed() -> None:
    mails.password_changed(somebody())


@mails.ALERT.preview("change of address asked for")
def change_email_notice() -> None:
    mails.change_email_notice(somebody(), NEW_ADDRESS)


@mails.ALERT.preview("address changed")
def email_changed() -> None:
    mails.email_changed(somebody(), "ada@example.net")


@mails.NEW_USER.preview("to administrators")
def new_user() -> None:
    mails.new_user(somebody(confirmed=False), ["chief@example.org"])


@lists.NEWS.preview("an issue")
def news() -> Message:
    return lists.message(lists.NEWS, "ada@example.org", "News of November", "There is a new version.\n")


@lists.TIPS.preview("a tip")
def tips() -> Message:
    return lists.message(lists.TIPS, "ada@example.org", "Tip of the week", "Register samples of your mail.\n")
