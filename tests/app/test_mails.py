"""The mails themselves: templates, layout, and the call that writes them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, render_template, template_rendered
from flask_mail import Message

from app import db, models
from app.email import send_email
from app.extensions import mail
from app.words import duration
from outbox import TemplateError
from outbox.message.lint import of_message
from outbox.testing import Mailbox
from tests.app.conftest import ROOT

FOLDER = ROOT / "templates" / "mail"
TEMPLATES = sorted(p.stem for p in FOLDER.glob("*.txt") if p.stem != "layout")
NAME = "<b>&Ada"


def render(app: Flask, template: str, ending: str) -> str:
    user = models.User(id=1, email="ada@example.org", username=NAME, created_at=datetime(2026, 1, 2, tzinfo=UTC))
    values = {"user": user, "token": "to.ken", "new_email": "new@example.org", "old_email": "old@example.org"}
    with app.test_request_context("/"):
        return render_template(f"mail/{template}.{ending}", **values)


class Reader(HTMLParser):
    """Finds tags that were not closed, and what refers to the outside."""

    VOID = {"meta", "br", "img"}

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        assert tag not in {"script", "link", "iframe", "form"}, tag
        values = dict(attrs)
        assert (values.get("src") or "cid:").startswith("cid:")  # it goes along with the message
        if tag == "a":
            self.links.add(values["href"] or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("template", TEMPLATES)
def test_outbox_lint_finds_nothing(app: Flask, template: str, mailbox: Mailbox) -> None:
    """Links that the text lacks, images without alt text, no preheader: none of these."""
    text, html = (render(app, template, ending) for ending in ("txt", "html"))
    with app.app_context():
        mail.send(Message("Hello", ["ada@example.org"], text, html, sender="shop@example.org"))
        assert of_message(mailbox.only.headers.as_bytes()) == []


def test_every_mail_has_text_and_html() -> None:
    """Each template is there in both forms."""
    assert len(TEMPLATES) == 8
    for template in TEMPLATES:
        assert (FOLDER / f"{template}.html").is_file()


@pytest.mark.parametrize("template", TEMPLATES)
def test_html_is_whole_and_escaped(app: Flask, template: str) -> None:
    """Tags are closed, values are escaped, nothing is loaded from elsewhere, and the layout is the common one."""
    html = render(app, template, "html")
    reader = Reader(html)
    assert reader.open == []
    assert NAME not in html
    assert "&lt;b&gt;&amp;Ada" in html or template == "change_email"
    assert '<meta name="color-scheme" content="light dark">' in html
    assert 'role="presentation"' in html
    assert "{{" not in html


@pytest.mark.parametrize("template", TEMPLATES)
def test_text_is_plain_and_has_the_same_links(app: Flask, template: str) -> None:
    """Text is not escaped, has no stray blank lines, ends with the signature, and leads where the HTML leads."""
    text = render(app, template, "txt")
    assert NAME in text
    assert text.endswith("\n-- \nFlasky")
    assert not text.startswith("\n")
    assert "\n\n\n" not in text
    for link in Reader(render(app, template, "html")).links:
        assert f"\n{link}\n" in text


def test_the_call_of_the_book_works(app: Flask, mailbox: Mailbox) -> None:
    """send_email(to, subject, template, **kwargs), with the prefix and sender of the settings."""
    app.config["FLASKY_MAIL_SENDER"] = "Flasky Admin <flasky@example.net>"
    with app.app_context():
        user = models.User(email="ada@example.org", username="ada", password_hash="x")
        db.session.add(user)
        db.session.flush()
        told: list[dict[str, Any]] = []
        with template_rendered.connected_to(lambda *_, context, **__: told.append(context), app):
            send_email("chief@example.org", "New User", "mail/new_user", user=user, kind="for the template", priority=1)
        assert {(one["kind"], one["priority"]) for one in told} == {("for the template", 1)}
        assert not mailbox.only.committed
        db.session.commit()
    (mail,) = mailbox
    assert mail.subject == "[Flasky] New User"
    assert mail.sender == "Flasky Admin <flasky@example.net>"
    assert mail.recipients == ("chief@example.org",)
    assert mail.priority == "normal"


def test_the_outbox_takes_what_flask_mail_takes(app: Flask, mailbox: Mailbox) -> None:
    """A function that makes its Message itself, as one written for Flask-Mail does, needs no change."""
    with app.app_context():
        message = Message("Hello", sender="flasky@example.net", recipients=["ada@example.org"])
        message.body = "text"
        message.html = "<p>text</p>"
        mail.send(message)
        db.session.commit()
    assert [mail.text.strip() for mail in mailbox] == ["text"]


def test_an_unknown_template_is_an_error_and_the_session_stays_usable(
    app: Flask, mailbox: Mailbox, user_of: Callable[[str], models.User]
) -> None:
    """Nothing is written for a mail that cannot be rendered; what else the transaction holds is kept."""
    with app.app_context():
        db.session.add(models.User(email="ada@example.org", username="ada", password_hash="x"))
        with pytest.raises(TemplateError, match="mail/nothing"):
            send_email("ada@example.org", "Hello", "mail/nothing")
        db.session.commit()
    assert not mailbox
    assert user_of("ada").email == "ada@example.org"


def test_a_template_of_the_application_may_lie_in_either_folder(app: Flask) -> None:
    """Pages come from app/templates, mail from templates."""
    names = app.jinja_env.list_templates()
    assert "home.html" in names
    assert "mail/confirm.txt" in names
    assert Path(app.root_path, "templates", "home.html").is_file()


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (259200, "3 days"),
        (86400, "1 day"),
        (3600, "1 hour"),
        (5400, "90 minutes"),
        (61, "61 seconds"),
        (0, "0 seconds"),
    ],
)
def test_times_are_said_in_words(seconds: int, words: str) -> None:
    """The largest unit that divides them."""
    assert duration(seconds) == words
