"""The mails about accounts. Each is written in the caller's transaction; none of these functions commits.

What somebody can cause who does not own the address has a throttle by its kind: an address gets few of it. The links in
all of them work, so it does not matter which is the newest.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from flask import current_app

from app import tokens
from app.email import compose_email
from app.extensions import mail
from app.models import User
from app.tokens import Purpose
from outbox import Kind, split_addresses

CONFIRM = mail.kind("confirm", category="security", priority="high", sensitive=True, throttle="3/hour")
RESET = mail.kind("password-reset", category="security", priority="high", sensitive=True, throttle="3/hour")
CHANGE_EMAIL = mail.kind("change-email", category="security", priority="high", sensitive=True, throttle="3/hour")
NOTICE = mail.kind("notice", category="security", throttle="3/hour")  # a stranger can cause it
ALERT = mail.kind("alert", category="security")  # to a confirmed address each time: how its owner learns of a stranger
NEW_USER = mail.kind("new-user", category="notification")


def confirm(user: User) -> None:
    """To a new user: is this address yours?"""
    _send(
        user.email,
        "Confirm your account",
        "mail/confirm",
        kind=CONFIRM,
        expires_at=tokens.expiry(Purpose.CONFIRM),
        user=user,
        token=tokens.issue(Purpose.CONFIRM, user=user.id, email=user.email_key),
    )


def new_user(user: User, administrators: list[str] | None = None) -> None:
    """To the administrators, by default those in FLASKY_ADMIN, if there are any."""
    if administrators is None:
        administrators = split_addresses(current_app.config["FLASKY_ADMIN"] or "", "FLASKY_ADMIN")
    if administrators:
        _send(administrators, "New user", "mail/new_user", kind=NEW_USER, user=user)


def already_registered(user: User) -> None:
    """To a user whose address somebody gave as new: only its owner learns that there is an account."""
    _send(
        user.email,
        "You already have an account",
        "mail/already_registered",
        kind=NOTICE,
        user=user,
    )


def reset_password(user: User) -> None:
    """To a user who forgot the password."""
    _send(
        user.email,
        "Reset your password",
        "mail/reset_password",
        kind=RESET,
        expires_at=tokens.expiry(Purpose.RESET),
        user=user,
        token=tokens.issue(Purpose.RESET, user=user.id, stamp=user.stamp),
    )


def password_changed(user: User) -> None:
    """To a user whose password is another from now on."""
    kind = ALERT if user.confirmed else NOTICE
    _send(user.email, "Your password was changed", "mail/password_changed", kind=kind, user=user)


def change_email(user: User, new_email: str) -> None:
    """To the new address: is it yours?"""
    _send(
        new_email,
        "Confirm your new email address",
        "mail/change_email",
        kind=CHANGE_EMAIL,
        expires_at=tokens.expiry(Purpose.CHANGE_EMAIL),
        user=user,
        new_email=new_email,
        token=tokens.issue(Purpose.CHANGE_EMAIL, user=user.id, stamp=user.stamp, email=new_email),
    )


def change_email_notice(user: User, new_email: str) -> None:
    """To the present address: somebody asked for a change."""
    kind = ALERT if user.confirmed else NOTICE
    _send(
        user.email,
        "Request to change your email address",
        "mail/change_email_notice",
        kind=kind,
        user=user,
        new_email=new_email,
    )


def email_changed(user: User, old_email: str) -> None:
    """To the old address: it is not used any more."""
    _send(
        old_email,
        "Your email address was changed",
        "mail/email_changed",
        kind=ALERT,
        user=user,
        old_email=old_email,
    )


def _send(
    to: str | list[str],
    subject: str,
    template: str,
    *,
    kind: Kind,
    expires_at: datetime | None = None,
    **words: Any,
) -> None:
    """`expires_at`: when the mail is of no use any more (a link in it has expired) and shall not be sent."""
    kind.enqueue(compose_email(to, subject, template, **words), expires_at=expires_at)
