"""Unsubscribing by the link of a message: who gets one, and what looking at it and posting to it do."""

from __future__ import annotations

import base64
import email
import email.policy
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from typing import NamedTuple

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from jinja2 import DictLoader
from sqlalchemy.orm import Session

import outbox.web
from outbox import ConfigurationError, Message, MessageError, Outbox
from outbox.extension.kinds import Kind
from outbox.models import Base, OutboxDelivery, OutboxEvent, OutboxMessage, OutboxSuppression
from outbox.store.queue import Queue

URL = "https://shop.example/unsubscribe"
ONE_CLICK = {"List-Unsubscribe": "One-Click"}


class Site(NamedTuple):
    """An application with a newsletter, and its database."""

    app: Flask
    mail: Outbox
    engine: sa.Engine
    news: Kind
    reset: Kind
    session: Session

    @property
    def client(self) -> FlaskClient:
        return self.app.test_client()

    def newest(self) -> EmailMessage:
        self.session.commit()
        with Session(self.engine) as session:
            row = session.scalars(sa.select(OutboxMessage).order_by(OutboxMessage.id.desc()).limit(1)).one()
            parsed = email.message_from_bytes(row.skeleton, policy=email.policy.default)
            assert isinstance(parsed, EmailMessage)
            return parsed

    def listed(self) -> list[tuple[str | None, str, str]]:
        with Session(self.engine) as session:
            rows = session.scalars(sa.select(OutboxSuppression).order_by(OutboxSuppression.id))
            return [(row.address, row.scope, row.reason) for row in rows]

    def path(self, to: str = "ann@example.org") -> str:
        """Of the link in a message to this address."""
        self.news.enqueue(Message("News", recipients=[to], body="Text"))
        link = re.search(r"<https://shop\.example(/unsubscribe/[^>]+)>", str(self.newest()["List-Unsubscribe"]))
        assert link is not None
        return link[1]


@pytest.fixture
def site() -> Iterator[Site]:
    with make_site({}) as made:
        yield made


@contextmanager
def make_site(config: dict[str, object]) -> Iterator[Site]:
    folder = tempfile.TemporaryDirectory()
    engine = sa.create_engine(f"sqlite:///{folder.name}/outbox.sqlite", poolclass=sa.NullPool)
    Base.metadata.create_all(engine)
    app, mail = Flask(__name__), Outbox()
    app.config.update(
        SECRET_KEY="a secret of some length", MAIL_DEFAULT_SENDER="shop@example.org", OUTBOX_UNSUBSCRIBE_URL=URL
    )
    app.config.update(config)
    app.jinja_loader = DictLoader(
        {
            "news.txt": "News.\n\nNo more: {{ unsubscribe_url() }}\n",
            "news.html": '<a href="{{ unsubscribe_url() }}">No</a>',
        }
    )
    news, reset = mail.kind("weekly news", category="subscription"), mail.kind("reset", category="security")
    with folder, Session(engine) as session:
        mail.init_app(app, session=session)
        app.register_blueprint(outbox.web.unsubscribe_blueprint(), url_prefix="/unsubscribe")
        with app.app_context():
            made = Site(app, mail, engine, news, reset, session)
            yield made


def test_the_headers_of_a_subscription(site: Site) -> None:
    """Each as RFC 8058, RFC 2919 and Gmail read them; whole, however long the link is."""
    site.news.enqueue(Message("News", recipients=["a" * 60 + "@a-rather-long-domain.example.org"], body="Text"))
    message = site.newest()
    assert re.fullmatch(rf"<{URL}/[\w-]+>", str(message["List-Unsubscribe"]))
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert message["List-Id"] == "<weekly-news.shop.example>"
    assert message["Feedback-ID"] is None
    assert "ann" not in str(message["List-Unsubscribe"])


def test_the_address_is_not_in_clear(site: Site) -> None:
    """Nor where a reader of logs undoes the encoding: links to addresses that differ at the end differ early."""
    tokens = [site.path(f"ann@example.{end}").rpartition("/")[2] for end in ("org", "net")]
    for one in tokens:
        assert b"ann@" not in base64.urlsafe_b64decode(one + "=" * (-len(one) % 4))
    assert tokens[0][30:50] != tokens[1][30:50]


def test_an_address_and_a_name_for_gmail() -> None:
    config: dict[str, object] = {"OUTBOX_UNSUBSCRIBE_MAILTO": "leave@shop.example", "OUTBOX_FEEDBACK_ID": "shop1"}
    with make_site(config) as site:
        site.path()
        assert ">, <mailto:leave@shop.example?subject=unsubscribe%20" in str(site.newest()["List-Unsubscribe"])
        assert site.newest()["Feedback-ID"] == "weekly-news:subscription:shop1"


@pytest.mark.parametrize("category", ["security", "receipt", "notification", None])
def test_nothing_of_it_in_other_mail(site: Site, category: str | None) -> None:
    site.mail.kind("other", category=category).enqueue(Message("Hello", recipients=["ann@example.org"], body="Text"))
    names = {name.lower() for name in site.newest()}
    assert not {one for one in names if one.startswith("list-") or one == "feedback-id"}


def test_the_applications_own_header_goes_before(site: Site) -> None:
    own = {"List-Unsubscribe": "<mailto:me@shop.example>"}
    site.news.enqueue(Message("News", recipients=["ann@example.org", "bob@example.org"], body="x", extra_headers=own))
    assert site.newest()["List-Unsubscribe"] == "<mailto:me@shop.example>"
    assert site.newest()["List-Unsubscribe-Post"] is None


def test_several_recipients_need_links_of_their_own(site: Site) -> None:
    with pytest.raises(MessageError, match="enqueue_many"):
        site.news.enqueue(Message("News", recipients=["ann@example.org"], cc=["bob@example.org"], body="Text"))


def test_the_link_in_templates(site: Site) -> None:
    """The same in text, HTML and header."""
    site.news.send_email("Ann <ann@example.org>", "News", "news")
    message = site.newest()
    parts = {part.get_content_subtype(): part.get_content() for part in message.walk() if not part.is_multipart()}
    link = str(message["List-Unsubscribe"]).strip("<>")
    assert f"No more: {link}" in parts["plain"]
    assert f'href="{link}"' in parts["html"]


def test_without_an_address_to_link_to() -> None:
    with make_site({"OUTBOX_UNSUBSCRIBE_URL": None}) as site:
        site.news.enqueue(Message("News", recipients=["ann@example.org"], body="Text"))
        assert site.newest()["List-Unsubscribe"] is None
        with pytest.raises(ConfigurationError, match="OUTBOX_UNSUBSCRIBE_URL is not set"):
            site.news.send_email("ann@example.org", "News", "news")


def test_looking_changes_nothing_and_posting_unsubscribes(site: Site) -> None:
    """Scanners follow links, fifty times if they like. The POST needs no cookie, redirects nowhere, sets none."""
    path, client = site.path(), site.client
    for method in ("GET", "HEAD", "OPTIONS") * 17:
        answer = client.open(path, method=method)
        assert (answer.status_code, answer.headers.get("Set-Cookie")) == (200, None)
    assert site.listed() == []
    for data, kind in ((ONE_CLICK, None), (ONE_CLICK, "multipart/form-data"), ({}, None)):
        answer = client.post(path, data=data, content_type=kind)
        assert (answer.status_code, answer.headers.get("Set-Cookie")) == (200, None)
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert site.listed() == [("ann@example.org", "kind:weekly news", "unsubscribed")]
    with Session(site.engine) as session:
        [event] = session.scalars(sa.select(OutboxEvent))
        assert (event.type, event.source, event.proven) == ("unsubscribed", "link", True)


def test_what_no_longer_goes_out(site: Site) -> None:
    """Of this kind, to this address; what was queued before, too."""
    path = site.path()
    site.reset.enqueue(Message("Reset", recipients=["ann@example.org"], body="Text"))
    site.news.enqueue(Message("News", recipients=["bob@example.org"], body="Text"))
    site.session.commit()
    site.client.post(path, data=ONE_CLICK)
    claimed = Queue(site.engine, environment="", lease=60).claim(1, 1, 10)
    with Session(site.engine) as session:
        kinds = dict(session.execute(sa.select(OutboxDelivery.id, OutboxMessage.kind).join(OutboxMessage)).all())
    assert {(kinds[one.id], one.recipient, one.suppressed is None) for one in claimed} == {
        ("weekly news", "ann@example.org", False),
        ("reset", "ann@example.org", True),
        ("weekly news", "bob@example.org", True),
    }


def test_taking_it_back_and_leaving_all(site: Site) -> None:
    path, client = site.path(), site.client
    assert "Subscribe again" in client.post(path).text
    assert "gets mail of the list <strong>weekly news</strong> again" in client.post(path, data={"do": "undo"}).text
    assert site.listed() == []
    assert "no more mail of any list" in client.post(path, data={"scope": "all"}).text
    assert site.listed() == [("ann@example.org", "category:subscription", "unsubscribed")]
    client.post(path, data={"do": "undo", "scope": "all"})
    assert site.listed() == []


@pytest.mark.parametrize("change", [lambda token: token[:-1], lambda token: token[:-1] + "!", lambda token: "x" * 800,
                                    lambda token: ("A" if token[0] != "A" else "B") + token[1:]])  # fmt: skip
def test_a_link_that_is_not_ours(site: Site, change: object) -> None:
    folder, _, token = site.path().rpartition("/")
    path = f"{folder}/{change(token)}"  # type: ignore[operator]
    for answer in (site.client.get(path), site.client.post(path, data=ONE_CLICK)):
        assert answer.status_code == 404
        assert "This link does not work" in answer.text
    assert site.listed() == []


def test_another_secret(site: Site) -> None:
    """One that was replaced still verifies; one that was never ours does not."""
    path = site.path()
    old: dict[str, object] = {"SECRET_KEY": "the next secret", "SECRET_KEY_FALLBACKS": ["a secret of some length"]}
    for config, status in ((old, 200), ({"SECRET_KEY": "another"}, 404)):
        with make_site(config) as other:
            assert other.client.get(path).status_code == status


def test_a_database_that_is_away(site: Site) -> None:
    path = site.path()
    OutboxSuppression.__table__.drop(site.engine)
    answer = site.client.post(path, data=ONE_CLICK)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "30")
    assert "Try again in a minute" in answer.text
    Base.metadata.create_all(site.engine)


def test_a_body_that_is_too_long(site: Site) -> None:
    assert site.client.post(site.path(), data={"x": "y" * 5000}).status_code == 413
    assert site.listed() == []


@pytest.mark.parametrize("url", ["shop.example/x", "http://shop.example/", "https://shop.example/?y=1", "https://s p/"])
def test_an_address_that_can_not_be_linked_to(url: str) -> None:
    with pytest.raises(ConfigurationError, match="OUTBOX_UNSUBSCRIBE_URL"), make_site({"OUTBOX_UNSUBSCRIBE_URL": url}):
        pass
