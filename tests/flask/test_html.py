"""HTML mail as it is enqueued: its CSS inlined, its images attached."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from jinja2 import DictLoader
from sqlalchemy.orm import Session, scoped_session

from outbox import ConfigurationError, Message, Outbox
from tests.flask.conftest import Committed

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
