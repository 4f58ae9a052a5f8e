"""Sealed mail in the tables: written one by one and many at once, found, changed and redacted without a clear trace."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from outbox import operations
from outbox.delivery.staging import Allowed
from outbox.delivery.states import State
from outbox.message import keyring
from outbox.message.keyring import Keyring
from outbox.operations import FailedRedactor, Filter, Redactor
from outbox.operations.digests import waiting
from outbox.operations.ends import Place
from outbox.operations.erase import erase
from outbox.operations.export_person import export
from outbox.operations.rotate_keys import in_use, rotate
from outbox.operations.suppressions import suppress
from outbox.operations.unsubscribing import Lists
from outbox.store import digests, staging
from outbox.store.enqueue import Posting, enqueue
from outbox.store.enqueue_many import enqueue_many
from outbox.store.held import Held
from outbox.store.models import Base
from outbox.store.queue import Queue
from outbox.store.sealed_message import key_forms
from outbox.store.sealing import as_stored, give_keyring
from tests.db.mails import composed, put

ADDRESS_KEY = b"test"
ANN = "anneliese.kuvert@example.org"


@pytest.fixture
def ring(engine: sa.Engine) -> Iterator[Keyring]:
    """A keyring that this process, and what the engine writes, knows."""
    ring = Keyring((b"1" * 32,))
    ring.introduce(ADDRESS_KEY)
    give_keyring(engine, ring)
    yield ring
    keyring.forget()
    give_keyring(engine, Keyring(()))
    del engine.dialect._outbox_keyring  # type: ignore[attr-defined]


def sealed_posting(ring: Keyring, key: str | None = None) -> Posting:
    """As `extension.options` makes it for a sensitive kind."""
    posting = Posting(kind="reset", address_key=ADDRESS_KEY, keyring=ring, metadata={"of": ANN})
    if key is None:
        return posting
    clear, hashed = key_forms(key, ADDRESS_KEY)
    return replace(posting, key=hashed, clear_key=clear, also_key=clear)


def clear_trace(engine: sa.Engine) -> list[str]:
    """Columns in which the address can be read."""
    found = []
    with engine.connect() as connection:
        for table in Base.metadata.sorted_tables:
            for column in table.columns:
                text = sa.cast(as_stored(column), sa.Text)
                kind = column.type.impl if isinstance(column.type, sa.types.TypeDecorator) else column.type
                if isinstance(kind, sa.LargeBinary):
                    values = connection.execute(sa.select(as_stored(column))).scalars()
                    if any(b"anneliese" in bytes(value or b"") for value in values):
                        found.append(str(column))
                elif connection.execute(sa.select(table).where(text.icontains("anneliese")).limit(1)).first():
                    found.append(str(column))
    return found


def test_many_are_sealed_as_one_is(engine: sa.Engine, ring: Keyring) -> None:
    """With keys, big parts and several recipients; a worker gets them as they were written."""
    one = composed(ANN, subject=f"For {ANN}", message_id="<1@x>", blob=b"anneliese" * 9_000)
    two = composed(ANN, "bob@example.net", message_id="<2@x>", blob=b"anneliese" * 9_000)
    with Session(engine) as session:
        first = enqueue_many(session, [(one, sealed_posting(ring, f"k-{ANN}")), (two, sealed_posting(ring))])
        clear = Posting(key=f"k-{ANN}", also_key=key_forms(f"k-{ANN}", ADDRESS_KEY)[1])  # its kind is no longer sealed
        again, is_new = enqueue(session, one, clear)
        assert (again.id, again.key, is_new) == (first[0].id, f"k-{ANN}", False)
        repeated = enqueue_many(session, [(one, sealed_posting(ring, f"k-{ANN}"))])
        assert (repeated[0].id, repeated[0].is_new) == (first[0].id, False)
        session.commit()
    assert clear_trace(engine) == []
    queue = Queue(engine, environment="", lease=60.0)
    claimed = queue.claim(1, 4711, 10)
    assert sorted(one.recipient for one in claimed) == [ANN, ANN, "bob@example.net"]
    for claim in claimed:
        assert claim.message.damage is None
        assert claim.message.skeleton == one.skeleton
        assert claim.message.envelope_from == "from@example.org"
    with engine.connect() as connection:
        assert len(operations.find(connection, Filter(recipient=ANN.upper()))) == 2
        assert {row.subject for row in operations.find(connection, Filter())} == {f"For {ANN}", "Grüße"}
        detail = operations.show(connection, claimed[0].id)
        assert detail is not None
        assert detail.metadata == {"of": ANN}
        assert detail.key == f"k-{ANN}"
        assert b"YW5uZWxpZXNl" in operations.wire(connection, first[0].id)  # base64 of "anneliese"


def test_what_people_change_stays_sealed(engine: sa.Engine, ring: Keyring) -> None:
    """Sent again, to another address, with another date, redacted; under a new key."""
    [sent] = put(engine, ANN, posting=sealed_posting(ring), state=State.SENT, ago=60.0, message_id="<1@x>")
    [failed] = put(engine, ANN, posting=sealed_posting(ring), state=State.FAILED, ago=60.0, message_id="<2@x>")
    with engine.begin() as connection:
        operations.send_again(connection, sent, by="op")
        address = operations.correct_recipient(
            connection,
            failed,
            "anneliese@example.com",
            by="op",
            sensitive_kinds=(),
            address_key=ADDRESS_KEY,
            note="of anneliese",
        )
        assert address == "anneliese@example.com"
    assert Redactor(engine, ("reset",), lag=0.0).run() == 1  # what was sent
    assert clear_trace(engine) == []
    with engine.connect() as connection:
        assert len(operations.find(connection, Filter(recipient="anneliese@example.com"))) == 1

    newer = Keyring((b"2" * 32, b"1" * 32))
    newer.introduce(ADDRESS_KEY)
    give_keyring(engine, newer)
    done = rotate(engine, newer)
    assert done.unopened == {}
    with engine.connect() as connection:
        assert set(in_use(connection)) == {newer.newest}
        rows = operations.find(connection, Filter())
    assert {row.recipient for row in rows} == {ANN, "anneliese@example.com"}
    assert clear_trace(engine) == []


def test_failed_mail_loses_its_text_in_time(engine: sa.Engine) -> None:
    """After the time of its kind, and not what failed for one while it may still be sent to another."""
    reset = Posting(kind="reset")
    [old] = put(engine, state=State.FAILED, ago=7200.0, posting=reset, message_id="<1@x>")
    put(engine, state=State.FAILED, ago=60.0, posting=reset, message_id="<2@x>")
    put(engine, state=State.FAILED, ago=7200.0, posting=Posting(kind="news"), message_id="<3@x>")
    [kept, _] = put(engine, "a@x.org", "b@x.org", state=State.QUEUED, posting=reset, message_id="<4@x>")
    with engine.begin() as connection:
        operations.cancel(connection, Filter(ids=(kept,)), by="op")
    redactor = FailedRedactor(engine, {"reset": 3600.0, "news": 0.0})
    assert redactor.run() == 1
    with engine.connect() as connection:
        assert [row.id for row in operations.find(connection, Filter(redacted=True))] == [old]
    assert redactor.run() == 0
    put(engine, "c@x.org", state=State.FAILED, ago=8_000.0, posting=reset, message_id="<5@x>")
    assert redactor.run() == 0  # it lies before what was looked at
    redactor._places = {3600.0: Place(datetime.now(UTC) + timedelta(days=1))}  # by a clock that was ahead
    assert redactor.run() == 1


def test_a_person_is_exported_and_erased(engine: sa.Engine, ring: Keyring, tmp_path: Path) -> None:
    """Found by the keyed hash in any spelling, handed out in clear, and gone; what others wait for is not."""
    put(engine, ANN, posting=sealed_posting(ring, f"k-{ANN}"), state=State.SENT, subject=f"For {ANN}")
    posting = sealed_posting(ring, f"both-{ANN}")
    both = put(engine, ANN.title(), "bob@example.net", posting=posting, message_id="<2@x>")
    put(engine, "bob@example.net", posting=sealed_posting(ring), message_id="<3@x>", subject=f"Of {ANN}")
    with engine.begin() as connection:
        how = {"window": 60.0, "address_key": ADDRESS_KEY}
        digests.add(connection, "", "comments", ANN.upper(), {"by": "bob"}, **how)
        digests.add(connection, "", "comments", ANN, "sealed:1:as a text", **how)
        digests.add(connection, "", "comments", "bob@example.net", {"by": ANN}, **how)
        suppress(connection, ANN, "kind:news", by="op", address_key=ADDRESS_KEY, note=f"{ANN} called")
    assert clear_trace(engine) == []

    lists = Lists((), "", ADDRESS_KEY)
    done = export(engine, ANN, tmp_path / "to", lists=lists, titles={}, by="op", note=f"{ANN} asked")
    assert (done.messages, done.about, done.rows["gathered"]) == (2, 1, 2)
    of = {name: json.loads((tmp_path / f"to/{name}.json").read_text()) for name in ("deliveries", "gathered", "about")}
    assert [row["subject"] for row in of["deliveries"]] == [f"For {ANN}", "Grüße"]
    assert [row["key"] for row in of["deliveries"]] == [f"k-{ANN}", f"both-{ANN}"]
    assert [row["item"] for row in of["gathered"]] == [{"by": "bob"}, "sealed:1:as a text"]
    assert b"body" in (tmp_path / f"to/messages/{both[0]}.eml").read_bytes()

    how = {"address_key": ADDRESS_KEY, "by": "op", "note": f"{ANN} asked"}
    assert erase(engine, ANN, **how, dry_run=True).gathered == 2
    found = erase(engine, ANN, **how)
    assert (found.deliveries, found.cancelled, found.gathered, found.words["digest_item"]) == (2, 1, 2, 1)
    assert (found.messages, found.waiting) == (1, 2)
    assert opened_trace(engine) == []
    with engine.connect() as connection:
        assert [(one.recipients, one.items) for one in waiting(connection, "")] == [(1, 1)]


def opened_trace(engine: sa.Engine) -> list[str]:
    """Columns in which whoever has the keys can read the address."""
    with engine.connect() as connection:
        return [
            str(column)
            for table in Base.metadata.sorted_tables
            for column in table.columns
            if "anneliese" in str(connection.execute(sa.select(column)).scalars().all()).lower()
        ]


def test_a_subject_that_looks_sealed(engine: sa.Engine) -> None:
    """Is shown and found as it was written, whatever it begins with, sealed or not."""
    subjects = ["sealed:1:x", "sealed:0:y", "sealed:2:z"]
    for number, subject in enumerate(subjects):
        put(engine, subject=subject, message_id=f"<{number}@x>")
    with engine.connect() as connection:
        assert sorted(row.subject for row in operations.find(connection, Filter())) == sorted(subjects)
        assert [row.subject for row in operations.find(connection, Filter(subject="sealed:1:x"))] == ["sealed:1:x"]
        assert in_use(connection) == {}


def test_addresses_that_are_allowed(engine: sa.Engine, ring: Keyring) -> None:
    """A sealed one is known by its hash, in any case; all others wait, and are shown as paused."""
    put(engine, ANN.upper(), posting=sealed_posting(ring), message_id="<1@x>")
    [other] = put(engine, "bob@example.org", posting=sealed_posting(ring), message_id="<2@x>")
    allowed = Allowed(frozenset({ANN}), frozenset())
    queue = Queue(engine, environment="", lease=60.0)
    queue.hold(Held(allowed=allowed))
    assert [one.recipient for one in queue.claim(1, 4711, 10)] == [ANN.upper()]
    assert staging.show(engine, "", allowed) == 1
    with engine.connect() as connection:
        [pause] = connection.execute(sa.text("SELECT what, value FROM outbox_pause")).all()
    assert tuple(pause) == ("message", str(other))


def test_patterns_of_addresses_that_are_allowed(
    engine: sa.Engine, ring: Keyring, caplog: pytest.LogCaptureFixture
) -> None:
    """A sealed one is opened to see whether it fits, the newest first; clear ones are claimed as before."""
    [old] = put(engine, "QA-1@Example.org", posting=sealed_posting(ring), message_id="<1@x>")
    [other] = put(engine, "bob@example.org", posting=sealed_posting(ring), message_id="<2@x>")
    [new] = put(engine, "qa-2@x.example.org", posting=sealed_posting(ring), message_id="<3@x>")
    [clear] = put(engine, "qa-3@example.org", message_id="<4@x>")
    allowed = Allowed(frozenset(), frozenset(), frozenset({"qa-*@example.org", "qa-*@*.example.org"}))
    fitting = staging.fitting(engine, "", allowed)
    assert fitting == {old, new}
    assert staging.show(engine, "", allowed, fitting) == 1
    with engine.connect() as connection:
        [pause] = connection.execute(sa.text("SELECT what, value FROM outbox_pause")).all()
    assert tuple(pause) == ("message", str(other))
    queue = Queue(engine, environment="", lease=60.0)
    queue.hold(Held(allowed=allowed))
    assert [one.id for one in queue.claim(1, 4711, 10)] == [clear]
    queue.hold(Held(allowed=allowed, fitting=fitting))
    assert sorted(one.id for one in queue.claim(1, 4711, 10)) == [old, new]
    assert "a claim failed" not in caplog.text
