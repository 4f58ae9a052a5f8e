"""Mail of this application: rendered from templates/mail/, written to the outbox in the request's own transaction."""

from __future__ import annotations

from typing import Any

from flask import current_app

from app.extensions import mail
from outbox import Message


def send_email(to: str | list[str], subject: str, template: str, **kwargs: Any) -> None:
    """Write a mail to the outbox; it is sent if, and only if, the caller commits.

    `template`: path without its ending; `.txt` and `.html` are rendered with `kwargs`, all of them. Raises
    MessageError for what cannot be a mail, an unknown template for instance; then nothing is written and the session
    stays usable.
    """
    mail.enqueue(compose_email(to, subject, template, **kwargs))


def compose_email(to: str | list[str], subject: str, template: str, **kwargs: Any) -> Message:
    """The message that `send_email` writes, for `mail.enqueue` with options: a kind, an expiry."""
    subject = f"{current_app.config['FLASKY_MAIL_SUBJECT_PREFIX']} {subject}".strip()
    message = mail.compose_email(to, subject, template, **kwargs)
    message.sender = current_app.config["FLASKY_MAIL_SENDER"]
    return message
