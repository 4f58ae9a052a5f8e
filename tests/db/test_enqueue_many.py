"""Many messages in a few statements: the same as one by one, on every database."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask_mail import Attachment
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.orm import Session, scoped_session

from outbox import KeyTakenError, Message, MessageError, Outbox, message_queued
from outbox.models import OutboxBlob, OutboxDelivery, OutboxMessage, OutboxMessageBlob
from outbox.store.databases.sqlite import configure_sqlite
from outbox.store.enqueue import Posting
from outbox.store.enqueue_many import enqueue_many
from outbox.testing import Mailbox
from tests.db.test_queue import composed
from tests.servers.databases import Database

DAWN = datetime(2030, 3, 1, 6, 0, tzinfo=UTC)


@pytest.fixture
def engine(database: Database) -> sa.Engine:
    if database.name == "sqlite":
        configure_sqlite(database.engine, immediate=False)
    return database.engine


@pytest.fixture
def app(db: scoped_session[Session]) -> Iterator[Flask]:
    app = Flask(__name__)
    app.config.update(TESTING=True, MAIL_DEFAULT_SENDER="shop@example.org")
    Outbox(app, session=db)
    with app.app_context():
        yield app


@pytest.fixture
def outbox(app: Flask) -> Outbox:
    found: Outbox = app.extensions["outbox"]
    return found


def hello(number: int = 0, *to: str, **more: Any) -> Message:
    return Message(f"Mail {number}", recipients=[*to] or [f"r{number}@example.org"], body=f"Text {number}\n", **more)


def count(db: scoped_session[Session], model: Any) -> int:
    return db.scalar(sa.select(sa.func.count()).select_from(model)) or 0


def statements(engine: sa.Engine) -> list[str]:
    """What is executed from now on."""
    made: list[str] = []
    sa.event.listen(engine, "before_cursor_execute", lambda *told: made.append(told[2]))
    return made


def test_many_are_as_many_single_calls(outbox: Outbox, db: scoped_session[Session], mailbox: Mailbox) -> None:
    """Row by row, apart from what is random."""
    options: dict[str, Any] = {"kind": "news", "priority": "bulk", "metadata": {"issue": 7}}
    outbox.enqueue(hello(1, "a@x.org", "b@y.org"), **options)
    outbox.enqueue_many([hello(1, "a@x.org", "b@y.org")], **options)
    db.commit()

    def row(found: Any) -> dict[str, Any]:
        left_out = {"id", "message_id", "created_at", "updated_at", "due_at", "expires_at", "skeleton", "headers"}
        return {c.key: getattr(found, c.key) for c in sa.inspect(type(found)).column_attrs if c.key not in left_out}

    single, many = db.scalars(sa.select(OutboxMessage).order_by(OutboxMessage.id))
    assert row(single) == row(many)
    assert [row(one) for one in single.deliveries] == [row(one) for one in many.deliveries]
    assert many.expires_at is not None
    assert single.expires_at is not None
    assert abs((many.expires_at - many.created_at) - (single.expires_at - single.created_at)) < timedelta(seconds=1)
    assert mailbox[0].text == mailbox[1].text


@pytest.mark.long
@pytest.mark.once("postgresql")
def test_a_thousand_take_few_statements_and_keep_their_order(
    outbox: Outbox, db: scoped_session[Session], engine: sa.Engine, mailbox: Mailbox
) -> None:
    """What is returned belongs to the message in the same place."""
    made = statements(engine)
    messages = [hello(number) for number in range(1000)]
    queued = outbox.enqueue_many(iter(messages))
    assert len(made) < 30
    db.commit()
    assert all(one.is_new for one in queued)
    assert [message.msgId for message in messages] == [one.message_id for one in queued]
    found = {row.id: row for row in db.execute(sa.select(OutboxMessage.id, OutboxMessage.subject)).all()}
    assert [found[one.id].subject for one in queued] == [f"Mail {number}" for number in range(1000)]
    assert count(db, OutboxDelivery) == 1000
    tries = mailbox.drain()
    assert len(tries) == 1000


def test_options_of_its_own_go_over_those_for_all(
    outbox: Outbox, db: scoped_session[Session], mailbox: Mailbox
) -> None:
    """Each message may be a pair."""
    outbox.enqueue_many(
        [hello(1), (hello(2), {"send_at": DAWN, "kind": "late"}), (hello(3), {"expires_at": DAWN})], kind="news"
    )
    db.commit()
    first, second, third = mailbox.messages
    assert [one.kind for one in (first, second, third)] == ["news", "late", "news"]
    assert (second.due_at, third.expires_at) == (DAWN, DAWN)
    assert first.due_at is not None
    assert first.due_at < DAWN


def test_a_message_id_may_be_there_twice(outbox: Outbox, db: scoped_session[Session], mailbox: Mailbox) -> None:
    """Where the application sets it itself; each message has rows of its own all the same."""
    twice = {"Message-ID": "<mine@example.org>"}
    queued = outbox.enqueue_many([hello(1, extra_headers=twice), hello(2), hello(3, extra_headers=twice)])
    db.commit()
    assert len({one.id for one in queued}) == 3
    assert {mail.subject: mail.recipients for mail in mailbox} == {
        f"Mail {n}": (f"r{n}@example.org",) for n in (1, 2, 3)
    }


def test_keys_yield_one_message_each(outbox: Outbox, db: scoped_session[Session], mailbox: Mailbox) -> None:
    """Taken before, twice in the same call, or new; with messages without a key in between."""
    before = outbox.enqueue(hello(0), key="taken")
    db.commit()
    queued = outbox.enqueue_many(
        [
            (hello(0), {"key": "taken"}),
            hello(2),
            (hello(3), {"key": "z"}),
            (hello(4), {"key": "a"}),
            (hello(3), {"key": "z"}),
        ]
    )
    db.commit()
    assert [one.is_new for one in queued] == [False, True, True, True, False]
    assert queued[0].message_id == before.message_id
    assert queued[4][:2] == queued[2][:2]
    assert sorted(mailbox.subjects) == ["Mail 0", "Mail 2", "Mail 3", "Mail 4"]
    again = outbox.enqueue_many([(hello(3), {"key": "z"})])
    assert (again[0].id, again[0].is_new) == (queued[2].id, False)
    assert count(db, OutboxDelivery) == 4
    with pytest.raises(KeyTakenError, match="'z' belongs to a message with other content"):
        outbox.enqueue_many([hello(8), (hello(9), {"key": "z"})])
    db.rollback()
    with pytest.raises(KeyTakenError, match="'new' belongs"):
        outbox.enqueue_many([(hello(8), {"key": "new"}), (hello(9), {"key": "new"})])


@pytest.mark.databases("postgresql", "mariadb")
def test_two_transactions_with_the_same_keys_yield_one_message_each(
    outbox: Outbox, db: scoped_session[Session], app: Flask, engine: sa.Engine, mailbox: Mailbox
) -> None:
    """The second waits for the first, whatever the order of its keys, and returns its messages."""
    first = outbox.enqueue_many([(hello(number), {"key": f"k{number}"}) for number in range(20)])
    found: list[Any] = []

    def rival() -> None:
        with app.app_context(), Session(engine) as session:
            items = [(hello(number), {"key": f"k{number}"}) for number in reversed(range(20))]
            found.extend(outbox.enqueue_many(items, session))
            session.commit()

    thread = threading.Thread(target=rival)
    thread.start()
    thread.join(0.5)
    assert thread.is_alive()
    db.commit()
    thread.join(30)
    assert [one.id for one in reversed(found)] == [one.id for one in first]
    assert not any(one.is_new for one in found)
    assert len(mailbox) == 20


def test_big_parts_are_stored_once(outbox: Outbox, db: scoped_session[Session], mailbox: Mailbox) -> None:
    """A logo that all share."""
    logo = Attachment("logo.png", "image/png", b"\x89PNG" * 5000)
    outbox.enqueue_many([hello(number, attachments=[logo]) for number in range(50)])
    db.commit()
    assert (count(db, OutboxBlob), count(db, OutboxMessageBlob)) == (1, 50)
    assert mailbox.last.attachments[0].data == logo.data


def test_one_message_to_many_is_one_message(outbox: Outbox, db: scoped_session[Session], engine: sa.Engine) -> None:
    """With a delivery for each of them."""
    made = statements(engine)
    outbox.send_message(
        "News", recipients=["list@example.org"], bcc=[f"r{n}@example.org" for n in range(500)], body="x"
    )
    assert len(made) < 5
    db.commit()
    assert (count(db, OutboxMessage), count(db, OutboxDelivery)) == (1, 501)


def test_one_that_is_refused_refuses_all_before_anything_is_written(
    outbox: Outbox, db: scoped_session[Session], mailbox: Mailbox
) -> None:
    """The error says which, and the transaction stays usable."""
    with pytest.raises(MessageError) as caught:
        outbox.enqueue_many([hello(1), hello(2, "no address"), hello(3)])
    assert caught.value.__notes__ == ["It is message 2 of those for enqueue_many."]
    outbox.send_many([hello(4)])
    db.commit()
    assert mailbox.subjects == ["Mail 4"]


def test_a_rollback_takes_all_and_a_commit_tells_of_each(
    outbox: Outbox, db: scoped_session[Session], mailbox: Mailbox
) -> None:
    """As with single calls."""
    told: list[str] = []
    with message_queued.connected_to(lambda app, *, message_id, **more: told.append(message_id)):
        outbox.enqueue_many([hello(1), hello(2)])
        db.rollback()
        assert told == []
        queued = outbox.enqueue_many([hello(3), hello(4)])
        db.commit()
    assert told == [one.message_id for one in queued]
    assert mailbox.subjects == ["Mail 3", "Mail 4"]


def test_without_a_session_all_are_one_transaction(database: Database) -> None:
    """Committed at the end."""
    app = Flask(__name__)
    app.config.update(TESTING=True, MAIL_DEFAULT_SENDER="shop@example.org", OUTBOX_DATABASE_URL=database.url)
    outbox = Outbox(app)
    with app.app_context(), outbox.record_messages() as seen:
        queued = outbox.enqueue_many([hello(1), hello(2)])
    assert len(seen) == 2
    assert [mail.message_id for mail in Mailbox(app)] == [one.message_id for one in queued]
    outbox.database(app).dispose()


def test_nothing_is_nothing(outbox: Outbox) -> None:
    """An empty list is no error."""
    assert outbox.enqueue_many([]) == []


# A sequence of what separates, quotes or ends a value somewhere; U+0000 no message may hold.
HOSTILE = st.text(
    st.one_of(
        st.sampled_from("\"\\'{},;%:\x1e\x1f\x01\r\n\t () NULL\x7f\u2028💌"),
        st.characters(exclude_categories=["Cs"], exclude_characters="\x00"),
    ),
    max_size=20,
)


@pytest.mark.timeout(300)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(HOSTILE, st.binary(max_size=40), st.none() | HOSTILE, st.none() | HOSTILE), max_size=5))
def test_values_are_what_they_were(engine: sa.Engine, given: list[tuple[str, bytes, str | None, str | None]]) -> None:
    """However they are packed for the way: quotes, separators, empty ones and none."""
    with Session(engine) as session:
        items = [
            (
                replace(
                    composed("r@example.org"),
                    message_id=f"<{number}@example.org>",
                    subject=text,
                    skeleton=data,
                    headers=(("Subject", text), (text, "")),
                    rcpt_options=() if option is None else (option,),
                ),
                Posting(kind=option, metadata=None if value is None else {value: [value, None, 1.5]} if value else {}),
            )
            for number, (text, data, option, value) in enumerate(given)
        ]
        queued = enqueue_many(session, items)
        rows = {row.id: row for row in session.execute(sa.select(*OutboxMessage.__table__.columns))}
        for (mail, posting), one in zip(items, queued, strict=True):
            row = rows[one.id]
            assert (row.subject, bytes(row.skeleton), row.kind) == (mail.subject, mail.skeleton, posting.kind)
            assert row.headers == [list(header) for header in mail.headers]
            assert row.options == ({"rcpt": list(mail.rcpt_options)} if mail.rcpt_options else None)
            assert row.metadata == posting.metadata
        session.rollback()
