"""Unsubscribing by the link of a message: who gets one, and what looking at it and posting to it do."""

from __future__ import annotations

import base64
import email
import email.policy
import re
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from pathlib import Path
from typing import NamedTuple

import pytest
import sqlalchemy as sa
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from flask import Flask, request
from flask.testing import FlaskClient
from flask_babel import Babel, lazy_gettext, refresh
from jinja2 import DictLoader, Environment, nodes
from sqlalchemy.orm import Session

import outbox.web
from outbox import ConfigurationError, MailEvent, Message, MessageError, Outbox, RawMessage, Settings, event_recorded
from outbox.core.clock import monotonic
from outbox.delivery.suppression import Why
from outbox.extension.kinds import Kind
from outbox.extension.state import bound_to
from outbox.models import Base, OutboxDelivery, OutboxEffect, OutboxEvent, OutboxMessage, OutboxSuppression
from outbox.operations.events import Recorded
from outbox.operations.suppressions import suppress
from outbox.store.effect_queue import EffectQueue, done
from outbox.store.queue import Queue
from outbox.web.unsubscribe_texts import GERMAN
from tests.servers.tables import create_tables

URL = "https://shop.example/unsubscribe"
ONE_CLICK = {"List-Unsubscribe": "One-Click"}


class Site(NamedTuple):
    """An application with a newsletter, and its database."""

    app: Flask
    mail: Outbox
    engine: sa.Engine
    news: Kind
    reset: Kind
    tips: Kind
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
    create_tables(engine)
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
    tips = mail.kind("tips", category="subscription", title="Tips & tricks")
    with folder, Session(engine) as session:
        mail.init_app(app, session=session)
        app.register_blueprint(outbox.web.unsubscribe_blueprint(), url_prefix="/unsubscribe")
        with app.app_context():
            made = Site(app, mail, engine, news, reset, tips, session)
            yield made


def test_the_headers_of_a_subscription(site: Site) -> None:
    """Each as RFC 8058, RFC 2919 and Gmail read them; whole, however long the link is."""
    site.news.enqueue(Message("News", recipients=["a" * 60 + "@a-rather-long-domain.example.org"], body="Text"))
    message = site.newest()
    assert re.fullmatch(rf"<{URL}/[\w-]+>", str(message["List-Unsubscribe"]))
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert re.fullmatch(r"<weekly-news-[0-9a-f]{8}\.shop\.example>", str(message["List-Id"]))
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
        assert re.fullmatch("weekly-news-[0-9a-f]{8}:subscription:shop1", str(site.newest()["Feedback-ID"]))


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
        assert answer.headers["X-Robots-Tag"] == "noindex, nofollow"
    assert site.listed() == []
    for data, kind in ((ONE_CLICK, None), (ONE_CLICK, "multipart/form-data"), ({}, None)):
        answer = client.post(path, data=data, content_type=kind)
        assert (answer.status_code, answer.headers.get("Set-Cookie")) == (200, None)
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["X-Robots-Tag"] == "noindex, nofollow"
    assert client.post(path, data=ONE_CLICK).text == "Unsubscribed.\n"
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


def switches(page: str) -> dict[str, bool]:
    """The lists that a page shows, and whether each is on."""
    found = re.findall(r'<input type="checkbox" name="kind" value="([^"]+)"( checked)?>', page)
    return {name: bool(checked) for name, checked in found}


def save(site: Site, path: str, *wanted: str, shown: tuple[str, ...] = ("weekly news", "tips")) -> str:
    answer = site.client.post(path, data={"do": "save", "shown": list(shown), "kind": list(wanted)})
    assert (answer.status_code, answer.headers.get("Set-Cookie")) == (200, None)
    return answer.text


def test_the_page_of_all_lists(site: Site) -> None:
    """Each with its title, on or off for this address; what is saved is what is shown from then on."""
    path = site.path()
    page = site.client.get(path).text
    assert switches(page) == {"tips": True, "weekly news": True}
    assert "Tips &amp; tricks" in page
    assert switches(save(site, path, "weekly news")) == {"tips": False, "weekly news": True}
    assert site.listed() == [("ann@example.org", "kind:tips", "unsubscribed")]
    assert switches(site.client.get(path).text) == {"tips": False, "weekly news": True}
    assert switches(save(site, path, "tips")) == {"tips": True, "weekly news": False}
    assert site.listed() == [("ann@example.org", "kind:weekly news", "unsubscribed")]
    assert switches(site.client.get(site.path("bob@example.org")).text) == {"tips": True, "weekly news": True}


def test_what_the_page_did_not_show_stays(site: Site) -> None:
    """A list that was added since, and one that there never was."""
    path = site.path()
    save(site, path, shown=("tips", "made up"))
    assert site.listed() == [("ann@example.org", "kind:tips", "unsubscribed")]


def test_the_page_tells_the_truth(site: Site) -> None:
    """Before, after and a year later: whether mail of the list comes, and what else is off."""
    path, client = site.path(), site.client
    assert "Unsubscribe?" in client.get(path).text
    client.post(path, data=ONE_CLICK)
    page = client.get(path).text
    assert "You are unsubscribed" in page
    assert "gets no mail of the list <strong>weekly news</strong>" in page
    assert "Subscribe to weekly news again" in page
    client.post(path, data={"scope": "all"})
    page = client.get(path).text
    assert "gets no mail of any list" in page
    assert switches(page) == {"tips": False, "weekly news": False}
    page = client.post(path, data={"do": "undo", "scope": "all"}).text  # as it was before: news are off
    assert "mail of all lists again" not in page
    assert switches(page) == {"tips": True, "weekly news": False}


def test_one_list_again_after_all(site: Site) -> None:
    """The others stay off, and what stops them names the event by which they were left."""
    path, client = site.path(), site.client
    client.post(path, data={"scope": "all"})
    page = client.post(path, data={"do": "undo"}).text
    assert "gets mail of the list <strong>weekly news</strong> again" in page
    assert switches(page) == {"tips": False, "weekly news": True}
    assert site.listed() == [("ann@example.org", "kind:tips", "unsubscribed")]
    with Session(site.engine) as session:
        [event], [entry] = session.scalars(sa.select(OutboxEvent)), session.scalars(sa.select(OutboxSuppression))
        assert entry.event_id == event.id


@pytest.mark.parametrize(("reason", "words"), [("bounced", "came back"), ("complained", "reported as spam"),
                                               ("manual", "the sender has stopped it")])  # fmt: skip
def test_what_else_keeps_mail_away(site: Site, reason: str, words: str) -> None:
    """Nobody is promised mail that does not come, and the link lifts nothing but what it did."""
    path = site.path()
    with site.engine.begin() as connection:
        key = site.mail.settings().address_digest_key
        suppress(connection, "ann@example.org", "all", by="x", address_key=key, reason=Why(reason))
    for page in (site.client.get(path).text, site.client.post(path, data={"do": "undo"}).text):
        assert words in page
        assert "gets mail of the list" not in page
        assert "goes to" not in page
    assert site.listed() == [("ann@example.org", "all", reason)]


def test_looking_needs_no_database(site: Site) -> None:
    """The button is there all the same: it may be back when it is pressed."""
    path = site.path()
    OutboxSuppression.__table__.drop(site.engine)
    answer = site.client.get(path)
    assert (answer.status_code, switches(answer.text)) == (200, {})
    assert "Unsubscribe from weekly news" in answer.text
    Base.metadata.create_all(site.engine)


def test_handlers_are_told(site: Site) -> None:
    """Of the newest message of that list, once; of all lists those of each; with none left, of the address alone."""
    path = site.path()
    site.tips.enqueue(Message("Tips", recipients=["ann@example.org"], body="Text"))
    site.path()
    told: list[tuple[str, MailEvent]] = []
    for name, kind in (("any", None), ("news", "weekly news"), ("tips", "tips"), ("reset", "reset")):
        site.mail.on("unsubscribed", kind=kind, name=name)(lambda session, event, name=name: told.append((name, event)))
    bound = bound_to(site.app)
    recorded: list[Recorded] = []

    @event_recorded.connect_via(site.app)
    def note(app: Flask, *, event: Recorded, **more: object) -> None:
        recorded.append(event)

    def deliver() -> list[tuple[str, MailEvent]]:
        told.clear()
        queue = EffectQueue(site.engine, "")
        for name in queue.look(["any", "news", "tips", "reset"]):
            for due in queue.claim(name, 10, 60):
                with site.engine.begin() as connection:
                    assert due.event is not None
                    bound.listening.handle(name, connection, due.event)
                    done(connection, due)
        return sorted(told, key=lambda one: one[0])

    for _ in range(3):
        site.client.post(path, data=ONE_CLICK)
    with Session(site.engine) as session:
        [entry] = session.scalars(sa.select(OutboxSuppression))
        [event] = session.scalars(sa.select(OutboxEvent))
        newest = session.scalars(sa.select(OutboxDelivery.id).order_by(OutboxDelivery.id.desc())).first()
        assert (entry.event_id, event.delivery_id, event.tied) == (event.id, newest, "address")
    (first, one), (second, _) = deliver()
    assert (first, second) == ("any", "news")
    assert (one.type, one.delivery_id, one.scope) == ("unsubscribed", newest, "kind:weekly news")
    assert [one.id for one in recorded] == [event.id]
    site.client.post(path, data={"scope": "all"})
    assert [name for name, _ in deliver()] == ["any", "news", "tips"]
    site.client.post(path, data={"do": "undo", "scope": "all"})
    site.client.post(path, data={"do": "undo"})
    with site.engine.begin() as connection:
        connection.execute(sa.delete(OutboxDelivery))
    site.client.post(path, data=ONE_CLICK)
    (_, one), (second, _) = deliver()
    assert second == "news"
    assert (one.delivery_id, one.message_id, one.recipient) == (None, None, "ann@example.org")
    assert (one.kind, one.category, one.source) == ("weekly news", "subscription", "link")


def test_from_the_applications_own_code(site: Site) -> None:
    """Read and set in its transaction: gone with a rollback, and handlers are told after a commit."""
    mail, to = site.mail, "Ann@Example.org"
    site.mail.on("unsubscribed", name="any")(lambda session, event: None)
    site.path("ann@example.org")
    signalled: list[str | None] = []

    @event_recorded.connect_via(site.app)
    def note(app: Flask, *, event: Recorded, **more: object) -> None:
        signalled.append(event.event.category)

    assert mail.unsubscribe(to, site.tips)
    assert {one.kind: one.on for one in mail.subscriptions(to)} == {"tips": False, "weekly news": True}
    site.session.rollback()
    assert {one.kind: one.on for one in mail.subscriptions(to)} == {"tips": True, "weekly news": True}
    with site.session.begin_nested() as undone:
        assert mail.unsubscribe(to, site.tips)
        undone.rollback()
    with site.session.begin_nested():
        assert (mail.unsubscribe(to), mail.unsubscribe(to)) == (True, False)
    assert mail.subscribe(to, "tips")
    assert signalled == []
    site.session.commit()
    site.session.commit()
    assert signalled == ["category:subscription"]
    assert [one.title for one in mail.subscriptions(to) if one.on] == ["Tips & tricks"]
    with Session(site.engine) as session:
        [event] = session.scalars(sa.select(OutboxEvent))
        assert (event.source, event.category) == ("application", "category:subscription")
        assert session.scalars(sa.select(OutboxEffect.name)).all() == ["any"]
    for kind in ("reset", "nothing"):
        with pytest.raises(MessageError, match="not a kind of the category subscription"):
            mail.subscribe(to, kind)
    with pytest.raises(MessageError, match="address"):
        mail.subscriptions("nobody")


RAW = b"From: a@example.org\r\nTo: ann@example.org\r\nSubject: x\r\n%s\r\nText\r\n"


def test_bytes_of_its_own(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """They are sent as they are, so what they lack is said, once; they may name several with a header of their own."""
    to = ["ann@example.org", "bob@example.org"]
    link = site.news.unsubscribe_url("ann@example.org")
    site.news.enqueue(RawMessage(RAW % f"List-Unsubscribe: <{link}>\r\n".encode(), to))
    assert caplog.text == ""
    for _ in range(2):
        site.news.enqueue(RawMessage(RAW % b"", to))
    assert caplog.text.count("it has no List-Unsubscribe") == 1
    assert site.newest()["List-Unsubscribe"] is None


def test_the_page_in_german(site: Site) -> None:
    """As the browser asks for; all that the page can say, and with what names the list escaped."""
    template = (Path(outbox.web.__file__).parent / "templates/outbox_unsubscribe/page.html").read_text()
    constants = [one.value for one in Environment().parse(template).find_all(nodes.Const)]
    said = {one for one in constants if isinstance(one, str) and (one[:1].isupper() or one[:1] == "{")}
    assert said == set(GERMAN)
    assert all(set(re.findall(r"\{\w+\}", one)) == set(re.findall(r"\{\w+\}", GERMAN[one])) for one in said)
    path = site.tips.unsubscribe_url("ann@example.org").removeprefix("https://shop.example")
    page = site.client.get(path, headers={"Accept-Language": "de-AT,de;q=0.9,en;q=0.5"}).text
    assert '<html lang="de">' in page
    assert "E-Mails der Liste <strong>Tips &amp; tricks</strong> gehen an a…@example.org." in page
    assert '<html lang="en">' in site.client.get(path, headers={"Accept-Language": "fr"}).text


def test_the_page_in_the_applications_translation(site: Site, tmp_path: Path) -> None:
    """Flask-Babel chooses the language, and its catalogue goes before ours; a lazy title is in that language, too."""
    for language, own in {
        "fr": {"Unsubscribe?": "Se désabonner ?", "Late news": "Nouvelles"},
        "de": {"All lists": "Verteiler"},
    }.items():
        catalogue = Catalog(language)
        for english, text in own.items():
            catalogue.add(english, text)
        file = tmp_path / language / "LC_MESSAGES" / "messages.mo"
        file.parent.mkdir(parents=True)
        with file.open("wb") as opened:
            write_mo(opened, catalogue)
    chosen = {"default_translation_directories": str(tmp_path)}
    Babel(site.app, locale_selector=lambda: request.args.get("lang", "fr"), **chosen)
    late = site.mail.kind("late", category="subscription", title=lazy_gettext("Late news"))
    path = late.unsubscribe_url("ann@example.org").removeprefix("https://shop.example")
    page = site.client.get(path).text
    for words in ('<html lang="fr">', "<h1>Se désabonner ?</h1>", "<strong>Nouvelles</strong> goes to"):
        assert words in page
    refresh()  # all requests of this test are in one context
    page = site.client.get(f"{path}?lang=de", headers={"Accept-Language": "en"}).text
    for words in ('<html lang="de">', "<h1>Abmelden?</h1>", "<legend>Verteiler</legend>", "Von Late news abmelden"):
        assert words in page
    refresh()
    assert '<html lang="en">' in site.client.get(f"{path}?lang=es").text


def test_a_secret_is_asked_for_at_the_start() -> None:
    """With all other faults."""
    wrong = {"OUTBOX_UNSUBSCRIBE_URL": URL, "OUTBOX_BOUNCE_DOMAIN": "bounces.example.org", "OUTBOX_CONNECTIONS": "many"}
    with pytest.raises(ConfigurationError) as raised:
        Settings.from_config(wrong)
    for said in (
        "sign its links with",
        "sign its addresses with. Set SECRET_KEY before init_app",
        "OUTBOX_CONNECTIONS",
    ):
        assert said in str(raised.value)
    Settings.from_config({**wrong, "OUTBOX_CONNECTIONS": "4", "OUTBOX_SECRET_KEY": "secret"})
    with pytest.raises(ConfigurationError, match="without OUTBOX_UNSUBSCRIBE_URL"):
        Settings.from_config({"OUTBOX_UNSUBSCRIBE_MAILTO": "leave@shop.example"})


def test_list_ids_differ(site: Site) -> None:
    """Also of kinds without a letter in ASCII, and of those that differ in nothing else; each is one label."""
    found = []
    for name in ("новости", "ニュース", "Ünews", "news", "News", "ne ws", "ne-ws", "ne_ws", "x" * 64, "X" * 64):
        site.mail.kind(name, category="subscription").enqueue(Message("x", recipients=["a@example.org"], body="x"))
        found.append(str(site.newest()["List-Id"]))
    assert len({one.lower() for one in found}) == len(found)
    assert all(re.fullmatch(r"<[a-z0-9_-]{1,63}\.shop\.example>", one) for one in found), found
    assert "<news.shop.example>" in found
    assert "<ne_ws.shop.example>" in found


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


def test_it_is_answered_soon(site: Site) -> None:
    """Within 100 ms at the median after the first, each of another address; ten times that on a busy machine."""
    client, times = site.client, []
    paths = [site.news.unsubscribe_url(f"{n}@example.org").removeprefix("https://shop.example") for n in range(21)]
    for path in paths:
        began = monotonic()
        assert client.post(path, data=ONE_CLICK).status_code == 200
        times.append(monotonic() - began)
    assert statistics.median(times[1:]) < 1.0
    assert len(site.listed()) == 21


def test_a_body_that_is_too_long(site: Site) -> None:
    assert site.client.post(site.path(), data={"x": "y" * 70_000}).status_code == 413
    assert site.listed() == []


@pytest.mark.parametrize("url", ["shop.example/x", "http://shop.example/", "https://shop.example/?y=1", "https://s p/"])
def test_an_address_that_can_not_be_linked_to(url: str) -> None:
    with pytest.raises(ConfigurationError, match="OUTBOX_UNSUBSCRIBE_URL"), make_site({"OUTBOX_UNSUBSCRIBE_URL": url}):
        pass
