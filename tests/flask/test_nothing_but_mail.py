"""OUTBOX_UNCOMMITTED="auto": a transaction that wrote nothing but mail is committed where nobody did."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask, Response, abort, redirect, stream_with_context
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, scoped_session, sessionmaker

from outbox import Message, Outbox, UncommittedMailError
from outbox.models import OutboxMessage
from tests.flask.conftest import Committed
from tests.servers.databases import Database, Databases

Log = pytest.LogCaptureFixture


class Base(DeclarativeBase):
    pass


class Account(Base):
    __tablename__ = "account"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(50))


ACCOUNT: Any = Account.__table__


@dataclass
class Shop:
    """An application with accounts."""

    db: scoped_session[Session]
    outbox: Outbox
    database: Database

    def app(self, **config: Any) -> Flask:
        """It, configured so."""
        app = Flask(__name__)
        app.config.update(MAIL_DEFAULT_SENDER="shop@example.org", **config)
        self.outbox.init_app(app, session=self.db)
        app.teardown_appcontext(lambda error: self.db.remove())
        return app

    def get(self, view: Callable[[], ResponseReturnValue], **config: Any) -> Any:
        """The response to a request that is answered by `view`."""
        app = self.app(**config)
        app.add_url_rule("/", view_func=view, endpoint="view")
        return app.test_client().get("/")

    def send(self, subject: str = "Hello") -> None:
        """Enqueue, and commit nothing."""
        self.outbox.send(Message(subject, recipients=["ann@example.org"], body="b"))

    @property
    def sent(self) -> list[str]:
        """The subjects of the mail that is committed."""
        return Committed(self.database.engine).subjects()

    def accounts(self) -> list[str]:
        """The names in the rows that are committed."""
        with Session(self.database.engine) as session:
            return sorted(session.scalars(sa.select(Account.name)))


@pytest.fixture
def shop(database: Database) -> Iterator[Shop]:
    Base.metadata.create_all(database.engine)
    with Session(database.engine) as session:
        session.add(Account(name="ann"))
        session.commit()
    db = scoped_session(sessionmaker(database.engine))
    yield Shop(db, Outbox(), database)
    db.remove()


def warnings(caplog: Log) -> list[str]:
    """What the log warned of."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def function(name: str, *arguments: Any) -> Callable[[Session], Any]:
    """A SELECT that calls it."""
    return lambda s: s.execute(sa.select(getattr(sa.func, name)(*arguments)))


READS: dict[str, Callable[[Session], Any]] = {
    "nothing": lambda s: None,
    "get": lambda s: s.get(Account, 1),
    "query": lambda s: s.query(Account).filter(sa.func.lower(Account.name) == "ann").first(),
    "count": lambda s: s.scalar(sa.select(sa.func.count()).select_from(Account)),
    "core": lambda s: s.execute(sa.select(ACCOUNT.c.name).where(ACCOUNT.c.id.in_([1, 2]))).all(),
    "text": lambda s: s.execute(sa.text("SELECT name FROM account WHERE id = :id"), {"id": 1}).all(),
    "union": lambda s: s.execute(sa.union_all(sa.select(ACCOUNT.c.id), sa.select(ACCOUNT.c.id))).all(),
    "refresh": lambda s: s.refresh(s.get_one(Account, 1)),
    "expire": lambda s: s.expire(s.get_one(Account, 1)),
    "own message": lambda s: s.scalars(sa.select(OutboxMessage)).all(),
}

MORE: dict[str, Callable[[Session], Any]] = {
    "new": lambda s: s.add(Account(name="bob")),
    "flushed": lambda s: (s.add(Account(name="bob")), s.flush()),
    "dirty": lambda s: setattr(s.get_one(Account, 1), "name", "bob"),
    "dirty and flushed": lambda s: (setattr(s.get_one(Account, 1), "name", "bob"), s.flush()),
    "deleted": lambda s: s.delete(s.get_one(Account, 1)),
    "core insert": lambda s: s.execute(sa.insert(ACCOUNT).values(name="bob")),
    "orm update": lambda s: s.execute(sa.update(Account).values(name="bob")),
    "bulk": lambda s: s.bulk_insert_mappings(sa.inspect(Account), [{"name": "bob"}]),
    "bulk by execute": lambda s: s.execute(sa.insert(Account), [{"name": "bob"}, {"name": "cid"}]),
    "query delete": lambda s: s.query(Account).delete(),
    "text": lambda s: s.execute(sa.text("DELETE FROM account")),
    "text that writes nothing": lambda s: s.execute(sa.text("DELETE FROM account WHERE 1 = 0")),
    "driver's sql": lambda s: s.connection().exec_driver_sql("DELETE FROM account"),
    "driver's select": lambda s: s.connection().exec_driver_sql("SELECT 1"),
    "driver's cursor": lambda s: s.connection().connection.cursor().execute("DELETE FROM account"),
    "driver's connection": lambda s: s.connection().connection.driver_connection,
    "savepoint": lambda s: _in_a_savepoint(s, lambda: s.get(Account, 1)),
    "savepoint that is open": lambda s: s.begin_nested(),
    "rows of the outbox": lambda s: s.execute(sa.update(OutboxMessage).values(subject="changed")),
}


def _in_a_savepoint(session: Session, step: Callable[[], Any]) -> None:
    with session.begin_nested():
        step()


def both_orders(step: Callable[[Session], Any], shop: Shop) -> Iterator[Callable[[], str]]:
    """A view that does it before it sends, and one that does it afterwards."""

    def before() -> str:
        step(shop.db())
        shop.send()
        return "done"

    def after() -> str:
        shop.send()
        step(shop.db())
        return "done"

    yield from (before, after)


def test_nothing_but_mail_is_committed(shop: Shop, caplog: Log) -> None:
    """Whatever the view reads, before it sends or afterwards."""
    for name, read in READS.items():
        for view in both_orders(read, shop):
            before = len(shop.sent)
            assert shop.get(view).status_code == 200, name
            assert len(shop.sent) == before + 1, f"{name}, {view.__name__}"
    assert warnings(caplog) == []


def test_anything_else_is_left_to_the_application(shop: Shop, caplog: Log) -> None:
    """Whatever else the transaction did, neither that nor the mail is committed, and a warning names the place."""
    for name, more in MORE.items():
        for view in both_orders(more, shop):
            caplog.clear()
            assert shop.get(view).status_code == 200, name
            assert (shop.sent, shop.accounts()) == ([], ["ann"]), f"{name}, {view.__name__}"
            (warning,) = warnings(caplog)
            assert "the request ends with uncommitted mail" in warning
            assert f"{__file__}:" in warning
            assert "more than write mail (" in warning


@pytest.mark.databases("postgresql", "mariadb")
def test_rows_that_were_locked(shop: Shop, caplog: Log) -> None:
    """Who locks rows is about to write them."""
    for view in both_orders(lambda s: s.scalars(sa.select(Account).with_for_update()).all(), shop):
        assert shop.get(view).status_code == 200
    assert shop.sent == []
    assert len(warnings(caplog)) == 2


@pytest.mark.databases("postgresql")
@pytest.mark.parametrize(
    "more",
    [
        function("set_config", "shop.tenant", "7", True),
        function("pg_advisory_xact_lock", 7),
        function("pg_notify", "shop", "new"),
        lambda s: s.execute(sa.text("SET LOCAL statement_timeout = 1000")),
        lambda s: s.execute(sa.select(sa.Sequence("account_id_seq").next_value())),
        lambda s: s.execute(sa.text("WITH gone AS (DELETE FROM account RETURNING id) SELECT id FROM gone")),
        lambda s: s.execute(sa.select(sa.delete(Account).returning(Account.id).cte("gone").c.id)),
        lambda s: s.execute(sa.text("LOCK TABLE account")),
    ],
    ids=["set_config", "lock", "notify", "set", "sequence", "text with", "with", "lock table"],
)
def test_what_a_select_may_do(more: Callable[[Session], Any], shop: Shop, caplog: Log) -> None:
    """A function, a setting, a lock, DML within a SELECT: none of it is committed for the mail's sake."""

    def view() -> str:
        more(shop.db())
        shop.send()
        return "done"

    assert shop.get(view).status_code == 200
    assert (shop.sent, shop.accounts()) == ([], ["ann"])
    assert len(warnings(caplog)) == 1


@pytest.mark.databases("sqlite")
@pytest.mark.parametrize("config", [{"TESTING": True}, {"DEBUG": True}])
def test_tests_and_debugging_raise_where_something_else_was_written(config: dict[str, Any], shop: Shop) -> None:
    """A developer sees a forgotten commit at once; mail alone is committed there as in production."""

    def view() -> str:
        shop.send()
        shop.db.add(Account(name="bob"))
        return "done"

    with pytest.raises(UncommittedMailError, match=r"objects that are not flushed.*Commit the session"):
        shop.get(view, **config)

    def only_mail() -> str:
        shop.send("alone")
        return "done"

    assert shop.get(only_mail, **config).status_code == 200
    assert (shop.sent, shop.accounts()) == (["alone"], ["ann"])


@pytest.mark.databases("sqlite")
def test_what_is_configured_when_the_request_ends_counts(shop: Shop, caplog: Log) -> None:
    """Flask's documented fixture sets TESTING after the application was made; tests change OUTBOX_UNCOMMITTED, too."""

    def view() -> str:
        shop.send()
        shop.db.add(Account(name="bob"))
        return "done"

    app = shop.app()
    app.add_url_rule("/", view_func=view)
    assert app.test_client().get("/").status_code == 200
    assert len(warnings(caplog)) == 1
    app.config.update({"TESTING": True})
    with pytest.raises(UncommittedMailError):
        app.test_client().get("/")
    app.config["OUTBOX_UNCOMMITTED"] = "commit"
    assert app.test_client().get("/").status_code == 200
    assert (shop.sent, shop.accounts()) == (["Hello"], ["ann", "bob"])
    app.config.update(OUTBOX_UNCOMMITTED="warn", TESTING=False)
    assert app.test_client().get("/").status_code == 200
    assert shop.sent == ["Hello"]


@pytest.mark.databases("sqlite")
@pytest.mark.parametrize("status", [400, 404, 500])
@pytest.mark.parametrize("how", ["returned", "aborted", "raised"])
def test_failed_request(how: str, status: int, shop: Shop) -> None:
    """A request that failed sends nothing."""

    def view() -> tuple[str, int]:
        shop.send()
        if how == "raised":
            raise LookupError
        if how == "aborted":
            abort(status)
        return "no", status

    assert shop.get(view).status_code == (500 if how == "raised" else status)
    assert shop.sent == []


@pytest.mark.databases("sqlite")
def test_error_page_of_an_error_handler(shop: Shop) -> None:
    """An exception that a handler turns into a good page has left half of a transaction all the same."""
    app = shop.app()
    app.register_error_handler(LookupError, lambda error: redirect("/elsewhere"))

    def view() -> str:
        shop.send()
        raise LookupError

    app.add_url_rule("/", view_func=view)
    assert app.test_client().get("/").status_code == 302
    assert shop.sent == []


@pytest.mark.databases("sqlite")
def test_streamed_response(shop: Shop) -> None:
    """What is sent before the stream and within it, each as its own transaction."""

    def view() -> Response:
        shop.send("before")

        def pieces() -> Iterator[str]:
            yield "one"
            shop.send("within")
            yield "two"

        return Response(stream_with_context(pieces()))

    assert shop.get(view).text == "onetwo"
    assert shop.sent == ["before", "within"]


@pytest.mark.databases("sqlite")
def test_async_view(shop: Shop) -> None:
    """It runs in a thread of its own; the mail is still the request's."""
    app = shop.app()

    @app.get("/")
    async def view() -> str:
        shop.send()
        return "done"

    assert app.test_client().get("/").status_code == 200
    assert shop.sent == ["Hello"]


@pytest.mark.databases("sqlite")
def test_several_sessions(shop: Shop, caplog: Log) -> None:
    """Each is looked at by itself."""
    kept: list[Session] = []

    def view() -> str:
        shop.send("alone")
        other = Session(shop.database.engine)
        kept.append(other)
        if len(kept) == 1:
            other.add(Account(name="bob"))
        return "done"

    def both() -> str:
        shop.send("alone")
        shop.db.commit()
        other = Session(shop.database.engine)
        kept.append(other)
        shop.outbox.enqueue(Message("other", recipients=["ann@example.org"], body="b"), other)
        other.add(Account(name="bob"))
        return "done"

    assert shop.get(view).status_code == 200
    assert warnings(caplog) == []
    assert shop.get(both).status_code == 200
    assert shop.sent == ["alone", "alone"]
    assert len(warnings(caplog)) == 1
    for session in kept:
        session.close()


@pytest.mark.databases("sqlite")
def test_two_sessions_on_one_connection(shop: Shop, caplog: Log) -> None:
    """What one of them wrote would be committed with the other's mail."""
    connection = shop.database.engine.connect()
    one, other = Session(connection, join_transaction_mode="control_fully"), Session(connection)

    def view() -> str:
        other.add(Account(name="bob"))
        other.flush()
        shop.outbox.enqueue(Message("m", recipients=["ann@example.org"], body="b"), one)
        return "done"

    assert shop.get(view).status_code == 200
    assert len(warnings(caplog)) == 1
    for closing in (one, other, connection):
        closing.close()
    assert (shop.sent, shop.accounts()) == ([], ["ann"])


def test_test_within_an_outer_transaction(shop: Shop, caplog: Log) -> None:
    """SQLAlchemy's recipe for tests: the view is right there as in production, and nothing outlives the test."""
    with shop.database.engine.connect() as connection:
        outer = connection.begin()
        shop.db.configure(bind=connection, join_transaction_mode="create_savepoint")

        def view() -> str:
            shop.send()
            return "done"

        assert shop.get(view, TESTING=True).status_code == 200
        assert connection.scalar(sa.select(sa.func.count()).select_from(OutboxMessage)) == 1
        shop.db.remove()
        outer.rollback()
    assert shop.sent == []
    assert warnings(caplog) == []


@pytest.mark.databases("sqlite")
@pytest.mark.parametrize("of_request", [True, False])
def test_commit_that_fails_takes_no_other_sessions_mail_along(
    of_request: bool, shop: Shop, databases: Databases, caplog: Log
) -> None:
    """Each session that may be committed is, what is left is told of, and the first error is raised after that."""
    sessions: list[Session] = []

    def enqueue(subject: str, engine: sa.Engine) -> Session:
        sessions.append(session := Session(engine, info={"name": subject}))
        shop.outbox.enqueue(Message(subject, recipients=["ann@example.org"], body="b"), session)
        return session

    def refuse(session: Session) -> None:
        raise RuntimeError(session.info["name"])

    with ExitStack() as stack:
        first, second, third = (stack.enter_context(databases.with_schema("sqlite")).engine for _ in range(3))

        def view() -> str:
            for name, engine in (("first", first), ("second", second)):
                sa.event.listen(enqueue(name, engine), "before_commit", refuse)
            enqueue("left", third).add(Account(name="bob"))
            shop.send("kept")
            return "done"

        if of_request:
            assert shop.get(view).status_code == 500
        else:
            with pytest.raises(RuntimeError, match="first"), shop.app().app_context():
                view()
        assert shop.sent == ["kept"]
        said = [line for line in warnings(caplog) if f"{__file__}:" in line]
        assert ["the commit at the end" in line for line in said] == [True, True, False]
        assert "ends with uncommitted mail" in said[2]
        assert any("another commit at the end" in line for line in warnings(caplog))
        caplog.clear()
        for session in sessions:
            session.close()
        assert warnings(caplog) == []  # all is told of


@pytest.mark.databases("sqlite")
def test_what_a_function_of_the_applications_may_do_is_named(shop: Shop, caplog: Log) -> None:
    """The warning says which word of a SELECT keeps the mail from being committed."""

    def view() -> str:
        shop.db.connection().connection.driver_connection.create_function("pay", 1, lambda x: x)  # type: ignore[union-attr]
        shop.db.rollback()
        shop.db.execute(sa.select(sa.func.pay(1)))
        shop.send()
        return "done"

    shop.get(view)
    (warning,) = warnings(caplog)
    assert "more than write mail (SELECT with function pay)" in warning


@pytest.mark.databases("sqlite")
def test_another_library_may_look_at_the_drivers_connection_too(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its property around `Connection.connection` stays there when one more application is made."""
    shop.app()
    asked: list[sa.Connection] = []
    ours: Any = sa.Connection.connection

    def ask(connection: sa.Connection) -> Any:
        asked.append(connection)
        return ours.fget(connection)

    monkeypatch.setattr(sa.Connection, "connection", property(ask))
    shop.app()
    with shop.database.engine.connect() as connection:
        assert connection.connection.driver_connection is not None
        assert connection in asked


def test_row_that_breaks_in_the_commit(shop: Shop) -> None:
    """A commit that fails fails the request, as with "commit"."""

    def view() -> str:
        shop.send()
        return "done"

    @sa.event.listens_for(shop.db(), "before_commit")
    def broken(session: Session) -> None:
        raise LookupError

    assert shop.get(view).status_code == 500
    assert shop.sent == []
