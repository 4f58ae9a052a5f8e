"""`Outbox` itself: sessions, applications, `enqueue` and its arguments, `send_email`, the database for workers."""

from __future__ import annotations

import gc
import os
import sqlite3
import threading
import weakref
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import flask_sqlalchemy
import flask_sqlalchemy_lite
import jinja2
import pytest
import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session, scoped_session, sessionmaker
from werkzeug.local import LocalProxy

from outbox import ConfigurationError, Message, MessageError, Outbox, OutboxMessage, SchemaError, TemplateError
from outbox.core.errors import DatabaseError
from outbox.delivery.states import Lane, OnUncertain
from tests.flask.conftest import Committed
from tests.servers.databases import Database
from tests.servers.tables import create_tables

Db = scoped_session[Session]

SOURCES: dict[str, Callable[[Session], Any]] = {
    "Session": lambda session: session,
    "function": lambda session: lambda: session,
    "proxy": lambda session: LocalProxy(lambda: session),
    "object with a session": lambda session: SimpleNamespace(session=session),
    "object with a function": lambda session: SimpleNamespace(session=lambda: session),
}


def hello(**options: Any) -> Message:
    return Message(**{"subject": "Hello", "recipients": ["ann@example.org"], "body": "b"} | options)


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_kinds_of_session(
    source: Callable[[Session], Any],
    engine: sa.Engine,
    make_app: Callable[..., Flask],
    outbox: Outbox,
    committed: Committed,
) -> None:
    """Mail goes into the transaction of the session, in whichever way the session is given."""
    with Session(engine) as session, make_app(session=source(session)).app_context():
        outbox.send(hello())
        assert committed.messages() == []
        session.rollback()
        outbox.send(hello(subject="Again"))
        session.commit()
    assert committed.subjects() == ["Again"]


def test_session_of_one_call(app: Flask, engine: sa.Engine, db: Db, outbox: Outbox, committed: Committed) -> None:
    """`enqueue` takes a session for one message, beside that of the application."""
    with app.app_context(), Session(engine) as other:
        outbox.enqueue(hello(subject="own"))
        db.rollback()
        outbox.enqueue(hello(subject="other"), other)
        db.commit()
        assert committed.subjects() == []
        other.commit()
    assert committed.subjects() == ["other"]


def test_flask_sqlalchemy(sqlite_database: Database, outbox: Outbox, committed: Committed) -> None:
    """Flask-SQLAlchemy's `db` is a session, and its database the workers'."""
    app = Flask(__name__)
    app.config.update(SQLALCHEMY_DATABASE_URI=sqlite_database.url, MAIL_DEFAULT_SENDER="a@example.org")
    db = flask_sqlalchemy.SQLAlchemy(app)
    outbox.init_app(app, session=db)
    with app.app_context():
        outbox.send(hello(subject="rolled back"))
        db.session.rollback()
        outbox.send(hello())
        db.session.commit()
    assert committed.subjects() == ["Hello"]
    assert outbox.database(app).url == sqlite_database.address
    with app.app_context():
        db.engine.dispose()


def test_flask_sqlalchemy_lite(sqlite_database: Database, outbox: Outbox, committed: Committed) -> None:
    """Flask-SQLAlchemy-Lite's `db` is a session, and its database the workers'."""
    app = Flask(__name__)
    app.config.update(SQLALCHEMY_ENGINES={"default": sqlite_database.url}, MAIL_DEFAULT_SENDER="a@example.org")
    db = flask_sqlalchemy_lite.SQLAlchemy(app)
    outbox.init_app(app, session=db)
    with app.app_context():
        outbox.send(hello(subject="rolled back"))
        db.session.rollback()
        outbox.send(hello())
        db.session.commit()
        db.engine.dispose()
    assert committed.subjects() == ["Hello"]
    assert outbox.database(app).url == sqlite_database.address


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (sessionmaker(), "scoped_session"),
        (Session, "the class Session"),
        ("db", "of type str"),
        (AsyncSession(), "run_sync"),
        (7, "of type int"),
    ],
)
def test_what_is_no_session(source: Any, said: str, make_app: Callable[..., Flask]) -> None:
    """What can't give the current session is refused at once, with the remedy."""
    with pytest.raises(ConfigurationError, match=said):
        make_app(session=source)


@pytest.mark.parametrize("source", [lambda: None, lambda: "session", SimpleNamespace(session=None)])
def test_source_without_a_session_now(source: Any, make_app: Callable[..., Flask], outbox: Outbox) -> None:
    """A function that gives no session is told of when mail is sent."""
    with make_app(session=source).app_context(), pytest.raises(ConfigurationError, match="session="):
        outbox.send(hello())


def test_without_a_session_each_mail_is_a_transaction(
    sqlite_database: Database, make_app: Callable[..., Flask], outbox: Outbox, committed: Committed
) -> None:
    """An application without SQLAlchemy writes by OUTBOX_DATABASE_URL, committed at once, and gets the message."""
    app = make_app(session=None, OUTBOX_DATABASE_URL=sqlite_database.url)
    with app.app_context():
        message = outbox.enqueue(hello(), key="k")
        assert committed.subjects() == ["Hello"]
        assert (message.subject, message.created_at.tzinfo) == ("Hello", UTC)
        assert outbox.enqueue(hello(), key="k").id == message.id
    assert committed.subjects() == ["Hello"]
    outbox.database(app).dispose()


def test_neither_session_nor_database(make_app: Callable[..., Flask], outbox: Outbox) -> None:
    """With nowhere to write to, the application does not start, and the error names both ways out."""
    with pytest.raises(ConfigurationError, match=r"session=.*OUTBOX_DATABASE_URL"):
        make_app(session=None)


def test_flask_sqlalchemy_is_there_and_not_given(outbox: Outbox) -> None:
    """Then the error names the argument."""
    app = Flask(__name__)
    app.config.update(SQLALCHEMY_DATABASE_URI="sqlite://")
    SQLAlchemy(app)
    with pytest.raises(ConfigurationError, match=r"init_app\(app, session=db\)"):
        outbox.init_app(app)


@pytest.mark.parametrize("url", ["nosuch://user:hunter2@host/db", "postgresql+nosuch://user:hunter2@host/db"])
def test_database_url_of_an_unknown_kind(url: str, make_app: Callable[..., Flask]) -> None:
    """A database that SQLAlchemy does not know is a fault at start; the password is not told."""
    with pytest.raises(ConfigurationError, match="OUTBOX_DATABASE_URL") as caught:
        make_app(OUTBOX_DATABASE_URL=url)
    assert "hunter2" not in str(caught.value)


def test_faulty_configuration_is_told_at_start(make_app: Callable[..., Flask]) -> None:
    """`init_app` raises all faults, so that an application does not start with them."""
    with pytest.raises(ConfigurationError) as caught:
        make_app(OUTBOX_TYPO=1, MAIL_PORT="x")
    assert len(caught.value.faults) == 2


def test_two_applications(databases: Any, outbox: Outbox) -> None:
    """One object serves several applications, each with its own settings and its own database."""
    with databases.with_schema("sqlite") as one, databases.with_schema("sqlite") as two:
        apps = []
        for number, database in enumerate((one, two)):
            app = Flask(f"app{number}")
            app.config.update(OUTBOX_DATABASE_URL=database.url, MAIL_DEFAULT_SENDER=f"{number}@example.org")
            outbox.init_app(app)
            apps.append(app)
        for number, app in enumerate(apps):
            with app.app_context():
                outbox.send(hello(subject=f"to {number}"))
                assert outbox.settings().default_sender == f"{number}@example.org"
        assert outbox.settings(apps[0]) is not outbox.settings(apps[1])
        assert [Committed(database.engine).subjects() for database in (one, two)] == [["to 0"], ["to 1"]]
        for app in apps:
            assert app.extensions["outbox"] is outbox
            outbox.database(app).dispose()


def test_typing_error_is_an_attribute_error(outbox: Outbox) -> None:
    """Flask-Mail answers None for every attribute; here a typo is told."""
    with pytest.raises(AttributeError, match="enqeue"):
        outbox.enqeue  # noqa: B018


def test_template_both_parts(tmp_path: Path, app: Flask, outbox: Outbox, db: Db, committed: Committed) -> None:
    """`send_email` renders the text and the HTML template with the context."""
    app.jinja_loader = jinja2.DictLoader({"mail/hi.txt": "Hi {{ name }}", "mail/hi.html": "<p>Hi {{ name }}</p>"})
    with app.app_context():
        message = outbox.send_email("ann@example.org", "Hello", "mail/hi", name="<Ann>")
        db.commit()
        assert message.subject == "Hello"
    text, html = committed.mail().iter_parts()
    assert text.get_content().strip() == "Hi <Ann>"
    assert html.get_content().strip() == "<p>Hi &lt;Ann&gt;</p>"


@pytest.mark.parametrize("ending", ["txt", "html"])
def test_template_one_part(ending: str, app: Flask, outbox: Outbox, db: Db, committed: Committed) -> None:
    """One of the two templates may be missing; a mail that is HTML only gets a text all the same."""
    app.jinja_loader = jinja2.DictLoader({f"hi.{ending}": "Hi"})
    with app.app_context():
        outbox.send_email(["ann@example.org", ("Bob", "bob@example.org")], "Hello", "hi")
        db.commit()
    body = committed.mail().get_body(("plain",))
    assert body is not None
    assert body.get_content().strip() == "Hi"
    assert committed.recipients() == ["ann@example.org", "bob@example.org"]


@pytest.mark.usefixtures("context")
def test_template_unknown(outbox: Outbox, db: Db, committed: Committed) -> None:
    """A template that does not exist is refused in the request, and the transaction goes on."""
    outbox.send(hello())
    with pytest.raises(TemplateError, match=r"mail/none\.txt"):
        outbox.send_email("ann@example.org", "Hello", "mail/none")
    db.commit()
    assert committed.subjects() == ["Hello"]


def test_template_that_includes_an_unknown_one(app: Flask, outbox: Outbox) -> None:
    """A template that is there but broken is not taken for a missing one."""
    app.jinja_loader = jinja2.DictLoader({"hi.txt": "{% include 'gone.txt' %}", "hi.html": "Hi"})
    with app.app_context(), pytest.raises(jinja2.TemplateNotFound, match=r"gone\.txt"):
        outbox.send_email("ann@example.org", "Hello", "hi")


def test_composed_email_with_options(app: Flask, outbox: Outbox, db: Db, committed: Committed) -> None:
    """What `send_email` sends can be composed first and enqueued with a kind, a key, an attachment."""
    app.jinja_loader = jinja2.DictLoader({"hi.txt": "Hi {{ kind }}"})
    with app.app_context():
        message = outbox.compose_email("ann@example.org", "Hello", "hi", kind="in the template")
        message.attach("a.txt", "text/plain", "a")
        outbox.enqueue(message, kind="greeting")
        db.commit()
    assert committed.messages()[0].kind == "greeting"
    body, _ = committed.mail().iter_parts()
    assert body.get_content().strip() == "Hi in the template"


@pytest.mark.usefixtures("context")
def test_options_are_kept(outbox: Outbox, db: Db, committed: Committed) -> None:
    """What `enqueue` is told stands in the message's row."""
    due = datetime(2099, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    outbox.enqueue(
        hello(),
        key="order-7",
        priority="bulk",
        send_at=due,
        expires_at=due + timedelta(days=1),
        kind="invoice",
        on_uncertain="hold",
        metadata={"order": 7, "note": "Grüße 🎉"},
    )
    db.commit()
    (message,) = committed.messages()
    assert (message.key, message.kind, message.lane) == ("order-7", "invoice", Lane.BULK.rank)
    assert message.expires_at == due + timedelta(days=1)
    assert message.on_uncertain == OnUncertain.HOLD
    assert message.metadata_ == {"order": 7, "note": "Grüße 🎉"}


@pytest.mark.usefixtures("context")
def test_message_expires_by_default(outbox: Outbox, db: Db, committed: Committed) -> None:
    """Without an expiry of its own a message expires five days after it is due."""
    outbox.enqueue(hello())
    db.commit()
    (message,) = committed.messages()
    assert message.expires_at == message.created_at + timedelta(days=5)


def test_stamped_with_the_environment(
    make_app: Callable[..., Flask], outbox: Outbox, db: Db, committed: Committed
) -> None:
    """OUTBOX_ENVIRONMENT stands on each message, for the workers to compare."""
    with make_app(OUTBOX_ENVIRONMENT="staging").app_context():
        outbox.send(hello())
        db.commit()
    assert committed.messages()[0].environment == "staging"


@pytest.mark.parametrize(
    ("options", "policy"),
    [
        ({}, "retry"),
        ({"kind": "payment"}, "hold"),
        ({"kind": "payment", "on_uncertain": "retry"}, "retry"),
        ({"on_uncertain": OnUncertain.HOLD}, "hold"),
    ],
)
def test_policy_for_unknown_outcomes(
    options: dict[str, Any], policy: str, make_app: Callable[..., Flask], outbox: Outbox, db: Db, committed: Committed
) -> None:
    """The message's own policy goes before that of its kind, and that before the general one."""
    with make_app(OUTBOX_ON_UNCERTAIN_KINDS={"payment": "hold"}).app_context():
        outbox.enqueue(hello(), **options)
        db.commit()
    assert committed.messages()[0].on_uncertain == policy


NOW = datetime(2099, 1, 1, tzinfo=UTC)
LOOP: dict[str, Any] = {}
LOOP["self"] = LOOP


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"priority": "urgent"}, "priority"),
        ({"priority": None}, "priority"),
        ({"priority": 1}, "priority"),
        ({"on_uncertain": "maybe"}, "on_uncertain"),
        ({"on_uncertain": []}, "on_uncertain"),
        ({"send_at": datetime(2099, 1, 1)}, "send_at"),  # noqa: DTZ001
        ({"send_at": "2099-01-01"}, "send_at"),
        ({"send_at": date(2099, 1, 1)}, "send_at"),
        ({"send_at": 5}, "send_at"),
        ({"send_at": datetime.max.replace(tzinfo=timezone(timedelta(hours=-5)))}, "send_at"),
        ({"send_at": datetime(9999, 6, 1, tzinfo=UTC)}, "send_at"),
        ({"send_at": datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=5)))}, "send_at"),
        ({"expires_at": datetime(2099, 1, 1)}, "expires_at"),  # noqa: DTZ001
        ({"send_at": NOW + timedelta(hours=2), "expires_at": NOW + timedelta(hours=1)}, "expires_at"),
        ({"send_at": NOW, "expires_at": NOW}, "expires_at"),
        ({"key": ""}, "key"),
        ({"key": "x" * 256}, "key"),
        ({"key": "a\0b"}, "key"),
        ({"key": "a\ud800"}, "key"),
        ({"key": " a"}, "key"),
        ({"key": b"a"}, "key"),
        ({"key": 7}, "key"),
        ({"kind": "x" * 65}, "kind"),
        ({"kind": "a\nb"}, "kind"),
        ({"metadata": {"when": NOW}}, "metadata"),
        ({"metadata": {"nan": float("nan")}}, "metadata"),
        ({"metadata": {"nul": "a\0b"}}, "metadata"),
        ({"metadata": {"surrogate": "\ud800"}}, "metadata"),
        ({"metadata": {("a",): 1}}, "metadata"),
        ({"metadata": LOOP}, "metadata"),
        ({"metadata": ["a"]}, "metadata"),
        ({"metadata": {"long": "x" * 70_000}}, "metadata"),
    ],
)
@pytest.mark.usefixtures("context")
def test_faulty_options(options: dict[str, Any], field: str, outbox: Outbox, db: Db, committed: Committed) -> None:
    """What can't be meant is refused with the field and the remedy, and the transaction goes on without it."""
    outbox.send(hello(subject="before"))
    with pytest.raises(MessageError) as caught:
        outbox.enqueue(hello(), **options)
    assert caught.value.field == field
    assert caught.value.remedy
    db.commit()
    assert committed.subjects() == ["before"]


@pytest.mark.usefixtures("context")
def test_metadata_may_hold_a_backslash(outbox: Outbox, db: Db, committed: Committed) -> None:
    """What only looks like a NUL character is none."""
    outbox.enqueue(hello(), metadata={"path": r"C:\u0000"})
    db.commit()
    assert committed.messages()[0].metadata_ == {"path": r"C:\u0000"}


@pytest.mark.parametrize("message", [None, "Subject: hello", object()])
@pytest.mark.usefixtures("context")
def test_what_is_no_message(message: Any, outbox: Outbox) -> None:
    """Something else than a message is refused by name."""
    with pytest.raises(MessageError, match="flask_mail"):
        outbox.enqueue(message)


def test_message_that_is_too_large(
    make_app: Callable[..., Flask], outbox: Outbox, db: Db, committed: Committed
) -> None:
    """A message over OUTBOX_MAX_MESSAGE_BYTES is refused in the request."""
    with make_app(OUTBOX_MAX_MESSAGE_BYTES=2000).app_context():
        outbox.send(hello())
        with pytest.raises(MessageError, match="OUTBOX_MAX_MESSAGE_BYTES"):
            outbox.send(hello(body="x" * 2000))
        db.commit()
    assert committed.subjects() == ["Hello"]


def test_database_that_is_not_migrated(empty_database: Database, outbox: Outbox) -> None:
    """The error is the command that fixes it, on each database."""
    app = Flask(__name__)
    app.config.update(MAIL_DEFAULT_SENDER="a@example.org")
    with Session(empty_database.engine) as session, app.app_context():
        outbox.init_app(app, session=session)
        with pytest.raises(SchemaError, match="flask outbox-create-tables"):
            outbox.send(hello())


def test_no_mail_in_the_error_of_a_database(app: Flask, outbox: Outbox, db: Db) -> None:
    """SQLAlchemy shows parameters in its errors; those of mail stay out of them."""
    with app.app_context():
        db.execute(sa.text("PRAGMA query_only = ON"))
        with pytest.raises(DatabaseError) as caught:
            outbox.send(hello(subject="token 4711", body="token 4711", recipients=["token4711@example.org"]))
        db.execute(sa.text("PRAGMA query_only = OFF"))
    assert "readonly" in str(caught.value.__cause__)
    assert "4711" not in str(caught.value) + str(caught.value.__cause__)


def test_database_for_workers(app: Flask, outbox: Outbox, engine: sa.Engine) -> None:
    """Workers get an engine of their own on the session's database: one for the application, whoever asks."""
    found = outbox.database(app)
    assert found is not engine
    assert found.url == engine.url
    others: list[sa.Engine] = []
    thread = threading.Thread(target=lambda: others.append(outbox.database(app)))
    thread.start()
    thread.join()
    with app.app_context():
        assert [outbox.database(), *others] == [found, found]
    with found.connect() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(OutboxMessage)) == 0
    found.dispose()


def test_database_url_goes_before_the_session(databases: Any, make_app: Callable[..., Flask], outbox: Outbox) -> None:
    """OUTBOX_DATABASE_URL is where workers look, whatever session the application has."""
    with databases.with_schema("sqlite") as other:
        found = outbox.database(make_app(OUTBOX_DATABASE_URL=other.url))
        assert found.url == other.address
        found.dispose()


def test_database_in_memory(outbox: Outbox) -> None:
    """A database in memory is nowhere else: its own engine is used."""
    engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
    create_tables(engine)
    app = Flask(__name__)
    with Session(engine) as session:
        outbox.init_app(app, session=session)
        assert outbox.database(app) is engine
    engine.dispose()


def test_database_after_a_fork(app: Flask, outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child process leaves the parent's connections alone."""
    found = outbox.database(app)
    pool = found.pool
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert outbox.database(app) is found
    assert found.pool is not pool
    pool.dispose()


@pytest.mark.parametrize("by_url", [True, False], ids=["its own address", "like the session's"])
def test_database_of_an_application_that_is_gone(by_url: bool, sqlite_database: Database) -> None:
    """Its connections are closed: tests make many applications, and Python 3.13 warns of what is left open."""
    app, outbox = Flask(__name__), Outbox()
    app.config["OUTBOX_DATABASE_URL"] = sqlite_database.url if by_url else None
    outbox.init_app(app, session=None if by_url else Session(sqlite_database.engine))
    engine = outbox.database(app)
    with engine.connect() as connection:
        connection.execute(sa.select(1))
    assert engine.pool.checkedin() == 1  # type: ignore[attr-defined]
    gone = weakref.ref(app)
    del app, outbox
    gc.collect()
    assert gone() is None
    assert engine.pool.checkedin() == 0  # type: ignore[attr-defined]


@pytest.mark.parametrize("by_url", [True, False], ids=["its own address", "like the session's"])
def test_an_application_that_a_listener_of_its_engine_refers_to(by_url: bool, sqlite_database: Database) -> None:
    """It is collected, and the connection of the outbox is closed."""
    app, outbox = Flask(__name__), Outbox()
    app.config["OUTBOX_DATABASE_URL"] = sqlite_database.url if by_url else None
    theirs, made = sa.create_engine(sqlite_database.url), []

    @sa.event.listens_for(theirs, "connect")
    def connected(connection: Any, record: Any, app: Flask = app) -> None:
        made.append(connection)

    outbox.init_app(app, session=Session(theirs))
    with outbox.database(app).connect() as connection:
        connection.execute(sa.select(1))
    gone = weakref.ref(app)
    del app, outbox, theirs, connected, connection
    gc.collect()
    assert gone() is None
    assert made
    for one in made:
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            one.execute("SELECT 1")


def test_session_without_a_database(outbox: Outbox) -> None:
    """A session that is bound to nothing is told of."""
    app = Flask(__name__)
    with Session() as session:
        outbox.init_app(app, session=session)
        with pytest.raises(ConfigurationError, match="Bind it"):
            outbox.database(app)
