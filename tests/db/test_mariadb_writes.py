"""MariaDB with its defaults, as an application has it: REPEATABLE READ, and packets of 16 MiB or less."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from email import message_from_bytes

import pytest
import sqlalchemy as sa
from flask import Flask, current_app
from sqlalchemy import event
from sqlalchemy.orm import Session

from outbox import Message, MessageError, Outbox
from outbox.models import OutboxBlob, OutboxMessage
from outbox.operations import wire
from tests.servers.databases import Database

pytestmark = pytest.mark.databases("mariadb")

LOCK_SECONDS = 2
PACKET = 2**20


@pytest.fixture
def engine(database: Database) -> Iterator[sa.Engine]:
    """An application's engine: the default isolation; who has to wait for a lock fails soon."""
    made = sa.create_engine(database.address, pool_size=20)

    @event.listens_for(made, "connect")
    def connected(connection: object, record: object) -> None:
        cursor = connection.cursor()  # type: ignore[attr-defined]
        cursor.execute(f"SET SESSION innodb_lock_wait_timeout = {LOCK_SECONDS}")
        cursor.close()

    yield made
    made.dispose()


@pytest.fixture
def outbox(engine: sa.Engine) -> Iterator[Outbox]:
    app = Flask(__name__)
    app.config.update(MAIL_DEFAULT_SENDER="shop@example.org")
    outbox = Outbox()
    outbox.init_app(app, session=lambda: pytest.fail("the session is given"))
    with app.app_context():
        yield outbox


def keyed(outbox: Outbox, session: Session, name: str) -> None:
    outbox.enqueue(Message("m", recipients=["r@example.org"], body="b"), session, key=name)


def attached(outbox: Outbox, session: Session, name: str) -> None:
    message = Message("m", recipients=["r@example.org"], body="b")
    message.attach(f"{name}.bin", "application/octet-stream", os.urandom(60_000))
    outbox.enqueue(message, session)


def keyed_many(outbox: Outbox, session: Session, name: str) -> None:
    message = Message("m", recipients=["r@example.org"], body="b")
    outbox.enqueue_many([(message, {"key": f"{name}-{n}"}) for n in range(3)], session)


WAYS = pytest.mark.parametrize("write", [keyed, attached, keyed_many])
Write = Callable[[Outbox, Session, str], None]


@WAYS
def test_open_transactions_do_not_wait_for_each_other(engine: sa.Engine, outbox: Outbox, write: Write) -> None:
    """One has written and not ended: another writes what has nothing in common with it, on either side of it."""
    with Session(engine) as session:
        for n in range(5):
            write(outbox, session, f"k0{n}")
        session.commit()
    with Session(engine) as first, Session(engine) as second:
        write(outbox, first, "k5")
        for name in ("k4", "k6", "a", "z"):
            write(outbox, second, name)
        second.commit()
        first.commit()


@WAYS
def test_concurrent_transactions_end_in_no_deadlock(engine: sa.Engine, outbox: Outbox, write: Write) -> None:
    """Eight threads, two messages a transaction, none in common."""
    app = current_app._get_current_object()  # type: ignore[attr-defined]
    errors: list[Exception] = []

    def work(number: int) -> None:
        for turn in range(8):
            try:
                with Session(engine) as session:
                    for half in "ab":
                        write(outbox, session, f"{turn}-{number}-{half}")
                    session.commit()
            except sa.exc.DBAPIError as error:
                errors.append(error)

    def in_context(number: int) -> None:
        with app.app_context():
            work(number)

    threads = [threading.Thread(target=in_context, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_a_key_taken_since_the_transaction_began_is_found(engine: sa.Engine, outbox: Outbox) -> None:
    """The transaction's snapshot does not show it, and the message that has the key is returned all the same."""
    with Session(engine) as late, Session(engine) as early:
        late.execute(sa.select(OutboxMessage.id)).all()  # the snapshot
        keyed(outbox, early, "k")
        keyed_many(outbox, early, "m")
        early.commit()
        keyed(outbox, late, "k")
        keyed_many(outbox, late, "m")
        keyed(outbox, late, "other")
        late.commit()
        assert late.scalar(sa.select(sa.func.count()).select_from(OutboxMessage)) == 5


@pytest.fixture
def small_packets(database: Database) -> Iterator[None]:
    """A server that takes packets of 1 MiB, as long as the test lasts."""
    with database.engine.connect() as connection:
        before = connection.exec_driver_sql("SELECT @@global.max_allowed_packet").scalar()
        connection.exec_driver_sql(f"SET GLOBAL max_allowed_packet = {PACKET}")
        connection.commit()
        yield
        connection.exec_driver_sql(f"SET GLOBAL max_allowed_packet = {before}")


def test_an_attachment_longer_than_a_packet(small_packets: None, engine: sa.Engine, outbox: Outbox) -> None:
    """It is written in pieces, and comes back as it was; the same attachment again costs no second copy."""
    content = os.urandom(3 * PACKET + 5)
    message = Message("m", recipients=["r@example.org"], body="b")
    message.attach("a.bin", "application/octet-stream", content)
    with Session(engine) as session:
        queued = outbox.enqueue(message, session)
        outbox.enqueue_many([message], session)
        session.commit()
        sizes = session.scalars(sa.select(OutboxBlob.size)).all()
        assert sum(sizes) == len(content)
        assert max(sizes) < PACKET / 2
        raw = wire(session.connection(), queued.id)
    (part,) = [part for part in message_from_bytes(raw).walk() if part.get_filename()]
    assert part.get_payload(decode=True) == content


@pytest.mark.parametrize("many", [False, True])
def test_a_text_longer_than_a_packet(small_packets: None, engine: sa.Engine, outbox: Outbox, many: bool) -> None:
    """It is refused before the database sees it: the transaction goes on."""
    message = Message("m", recipients=["r@example.org"], body="long\n" * 200_000)
    with Session(engine) as session:
        keyed(outbox, session, "k")
        with pytest.raises(MessageError, match="max_allowed_packet to 3 MiB"):
            outbox.enqueue_many([message], session) if many else outbox.enqueue(message, session)
        session.commit()
        assert session.scalar(sa.select(sa.func.count()).select_from(OutboxMessage)) == 1


def test_many_messages_that_are_together_longer_than_a_packet(
    small_packets: None, engine: sa.Engine, outbox: Outbox
) -> None:
    """They go in as many statements as it takes."""
    messages = [Message(f"m{n}", recipients=["r@example.org"], body="lorem ipsum\n" * 20_000) for n in range(8)]
    with Session(engine) as session:
        outbox.enqueue_many(messages, session)
        session.commit()
        assert session.scalar(sa.select(sa.func.count()).select_from(OutboxMessage)) == 8
