"""Mail of this application: rendered from templates/mail/, written to the outbox in the request's own transaction."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from flask import current_app

from app.extensions import outbox


def send_email(
    to: str | list[str],
    subject: str,
    template: str,
    *,
    kind: str | None = None,
    priority: str = "normal",
    expires_at: datetime | None = None,
    **kwargs: Any,
) -> None:
    """Write a mail to the outbox; it is sent if, and only if, the caller commits.

    `template`: path without its ending; `.txt` and `.html` are rendered with `kwargs`. `expires_at`: when the mail is
    of no use any more (a link in it has expired) and shall not be sent. Raises MessageError for what cannot be a mail,
    an unknown template for instance; then nothing is written and the session stays usable.
    """
    subject = f"{current_app.config['FLASKY_MAIL_SUBJECT_PREFIX']} {subject}".strip()
    message = outbox.compose_email(to, subject, template, **kwargs)
    message.sender = current_app.config["FLASKY_MAIL_SENDER"]
    outbox.enqueue(message, kind=kind, priority=priority, expires_at=expires_at)
