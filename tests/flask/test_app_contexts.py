"""Mail that is sent outside of a request: in threads, tasks, jobs, commands, shells and scripts."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import flask_sqlalchemy
import flask_sqlalchemy_lite
import pytest
import sqlalchemy as sa
from flask import Flask, current_app
from sqlalchemy.orm import Session, scoped_session

from outbox import Message, Outbox, UncommittedMailError
from tests.flask.conftest import Committed
from tests.servers.databases import Database

ROOT = Path(__file__).resolve().parents[2]

Db = scoped_session[Session]
Make = Callable[..., Flask]
Log = pytest.LogCaptureFixture

POLICIES = ("auto", "commit", "warn", "raise")


def warnings(caplog: Log) -> list[str]:
    """What the log warned of."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def hello(subject: str = "Hello") -> Message:
    return Message(subject, recipients=["ann@example.org"], body="b")


@pytest.fixture
def note(engine: sa.Engine, db: Db) -> Callable[[], Any]:
    """Writes a row of the application's own."""
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE note (text VARCHAR(10))"))
    return lambda: db.execute(sa.text("INSERT INTO note VALUES ('draft')"))


def notes(engine: sa.Engine) -> int:
    with engine.connect() as connection:
        return int(connection.execute(sa.text("SELECT count(*) FROM note")).scalar_one())


def in_thread(work: Callable[[], Any]) -> list[BaseException]:
    """Run it in a thread; what it raised."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except Exception as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(30)
    assert not thread.is_alive()
    return raised


class WithPlainSession:
    """A scoped_session that is removed at the end of each application context."""

    def __init__(self, app: Flask, url: str) -> None:
        self._engine = sa.create_engine(url)
        self.session = scoped_session(lambda: Session(self._engine))
        app.teardown_appcontext(lambda error: self.session.remove())


@pytest.fixture(params=["flask-sqlalchemy", "flask-sqlalchemy-lite", "plain"])
def book(request: pytest.FixtureRequest, database: Database) -> Iterator[tuple[Flask, Any]]:
    """An application as the book has it, with the session of each kind; and its `db`."""
    app = Flask(__name__)
    url = database.address if isinstance(database.address, str) else database.address.render_as_string(False)
    app.config.update(
        SQLALCHEMY_DATABASE_URI=url, SQLALCHEMY_ENGINES={"default": url}, MAIL_DEFAULT_SENDER="shop@example.org"
    )
    if request.param == "flask-sqlalchemy":
        db: Any = flask_sqlalchemy.SQLAlchemy(app)
    elif request.param == "flask-sqlalchemy-lite":
        db = flask_sqlalchemy_lite.SQLAlchemy(app)
    else:
        db = WithPlainSession(app, url)
    Outbox(app, session=db)
    yield app, db
    with app.app_context():
        (db._engine if request.param == "plain" else db.engine).dispose()


def test_the_books_thread(book: tuple[Flask, Any], database: Database, caplog: Log) -> None:
    """`send_async_email` of the book, word for word: a thread with an application context, and no commit."""
    app, db = book
    mail = app.extensions["mail"]
    threads: list[threading.Thread] = []

    def send_async_email(app: Flask, msg: Message) -> None:
        with app.app_context():
            mail.send(msg)

    def send_email(subject: str) -> None:
        app = current_app._get_current_object()  # type: ignore[attr-defined]
        thr = threading.Thread(target=send_async_email, args=[app, hello(subject)])
        thr.start()
        threads.append(thr)

    @app.post("/reset")
    def reset() -> str:
        db.session.execute(sa.text("SELECT 1"))
        send_email("Reset")
        return "done"

    assert app.test_client().post("/reset").status_code == 200
    for thread in threads:
        thread.join(30)
    assert Committed(database.engine).subjects() == ["Reset"]
    assert warnings(caplog) == []


def test_a_row_of_the_applications_own(book: tuple[Flask, Any], database: Database, caplog: Log) -> None:
    """A thread that wrote something else loses both, and the log names the place."""
    app, db = book
    with database.engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE note (text VARCHAR(10))"))

    def work() -> None:
        with app.app_context():
            db.session.execute(sa.text("INSERT INTO note VALUES ('draft')"))
            app.extensions["mail"].send(hello())

    assert in_thread(work) == []
    assert Committed(database.engine).subjects() == []
    assert notes(database.engine) == 0
    (warning,) = warnings(caplog)
    assert warning.startswith("the application context ends with uncommitted mail")
    assert f"{__file__}:" in warning


@pytest.mark.parametrize("policy", POLICIES)
def test_thread(policy: str, make_app: Make, outbox: Outbox, committed: Committed, caplog: Log) -> None:
    """Each policy holds at the end of an application context as at that of a request."""
    app = make_app(OUTBOX_UNCOMMITTED=policy, TESTING=False)

    def work() -> None:
        with app.app_context():
            outbox.send(hello())

    raised = in_thread(work)
    assert [type(error) for error in raised] == ([UncommittedMailError] if policy == "raise" else [])
    assert committed.subjects() == (["Hello"] if policy in {"auto", "commit"} else [])
    assert len(warnings(caplog)) == (1 if policy == "warn" else 0)


@pytest.mark.parametrize("policy", POLICIES)
def test_exception(policy: str, make_app: Make, outbox: Outbox, committed: Committed, caplog: Log) -> None:
    """A context that ends with an exception commits nothing, and the exception is the one that was raised."""
    app = make_app(OUTBOX_UNCOMMITTED=policy)
    caplog.set_level(logging.INFO, "outbox")

    def work() -> None:
        with app.app_context():
            outbox.send(hello())
            raise LookupError

    assert [type(error) for error in in_thread(work)] == [LookupError]
    assert committed.messages() == []
    assert warnings(caplog) == []
    assert any("the application context failed" in record.getMessage() for record in caplog.records)


def test_mail_about_an_exception(make_app: Make, outbox: Outbox, committed: Committed) -> None:
    """A context that is pushed while an exception is handled has not failed by that."""
    app = make_app()

    def work() -> None:
        try:
            raise LookupError
        except LookupError:
            with app.app_context():
                outbox.send(hello())

    assert in_thread(work) == []
    assert committed.subjects() == ["Hello"]


def test_tests_raise_where_more_was_written(make_app: Make, outbox: Outbox, note: Any, committed: Committed) -> None:
    """A task that forgets its commit fails its test."""

    def task() -> None:
        with make_app().app_context():
            outbox.send(hello())
            note()

    with pytest.raises(UncommittedMailError, match=r"application context.*INSERT"):
        task()
    assert committed.messages() == []


def test_commit_that_fails(make_app: Make, outbox: Outbox, db: Db, committed: Committed) -> None:
    """It is raised to the task, and the context is closed all the same."""
    closed = []
    app = make_app()
    app.teardown_appcontext(lambda error: closed.append(error))

    def send_and_break() -> None:
        with app.app_context():
            outbox.send(hello())
            sa.event.listen(db(), "before_commit", broken)

    def broken(session: Session) -> None:
        raise LookupError

    with pytest.raises(LookupError):
        send_and_break()
    assert closed == [None]
    assert committed.messages() == []


def test_task_and_job(make_app: Make, outbox: Outbox, committed: Committed, caplog: Log) -> None:
    """Celery's tasks run in a context as Flask documents it, jobs of a scheduler likewise; many in one thread."""
    app = make_app()

    class FlaskTask:
        def __call__(self, *args: object, **kwargs: object) -> object:
            with app.app_context():
                return self.run(*args, **kwargs)

        def run(self, subject: str) -> None:
            outbox.send(hello(subject))

    assert in_thread(lambda: [FlaskTask()(f"{number}") for number in range(3)]) == []
    assert committed.subjects() == ["0", "1", "2"]
    assert warnings(caplog) == []


@pytest.mark.parametrize("policy", POLICIES)
def test_command(policy: str, make_app: Make, outbox: Outbox, committed: Committed, caplog: Log) -> None:
    """A `flask` command commits, warns or raises at its end."""
    app = make_app(OUTBOX_UNCOMMITTED=policy)
    app.cli.command("forget")(lambda: outbox.send(hello()))
    ended = app.test_cli_runner().invoke(args=["forget"])
    assert isinstance(ended.exception, UncommittedMailError) is (policy == "raise")
    assert committed.subjects() == (["Hello"] if policy in {"auto", "commit"} else [])
    assert len(warnings(caplog)) == (1 if policy == "warn" else 0)


@pytest.mark.parametrize(
    ("ending", "subjects"),
    [
        (SystemExit, ["Hello"]),
        (lambda: SystemExit(0), ["Hello"]),
        (lambda: click.exceptions.Exit(0), ["Hello"]),
        (lambda: SystemExit(1), []),
        (lambda: click.exceptions.Exit(3), []),
        (lambda: click.UsageError("no"), []),
        (click.Abort, []),
        (LookupError, []),
        (KeyboardInterrupt, []),
    ],
)
def test_command_that_is_left(
    ending: Callable[[], BaseException], subjects: list[str], make_app: Make, outbox: Outbox, committed: Committed
) -> None:
    """A command that ends with exit code 0 has succeeded, however it left; any other sends nothing."""
    app = make_app()

    @app.cli.command("leave")
    def leave() -> None:
        outbox.send(hello())
        raise ending()

    app.test_cli_runner().invoke(args=["leave"])
    assert committed.subjects() == subjects


def test_command_whose_context_is_closed_without_a_word(make_app: Make, outbox: Outbox, committed: Committed) -> None:
    """Click up to 8.1 closes contexts after an exception as if there had been none."""
    app = make_app()
    context = app.app_context()

    class Closing:
        def __enter__(self) -> None:
            context.push()

        def __exit__(self, *raised: object) -> None:
            context.__exit__(None, None, None)

    with pytest.raises(LookupError), Closing():
        _send_and_fail(outbox)
    assert committed.messages() == []


def test_shell_and_script(sqlite_database: Database, tmp_path: Path) -> None:
    """What was typed into `flask shell` is sent when it is left; a script's mail at the end of its context."""
    (tmp_path / "shop.py").write_text(
        textwrap.dedent(f"""
            import flask, outbox
            from flask_sqlalchemy_lite import SQLAlchemy
            app = flask.Flask("shop")
            app.config["SQLALCHEMY_ENGINES"] = {{"default": {sqlite_database.url!r}}}
            app.config["MAIL_DEFAULT_SENDER"] = "shop@example.org"
            mail = outbox.Outbox(app, session=SQLAlchemy(app))
            app.shell_context_processor(lambda: {{"mail": mail}})
            def send(subject):
                mail.send_message(subject, recipients=["ann@example.org"], body="b")
            if __name__ == "__main__":
                with app.app_context():
                    send("script")
        """)
    )
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}", "PYTHONWARNINGS": ""}

    def run(*arguments: str, typed: str = "") -> None:
        ended = subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env=environment,
            input=typed,
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        assert "uncommitted" not in ended.stderr

    run("shop.py")
    run("-m", "flask", "--app", "shop", "shell", typed='import shop\nshop.send("typed")\nexit()\n')
    assert Committed(sqlite_database.engine).subjects() == ["script", "typed"]


@pytest.mark.parametrize("policy", ["auto", "commit"])
def test_inner_context_leaves_the_outer_ones_alone(
    policy: str, make_app: Make, outbox: Outbox, note: Any, engine: sa.Engine, committed: Committed
) -> None:
    """What the outer context began is committed at its end, or not at all."""
    app = make_app(OUTBOX_UNCOMMITTED=policy, session=(db := Session(engine)))
    with app.app_context():
        outbox.send(hello("outer"))
        with app.app_context():
            outbox.send(hello("inner"))
        assert committed.messages() == []
    assert committed.subjects() == ["outer", "inner"]
    with pytest.raises(LookupError), app.app_context():
        _both_and_fail(app, outbox)
    assert len(committed.messages()) == 2
    db.close()


def _nested(app: Flask, outbox: Outbox) -> None:
    with app.app_context():
        outbox.send(hello("inner"))


def _both_and_fail(app: Flask, outbox: Outbox) -> None:
    outbox.send(hello("outer"))
    _nested_and_fail(app, outbox)


def _nested_and_fail(app: Flask, outbox: Outbox) -> None:
    _nested(app, outbox)
    raise LookupError


def _send_and_fail(outbox: Outbox) -> None:
    outbox.send(hello())
    raise LookupError


@pytest.mark.parametrize("policy", ["auto", "commit"])
def test_inner_context_after_the_outer_one_wrote(
    policy: str, make_app: Make, outbox: Outbox, engine: sa.Engine, note: Any, committed: Committed, caplog: Log
) -> None:
    """A row of the outer context's is not committed for the sake of the inner one's mail, nor lost with it."""
    with Session(engine) as session:
        app = make_app(OUTBOX_UNCOMMITTED=policy, TESTING=False, session=session)
        with app.app_context():
            session.execute(sa.text("INSERT INTO note VALUES ('draft')"))
            _nested(app, outbox)
            assert (committed.messages(), notes(engine), warnings(caplog)) == ([], 0, [])
            session.commit()
    assert (committed.subjects(), notes(engine)) == (["inner"], 1)
    assert warnings(caplog) == []


@pytest.mark.parametrize("policy", POLICIES)
def test_within_begin(
    policy: str, make_app: Make, outbox: Outbox, engine: sa.Engine, note: Any, committed: Committed, caplog: Log
) -> None:
    """`with session.begin()` around a context commits by itself, or rolls back: no business of the context's."""
    with Session(engine) as session:
        app = make_app(OUTBOX_UNCOMMITTED=policy, session=session)
        with session.begin():
            _nested(app, outbox)
            assert committed.messages() == []
        assert committed.subjects() == ["inner"]
        with pytest.raises(LookupError), session.begin():
            _nested_and_fail(app, outbox)
        with app.app_context(), session.begin():
            outbox.send(hello("last"))
    assert committed.subjects() == ["inner", "last"]
    assert warnings(caplog) == []


def test_begin_around_a_request(make_app: Make, outbox: Outbox, engine: sa.Engine, committed: Committed) -> None:
    """A request within an outer `begin()`, as a test may have it, does not end that."""
    with Session(engine) as session:
        app = make_app(session=session)
        app.add_url_rule("/", view_func=lambda: (outbox.send(hello()), "done")[1])
        with session.begin():
            assert app.test_client().get("/").status_code == 200
            assert committed.messages() == []
        assert committed.subjects() == ["Hello"]


def test_request_in_the_context_of_a_test(
    make_app: Make, outbox: Outbox, engine: sa.Engine, note: Any, committed: Committed, caplog: Log
) -> None:
    """Where the test has only read before, the request ends as in production; what the test wrote stays its own."""
    with Session(engine) as session:
        app = make_app(session=session)
        app.add_url_rule("/", view_func=lambda: (outbox.send(hello()), "done")[1])
        with app.app_context():
            session.execute(sa.text("SELECT 1"))
            assert app.test_client().get("/").status_code == 200
            assert committed.subjects() == ["Hello"]
            session.execute(sa.text("INSERT INTO note VALUES ('draft')"))
            assert app.test_client().get("/").status_code == 200
            assert (len(committed.messages()), notes(engine)) == (1, 0)
            session.rollback()
    assert warnings(caplog) == []


def test_request_that_wrote_in_the_context_of_a_test(
    make_app: Make, outbox: Outbox, engine: sa.Engine, note: Any
) -> None:
    """A view that forgets the commit of a row is found, also where the test had read before."""
    with Session(engine) as session:
        app = make_app(session=session)

        @app.get("/")
        def view() -> str:
            outbox.send(hello())
            session.execute(sa.text("INSERT INTO note VALUES ('draft')"))
            return "done"

        with app.app_context():
            session.execute(sa.text("SELECT 1"))
            with pytest.raises(UncommittedMailError):
                app.test_client().get("/")
            session.rollback()


def test_context_in_a_view(make_app: Make, outbox: Outbox, committed: Committed, caplog: Log) -> None:
    """A context that a view pushes is the end of the session that it shares with nothing else."""
    app = make_app()

    @app.get("/")
    def view() -> str:
        with app.app_context():
            outbox.send(hello())
        return "done"

    assert app.test_client().get("/").status_code == 200
    assert committed.subjects() == ["Hello"]
    assert warnings(caplog) == []


def test_thread_whose_session_outlived_a_context(
    make_app: Make, outbox: Outbox, engine: sa.Engine, committed: Committed, caplog: Log
) -> None:
    """A context that is over is around nothing: what it left open in a thread's session holds nobody's mail back."""
    with Session(engine) as session:
        app = make_app(session=session)
        with app.app_context():
            session.execute(sa.text("SELECT 1"))
        with app.app_context():
            outbox.send(hello())
        assert committed.subjects() == ["Hello"]
    assert warnings(caplog) == []


def test_told_once_and_committed_after_all(
    make_app: Make, outbox: Outbox, engine: sa.Engine, note: Any, committed: Committed, caplog: Log
) -> None:
    """A session that outlives the context may still be committed; then its mail is sent, and said to be queued."""
    caplog.set_level(logging.INFO, "outbox")
    with Session(engine) as session:
        app = make_app(session=session, TESTING=False)
        with app.app_context():
            session.execute(sa.text("INSERT INTO note VALUES ('draft')"))
            outbox.send(hello())
        assert len(warnings(caplog)) == 1
        session.commit()
    assert committed.subjects() == ["Hello"]
    assert len(warnings(caplog)) == 1
    assert any("status=queued" in record.getMessage() for record in caplog.records)


def test_pushed_context_of_pytest_flask(pytester: pytest.Pytester, sqlite_database: Database) -> None:
    """A service that leaves the commit to its caller is tested without an ERROR; a fixture pushes the context."""
    pytester.makepyfile(
        f"""
        import flask, outbox, pytest, sqlalchemy as sa, unittest
        from sqlalchemy.orm import Session
        from outbox import Message, Outbox

        engine = sa.create_engine({sqlite_database.url!r})
        with engine.begin() as connection:
            connection.execute(sa.text("CREATE TABLE note (text VARCHAR(10))"))

        def make():
            app = flask.Flask("shop")
            app.config.update(TESTING=True, MAIL_DEFAULT_SENDER="shop@example.org")
            app.session = Session(engine)
            Outbox(app, session=app.session)
            return app

        def register(app):
            app.session.execute(sa.text("INSERT INTO note VALUES ('ann')"))
            app.extensions["mail"].send(Message("m", recipients=["ann@example.org"], body="b"))

        @pytest.fixture
        def app():
            app = make()
            yield app
            app.session.close()

        @pytest.fixture(autouse=True)
        def _push_request_context(request, app):  # as pytest-flask has it
            if "in_context" in request.fixturenames:
                return
            ctx = app.test_request_context()
            ctx.push()
            request.addfinalizer(ctx.pop)

        def test_service(app):
            register(app)

        @pytest.fixture
        def in_context(app):
            with app.app_context():
                yield

        def test_in_context(app, in_context):
            register(app)
            app.session.rollback()
            register(app)

        class TestOldStyle(unittest.TestCase):
            def setUp(self):
                self.app = make()
                self.context = self.app.app_context()
                self.context.push()

            def tearDown(self):
                self.context.pop()
                self.app.session.close()

            def test_service(self):
                register(self.app)
        """
    )
    pytester.runpytest_subprocess("-p", "no:cacheprovider", "-q").assert_outcomes(passed=3)
