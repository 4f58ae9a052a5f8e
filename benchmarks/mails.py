"""The mail that everyone sends here: 2 KB, text and HTML, each with a Message-ID of its own."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import flask
import flask_mail

import outbox
from outbox.extension.draft import draft_of
from outbox.message.compose import compose
from outbox.message.values import Composed

SENDER = "shop@example.com"
RECIPIENT = "reader@example.org"
LINE = "Your order is on its way and will be with you by Thursday.\n"
TEXT = LINE * 17
PAGE = "<html><body>" + f"<p>{LINE}</p>\n" * 15 + "</body></html>\n"


def message(number: int = 0) -> flask_mail.Message:
    """One mail as an application writes it. Must be called inside an application context."""
    return flask_mail.Message(f"Order {number}", sender=SENDER, recipients=[RECIPIENT], body=TEXT, html=PAGE)


def own_message(number: int = 0) -> outbox.Message:
    """The same as the outbox's own class, which looks no host name up, each to a reader of its own."""
    readers = [f"reader{number}@example.org"]
    return outbox.Message(f"Order {number}", sender=SENDER, recipients=readers, body=TEXT, html=PAGE)


def composed(unique: str, attachment: bytes | None = None) -> Composed:
    """The mail as it is stored. `unique` stands in its Message-ID."""
    app = flask.Flask(__name__)
    flask_mail.Mail(app)
    with app.app_context():
        mail = message()
        if attachment is not None:
            mail.attach("report.pdf", "application/pdf", attachment)
        return compose(draft_of(mail), default_sender=None, now=datetime.now(UTC), max_bytes=25 << 20, unique=unique)


def wire(count: int) -> Iterator[bytes]:
    """As many mails as they go over the wire, all of one length."""
    first = composed(f"n{0:010}").skeleton
    head, found, rest = first.partition(b"n0000000000")
    assert found
    for number in range(count):
        yield head + b"n%010d" % number + rest
