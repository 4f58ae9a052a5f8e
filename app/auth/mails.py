"""The mails about accounts. Each is written in the caller's transaction; none of these functions commits.

What somebody can cause who does not own the address is written once in `throttle.WINDOW` for each address: the outbox
takes a message with a `key` that it has for that message. (Kinds will bring their own throttle, `throttle="3/hour"`.)
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from flask import current_app

from app import throttle, tokens
from app.email import compose_email
from app.extensions import mail
from app.models import User, fold
from app.tokens import Purpose
from outbox import KeyTakenError, Kind, split_addresses

CONFIRM = mail.kind("confirm", category="security", priority="high", sensitive=True)
RESET = mail.kind("password-reset", category="security", priority="high", sensitive=True)
CHANGE_EMAIL = mail.kind("change-email", category="security", priority="high", sensitive=True)
NOTICE = mail.kind("notice", category="security")
NEW_USER = mail.kind("new-user", category="notification")

PER_ADDRESS = 3
"""So many users can have a link sent to the same new address in that time; one alone could keep all others from it."""


def confirm(user: User) -> None:
    """To a new user: is this address yours?"""
    _send(
        user.email,
        "Confirm your account",
        "mail/confirm",
        kind=CONFIRM,
        key=_once("confirm", user.email),
        expires_at=tokens.expiry(Purpose.CONFIRM),
        user=user,
        token=tokens.issue(Purpose.CONFIRM, user=user.id, email=user.email_key),
    )


def new_user(user: User) -> None:
    """To the administrators in FLASKY_ADMIN, if there are any."""
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
        key=_once("already-registered", user.email),
        user=user,
    )


def reset_password(user: User) -> None:
    """To a user who forgot the password."""
    _send(
        user.email,
        "Reset your password",
        "mail/reset_password",
        kind=RESET,
        key=_once("password-reset", user.email),
        expires_at=tokens.expiry(Purpose.RESET),
        user=user,
        token=tokens.issue(Purpose.RESET, user=user.id, stamp=user.stamp),
    )


def password_changed(user: User) -> None:
    """To a user whose password is another from now on."""
    # to a confirmed address each time: it is how its owner learns of a stranger
    key = None if user.confirmed else _once("password-changed", user.email)
    _send(user.email, "Your password was changed", "mail/password_changed", kind=NOTICE, key=key, user=user)


def change_email(user: User, new_email: str) -> None:
    """To the new address: is it yours?"""
    _send(
        new_email,
        "Confirm your new email address",
        "mail/change_email",
        kind=CHANGE_EMAIL,
        key=_once("change-email", new_email, str(user.id % PER_ADDRESS)),
        expires_at=tokens.expiry(Purpose.CHANGE_EMAIL),
        user=user,
        new_email=new_email,
        token=tokens.issue(Purpose.CHANGE_EMAIL, user=user.id, stamp=user.stamp, email=new_email),
    )


def change_email_notice(user: User, new_email: str) -> None:
    """To the present address: somebody asked for a change."""
    _send(
        user.email,
        "Request to change your email address",
        "mail/change_email_notice",
        kind=NOTICE,
        key=_once("change-email-notice", user.email),
        user=user,
        new_email=new_email,
    )


def email_changed(user: User, old_email: str) -> None:
    """To the old address: it is not used any more."""
    _send(
        old_email,
        "Your email address was changed",
        "mail/email_changed",
        kind=NOTICE,
        user=user,
        old_email=old_email,
    )


def _send(
    to: str | list[str],
    subject: str,
    template: str,
    *,
    kind: Kind,
    key: str | None = None,
    expires_at: datetime | None = None,
    **words: Any,
) -> None:
    """`expires_at`: when the mail is of no use any more (a link in it has expired) and shall not be sent."""
    message = compose_email(to, subject, template, **words)
    with suppress(KeyTakenError):  # the one before says the same with another token
        kind.enqueue(message, key=key, expires_at=expires_at)


def _once(name: str, email: str, *more: str) -> str:
    """A key that is the same for this address until the present window is over. It tells no address."""
    digest = hashlib.sha256("\0".join((fold(email), *more)).encode()).hexdigest()
    return f"{name}:{digest[:32]}:{int(_now().timestamp()) // int(throttle.WINDOW.total_seconds())}"


def _now() -> datetime:
    return datetime.now(UTC)
