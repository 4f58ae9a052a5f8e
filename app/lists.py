"""What people subscribe to. Everybody switches each list on the account page, or behind the link in its messages."""

from __future__ import annotations

import sqlalchemy as sa
from flask import Flask, current_app
from sqlalchemy.orm import Session

from app.extensions import mail
from app.links import is_loopback
from app.models import User
from outbox import Kind, Message

NEWS = mail.kind("news", category="subscription", priority="bulk", title="News")
TIPS = mail.kind("tips", category="subscription", priority="bulk", title="Tips")
LISTS = {one.name: one for one in (NEWS, TIPS)}

PATH = "/unsubscribe"


def init_app(app: Flask) -> None:
    """Say where the links lead, unless OUTBOX_UNSUBSCRIBE_URL does. Before `mail.init_app`, which reads it."""
    base = app.config["FLASKY_BASE_URL"] or "http://localhost:5000"
    scheme, _, host = base.partition("://")
    if not app.config.get("OUTBOX_UNSUBSCRIBE_URL") and (scheme == "https" or is_loopback(host.partition("/")[0])):
        app.config["OUTBOX_UNSUBSCRIBE_URL"] = base + PATH


def send(session: Session, kind: Kind, subject: str, text: str) -> int:
    """Write a message of this list to everybody whose address is confirmed; how many. The caller commits.

    Who has unsubscribed is left out by the worker, visibly: the list is asked when the mail is about to be sent.
    """
    addresses = session.scalars(sa.select(User.email).where(User.confirmed).order_by(User.id)).all()
    return len(kind.enqueue_many([message(kind, address, subject, text) for address in addresses]))


def message(kind: Kind, address: str, subject: str, text: str) -> Message:
    """One copy of it, with the link by which its reader unsubscribes."""
    config = current_app.config
    if config.get("OUTBOX_UNSUBSCRIBE_URL"):
        text = f"{text.rstrip()}\n\n-- \nNo more of this: {kind.unsubscribe_url(address)}\n"
    subject = f"{config['FLASKY_MAIL_SUBJECT_PREFIX']} {subject}".strip()
    return Message(subject, recipients=[address], body=text, sender=config["FLASKY_MAIL_SENDER"])
