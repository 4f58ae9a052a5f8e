"""A message in the language of its reader, whatever that of the request is."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from flask import Flask
from flask_babel import Babel, format_date, get_locale
from flask_babel.speaklater import LazyString
from jinja2 import DictLoader
from sqlalchemy.orm import Session, scoped_session

from outbox import Message, MessageError, Outbox
from tests.flask.conftest import Committed

MakeApp = Callable[..., Flask]
Db = scoped_session[Session]

TEMPLATES = {
    "mail/welcome.txt": "Hello {{ name }}, {{ day() }}, {{ locale }}",
    "mail/welcome.html": "<p>Hello</p>",
    "mail/welcome.de.txt": "Hallo {{ name }}, {{ day() }}, {{ locale }}",
    "mail/welcome.pt_BR.html": "<p>Oi {{ name }}</p>",
    "mail/welcome.pt.html": "<p>Olá {{ name }}</p>",
    "mail/welcome.zh-Hans.txt": "你好",
}


def subject() -> Any:
    """A lazy text that shows the locale in which it is read."""
    return LazyString(lambda: f"Welcome in {get_locale()}")


@pytest.fixture
def app(make_app: MakeApp) -> Flask:
    """Without Flask-Babel."""
    app = make_app()
    app.jinja_loader = DictLoader(TEMPLATES)
    app.jinja_env.globals["day"] = lambda: "a day"
    return app


@pytest.fixture
def babel(app: Flask) -> Flask:
    """With it; requests are in French."""
    Babel(app, locale_selector=lambda: "fr")
    app.jinja_env.globals["day"] = lambda: format_date(date(2026, 3, 1), "long")
    return app


@pytest.mark.parametrize(
    ("locale", "kinds", "words", "language"),
    [
        ("de", ["text/plain"], "Hallo Ann", "de"),
        ("de_AT", ["text/plain"], "Hallo Ann", "de-AT"),
        ("pt-br", ["text/plain", "text/html"], "Oi Ann", "pt-BR"),
        ("pt", ["text/plain", "text/html"], "Olá Ann", "pt"),
        ("zh_hans", ["text/plain"], "你好", "zh-Hans"),
        ("fr", ["text/plain", "text/html"], "Hello Ann", "fr"),
        (None, ["text/plain", "text/html"], "Hello Ann", None),
    ],
)
def test_templates_by_locale(
    app: Flask,
    outbox: Outbox,
    db: Db,
    committed: Committed,
    locale: str | None,
    kinds: list[str],
    words: str,
    language: Any,
) -> None:
    """The nearest that there is, both of them in one language, and Content-Language; without Flask-Babel, too."""
    with app.app_context():
        outbox.send_email("ann@example.org", "Welcome", "mail/welcome", name="Ann", locale=locale)
        db.commit()
    mail = committed.mail()
    assert [part.get_content_type() for part in mail.walk() if not part.is_multipart()] == kinds
    assert words in next(part for part in mail.walk() if not part.is_multipart()).get_content()
    assert mail["Content-Language"] == language


def test_everything_is_rendered_under_the_messages_locale(
    babel: Flask, outbox: Outbox, db: Db, committed: Committed
) -> None:
    """Templates, dates and a lazy subject, in a French request; the request stays French."""
    with babel.test_request_context():
        outbox.send_email("ann@example.org", subject(), "mail/welcome", name="Ann", locale="de")
        assert str(get_locale()) == "fr"
        db.commit()
    assert committed.mail()["Subject"] == "Welcome in de"
    assert "Hallo Ann, 1. März 2026, de" in committed.mail().get_content()


@pytest.mark.parametrize("way", ["enqueue", "enqueue_many", "enqueue_many, each", "attribute", "kind"])
def test_lazy_texts_of_a_message(babel: Flask, way: str, outbox: Outbox, db: Db, committed: Committed) -> None:
    """`enqueue(message, locale=…)` reads subject and body under it."""
    with babel.test_request_context():
        message = Message(subject(), ["ann@example.org"], LazyString(lambda: format_date(date(2026, 3, 1), "long")))  # type: ignore[arg-type]
        if way == "enqueue":
            outbox.enqueue(message, locale="de_CH")
        elif way == "enqueue_many":
            outbox.enqueue_many([message], locale="de_CH")
        elif way == "enqueue_many, each":
            outbox.enqueue_many([(message, {"locale": "de_CH"})], locale="en")
        elif way == "attribute":
            message.locale = "de_CH"
            outbox.send(message)
        else:
            outbox.kind("welcome").enqueue(message, locale="de_CH")
        db.commit()
    assert committed.mail()["Subject"] == "Welcome in de_CH"
    assert committed.mail().get_content().strip() == "1. März 2026"
    assert committed.mail()["Content-Language"] == "de-CH"


def test_a_composed_subject_is_read_already(babel: Flask, outbox: Outbox) -> None:
    """So that a prefix which is put before it does not read it under the request's locale."""
    with babel.test_request_context():
        message = outbox.compose_email("ann@example.org", subject(), "mail/welcome", name="Ann", locale="de")
        assert f"[Shop] {message.subject}" == "[Shop] Welcome in de"


def test_a_kinds_mail_by_template(babel: Flask, outbox: Outbox, db: Db, committed: Committed) -> None:
    """As `send_email`."""
    with babel.test_request_context():
        outbox.kind("welcome").send_email("ann@example.org", subject(), "mail/welcome", name="Ann", locale="de")
        db.commit()
    assert committed.mail()["Subject"] == "Welcome in de"
    assert committed.mail()["Content-Language"] == "de"


def test_without_a_locale_nothing_is_said(babel: Flask, outbox: Outbox, db: Db, committed: Committed) -> None:
    """The request's locale renders it, as ever."""
    with babel.test_request_context():
        outbox.send(Message(subject(), ["ann@example.org"], "x"))
        db.commit()
    assert committed.mail()["Subject"] == "Welcome in fr"
    assert committed.mail()["Content-Language"] is None


def test_a_header_of_the_message_goes_before(app: Flask, outbox: Outbox, db: Db, committed: Committed) -> None:
    """Two languages in one message are said by hand."""
    with app.app_context():
        headers = {"Content-Language": "de, en"}
        outbox.enqueue(Message("x", ["ann@example.org"], "x", extra_headers=headers), locale="de")
        db.commit()
    assert committed.mail()["Content-Language"] == "de, en"


@pytest.mark.parametrize("locale", ["../../etc", "d", "deutsch", "de/../x", "de\r\nBcc: eve@example.org", 7])
def test_what_is_not_a_locale_is_refused(app: Flask, outbox: Outbox, db: Db, locale: Any) -> None:
    """It would become the name of a file, and a header."""
    with app.app_context():
        with pytest.raises(MessageError, match="locale"):
            outbox.enqueue(Message("x", ["ann@example.org"], "x"), locale=locale)
        with pytest.raises(MessageError, match="locale"):
            outbox.send_email("ann@example.org", "x", "mail/welcome", locale=locale)


def test_a_locale_that_babel_does_not_know_is_refused(babel: Flask, outbox: Outbox) -> None:
    """Before anything is written."""
    with babel.app_context(), pytest.raises(MessageError, match="'xx' is unknown to Babel"):
        outbox.enqueue(Message("x", ["ann@example.org"], "x"), locale="xx")


def test_a_locale_of_babels_own(babel: Flask, outbox: Outbox, db: Db, committed: Committed) -> None:
    """What `get_locale()` returns."""
    with babel.test_request_context():
        outbox.send_email("ann@example.org", "x", "mail/welcome", name="Ann", locale=get_locale())
        db.commit()
    assert "1 mars 2026" in committed.mail().get_body(("plain",)).get_content()  # type: ignore[union-attr]
