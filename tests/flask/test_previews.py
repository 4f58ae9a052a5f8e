"""Samples and the gallery: what is shown is what would be sent, nothing is written, and it is closed by default."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from email import message_from_bytes
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask, url_for
from flask.testing import FlaskClient
from jinja2 import DictLoader
from sqlalchemy.orm import Session, scoped_session

import outbox.web
from outbox import ConfigurationError, Message, MessageError, Outbox
from outbox.extension.previews import languages, make
from outbox.extension.state import bound_to
from tests.flask.conftest import Committed

MakeApp = Callable[..., Flask]
Db = scoped_session[Session]

HTML = '<div hidden>About</div><p style="color:red">Hello <a href="https://x.example/">x</a></p>'
PATHS = ("/", "/changes", "/reset/one", "/reset/one/html", "/reset/one/source", "/reset/one/message.eml")


@pytest.fixture
def app(make_app: MakeApp) -> Flask:
    app = make_app(SECRET_KEY="for tests")
    app.jinja_loader = DictLoader({"mail/a.html": HTML, "mail/a.de.html": "<p>Hallo</p>"})
    return app


def hello(**fields: Any) -> Message:
    return Message(**{"subject": "Hello", "recipients": ["ann@example.org"], "body": "x"} | fields)


def client(app: Flask, **options: Any) -> FlaskClient:
    app.register_blueprint(outbox.web.preview_blueprint(**options), url_prefix="/p")
    return app.test_client()


def token(client: FlaskClient, path: str = "/p/reset/one") -> str:
    found = re.search(r'name="outbox_token" value="([^"]+)"', client.get(path).text)
    assert found
    return found[1]


def test_every_way_to_make_one(app: Flask, outbox: Outbox, db: Db, committed: Committed) -> None:
    """A message, one with options, and functions that enqueue: the policy holds, and nothing is written."""
    reset = outbox.kind("reset", sender="security@example.org", headers={"X-A": "b"}, throttle="1/hour")
    reset.preview("returned")(lambda: hello())
    reset.preview("with options")(lambda: (hello(), {"in_reply_to": "<a@b.example>", "key": "k"}))
    reset.preview("enqueued")(lambda: reset.enqueue(hello()))
    reset.preview("rendered")(lambda: reset.send_email("ann@example.org", "Hello", "mail/a"))
    reset.preview("several")(lambda: reset.enqueue_many([hello()]))
    bound = bound_to(app)
    for _ in range(2):  # the throttle counts none of them
        wires = {one.name: message_from_bytes(make(bound, one).wire) for one in bound.kinds.samples}
    assert {wire["From"] for wire in wires.values()} == {"security@example.org"}
    assert {wire["X-A"] for wire in wires.values()} == {"b"}
    assert wires["with options"]["In-Reply-To"] == "<a@b.example>"
    assert "color:red" in str(wires["rendered"])
    with app.app_context():
        db.commit()
    assert committed.subjects() == []


def test_what_a_sample_does_is_rolled_back(app: Flask, outbox: Outbox, db: Db, engine: sa.Engine) -> None:
    """Also where it fails; a commit is refused, a savepoint is not."""
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE people (name TEXT)"))
    kind = outbox.kind("reset")

    @kind.preview("adds")
    def adds() -> Message:
        with db.begin_nested():
            db.execute(sa.text("INSERT INTO people VALUES ('Ann')"))
        return hello(body=f"{db.scalar(sa.text('SELECT count(*) FROM people'))} people")

    @kind.preview("commits")
    def commits() -> Message:
        adds()
        db.commit()
        return hello()

    bound = bound_to(app)
    assert b"1 people" in make(bound, bound.kinds.samples.get("reset/adds")).wire  # type: ignore[arg-type]
    with pytest.raises(MessageError, match="commits the session"):
        make(bound, bound.kinds.samples.get("reset/commits"))  # type: ignore[arg-type]
    with app.app_context():
        db.commit()  # is allowed again
    with engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM people")) == 0


def test_hooks_are_called_and_links_lead_to_the_site(app: Flask, outbox: Outbox) -> None:
    """As for real mail; in the gallery a URL has the host of the page."""
    app.add_url_rule("/there", "there", lambda: "")
    kind = outbox.kind("reset")
    outbox.before_enqueue(lambda message, options: setattr(message, "subject", f"{options['kind']}!"))
    kind.preview("one")(lambda: hello(body=url_for("there", _external=True)))
    app.debug = True
    page = client(app).get("/p/reset/one", base_url="http://shop.example:5000").text
    assert "reset!" in page
    assert "http://shop.example:5000/there" in page


def test_locales(app: Flask, outbox: Outbox) -> None:
    """Each has its templates and Content-Language; a function without `locale` can't have some."""
    kind = outbox.kind("reset")

    @kind.preview("one", locales=["en", "de"])
    def one(locale: str) -> Message:
        return kind.compose_email("ann@example.org", "Hello", "mail/a", locale=locale)

    bound = bound_to(app)
    (sample,) = bound.kinds.samples
    assert languages(bound, sample) == ["en", "de"]
    german = message_from_bytes(make(bound, sample, "de").wire)
    assert (german["Content-Language"], "Hallo" in str(german)) == ("de", True)
    app.debug = True
    visitor = client(app)
    assert "Hallo" in visitor.get("/p/reset/one/html?locale=de").text
    assert "Hello" in visitor.get("/p/reset/one/html").text
    assert visitor.get("/p/reset/one?locale=fr").status_code == 404
    with pytest.raises(ConfigurationError, match="its function takes none"):
        kind.preview("two", locales=["de"])(lambda: hello())


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda kind: None, "gave no message"),
        (lambda kind: [kind.enqueue(hello()) for _ in range(2)], "enqueued 2 messages"),
        (lambda kind: hello(recipients=[]), "recipients"),
        (lambda kind: (hello(), {"kind": "other"}), "enqueues the kind 'other'"),
        (lambda kind: 1 / 0, "ZeroDivisionError"),
    ],
    ids=["none", "two", "no recipient", "another kind", "raises"],
)
def test_a_sample_that_fails_says_why(made: Callable[[Any], Any], said: str, app: Flask, outbox: Outbox) -> None:
    """On its page, with status 500; the others are not affected."""
    kind = outbox.kind("reset")
    kind.preview("one")(lambda: made(kind))
    kind.preview("two")(lambda: hello())
    app.debug = True
    visitor = client(app)
    page = visitor.get("/p/reset/one")
    assert page.status_code == 500
    assert said in page.text.replace("&#39;", "'")
    assert visitor.get("/p/reset/two").status_code == 200
    assert visitor.get("/p/").status_code == 200


def test_names_are_unique_and_words(outbox: Outbox) -> None:
    """A second sample of a name, and a name without letters, are errors where they are registered."""
    kind = outbox.kind("reset")
    kind.preview("Long  name")(lambda: hello())
    for name, said in (("long name", "exists already"), ("?!", "use words"), ("x" * 101, "use words")):
        with pytest.raises(ConfigurationError, match=said):
            kind.preview(name)(lambda: hello())


@pytest.mark.parametrize("given", [{}, {"may_send": lambda: True}], ids=["nothing", "only sending"])
def test_closed_outside_development(given: dict[str, Any], app: Flask, outbox: Outbox, committed: Committed) -> None:
    """Without a right to look it answers as if it were not there, to everything."""
    outbox.kind("reset").preview("one")(lambda: hello(html=HTML))
    visitor = client(app, **given)
    for path in PATHS:
        answer = visitor.get(f"/p{path}")
        assert (answer.status_code, "preview" in answer.text.lower()) == (404, False), path
    assert visitor.post("/p/reset/one/send", data={"to": "eve@evil.example"}).status_code == 404
    assert committed.recipients() == []


def test_rights_outside_development(app: Flask, outbox: Outbox, committed: Committed) -> None:
    """`may_view` decides in each request; sending needs `may_send` besides; a check that fails is a no."""
    outbox.kind("reset").preview("one")(lambda: hello(html=HTML))
    allowed = {"view": False, "send": False}
    visitor = client(
        app, may_view=lambda: allowed["view"], may_send=lambda: allowed["send"], me=lambda: "me@example.org"
    )
    for path in PATHS:
        assert visitor.get(f"/p{path}").status_code == 403, path
    allowed["view"] = True
    for path in PATHS:
        assert visitor.get(f"/p{path}").status_code == 200, path
    assert "me@example.org" not in visitor.get("/p/reset/one").text
    assert visitor.post("/p/reset/one/send", data={"to": "eve@evil.example"}).status_code == 403
    allowed["send"] = True
    assert 'value="me@example.org"' in visitor.get("/p/reset/one").text
    allowed["view"] = False
    assert visitor.post("/p/reset/one/send", data={"to": "eve@evil.example"}).status_code == 403
    assert committed.recipients() == []


def test_send_this_to_me(app: Flask, outbox: Outbox, committed: Committed) -> None:
    """To that address alone, of its kind, once for each press: neither key nor throttle nor time holds it back."""
    kind = outbox.kind("reset", throttle="1/hour", priority="high")
    kind.preview("one")(lambda: (hello(cc=["boss@example.org"], html=HTML), {"key": "k"}))
    app.debug = True
    visitor = client(app)
    for _ in range(2):
        form = {"to": " qa@example.org ", "outbox_token": token(visitor)}
        answer = visitor.post("/p/reset/one/send", data=form, follow_redirects=True)
        assert "Enqueued for qa@example.org" in answer.text
    assert committed.recipients() == ["qa@example.org"] * 2
    assert {(one.kind, one.key) for one in committed.messages()} == {("reset", None)}
    assert visitor.post("/p/reset/one/send", data={"to": "a@example.org"}).status_code == 400  # no token
    for wrong in ("", "no address", "a@example.org\r\nBcc: b@example.org"):
        form = {"to": wrong, "outbox_token": token(visitor)}
        assert 'notice warn" role="status"' in visitor.post("/p/reset/one/send", data=form, follow_redirects=True).text
    assert len(committed.messages()) == 2


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"OUTBOX_REDIRECT_TO": "sink@example.org"}, "OUTBOX_REDIRECT_TO sends it to sink@example.org instead"),
        ({"OUTBOX_ALLOW_RECIPIENTS": "example.net"}, "It waits, shown as paused"),
        ({"OUTBOX_ALLOW_RECIPIENTS": "example.org"}, "A worker sends it"),
    ],
    ids=["redirected", "not allowed", "allowed"],
)
def test_sending_in_staging(
    settings: dict[str, str], said: str, make_app: MakeApp, outbox: Outbox, committed: Committed
) -> None:
    """It is a message as any other for the workers, and the page says what they will do with it."""
    app = make_app(SECRET_KEY="for tests", OUTBOX_ENVIRONMENT="staging", **settings)
    outbox.kind("reset").preview("one")(lambda: hello())
    app.debug = True
    visitor = client(app)
    form = {"to": "qa@example.org", "outbox_token": token(visitor)}
    assert said in visitor.post("/p/reset/one/send", data=form, follow_redirects=True).text
    assert [one.environment for one in committed.messages()] == ["staging"]


def test_the_document_of_the_html(app: Flask, outbox: Outbox) -> None:
    """No script and no form run in it; in dark mode the question of the style sheet is answered with yes."""
    html = (
        "<style>@media (prefers-color-scheme: dark) { p { color: white } }</style><script>alert(1)</script><p>Hello</p>"
    )
    outbox.kind("reset").preview("one")(lambda: hello(html=html))
    app.debug = True
    visitor = client(app)
    dark, light = (visitor.get(f"/p/reset/one/html?scheme={one}") for one in ("dark", "light"))
    for one in (dark, light):
        policy = one.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "sandbox allow-popups" in policy
        assert "allow-scripts" not in policy
        assert one.headers["X-Frame-Options"] == "SAMEORIGIN"
    assert "@media (min-width: 0px)" in dark.text
    assert "@media (max-width: 0px)" in light.text
    assert visitor.get("/p/reset/one/html?scheme=blue").status_code == 404


def test_size_source_and_warnings(app: Flask, outbox: Outbox) -> None:
    """The exact bytes, the KB that Gmail counts, what lint says."""
    big = f"<p>{'x' * 110_000}</p><img src='https://x.example/a.png'>"
    outbox.kind("reset").preview("one")(lambda: hello(html=big, body="<&>"))
    app.debug = True
    visitor = client(app)
    page = visitor.get("/p/reset/one").text
    assert re.search(r"107\.\d KB \(Gmail clips a message at 102 KB\)", page)
    for check in ("too-large", "no-alt", "no-preheader"):
        assert f"<code>{check}</code>" in page
    source = visitor.get("/p/reset/one/source")
    assert source.content_type == "text/plain; charset=utf-8"
    assert source.data.startswith(b"Date: ")
    assert b"\r\n\r\n" in source.data
    file = visitor.get("/p/reset/one/message.eml")
    assert file.headers["Content-Disposition"] == "attachment; filename=reset-one.eml"
    assert message_from_bytes(file.data)["Subject"] == "Hello"


def test_the_page_knows_of_a_changed_template(make_app: MakeApp, outbox: Outbox, tmp_path: Path) -> None:
    """Its fingerprint is another then, and only then."""
    app = make_app(TEMPLATES_AUTO_RELOAD=True)
    app.template_folder = str(tmp_path)
    (tmp_path / "mail").mkdir()
    file = tmp_path / "mail" / "a.txt"
    file.write_text("first")
    kind = outbox.kind("reset")
    kind.preview("one")(lambda: kind.send_email("ann@example.org", "Hello", "mail/a"))
    app.debug = True
    visitor = client(app)
    page = visitor.get("/p/reset/one").text
    assert "first" in page
    before = visitor.get("/p/changes").text
    assert f'data-fingerprint="{before}"' in page
    assert visitor.get("/p/changes").text == before
    file.write_text("second")
    os.utime(file, (1, 1))
    assert visitor.get("/p/changes").text != before
    assert "second" in visitor.get("/p/reset/one").text
