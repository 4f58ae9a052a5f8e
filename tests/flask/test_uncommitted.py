"""Forgotten commits: what becomes of mail that a request, a script or a savepoint leaves uncommitted."""

from __future__ import annotations

import contextvars
import gc
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import flask_sqlalchemy
import flask_sqlalchemy_lite
import pytest
import sqlalchemy as sa
from flask import Flask, Response, abort, copy_current_request_context, redirect, stream_with_context
from flask.typing import ResponseReturnValue
from flask.views import View
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, scoped_session

from outbox import Message, MessageError, Outbox, UncommittedMailError
from tests.flask.conftest import Committed
from tests.servers.databases import Database

ROOT = Path(__file__).resolve().parents[2]

Db = scoped_session[Session]
Make = Callable[..., Flask]
Log = pytest.LogCaptureFixture


@pytest.fixture(autouse=True)
def everything_is_logged(caplog: Log) -> None:
    caplog.set_level(logging.INFO, "outbox")


def told(caplog: Log, level: int = logging.WARNING) -> list[str]:
    """What was said at this level or above."""
    return [record.getMessage() for record in caplog.records if record.levelno >= level]


def informed(caplog: Log) -> list[str]:
    """What was said at INFO of mail that is not committed, which is nobody's concern."""
    pending = [record for record in caplog.records if record.name == "outbox.pending"]
    return [record.getMessage() for record in pending if record.levelno == logging.INFO]


def hello(subject: str = "Hello") -> Message:
    return Message(subject, recipients=["ann@example.org", "bob@example.org"], body="b")


def get(app: Flask, view: Callable[[], ResponseReturnValue]) -> Any:
    """One request that is answered by `view`."""
    app.add_url_rule("/", view_func=view, endpoint="view")
    return app.test_client().get("/")


@pytest.fixture
def forgetful(outbox: Outbox) -> Callable[[], str]:
    """A view that enqueues and does not commit."""

    def view() -> str:
        outbox.send(hello())
        return "done"

    return view


def test_commit(make_app: Make, forgetful: Callable[[], str], committed: Committed, caplog: Log) -> None:
    """With "commit" a request that succeeded commits what it enqueued, without a word."""
    assert get(make_app(OUTBOX_UNCOMMITTED="commit"), forgetful).status_code == 200
    assert committed.subjects() == ["Hello"]
    assert told(caplog) == []


def test_warn(make_app: Make, forgetful: Callable[[], str], committed: Committed, caplog: Log) -> None:
    """With "warn" the request is answered, the mail is gone, and a warning names it."""
    assert get(make_app(OUTBOX_UNCOMMITTED="warn"), forgetful).status_code == 200
    assert committed.messages() == []
    (warning,) = told(caplog)
    assert "@example.org> (2 recipients, enqueued at " in warning
    assert f"{Path(__file__).name}:" in warning
    assert "OUTBOX_UNCOMMITTED" in warning
    assert "Hello" not in warning


def test_raise(make_app: Make, forgetful: Callable[[], str], committed: Committed) -> None:
    """With "raise" the test client of a developer gets the error."""
    with pytest.raises(UncommittedMailError, match=r"@example\.org> \(2 recipients") as caught:
        get(make_app(OUTBOX_UNCOMMITTED="raise"), forgetful)
    assert "Commit the session" in str(caught.value)
    assert committed.messages() == []


def test_raise_in_production(make_app: Make, forgetful: Callable[[], str], caplog: Log) -> None:
    """With "raise" and no one to get the error, the request is answered with 500 and the error is in the log."""
    assert get(make_app(OUTBOX_UNCOMMITTED="raise", TESTING=False), forgetful).status_code == 500
    assert any(record.exc_info and record.exc_info[0] is UncommittedMailError for record in caplog.records)


@pytest.mark.parametrize("policy", ["commit", "warn", "raise"])
def test_nothing_is_said_of_committed_mail(
    policy: str, make_app: Make, outbox: Outbox, db: Db, committed: Committed, caplog: Log
) -> None:
    """A view that commits is left alone."""

    def view() -> str:
        outbox.send(hello())
        db.commit()
        return "done"

    assert get(make_app(OUTBOX_UNCOMMITTED=policy), view).status_code == 200
    assert committed.subjects() == ["Hello"]
    assert informed(caplog) == told(caplog) == []


@pytest.mark.parametrize("policy", ["commit", "warn", "raise"])
def test_commit_after_the_view(
    policy: str, make_app: Make, forgetful: Any, db: Db, committed: Committed, caplog: Log
) -> None:
    """An application that commits in a function of `after_request` is in time, whenever it registered it."""
    app = make_app(OUTBOX_UNCOMMITTED=policy)

    @app.after_request
    def commit(response: Response) -> Response:
        db.commit()
        return response

    assert get(app, forgetful).status_code == 200
    assert committed.subjects() == ["Hello"]
    assert told(caplog) == []


@pytest.mark.parametrize("policy", ["commit", "warn", "raise"])
def test_explicit_rollback(
    policy: str, make_app: Make, outbox: Outbox, db: Db, committed: Committed, caplog: Log
) -> None:
    """Who rolls back means it: an info line, no more."""

    def view() -> str:
        outbox.send(hello())
        db.rollback()
        return "done"

    assert get(make_app(OUTBOX_UNCOMMITTED=policy), view).status_code == 200
    assert committed.messages() == []
    assert told(caplog) == []
    (line,) = informed(caplog)
    assert line.startswith("rolled back")


@pytest.mark.parametrize("policy", ["commit", "warn", "raise"])
@pytest.mark.parametrize("status", [400, 404, 409, 500])
@pytest.mark.parametrize("how", ["returned", "aborted"])
def test_failed_request(
    how: str, status: int, policy: str, make_app: Make, outbox: Outbox, committed: Committed, caplog: Log
) -> None:
    """The mail of a request that answers with an error goes with its transaction, whatever the policy.

    A warning tells of it where a page was returned: the view may have taken the mail for sent.
    """

    def view() -> tuple[str, int]:
        outbox.send(hello())
        if how == "aborted":
            abort(status)
        return "no", status

    assert get(make_app(OUTBOX_UNCOMMITTED=policy), view).status_code == status
    assert committed.messages() == []
    lines, others = (told(caplog), []) if how == "returned" else (informed(caplog), told(caplog))
    assert lines[0].startswith("the request failed")
    assert others == []


@pytest.mark.parametrize("policy", ["commit", "warn", "raise"])
@pytest.mark.parametrize("testing", [True, False])
def test_unhandled_exception(
    testing: bool, policy: str, make_app: Make, outbox: Outbox, committed: Committed, caplog: Log
) -> None:
    """The mail of a request that raises goes with its transaction; the exception is the one that was raised."""
    app = make_app(OUTBOX_UNCOMMITTED=policy, TESTING=testing)

    def view() -> str:
        outbox.send(hello())
        raise LookupError("the view's own")

    if testing:
        with pytest.raises(LookupError, match="the view's own"):
            get(app, view)
    else:
        assert get(app, view).status_code == 500
    assert committed.messages() == []
    assert [line for line in told(caplog) if "mail" in line] == []
    assert informed(caplog)[0].startswith("the request failed")


@pytest.mark.parametrize("policy", ["commit", "warn", "raise"])
@pytest.mark.parametrize("error", [LookupError, None], ids=["exception", "abort"])
def test_handled_exception(
    error: type[Exception] | None, policy: str, make_app: Make, outbox: Outbox, committed: Committed, caplog: Log
) -> None:
    """An error handler that makes a good page of an exception does not make the half transaction good."""
    app = make_app(OUTBOX_UNCOMMITTED=policy)
    app.register_error_handler(LookupError, lambda error: redirect("/elsewhere"))
    app.register_error_handler(409, lambda error: redirect("/elsewhere"))

    def view() -> str:
        outbox.send(hello())
        if error is None:
            abort(409)
        raise error

    assert get(app, view).status_code == 302
    assert committed.messages() == []
    assert len(told(caplog)) == 1


@pytest.mark.parametrize("how", ["returned", "aborted"])
def test_redirect_is_a_success(how: str, make_app: Make, outbox: Outbox, committed: Committed) -> None:
    """Post, redirect, get: a redirect commits, even where it leaves the view as an exception."""

    def view() -> ResponseReturnValue:
        outbox.send(hello())
        if how == "aborted":
            abort(redirect("/thanks"))
        return redirect("/thanks")

    assert get(make_app(OUTBOX_UNCOMMITTED="commit"), view).status_code == 302
    assert committed.subjects() == ["Hello"]


def test_commit_that_fails(make_app: Make, outbox: Outbox, db: Db, committed: Committed) -> None:
    """A commit that fails at the end of the request fails the request: nobody is told that it went well."""

    class Base(DeclarativeBase):
        pass

    class Account(Base):
        __tablename__ = "account"
        name: Mapped[str] = mapped_column(primary_key=True)

    Base.metadata.create_all(db.get_bind())

    def view() -> str:
        db.execute(sa.insert(Account).values(name="ann"))
        outbox.send(hello())
        db.add(Account(name="ann"))
        return "done"

    assert get(make_app(OUTBOX_UNCOMMITTED="commit", TESTING=False), view).status_code == 500
    assert committed.messages() == []


def test_view_whose_commit_fails(make_app: Make, outbox: Outbox, db: Db, committed: Committed, caplog: Log) -> None:
    """Mail whose commit failed and was rolled back is gone with an info line, and the next one is committed."""

    class Base(DeclarativeBase):
        pass

    class Account(Base):
        __tablename__ = "account"
        name: Mapped[str] = mapped_column(primary_key=True)

    Base.metadata.create_all(db.get_bind())

    def view() -> str:
        db.execute(sa.insert(Account).values(name="ann"))
        outbox.send(hello("lost"))
        db.add(Account(name="ann"))
        with pytest.raises(sa.exc.IntegrityError):
            db.commit()
        db.rollback()
        outbox.send(hello("second"))
        return "done"

    assert get(make_app(OUTBOX_UNCOMMITTED="commit"), view).status_code == 200
    assert committed.subjects() == ["second"]
    assert told(caplog) == []
    assert len(informed(caplog)) == 1


def test_refused_message_is_not_watched(make_app: Make, outbox: Outbox, caplog: Log) -> None:
    """A message that was never written is not missed."""

    def view() -> str:
        with pytest.raises(MessageError):
            outbox.send(Message("s", recipients=[]))
        return "done"

    assert get(make_app(), view).status_code == 200
    assert informed(caplog) == told(caplog) == []


def test_second_use_of_a_key_is_not_watched(make_app: Make, outbox: Outbox, db: Db, caplog: Log) -> None:
    """A message that was committed before is not uncommitted because it is enqueued again."""

    def view() -> str:
        outbox.enqueue(hello(), key="k")
        db.commit()
        outbox.enqueue(hello(), key="k")
        return "done"

    assert get(make_app(), view).status_code == 200
    assert informed(caplog) == told(caplog) == []


@pytest.mark.parametrize("policy", ["commit", "warn"])
def test_session_closed_within_a_request(
    policy: str, make_app: Make, outbox: Outbox, engine: sa.Engine, committed: Committed, caplog: Log
) -> None:
    """What a session held that was closed can't be committed any more: a warning, whatever the policy."""

    def view() -> str:
        with Session(engine) as session:
            outbox.enqueue(hello(), session)
        return "done"

    assert get(make_app(OUTBOX_UNCOMMITTED=policy), view).status_code == 200
    assert committed.messages() == []
    assert len(told(caplog)) == 1


def test_session_closed_within_a_request_raises(make_app: Make, outbox: Outbox, engine: sa.Engine) -> None:
    """A session that was closed without a commit is an error under "raise" too."""

    def view() -> str:
        with Session(engine) as session:
            outbox.enqueue(hello(), session)
        return "done"

    with pytest.raises(UncommittedMailError):
        get(make_app(), view)


def test_session_thrown_away_within_a_request(
    make_app: Make, outbox: Outbox, engine: sa.Engine, committed: Committed, caplog: Log
) -> None:
    """Watching does not keep a session alive until it could be committed after all."""

    def view() -> str:
        outbox.enqueue(hello(), Session(engine))
        gc.collect()
        return "done"

    assert get(make_app(OUTBOX_UNCOMMITTED="commit"), view).status_code == 200
    assert committed.messages() == []
    assert len(told(caplog)) == 1


def test_several_sessions(make_app: Make, outbox: Outbox, databases: Any, db: Db, committed: Committed) -> None:
    """With "commit" each session that holds mail is committed."""
    with databases.with_schema("sqlite") as other, Session(other.engine) as session:

        def view() -> str:
            outbox.send(hello("own"))
            outbox.enqueue(hello("other"), session)
            return "done"

        get(make_app(OUTBOX_UNCOMMITTED="commit"), view)
        assert committed.subjects() == ["own"]
        assert Committed(other.engine).subjects() == ["other"]


def test_session_that_belongs_to_no_mail_is_left_alone(
    make_app: Make, outbox: Outbox, db: Db, engine: sa.Engine
) -> None:
    """With "commit" a session without mail is not committed."""
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE note (text VARCHAR(10))"))

    def view() -> str:
        db.execute(sa.text("INSERT INTO note VALUES ('draft')"))
        return "done"

    get(make_app(OUTBOX_UNCOMMITTED="commit"), view)
    with engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM note")) == 0


def test_streamed_response(make_app: Make, outbox: Outbox, committed: Committed) -> None:
    """Mail that is enqueued while the response is streamed is looked at when the stream ends."""

    def view() -> Response:
        def pieces() -> Iterator[str]:
            yield "one"
            outbox.send(hello())
            yield "two"

        return Response(stream_with_context(pieces()))

    assert get(make_app(OUTBOX_UNCOMMITTED="commit"), view).text == "onetwo"
    assert committed.subjects() == ["Hello"]


@pytest.mark.parametrize(("policy", "subjects"), [("commit", ["Hello"]), ("warn", [])])
def test_request_context_of_a_test(
    policy: str, subjects: list[str], make_app: Make, outbox: Outbox, committed: Committed, caplog: Log
) -> None:
    """`test_request_context` is a request without a response."""
    with make_app(OUTBOX_UNCOMMITTED=policy).test_request_context():
        outbox.send(hello())
    assert committed.subjects() == subjects
    assert len(told(caplog)) == 1 - len(subjects)


def test_request_context_of_a_test_raises(make_app: Make, outbox: Outbox) -> None:
    """The context ends with the error; an exception of the block's own goes before it."""
    app = make_app(OUTBOX_UNCOMMITTED="raise")
    with pytest.raises(UncommittedMailError), app.test_request_context():
        outbox.send(hello())
    with pytest.raises(LookupError), app.test_request_context():
        _send_and_fail(outbox)


def _send_and_fail(outbox: Outbox) -> None:
    outbox.send(hello())
    raise LookupError


def test_class_based_and_async_views(make_app: Make, outbox: Outbox, committed: Committed) -> None:
    """An asynchronous view runs in another thread, and its mail is still the request's."""

    class Page(View):
        async def dispatch_request(self) -> str:
            outbox.send(hello())
            return "done"

    app = make_app(OUTBOX_UNCOMMITTED="raise")
    with pytest.raises(UncommittedMailError):
        get(app, Page.as_view("page"))
    assert committed.messages() == []


def test_helper_threads_of_a_view_belong_to_the_request(
    make_app: Make, outbox: Outbox, engine: sa.Engine, caplog: Log
) -> None:
    """What a view does in a thread with a copy of its context variables is missed at the request's end."""

    def work() -> None:
        with Session(engine) as session:
            outbox.enqueue(hello(), session)

    def view() -> str:
        thread = threading.Thread(target=contextvars.copy_context().run, args=(work,))
        thread.start()
        thread.join(10)
        return "done"

    assert get(make_app(OUTBOX_UNCOMMITTED="warn"), view).status_code == 200
    assert len(told(caplog)) == 1


def test_threads_of_a_request_are_on_their_own(
    make_app: Make, outbox: Outbox, engine: sa.Engine, committed: Committed, caplog: Log
) -> None:
    """A thread that goes on with a copy of the request's context is not committed from under it."""
    enqueued, answered = threading.Event(), threading.Event()
    threads: list[threading.Thread] = []

    def view() -> str:
        @copy_current_request_context
        def work() -> None:
            with Session(engine) as session:
                outbox.enqueue(hello(), session)
                enqueued.set()
                answered.wait(10)
                assert committed.messages() == []
                session.commit()

        threads.append(threading.Thread(target=work))
        threads[0].start()
        assert enqueued.wait(10)
        return "done"

    assert get(make_app(OUTBOX_UNCOMMITTED="commit"), view).status_code == 200
    answered.set()
    threads[0].join(10)
    assert committed.subjects() == ["Hello"]
    assert told(caplog) == []


def test_requests_within_one_application_context(
    make_app: Make, forgetful: Any, db: Db, committed: Committed, caplog: Log
) -> None:
    """Tests push a context around several requests; each is looked at by itself, what was before is not its affair."""
    app = make_app(OUTBOX_UNCOMMITTED="warn")
    outbox: Outbox = app.extensions["outbox"]
    app.add_url_rule("/", view_func=forgetful)
    app.add_url_rule("/quiet", "quiet", lambda: "done")
    with app.app_context():
        outbox.send(hello("of the test"))
        app.test_client().get("/quiet")
        assert told(caplog) == []
        app.test_client().get("/")
        db.commit()
    assert committed.subjects() == ["of the test", "Hello"]
    (warning,) = told(caplog)
    assert warning.count("@example.org>") == 1


@pytest.mark.parametrize(("policy", "subjects"), [("commit", ["inner", "outer"]), ("warn", [])])
def test_application_context_within_a_request(
    policy: str, subjects: list[str], sqlite_database: Database, outbox: Outbox, committed: Committed, caplog: Log
) -> None:
    """A context pushed in a view has a session of its own, which ends with it: it is looked at by itself."""
    app = Flask(__name__)
    app.config.update(
        SQLALCHEMY_DATABASE_URI=sqlite_database.url,
        MAIL_DEFAULT_SENDER="shop@example.org",
        OUTBOX_UNCOMMITTED=policy,
    )
    db = flask_sqlalchemy.SQLAlchemy(app)
    outbox.init_app(app, session=db)

    def view() -> str:
        with app.app_context():
            outbox.send(hello("inner"))
        outbox.send(hello("outer"))
        return "done"

    assert get(app, view).status_code == 200
    assert committed.subjects() == subjects
    assert len(told(caplog)) == 2 - len(subjects)
    with app.app_context():
        db.engine.dispose()


def test_request_within_a_request(make_app: Make, outbox: Outbox, committed: Committed, caplog: Log, db: Db) -> None:
    """A request that a view makes by the test client does not settle the mail of the view."""
    app = make_app(OUTBOX_UNCOMMITTED="warn")
    app.add_url_rule("/inner", "inner", lambda: "done")

    def view() -> str:
        outbox.send(hello())
        app.test_client().get("/inner")
        assert told(caplog) == []
        return "done"

    with app.app_context():  # or the inner request's end would take the session away
        assert get(app, view).status_code == 200
        assert len(told(caplog)) == 1


def test_a_session_that_lives_on_is_told_of_once(
    make_app: Make, outbox: Outbox, forgetful: Any, engine: sa.Engine, caplog: Log
) -> None:
    """What a request was warned of is not told again when its session ends some day."""
    with Session(engine) as session:
        assert get(make_app(session=session, OUTBOX_UNCOMMITTED="warn"), forgetful).status_code == 200
        assert len(told(caplog)) == 1
        session.rollback()
    assert len(caplog.records) == 1


def test_configured_anew(make_app: Make, outbox: Outbox, db: Db, forgetful: Any, caplog: Log) -> None:
    """An application that is bound again goes by its last configuration, and once."""
    app = make_app(OUTBOX_UNCOMMITTED="raise")
    app.config["OUTBOX_UNCOMMITTED"] = "warn"
    outbox.init_app(app, session=db)
    assert get(app, forgetful).status_code == 200
    assert len(told(caplog)) == 1


def test_command_that_commits(make_app: Make, outbox: Outbox, db: Db, committed: Committed, caplog: Log) -> None:
    """A script that commits hears nothing."""
    with make_app().app_context():
        outbox.send(hello())
        db.commit()
    assert committed.subjects() == ["Hello"]
    assert informed(caplog) == told(caplog) == []


def test_session_that_is_thrown_away(app: Flask, outbox: Outbox, engine: sa.Engine, caplog: Log) -> None:
    """A session that nobody closed is missed when it is collected; watching does not keep it alive."""
    with app.app_context():
        session = Session(engine)
        outbox.enqueue(hello(), session)
        del session
        gc.collect()
    (warning,) = told(caplog)
    assert warning.startswith("a session was discarded")


def test_script_that_ends(sqlite_database: Database) -> None:
    """A script that ends with an open session, in no application context, is told."""
    script = f"""
import flask, outbox, sqlalchemy
from sqlalchemy.orm import Session
app = flask.Flask("script")
app.config["MAIL_DEFAULT_SENDER"] = "shop@example.org"
session = Session(sqlalchemy.create_engine({sqlite_database.url!r}))
mail = outbox.Outbox(app, session=session)
session.begin()
with app.app_context():
    mail.send_message("s", recipients=["ann@example.org"], body="b")
"""
    ended = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={**os.environ, "PYTHONWARNINGS": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "with uncommitted mail" in ended.stderr


def test_savepoint_rolled_back(make_app: Make, outbox: Outbox, db: Db, committed: Committed, caplog: Log) -> None:
    """Rolling back a savepoint drops the mail that was enqueued in it, and no other."""

    def view() -> str:
        outbox.send(hello("before"))
        savepoint = db.begin_nested()
        outbox.send(hello("in the savepoint"))
        savepoint.rollback()
        outbox.send(hello("after"))
        return "done"

    assert get(make_app(OUTBOX_UNCOMMITTED="commit"), view).status_code == 200
    assert committed.subjects() == ["before", "after"]
    assert told(caplog) == []
    assert len(informed(caplog)) == 1


def test_savepoint_rolled_back_leaves_the_rest_to_be_missed(
    make_app: Make, outbox: Outbox, db: Db, caplog: Log
) -> None:
    """What stands outside of the savepoint is still uncommitted, and what was released inside of it is not."""

    def view() -> str:
        outbox.send(hello("before"))
        outer = db.begin_nested()
        with db.begin_nested():
            outbox.send(hello("released"))
        outer.rollback()
        outbox.send(hello("after"))
        return "done"

    assert get(make_app(OUTBOX_UNCOMMITTED="warn"), view).status_code == 200
    (warning,) = told(caplog)
    assert warning.count("@example.org>") == 2
    (line,) = informed(caplog)
    assert line.count("@example.org>") == 1


def test_savepoint_released_is_not_committed(make_app: Make, outbox: Outbox, db: Db, caplog: Log) -> None:
    """Mail of a savepoint that was released still waits for the transaction's commit, however deep it stood."""

    def view() -> str:
        outbox.send(hello())
        with db.begin_nested():
            outbox.send(hello())
            with db.begin_nested():
                outbox.send(hello())
        return "done"

    assert get(make_app(OUTBOX_UNCOMMITTED="warn"), view).status_code == 200
    (warning,) = told(caplog)
    assert warning.count("@example.org>") == 3


def test_outer_savepoint_rolled_back(make_app: Make, outbox: Outbox, db: Db, committed: Committed) -> None:
    """A savepoint that is rolled back takes with it what was released, or is still open, inside of it."""

    def view() -> str:
        outer = db.begin_nested()
        with db.begin_nested():
            outbox.send(hello("released"))
        db.begin_nested()
        outbox.send(hello("open"))
        outer.rollback()
        outbox.send(hello("kept"))
        db.commit()
        return "done"

    assert get(make_app(OUTBOX_UNCOMMITTED="raise"), view).status_code == 200
    assert committed.subjects() == ["kept"]


def test_session_closed_with_an_open_savepoint(
    app: Flask, outbox: Outbox, db: Db, committed: Committed, caplog: Log
) -> None:
    """A session closed inside of a savepoint is closed with uncommitted mail like any other."""
    with app.app_context():
        db.begin_nested()
        outbox.send(hello())
        db.close()
    assert len(told(caplog)) == 1
    assert committed.messages() == []


def test_flush_that_fails_takes_the_mail_with_it(app: Flask, outbox: Outbox, db: Db, caplog: Log) -> None:
    """A flush that fails rolls the transaction back: an info line there, and no warning when the session is closed."""

    class Base(DeclarativeBase):
        pass

    class Account(Base):
        __tablename__ = "account"
        name: Mapped[str] = mapped_column(primary_key=True)

    Base.metadata.create_all(db.get_bind())
    with app.app_context():
        db.execute(sa.insert(Account).values(name="ann"))
        outbox.send(hello())
        db.add(Account(name="ann"))
        with pytest.raises(sa.exc.IntegrityError):
            db.flush()
    assert told(caplog) == []
    assert len(informed(caplog)) == 1


def test_session_is_used_again(app: Flask, outbox: Outbox, db: Db, committed: Committed, caplog: Log) -> None:
    """A session goes through many transactions, and each is watched by itself."""
    with app.app_context():
        for number in range(3):
            outbox.send(hello(str(number)))
            db.commit()
            outbox.send(hello("lost"))
            db.rollback()
        session = db()
        assert session.info["outbox.pending"] == []
    assert committed.subjects() == ["0", "1", "2"]
    assert len(informed(caplog)) == 3


def test_many_messages_are_not_all_named(make_app: Make, outbox: Outbox, caplog: Log) -> None:
    """A line of the log stays a line."""

    def view() -> str:
        for number in range(12):
            outbox.send(hello(str(number)))
        return "done"

    get(make_app(OUTBOX_UNCOMMITTED="warn"), view)
    (warning,) = told(caplog)
    assert warning.count("@example.org>") == 10
    assert "and 2 more" in warning


@pytest.mark.parametrize("extension", [flask_sqlalchemy.SQLAlchemy, flask_sqlalchemy_lite.SQLAlchemy])
@pytest.mark.parametrize(("policy", "subjects"), [("commit", ["Hello"]), ("warn", [])])
def test_sessions_of_extensions(
    policy: str,
    subjects: list[str],
    extension: Any,
    sqlite_database: Database,
    outbox: Outbox,
    forgetful: Any,
    committed: Committed,
    caplog: Log,
) -> None:
    """The end of the request comes before Flask-SQLAlchemy and Flask-SQLAlchemy-Lite take their session away."""
    app = Flask(__name__)
    app.config.update(
        SQLALCHEMY_DATABASE_URI=sqlite_database.url,
        SQLALCHEMY_ENGINES={"default": sqlite_database.url},
        MAIL_DEFAULT_SENDER="shop@example.org",
        OUTBOX_UNCOMMITTED=policy,
    )
    db = extension(app)
    outbox.init_app(app, session=db)
    assert get(app, forgetful).status_code == 200
    assert committed.subjects() == subjects
    assert len(told(caplog)) == 1 - len(subjects)
    with app.app_context():
        db.engine.dispose()
