"""`outbox.testing`: what a test of an application sees, drains and freezes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask, request
from flask_mail import Attachment
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, scoped_session, sessionmaker

from outbox import Message, Outbox, UncommittedMailError, delivery_failed, delivery_sent
from outbox.core import clock
from outbox.delivery.reply import Verdict
from outbox.delivery.states import State
from outbox.extension.state import bound_to
from outbox.models import Base as OutboxBase
from outbox.store.models import OutboxAttempt, OutboxDelivery
from outbox.store.types import DbNow
from outbox.testing import ACCEPT, DOWN, LOST, Mailbox
from tests.flask.conftest import Committed
from tests.servers.databases import Database

MINUTE = timedelta(minutes=1)
DAWN = datetime(2026, 3, 1, 6, 0, tzinfo=UTC)


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "user"
    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(sa.String(100))


def make_app(session: Any) -> Flask:
    """An application as there are many: a view that registers a user and mails a link."""
    app = Flask(__name__)
    app.config.update(TESTING=True, MAIL_DEFAULT_SENDER="shop@example.org")
    outbox = Outbox(app, session=session)

    @app.post("/register")
    def register() -> str:
        db = session() if callable(session) else session.session
        db.add(User(email=request.form["email"]))
        outbox.send(
            Message(
                "Welcome",
                recipients=[request.form["email"]],
                body="Hello, confirm at /confirm/1\n",
                html="<p>Hello</p>",
                attachments=[Attachment("terms.txt", "text/plain", b"be kind")],
            )
        )
        if "fail" in request.form:
            db.rollback()
            return "no"
        db.commit()
        return "yes"

    return app


@pytest.fixture
def session(database: Database) -> Iterator[scoped_session[Session]]:
    Base.metadata.create_all(database.engine)
    made = scoped_session(sessionmaker(database.engine))
    yield made
    made.remove()


@pytest.fixture
def app(session: scoped_session[Session]) -> Flask:
    return make_app(session)


@pytest.fixture
def outbox(app: Flask) -> Outbox:
    found: Outbox = app.extensions["outbox"]
    return found


def hello(*to: str, subject: str = "Hello") -> Message:
    return Message(subject, recipients=[*to] or ["ann@example.org"], body="b")


def test_a_view_is_tested_in_a_few_lines(app: Flask, mailbox: Mailbox) -> None:
    """Everything of the mail can be asserted on."""
    app.test_client().post("/register", data={"email": "ann@example.org"})
    mail = mailbox.only
    assert (mail.subject, mail.sender, mail.to) == ("Welcome", "shop@example.org", "ann@example.org")
    assert mail.recipients == ("ann@example.org",)
    assert "/confirm/1" in (mail.text or "")
    assert "<p>Hello</p>" in (mail.html or "")
    ((name, kind, data),) = [(one.filename, one.content_type, one.data) for one in mail.attachments]
    assert (name, kind, data) == ("terms.txt", "text/plain", b"be kind")
    assert (mail.committed, mail.states) == (True, {"ann@example.org": State.QUEUED})
    assert mail.headers["Auto-Submitted"] == "auto-generated"


def test_what_is_rolled_back_is_not_there(app: Flask, mailbox: Mailbox) -> None:
    """An assertion on no mail at all says which there is."""
    app.test_client().post("/register", data={"email": "ann@example.org", "fail": "1"})
    assert len(mailbox) == 0
    assert not mailbox
    with pytest.raises(AssertionError, match="0 messages instead of one"):
        _ = mailbox.only


def test_mail_that_is_not_committed_yet_is_seen_and_not_drained(
    app: Flask, outbox: Outbox, session: scoped_session[Session], mailbox: Mailbox
) -> None:
    """The test's own open transaction; a worker would not see it."""
    with app.app_context():
        outbox.enqueue(
            hello("ann@example.org", "bob@example.org"), kind="news", key="k", priority="bulk", metadata={"a": 1}
        )
        mail = mailbox.only
        assert (mail.kind, mail.key, mail.priority, mail.metadata) == ("news", "k", "bulk", {"a": 1})
        assert mail.recipients == ("ann@example.org", "bob@example.org")
        assert not mail.committed
        with pytest.raises(UncommittedMailError, match="Commit first"):
            mailbox.drain()
        session.commit()
        assert mailbox.only.committed
        assert [one.state for one in mailbox.drain()] == [State.SENT, State.SENT]


def test_looking_opens_no_transaction_of_the_application(
    app: Flask, session: scoped_session[Session], mailbox: Mailbox
) -> None:
    """Else a later view would read what was true before."""
    with app.app_context():
        assert mailbox.messages == []
        assert not session().in_transaction()


@pytest.mark.parametrize(
    ("outcome", "verdict", "state"),
    [
        (ACCEPT, Verdict.ACCEPTED, State.SENT),
        ("451 4.3.0 busy", Verdict.TRANSIENT, State.QUEUED),
        ("550 5.1.1 no such user", Verdict.PERMANENT, State.FAILED),
        (LOST, Verdict.UNKNOWN, State.QUEUED),
        (DOWN, Verdict.TRANSPORT, State.QUEUED),
    ],
)
def test_the_relay_says_what_the_test_wants(
    app: Flask,
    outbox: Outbox,
    session: scoped_session[Session],
    mailbox: Mailbox,
    outcome: str,
    verdict: Verdict,
    state: State,
) -> None:
    """Accepted, deferred, refused, lost after the dot, down: judged and recorded as a worker does."""
    with app.app_context():
        outbox.send(hello())
        session.commit()
    (one,) = mailbox.drain(outcome)
    assert (one.recipient, one.subject, one.verdict, one.state) == ("ann@example.org", "Hello", verdict, state)
    assert mailbox.only.states == {"ann@example.org": state}


def test_outcomes_by_recipient_and_in_turn(
    app: Flask, outbox: Outbox, session: scoped_session[Session], mailbox: Mailbox
) -> None:
    """Who is not named is accepted; after the last outcome, too."""
    with app.app_context():
        for number in range(3):
            outbox.send(hello("ann@example.org", "bob@example.org", subject=str(number)))
        session.commit()
    tries = mailbox.drain({"bob@example.org": ["550 5.1.1 no", "451 later"]})
    states = [(one.subject, one.state) for one in tries if one.recipient == "bob@example.org"]
    assert dict(states) == {"0": State.FAILED, "1": State.QUEUED, "2": State.SENT}
    assert {one.state for one in tries if one.recipient == "ann@example.org"} == {State.SENT}
    assert mailbox.drain() == []
    assert [mail.subject for mail in mailbox.to("bob@example.org")] == ["0", "1", "2"]


def test_a_word_that_is_no_outcome_is_an_error_and_harms_nothing(
    app: Flask, outbox: Outbox, session: scoped_session[Session], mailbox: Mailbox
) -> None:
    """The mail can be drained afterwards."""
    with app.app_context():
        outbox.send(hello())
        session.commit()
    with pytest.raises(ValueError, match="is not an outcome"):
        mailbox.drain("refuse")
    assert [one.state for one in mailbox.drain()] == [State.SENT]


def test_a_held_message_is_recorded_as_by_a_worker(
    app: Flask, outbox: Outbox, session: scoped_session[Session], mailbox: Mailbox
) -> None:
    """One whose final dot a dead worker may have sent: nobody knows, and the attempt says so."""
    with app.app_context():
        outbox.enqueue(hello(), on_uncertain="hold")
        session.execute(sa.update(OutboxDelivery).values(marked_at=DbNow()))
        session.commit()
        (one,) = mailbox.drain()
        assert (one.verdict, one.state, one.reason) == (None, State.UNCERTAIN, "unknown")
        attempt = session.execute(sa.select(OutboxAttempt.verdict, OutboxAttempt.phase)).one()
    assert tuple(attempt) == (Verdict.UNKNOWN.value, "local")


def test_many_that_have_expired_are_all_given_up(
    app: Flask, outbox: Outbox, session: scoped_session[Session], mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than one claim brings; what is due besides them is sent."""
    monkeypatch.setattr("outbox.testing.drain.BATCH", 2)
    mailbox.freeze()
    with app.app_context():
        for number in range(5):
            outbox.enqueue(hello(subject=f"old {number}"), priority="high", expires_at=clock.utcnow() + MINUTE)
        outbox.enqueue(hello(subject="young"))
        session.commit()
    mailbox.travel(120)
    states = [(one.subject, one.state) for one in mailbox.drain()]
    assert states == [*((f"old {number}", State.FAILED) for number in range(5)), ("young", State.SENT)]


def test_time_stands_still_and_moves_when_told(
    app: Flask, outbox: Outbox, session: scoped_session[Session], mailbox: Mailbox
) -> None:
    """Date header, due time, retry and expiry go by one clock."""
    mailbox.freeze(DAWN)
    with app.app_context():
        outbox.enqueue(hello(subject="now"))
        outbox.enqueue(hello(subject="later"), send_at=DAWN + timedelta(hours=2))
        outbox.enqueue(hello(subject="brief"), expires_at=DAWN + timedelta(minutes=30))
        session.commit()
    assert mailbox[0].headers["Date"] == "Sun, 01 Mar 2026 06:00:00 +0000"
    assert mailbox[0].due_at == DAWN
    now, brief = mailbox.drain(["451 4.3.0 try again in 1 hour"] * 2)
    assert (now.subject, now.delay) == ("now", 3600.0)
    assert brief.delay is not None
    assert 60 * 29 < brief.delay < 60 * 30  # its last attempt, before it expires
    assert mailbox.drain() == []
    mailbox.travel(60 * 30)
    assert [(one.subject, one.reason) for one in mailbox.drain()] == [("brief", "expired")]
    mailbox.travel(60 * 30 + 1)
    assert [(one.subject, one.state) for one in mailbox.drain()] == [("now", State.SENT)]
    mailbox.travel(timedelta(hours=1))
    assert [(one.subject, one.state) for one in mailbox.drain()] == [("later", State.SENT)]


def test_mail_expires_in_frozen_time(
    app: Flask, outbox: Outbox, session: scoped_session[Session], mailbox: Mailbox
) -> None:
    """It is given up without a word to the relay."""
    mailbox.freeze()
    with app.app_context():
        outbox.send(hello())
        session.commit()
    mailbox.travel(timedelta(days=6))
    (one,) = mailbox.drain()
    assert (one.verdict, one.state, one.reason) == (None, State.FAILED, "expired")


def test_the_clock_goes_on_afterwards(app: Flask, outbox: Outbox, session: scoped_session[Session]) -> None:
    """No other test is told a wrong time."""
    box = Mailbox(app)
    box.freeze(DAWN)
    box.thaw()
    with app.app_context():
        sent = outbox.enqueue(hello())
        session.commit()
        assert abs(datetime.now(UTC) - sent.created_at) < timedelta(minutes=1)
    with pytest.raises(ValueError, match="naive"):
        box.freeze(datetime(2026, 1, 1))  # noqa: DTZ001


def test_a_clock_that_nobody_starts_again_goes_on_with_the_next_test(pytester: pytest.Pytester) -> None:
    """Also that of a `Mailbox` which a test made itself."""
    pytester.makepyfile(
        """
        from datetime import UTC, datetime

        from flask import Flask

        from outbox import Outbox
        from outbox.testing import Mailbox
        from outbox.testing.frozen import _stopped

        def test_stops_it():
            app = Flask("clock")
            app.config["MAIL_DEFAULT_SENDER"] = "shop@example.org"
            Outbox().init_app(app, session=lambda: None)
            Mailbox(app).freeze(datetime(2026, 1, 1, tzinfo=UTC))
            assert _stopped

        def test_goes_on():
            assert not _stopped
        """
    )
    pytester.runpytest("-p", "outbox.testing").assert_outcomes(passed=2)


def test_the_clock_of_one_application_stands_still(
    app: Flask, outbox: Outbox, session: scoped_session[Session], mailbox: Mailbox
) -> None:
    """It is given to that one: nothing in the package keeps a stopped clock for all."""
    mailbox.freeze(DAWN)
    assert bound_to(app).now() == DAWN
    assert abs(datetime.now(UTC) - clock.utcnow()) < timedelta(minutes=1)
    mailbox.thaw()
    assert bound_to(app).now is clock.utcnow


def test_receivers_of_signals_are_called(
    app: Flask, outbox: Outbox, session: scoped_session[Session], mailbox: Mailbox
) -> None:
    """As in a worker: so they can be tested."""
    told: list[str] = []
    with app.app_context():
        outbox.send(hello())
        session.commit()
    with delivery_failed.connected_to(lambda app, *, recipient, **more: told.append(recipient), sender=app):
        mailbox.drain("550 5.1.1 no")
    assert told == ["ann@example.org"]


@pytest.mark.timeout(30)
def test_an_outcome_that_cannot_be_recorded(
    app: Flask, outbox: Outbox, session: scoped_session[Session], mailbox: Mailbox, database: Database
) -> None:
    """The test sees the database's error, and does not wait until it is gone."""
    with app.app_context():
        outbox.enqueue(hello("ann@example.org", "bob@example.org"))
        session.commit()
    session.remove()
    OutboxAttempt.__table__.drop(database.engine)  # type: ignore[attr-defined]
    with pytest.raises(sa.exc.DBAPIError, match="outbox_attempt"):
        mailbox.drain()


@pytest.mark.databases("postgresql")
@pytest.mark.timeout(30)
def test_a_receiver_that_breaks_the_transaction_of_the_test(database: Database) -> None:
    """Nothing can be recorded in it from then on."""
    with database.engine.connect() as connection:
        session = scoped_session(sessionmaker(connection, join_transaction_mode="create_savepoint"))
        app = make_app(session)
        box = Mailbox(app)
        with app.app_context():
            app.extensions["outbox"].enqueue(hello("ann@example.org", "bob@example.org"))
            session.commit()

        def receiver(app: Flask, **more: Any) -> None:
            connection.exec_driver_sql("SELECT 1 FROM nowhere")

        with (
            delivery_sent.connected_to(receiver, sender=app),
            pytest.raises(sa.exc.InternalError, match="transaction is aborted"),
        ):
            box.drain()
        session.remove()


def test_a_relay_that_a_script_takes_down_is_no_error(
    app: Flask, outbox: Outbox, session: scoped_session[Session], mailbox: Mailbox, caplog: pytest.LogCaptureFixture
) -> None:
    """It is what the test wants."""
    with app.app_context():
        outbox.enqueue(hello())
        session.commit()
    assert [one.state for one in mailbox.drain("421 4.7.0 too many messages")] == [State.QUEUED]
    assert [one for one in caplog.messages if "status=transport-" in one] == []


def test_a_test_that_rolls_everything_back_can_drain_too(database: Database) -> None:
    """The session joins an outer transaction: its commits are savepoints, and no other connection sees them."""
    Base.metadata.create_all(database.engine)
    engine = database.engine
    if database.name == "sqlite":  # the driver's own transactions and savepoints do not go together

        @sa.event.listens_for(engine, "connect")
        def connected(connection: Any, record: Any) -> None:
            connection.isolation_level = None

        @sa.event.listens_for(engine, "begin")
        def begun(connection: sa.Connection) -> None:
            connection.exec_driver_sql("BEGIN")

        engine.dispose()
    with engine.connect() as connection:
        outer = connection.begin()
        session = scoped_session(sessionmaker(connection, join_transaction_mode="create_savepoint"))
        app = make_app(session)
        box = Mailbox(app)
        app.test_client().post("/register", data={"email": "ann@example.org"})
        assert box.only.committed
        assert [one.state for one in box.drain({"ann@example.org": "550 5.1.1 no"})] == [State.FAILED]
        assert box.only.states == {"ann@example.org": State.FAILED}
        box.clear()
        assert len(box) == 0
        session.remove()
        outer.rollback()
    assert Committed(engine).messages() == []


def test_it_works_with_flask_sqlalchemy_in_memory() -> None:
    """The most usual test set-up of all."""
    db = SQLAlchemy(model_class=Base)
    app = Flask(__name__)
    app.config.update(TESTING=True, MAIL_DEFAULT_SENDER="shop@example.org", SQLALCHEMY_DATABASE_URI="sqlite://")
    db.init_app(app)
    outbox = Outbox(app, session=db)
    box = Mailbox(app)
    with app.app_context():
        OutboxBase.metadata.create_all(db.engine)
        outbox.send(hello())
        db.session.commit()
        assert box.drain()[0].state is State.SENT
        assert box.last.states == {"ann@example.org": State.SENT}
        db.engine.dispose()


def test_it_works_without_a_session_of_the_application(database: Database) -> None:
    """Each mail is committed by itself then."""
    app = Flask(__name__)
    app.config.update(TESTING=True, MAIL_DEFAULT_SENDER="shop@example.org", OUTBOX_DATABASE_URL=database.url)
    outbox, box = Outbox(app), Mailbox(app)
    with app.app_context():
        outbox.send(hello())
    assert box.only.committed
    assert [one.state for one in box.drain()] == [State.SENT]
    box.clear()
    assert not box
    outbox.database(app).dispose()


def test_a_users_conftest_needs_one_line(pytester: pytest.Pytester) -> None:
    """`pytest_plugins = ["outbox.testing"]` and an `app` fixture."""
    pytester.makeconftest(
        """
        import pytest
        from flask import Flask
        from flask_sqlalchemy_lite import SQLAlchemy
        from outbox import Outbox
        from outbox.models import Base

        pytest_plugins = ["outbox.testing"]
        db = SQLAlchemy()

        @pytest.fixture
        def app(tmp_path):
            app = Flask("shop")
            app.config.update(TESTING=True, MAIL_DEFAULT_SENDER="a@b.example")
            app.config["SQLALCHEMY_ENGINES"] = {"default": f"sqlite:///{tmp_path}/x.sqlite"}
            db.init_app(app)
            Outbox(app, session=db)
            with app.app_context():
                Base.metadata.create_all(db.engine)
                yield app
                db.engine.dispose()
        """
    )
    pytester.makepyfile(
        """
        from flask_mail import Message
        from conftest import db

        def test_mail(app, mailbox):
            app.extensions["mail"].send(Message("Hi", recipients=["ann@example.org"], body="x"))
            db.session.commit()
            assert mailbox.only.subject == "Hi"
            assert mailbox.drain("550 5.1.1 no")[0].state == "failed"
        """
    )
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)


def test_what_earlier_tests_left_is_not_there(pytester: pytest.Pytester, tmp_path: Path) -> None:
    """An application for all tests, whose database nobody clears: each sees its own mail, its fixtures' included."""
    pytester.makeconftest(
        f"""
        import pytest, sqlalchemy as sa
        from flask import Flask
        from outbox import Message, Outbox, operations
        pytest_plugins = ["outbox.testing"]

        @pytest.fixture(scope="session")
        def app():
            app = Flask("tested")
            app.config.update(MAIL_DEFAULT_SENDER="shop@example.org", OUTBOX_DATABASE_URL="sqlite:///{tmp_path}/x.sqlite")
            mail = Outbox(app)
            operations.create_tables(mail.database(app))
            yield app
            mail.database(app).dispose()

        @pytest.fixture
        def send(app):
            def send(subject):
                with app.app_context():
                    app.extensions["mail"].send(Message(subject, recipients=["ann@example.org"], body="x"))
            return send

        @pytest.fixture
        def welcome(send):
            send("Welcome")
        """
    )
    pytester.makepyfile(
        """
        from datetime import UTC, datetime

        def test_one(send, mailbox):
            send("One")
            assert mailbox.subjects == ["One"]

        def test_two(welcome, mailbox, send):
            send("Two")
            assert mailbox.subjects == ["Welcome", "Two"]
            assert [one.subject for one in mailbox.drain()] == ["Welcome", "Two"]

        def test_three(mailbox, send):
            mailbox.freeze(datetime(2020, 1, 1, tzinfo=UTC))
            send("Long ago")
            assert mailbox.only.subject == "Long ago"
            assert [one.subject for one in mailbox.drain()] == ["Long ago"]
        """
    )
    pytester.runpytest_inprocess("-p", "no:cacheprovider").assert_outcomes(passed=3)
