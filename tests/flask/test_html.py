"""HTML mail as it is enqueued: its CSS inlined, its images attached."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask, render_template
from jinja2 import DictLoader
from sqlalchemy.orm import Session, scoped_session

from outbox import ConfigurationError, Message, Outbox
from outbox.core.errors import TemplateError
from outbox.store.models import OutboxBlob
from tests.flask.conftest import Committed
from tests.unit.message.composing import tree_of

MakeApp = Callable[..., Flask]
Db = scoped_session[Session]

STYLED = "<style>p { color: red } @media (max-width: 480px) { p { color: blue } }</style><p>Grüße</p>"


def html_of(committed: Committed) -> str:
    part = committed.mail().get_body(("html",))
    assert part is not None
    return str(part.get_content())


@pytest.mark.parametrize("way", ["enqueue", "enqueue_many", "send_email"])
def test_css_is_inlined_by_each_way(way: str, app: Flask, outbox: Outbox, db: Db, committed: Committed) -> None:
    """Of templates and of a message's own HTML; the caller's message is not changed."""
    app.jinja_loader = DictLoader({"mail/hello.html": STYLED})
    with app.app_context():
        message = Message("Hello", ["ann@example.org"], html=STYLED)
        if way == "enqueue":
            outbox.enqueue(message)
        elif way == "enqueue_many":
            outbox.enqueue_many([message])
        else:
            outbox.send_email("ann@example.org", "Hello", "mail/hello")
        db.commit()
        assert message.html == STYLED
    assert '<p style="color: red;">Grüße</p>' in html_of(committed)
    assert "@media (max-width: 480px) { p { color: blue !important } }" in html_of(committed)


@pytest.mark.parametrize(("setting", "is_inlined"), [("auto", True), (True, True), ("false", False), (False, False)])
def test_the_setting(
    setting: Any, is_inlined: bool, make_app: MakeApp, outbox: Outbox, db: Db, committed: Committed
) -> None:
    """Off means to the byte."""
    with make_app(OUTBOX_INLINE_CSS=setting).app_context():
        outbox.send(Message("Hello", ["ann@example.org"], html=STYLED))
        db.commit()
    assert (html_of(committed).strip() == STYLED) is not is_inlined


def test_what_is_missing_is_said_at_the_start(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """`true` without css-inline is a fault with its remedy; `auto` leaves mail as it is."""
    monkeypatch.setitem(sys.modules, "css_inline", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'flask-outbox\[html\]'"):
        make_app(OUTBOX_INLINE_CSS="true")
    assert not make_app().extensions["mail"].settings.inlines_css


def test_the_same_key_with_the_same_html_is_one_message(
    app: Flask, outbox: Outbox, db: Db, committed: Committed
) -> None:
    """Inlined or not, the same arguments are the same content."""
    with app.app_context():
        for _ in range(2):
            outbox.enqueue(Message("Hello", ["ann@example.org"], html=STYLED), key="k")
        db.commit()
    assert len(committed.messages()) == 1


PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 9000
GIF = b"GIF89a" + b"1" * 100


@pytest.fixture
def pictured(make_app: MakeApp, tmp_path: Path) -> Flask:
    """An application with images, and a template that imports a macro which shows one."""
    (tmp_path / "images" / "icons").mkdir(parents=True)
    (tmp_path / "images" / "logo.png").write_bytes(PNG)
    (tmp_path / "images" / "icons" / "ok").write_bytes(GIF)
    (tmp_path / "images" / "secret.txt").write_text("x")
    (tmp_path / "outside.png").write_bytes(PNG)
    app = make_app(OUTBOX_IMAGES_FOLDER=str(tmp_path / "images"))
    app.jinja_loader = DictLoader(
        {
            "mail/parts.html": '{% macro ok() %}<img src="{{ inline_image("icons/ok") }}" alt="OK">{% endmacro %}',
            "mail/order.html": '{% import "mail/parts.html" as parts %}'
            '<img src="{{ inline_image("logo.png") }}" alt="Shop">'
            "{{ parts.ok() }}<img src='{{ inline_image('logo.png') }}' alt=''>",
            "mail/named.html": "<img src='{{ inline_image(name) }}'>",
        }
    )
    return app


def test_images_go_with_the_message_that_names_them(
    pictured: Flask, outbox: Outbox, db: Db, committed: Committed
) -> None:
    """Beside the HTML, in the order of their names, each once; ids that end in our domain; the type by the bytes."""
    with pictured.app_context():
        outbox.send_email("ann@example.org", "Order", "mail/order")
        db.commit()
    mail = committed.mail()
    assert tree_of(mail) == "alternative(text/plain, related(text/html, image/png, image/gif))"
    logo, ok = list(mail.walk())[-2:]
    assert (logo.get_content(), ok.get_content()) == (PNG, GIF)
    assert (logo.get_filename(), ok.get_filename()) == ("logo.png", "ok")
    assert logo.get_content_disposition() == "inline"
    assert logo["Content-ID"].endswith("@example.org>")
    assert html_of(committed).count(f"cid:{logo['Content-ID'][1:-1]}") == 2


def test_an_image_is_stored_once_for_all_messages(pictured: Flask, outbox: Outbox, db: Db, engine: sa.Engine) -> None:
    """As attachments are: by its hash."""
    with pictured.app_context():
        for _ in range(3):
            outbox.send_email("ann@example.org", "Order", "mail/order")
        db.commit()
    with engine.connect() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(OutboxBlob)) == 1


def test_html_that_the_application_rendered_has_its_images(
    pictured: Flask, outbox: Outbox, db: Db, committed: Committed
) -> None:
    """`render_template` and `Message`, without `send_email`."""
    with pictured.app_context():
        outbox.send(Message("Order", ["ann@example.org"], html=render_template("mail/order.html")))
        db.commit()
    assert tree_of(committed.mail()) == "alternative(text/plain, related(text/html, image/png, image/gif))"


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("../outside.png", "is not within"),
        ("/etc/passwd", "is not within"),
        ("icons/../../outside.png", "is not within"),
        ("..\\outside.png", "is not within"),
        ("a\0b", "is not within"),
        ("none.png", "can't be read"),
        ("icons", "can't be read"),
        ("secret.txt", "is not an image"),
    ],
)
def test_what_is_not_an_image_of_the_folder_is_refused(
    pictured: Flask, name: str, problem: str, outbox: Outbox
) -> None:
    """Before anything is written, with the remedy."""
    with pictured.app_context(), pytest.raises(TemplateError, match=problem):
        outbox.send_email("ann@example.org", "Order", "mail/named", name=name)


def test_a_changed_image_is_another(
    pictured: Flask, outbox: Outbox, db: Db, committed: Committed, tmp_path: Path
) -> None:
    """HTML that was rendered before keeps the old one."""
    with pictured.app_context():
        before = render_template("mail/named.html", name="logo.png")
        (tmp_path / "images" / "logo.png").write_bytes(PNG + b"2")
        outbox.send(
            Message("Order", ["ann@example.org"], html=before + render_template("mail/named.html", name="logo.png"))
        )
        db.commit()
    assert [part.get_content() for part in list(committed.mail().walk())[-2:]] == [PNG, PNG + b"2"]


def test_an_image_that_the_message_brings_itself_is_not_replaced(
    pictured: Flask, outbox: Outbox, db: Db, committed: Committed
) -> None:
    """Its own part has the Content-ID already."""
    with pictured.app_context():
        html = render_template("mail/named.html", name="logo.png")
        message = Message("Order", ["ann@example.org"], html=html)
        content_id = html.partition("cid:")[2].partition("&#39;")[0].partition("'")[0]
        message.attach("own.gif", "image/gif", GIF, headers={"Content-ID": f"<{content_id}>"})
        outbox.send(message)
        db.commit()
    assert tree_of(committed.mail()) == "alternative(text/plain, related(text/html, image/gif))"


def test_nothing_touches_jinja_before_the_application_has_set_it_up(make_app: MakeApp) -> None:
    """Options that are set after `init_app` count."""
    app = make_app()
    assert "jinja_env" not in vars(app)


def test_the_static_folder_is_where_images_are(
    make_app: MakeApp, tmp_path: Path, outbox: Outbox, db: Db, committed: Committed
) -> None:
    """Without a setting; a relative folder is the application's."""
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "logo.png").write_bytes(PNG)
    app = Flask("pictured", root_path=str(tmp_path), template_folder=str(tmp_path))
    app.config.update(TESTING=True, MAIL_DEFAULT_SENDER="shop@example.org")
    outbox.init_app(app, session=db)
    (tmp_path / "named.html").write_text("<img src='{{ inline_image(name) }}'>")
    with app.app_context():
        outbox.send_email("ann@example.org", "Order", "named", name="logo.png")
        db.commit()
    assert tree_of(committed.mail()) == "alternative(text/plain, related(text/html, image/png))"
