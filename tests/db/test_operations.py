"""Finding and showing mail, the same on every database."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from outbox import operations
from outbox.core.errors import DamagedMessageError, DatabaseError, SchemaError
from outbox.delivery.states import Lane, State
from outbox.message.values import base64_lines
from outbox.models import OutboxAttempt, OutboxBlob, OutboxMessage
from outbox.operations import Filter
from outbox.store.enqueue import Posting
from outbox.store.types import DbNow
from tests.db.mails import SKELETON, put, worker
from tests.servers.databases import Database

HOUR = timedelta(hours=1)

FILTERS: list[tuple[dict[str, Any], str]] = [  # words, and which of three mails they find
    ({}, "abc"),
    ({"states": (State.FAILED,)}, "b"),
    ({"states": (State.FAILED, State.QUEUED)}, "ab"),
    ({"recipient": "ann@example.org"}, "a"),
    ({"recipient": "Ann@EXAMPLE.org"}, "a"),
    ({"recipient": "nn@example.org"}, ""),  # a whole address is not a part of another
    ({"recipient": "NN"}, "a"),
    ({"recipient": "@example"}, "ac"),
    ({"recipient": "b%b"}, ""),
    ({"recipient": "b_b"}, "b"),
    ({"recipient": "\0"}, ""),
    ({"recipient": "\ud800"}, ""),
    ({"domain": "EXAMPLE.org"}, "ac"),
    ({"domain": "example"}, ""),
    ({"domain": "münchen.example"}, "b"),
    ({"kind": "reset"}, "a"),
    ({"kind": "RESET"}, ""),
    ({"error": "550"}, "b"),
    ({"error": "5.1.1"}, "b"),
    ({"error": "expired"}, "c"),
    ({"error": "Mailbox UNKNOWN"}, "b"),
    ({"error": "55"}, ""),
    ({"subject": "order 100%"}, "b"),
    ({"subject": "order 100_"}, ""),
    ({"priority": Lane.HIGH}, "a"),
    ({"priority": Lane.NORMAL}, "bc"),
    ({"older_than": HOUR}, "c"),
    ({"since": HOUR}, "ab"),
    ({"since": timedelta(days=1), "older_than": HOUR}, "c"),
    ({"search": "ORDER"}, "b"),
    ({"search": "ann@example.org"}, "a"),
    ({"search": "<c@mid>"}, "c"),
    ({"search": "c@mid"}, "c"),
    ({"states": (State.FAILED,), "recipient": "ann"}, ""),
    ({"redacted": True}, "c"),
    ({"redacted": False}, "ab"),
]


@pytest.fixture
def connection(engine: sa.Engine) -> Iterator[sa.Connection]:
    """To look with."""
    with engine.connect() as connection:
        yield connection


def found(engine: sa.Engine, **words: Any) -> list[int]:
    """The ids that a filter finds, by `find`, which must agree with `count`."""
    with engine.connect() as connection:
        ids = [row.id for row in operations.find(connection, Filter(**words))]
        assert operations.count(connection, Filter(**words)) == len(ids)
        return ids


def test_find_gives_the_newest_first_page_by_page(engine: sa.Engine, connection: sa.Connection) -> None:
    """Pages go on before the last id of the page before; none is twice, none is left out."""
    ids = [put(engine, f"r{number}@example.org")[0] for number in range(5)]
    first = operations.find(connection, Filter(), limit=2)
    second = operations.find(connection, Filter(), before=first[-1].id, limit=2)
    third = operations.find(connection, Filter(), before=second[-1].id, limit=2)
    assert [row.id for row in (*first, *second, *third)] == ids[::-1]
    assert operations.find(connection, Filter(), before=2**80, limit=1)[0].id == ids[-1]


def test_a_row_tells_what_a_list_shows(engine: sa.Engine, connection: sa.Connection) -> None:
    """Delivery and message in one value, with its age by the database's clock."""
    reply = {"code": 550, "enhanced": "5.1.1", "reply": "no such user", "reason": "refused", "attempts": 2}
    (id,) = put(
        engine,
        "ann@example.org",
        state=State.FAILED,
        ago=100,
        delivery=reply,
        posting=Posting(kind="k", lane=Lane.HIGH),
    )
    (row,) = operations.find(connection, Filter())
    assert (row.id, row.state, row.recipient, row.subject) == (id, State.FAILED, "ann@example.org", "Grüße")
    assert (row.kind, row.lane, row.attempts, row.due_at) == ("k", Lane.HIGH, 2, None)
    assert (row.code, row.enhanced, row.reply, row.reason) == (550, "5.1.1", "no such user", "refused")
    assert row.age == pytest.approx(100, abs=20)
    assert row.created_at.tzinfo is not None


def test_each_filter_word_finds_what_it_means(engine: sa.Engine) -> None:
    """All words must hold; wildcards of SQL are plain characters; what no database can hold matches nothing."""
    ids = _three_mails(engine)
    wrong = [
        (words, matches)
        for words, matches in FILTERS
        if sorted(found(engine, **words)) != sorted(ids[name] for name in matches)
    ]
    assert wrong == []


def _three_mails(engine: sa.Engine) -> dict[str, int]:
    failed = {"code": 550, "enhanced": "5.1.1", "reply": "mailbox unknown", "reason": "refused"}
    failed |= {"lane": Lane.NORMAL.slot(retry=True)}
    posting = Posting(kind="reset", lane=Lane.HIGH)
    ids = {
        "a": put(engine, "ann@example.org", message_id="<a@mid>", posting=posting),
        "b": put(
            engine,
            "b_b@xn--mnchen-3ya.example",
            message_id="<b@mid>",
            subject="Your Order 100%",
            state=State.FAILED,
            delivery=failed,
        ),
        "c": put(
            engine, "cc@example.org", message_id="<c@mid>", state=State.SENT, ago=7200, delivery={"reason": "expired"}
        ),
    }
    with engine.begin() as connection:
        of_c = OutboxMessage.message_id == "<c@mid>"
        connection.execute(sa.update(OutboxMessage).where(of_c).values(redacted_at=DbNow()))
    return {name: one[0] for name, one in ids.items()}


def test_ids_are_found_however_many_and_however_odd(engine: sa.Engine) -> None:
    """Forty thousand ids are no error, nor are ids that no row can have."""
    (id,) = put(engine)
    assert found(engine, ids=(id, *range(10_000_000, 10_040_000))) == [id]
    assert found(engine, ids=(0, -1, 2**63, 2**200)) == []


def test_count_stops_where_it_is_told_to(engine: sa.Engine, connection: sa.Connection) -> None:
    """One more than the cap means "more"."""
    put(engine, *(f"r{number}@example.org" for number in range(5)))
    assert operations.count(connection, Filter(), cap=3) == 4
    assert operations.count(connection, Filter(subject="Gr"), cap=3) == 4
    assert operations.count(connection, Filter(), cap=5) == 5


def test_show_gives_all_that_is_known(engine: sa.Engine, connection: sa.Connection) -> None:
    """Message, tries with their worker's name, and the other recipients."""
    posting = Posting(environment="prod", key="k1", metadata={"order": 7}, max_age=3600.0)
    first, second = put(engine, "a@example.org", "b@example.org", posting=posting)
    worker_id = worker(engine)
    with engine.begin() as writing:
        values = {"phase": "rcpt", "verdict": "transient", "code": 450, "enhanced": "4.2.1", "reply": "later"}
        values |= {"duration": 0.5, "counted": True, "at": DbNow(), "worker_id": worker_id, "fenced": False}
        for _ in range(2):
            writing.execute(sa.insert(OutboxAttempt).values(delivery_id=first, **values))
        writing.execute(sa.insert(OutboxAttempt).values(delivery_id=second, **values))
    detail = operations.show(connection, first)
    assert detail is not None
    assert (detail.message_id_header, detail.headers) == ("<1@example.org>", (("Subject", "Grüße"),))
    assert (detail.environment, detail.key, detail.metadata) == ("prod", "k1", {"order": 7})
    assert detail.expires_at is not None
    assert [(one.worker, one.code, one.duration) for one in detail.attempt_log] == [("mailhost:4711", 450, 0.5)] * 2
    assert [(one.id, one.recipient) for one in detail.siblings] == [(second, "b@example.org")]


def test_show_of_what_is_not_there_is_none(connection: sa.Connection) -> None:
    """An id that no row has, or can have, is no error."""
    assert [operations.show(connection, id) for id in (1, 0, -1, 2**63, 2**100)] == [None] * 5


def test_wire_puts_the_message_together(engine: sa.Engine, connection: sa.Connection) -> None:
    """Skeleton and big parts, to the byte."""
    put(engine, blob=b"\xff" * 1000)
    (row,) = operations.find(connection, Filter())
    assert operations.wire(connection, row.message_id) == SKELETON + base64_lines(b"\xff" * 1000)


def test_wire_says_what_is_damaged(engine: sa.Engine) -> None:
    """A wrong size, a missing part, a message that is gone: an error, not wrong bytes."""
    put(engine, blob=b"\xff" * 1000)
    with engine.connect() as connection:
        pk = operations.find(connection, Filter())[0].message_id
        for harm in (_other_skeleton, _without_blobs):
            harm(connection)
            with pytest.raises(DamagedMessageError):
                operations.wire(connection, pk)
            connection.rollback()
        with pytest.raises(DamagedMessageError):
            operations.wire(connection, pk + 1)


def _other_skeleton(connection: sa.Connection) -> None:
    connection.execute(sa.update(OutboxMessage).values(skeleton=b"?"))


def _without_blobs(connection: sa.Connection) -> None:
    """Deletes them in a way that the database allows until the end of the transaction."""
    allow = {
        "postgresql": "SET LOCAL session_replication_role = replica",
        "sqlite": "PRAGMA defer_foreign_keys = ON",
    }
    connection.exec_driver_sql(allow.get(connection.dialect.name, "SET foreign_key_checks = 0"))
    connection.execute(sa.delete(OutboxBlob))


def test_a_database_without_tables_is_told_as_such(empty_database: Database) -> None:
    """The error names what is missing and the command that fixes it, whatever the driver calls it."""
    told = pytest.raises(SchemaError, match=r"lacks outbox_attempt.*alembic upgrade head")
    with told, operations.connected(empty_database.worker_engine) as connection:
        operations.find(connection, Filter())


def test_a_database_that_is_down_is_told_as_such(database: Database) -> None:
    """The error names the address, without the password."""
    if database.server is None:
        engine = sa.create_engine("sqlite:////nowhere/at/all.sqlite")
    else:
        engine = sa.create_engine(database.address.set(port=1))
    with pytest.raises(DatabaseError) as caught, operations.connected(engine):
        pass
    assert engine.url.render_as_string() in str(caught.value)
    assert str(database.address.password) not in str(caught.value) or database.server is None


def test_mail_is_found_by_the_transport_that_tried_it(engine: sa.Engine, connection: sa.Connection) -> None:
    """Host and port, or the host alone; not by a part of its name; what was never tried is not found."""
    (one,) = put(engine, "a@example.org", state=State.FAILED)
    (other,) = put(engine, "b@example.org", state=State.FAILED)
    put(engine, "c@example.org")
    tried = {"phase": "rcpt", "verdict": "permanent", "reply": "no", "duration": 1.0, "counted": True, "fenced": False}
    with engine.begin() as writing:
        for id, name in ((one, "mx.example.org:25"), (one, "mx.example.org:25"), (other, "mx.example.org:587")):
            writing.execute(sa.insert(OutboxAttempt).values(delivery_id=id, at=DbNow(), transport=name, **tried))

    def found(name: str) -> list[int]:
        return [row.id for row in operations.find(connection, Filter(transport=name))]

    assert found("mx.example.org:25") == [one]
    assert found("mx.example.org") == [other, one]
    assert found("mx.example") == found("x.example.org:25") == found("%") == found("a\0:1") == []
    assert operations.count(connection, Filter(transport="mx.example.org", kind="none")) == 0
