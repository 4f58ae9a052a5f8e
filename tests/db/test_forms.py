"""Two forms of one message: ASCII for recipients with ASCII addresses, UTF-8 for the others, on every database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import flask_mail
import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from outbox import operations
from outbox.delivery.states import State
from outbox.extension.draft import draft_of
from outbox.message.compose import compose, new_unique
from outbox.models import OutboxDelivery, OutboxMessage
from outbox.operations.redact import redact
from outbox.store.enqueue import Posting, enqueue
from outbox.store.enqueue_many import enqueue_many
from outbox.store.queue import Queue
from outbox.store.types import DbNow
from outbox.worker.blob_cache import BlobCache

NOW = datetime.now(UTC)
LOGO = b"\x89PNG" * 5000
ANN, JOERG = "ann@example.org", "jörg@example.net"


def put(engine: sa.Engine, *, many: bool = False, body: str = "b", posting: Posting | None = None) -> None:
    """One message to both, with an attachment that is a blob."""
    message = flask_mail.Message("s", [ANN, ("Jörg", JOERG)], body, sender="shop@example.org")
    message.attach("logo.png", "image/png", LOGO)
    composed = compose(draft_of(message), default_sender=None, now=NOW, max_bytes=10**7, unique=new_unique())
    with Session(engine) as session, session.begin():
        if many:
            enqueue_many(session, [(composed, posting or Posting())])
        else:
            enqueue(session, composed, posting or Posting())


def shown(engine: sa.Engine) -> dict[str, tuple[operations.Detail, bytes]]:
    """By recipient what commands and pages show."""
    with engine.connect() as connection:
        details = [
            operations.show(connection, id)
            for id in connection.execute(sa.select(OutboxDelivery.id).order_by(OutboxDelivery.id)).scalars()
        ]
        return {
            detail.recipient: (detail, operations.wire(connection, detail.message_id, detail.recipient))
            for detail in details
            if detail is not None
        }


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("length", [10, 200_000])
def test_each_delivery_gets_the_form_of_its_own_address(engine: sa.Engine, many: bool, length: int) -> None:
    """Short or read piece by piece: what the worker sends is what is shown."""
    put(engine, many=many, body="x y " * (length // 4))
    queue = Queue(engine, environment="", lease=60.0)
    worker = queue.register(host="h", pid=1, version="0", connections=1)
    blob_cache = BlobCache(queue.contents.blob_size, queue.contents.blob_part, queue.contents.text_part)
    claimed = {one.recipient: one.message for one in queue.claim(worker, 7, 10)}
    views = shown(engine)
    assert set(claimed) == set(views) == {ANN, JOERG}
    for recipient, message in claimed.items():
        detail, wire = views[recipient]
        assert b"".join(blob_cache.content(message)) == wire
        assert message.size == detail.size == len(wire)
        assert message.smtputf8 == detail.smtputf8 == (recipient == JOERG)
        assert detail.downgraded == (recipient == ANN)
    assert views[ANN][1].isascii()
    assert "To: ann@example.org, =?utf-8?b?SsO2cmc=?= <jörg@example.net>\r\n".encode() in views[JOERG][1]


def test_a_new_date_is_in_both(engine: sa.Engine) -> None:
    """`send_now` dates scheduled mail to when it goes out."""
    put(engine, posting=Posting(send_at=NOW + timedelta(days=7)))
    with engine.begin() as connection:
        connection.execute(sa.update(OutboxMessage).values(created_at=DbNow()))
        ids = tuple(connection.execute(sa.select(OutboxDelivery.id)).scalars())
        operations.reschedule(connection, operations.Filter(ids=ids), NOW + timedelta(days=30), by="chief", note=None)
    wanted = (NOW + timedelta(days=30)).strftime("Date: %a, %d %b %Y").encode()
    for detail, wire in shown(engine).values():
        assert wire.startswith(wanted)
        assert len(wire) == detail.size


def test_redacted_both_are_gone(engine: sa.Engine) -> None:
    """Addresses and all."""
    put(engine, posting=Posting(kind="reset"))
    with engine.begin() as connection:
        done = {"state": State.SENT.value, "due_at": None, "finished_at": DbNow(-60.0)}
        connection.execute(sa.update(OutboxDelivery).values(done))
        pks = connection.execute(sa.select(OutboxMessage.id)).scalars().all()
        assert redact(connection, pks, ["reset"]) == 1
    for detail, wire in shown(engine).values():
        assert wire == b""
        assert not detail.downgraded
