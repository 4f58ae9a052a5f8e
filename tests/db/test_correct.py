"""Another recipient for a mail whose address was wrong, the same on every database."""

from __future__ import annotations

from dataclasses import replace
from email import message_from_bytes

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from outbox import operations
from outbox.core.errors import AddressError
from outbox.delivery.states import LIVE, State
from outbox.message.values import Blob, Composed, base64_lines
from outbox.models import OutboxDelivery, OutboxMessage
from outbox.store.enqueue import Posting, enqueue
from outbox.store.types import DbNow
from tests.db.mails import beside

PICTURE = b"\x89PNG" * 5_000
OLD = "ann@exmaple.org"


def put(engine: sa.Engine, *recipients: str, state: State = State.FAILED, redacted: bool = False) -> list[int]:
    """A message with a big part to `recipients`, each delivery in `state`; their ids."""
    to = ", ".join(recipients)
    head = f"To: {to}\r\nContent-Transfer-Encoding: base64\r\n\r\n".encode()
    whole = Composed(
        message_id="<1@example.org>",
        envelope_from="shop@example.org",
        recipients=recipients,
        subject="",
        headers=(("To", to),),
        skeleton=head,
        blobs=((len(head), Blob(PICTURE)),),
    )
    with Session(engine) as session, session.begin():
        message, _ = enqueue(session, replace(whole, size=len(whole.wire())), Posting(max_age=3600.0))
        pk = message.id
    live = state in LIVE
    with engine.begin() as connection:
        connection.execute(
            sa.update(OutboxDelivery).values(
                state=state.value,
                due_at=DbNow(900.0) if live else None,
                token=1 if state is State.SENDING else None,
                finished_at=None if live else DbNow(),
                attempts=3,
                code=550,
                enhanced="5.1.1",
                reply="no such user",
                reason="refused",
            )
        )
        if redacted:
            connection.execute(sa.update(OutboxMessage).values(redacted_at=DbNow()))
        ids = sa.select(OutboxDelivery.id).where(OutboxDelivery.message_id == pk).order_by(OutboxDelivery.id)
        return list(connection.execute(ids).scalars())


def correct(engine: sa.Engine, id: int, address: str, sensitive_kinds: tuple[str, ...] = ()) -> str:
    with operations.transaction(engine) as connection:
        return operations.correct_recipient(
            connection, id, address, by="chief", sensitive_kinds=sensitive_kinds, address_key=b"", note="mistyped"
        )


def shown(engine: sa.Engine, id: int) -> tuple[operations.Detail, bytes]:
    with engine.connect() as connection:
        detail = operations.show(connection, id)
        assert detail is not None
        return detail, operations.wire(connection, detail.message_id, detail.recipient)


@pytest.mark.parametrize("state", [State.FAILED, State.QUEUED, State.CANCELLED])
def test_to_one_recipient(engine: sa.Engine, state: State) -> None:
    """The delivery is due at the new address as if new; the message says so in To and is otherwise what it was."""
    [id] = put(engine, OLD, state=state)
    assert correct(engine, id, "Ann <ann@Example.org>") == "ann@example.org"
    detail, wire = shown(engine, id)
    assert (detail.recipient, detail.state, detail.attempts) == ("ann@example.org", State.QUEUED, 0)
    assert (detail.code, detail.enhanced, detail.reply, detail.reason) == (None, None, None, None)
    assert detail.due_at is not None
    assert detail.headers == (("To", "Ann <ann@Example.org>"),)
    assert wire.startswith(b"To: Ann <ann@Example.org>\r\nContent-Transfer-Encoding: base64\r\n\r\n")
    assert wire.endswith(b"\r\n\r\n" + base64_lines(PICTURE))
    assert message_from_bytes(wire).get_payload(decode=True) == PICTURE
    assert len(wire) == detail.size
    with engine.connect() as connection:
        found = operations.find(connection, operations.Filter(domain="example.org"))
        [entry] = operations.audit.of_delivery(connection, id)
    assert [row.id for row in found] == [id]
    assert (entry.action, entry.by, entry.count, entry.filters, entry.note) == (
        "edit-recipient",
        "chief",
        1,
        f"{OLD} → ann@example.org",
        "mistyped",
    )


def test_to_several(engine: sa.Engine) -> None:
    """A message that went to others, too, stays as they got it; only the envelope changes."""
    ids = put(engine, OLD, "bob@example.org")
    _, before = shown(engine, ids[0])
    correct(engine, ids[0], "ann@example.org")
    detail, wire = shown(engine, ids[0])
    assert wire == before
    assert (detail.recipient, detail.state) == ("ann@example.org", State.QUEUED)
    other, _ = shown(engine, ids[1])
    assert (other.recipient, other.state) == ("bob@example.org", State.FAILED)


def test_an_address_beyond_ascii(engine: sa.Engine) -> None:
    """It goes into the header as it is, and needs SMTPUTF8; corrected to one in ASCII, it doesn't any more."""
    [id] = put(engine, OLD)
    correct(engine, id, "Änn <änn@exämple.org>")
    detail, wire = shown(engine, id)
    assert detail.smtputf8
    assert detail.recipient == "änn@xn--exmple-cua.org"
    assert wire.startswith("To: =?utf-8?q?=C3=84nn?= <änn@xn--exmple-cua.org>\r\n".encode())
    assert wire.endswith(b"\r\n\r\n" + base64_lines(PICTURE))
    assert len(wire) == detail.size
    correct(engine, id, "ann@example.org")
    detail, wire = shown(engine, id)
    assert not detail.smtputf8
    assert not detail.downgraded
    assert wire.startswith(b"To: =?utf-8?q?=C3=84nn?= <ann@example.org>\r\n")
    assert wire.endswith(b"\r\n\r\n" + base64_lines(PICTURE))
    assert len(wire) == detail.size


@pytest.mark.parametrize("state", [State.SENDING, State.SENT, State.UNCERTAIN])
def test_states_that_refuse(engine: sa.Engine, state: State) -> None:
    """What a worker holds, and what the old address may have got, keeps its recipient."""
    [id] = put(engine, OLD, state=state)
    with pytest.raises(ValueError, match=f"mail that is {state}"):
        correct(engine, id, "ann@example.org")
    assert shown(engine, id)[0].recipient == OLD


@pytest.mark.databases("sqlite")
@pytest.mark.parametrize(
    ("address", "why"),
    [
        (OLD, "is already its address"),
        ("bob@example.org", "gets this message already"),
        ("ann@", "nothing after the @"),
        ("ann@example.org\r\nRCPT TO:<eve@example.org>", "line break"),
        ("", "is empty"),
    ],
)
def test_addresses_that_are_refused(engine: sa.Engine, address: str, why: str) -> None:
    """What is no address, or would change nothing or send a second copy, is refused and nothing is written."""
    ids = put(engine, OLD, "bob@example.org")
    with pytest.raises(ValueError, match=why):
        correct(engine, ids[0], address)
    assert shown(engine, ids[0])[0].recipient == OLD
    with engine.connect() as connection:
        assert operations.audit.recent(connection) == []


def test_redacted(engine: sa.Engine) -> None:
    """Where the text is gone there is nothing to send."""
    [id] = put(engine, OLD, redacted=True)
    with pytest.raises(ValueError, match="redacted"):
        correct(engine, id, "ann@example.org")


def test_sensitive_mail(engine: sa.Engine) -> None:
    """A password reset can't be sent to another address, whatever its state; mail of another kind, or of none, can."""
    for state in operations.CORRECTABLE:
        [id] = put(engine, OLD, state=state)
        of_kind(engine, "password-reset")
        with pytest.raises(
            ValueError, match=r"is sensitive \(by its definition or OUTBOX_SENSITIVE_KINDS\).*: cancel it"
        ):
            correct(engine, id, "ann@example.org", sensitive_kinds=("confirm", "password-reset"))
        assert shown(engine, id)[0].recipient == OLD
        for kind, address in (("invoice", "ann@example.org"), (None, OLD)):
            of_kind(engine, kind)
            assert correct(engine, id, address, sensitive_kinds=("confirm", "password-reset")) == address


def of_kind(engine: sa.Engine, kind: str | None) -> None:
    with engine.begin() as connection:
        connection.execute(sa.update(OutboxMessage).values(kind=kind))


@pytest.mark.parametrize("id", [999, 0, 2**70])
def test_no_such_mail(engine: sa.Engine, id: int) -> None:
    """A number without mail is told so."""
    with pytest.raises(ValueError, match="there is no delivery"):
        correct(engine, id, "ann@example.org")


def test_not_an_address_names_the_field(engine: sa.Engine) -> None:
    """The refusal is the one that enqueuing would give."""
    [id] = put(engine, OLD)
    with pytest.raises(AddressError):
        correct(engine, id, "no address")


@pytest.mark.databases("postgresql", "mariadb")  # SQLite has one writer at a time
def test_a_worker_that_was_quicker(engine: sa.Engine) -> None:
    """A mail that a worker claims at the same moment keeps its recipient: one of the two has it, never both."""
    [id] = put(engine, OLD, state=State.QUEUED)
    claim = sa.update(OutboxDelivery).where(OutboxDelivery.id == id).values(state="sending", token=7)
    refused: list[str] = []

    def person() -> int:
        try:
            correct(engine, id, "ann@example.org")
        except ValueError as error:
            refused.append(str(error))
        return 1

    with engine.connect() as worker:
        worker.execute(claim)  # not committed yet: the person's look still sees it queued, the change waits for it
        with beside(person):
            worker.commit()
    assert refused == ["it was changed in the meantime, or a worker has claimed it; look at it again"]
    assert shown(engine, id)[0].recipient == OLD
