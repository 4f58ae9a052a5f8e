"""Mail in any state, for tests of what operators do with it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from outbox.delivery.states import LIVE, State
from outbox.message.values import Blob, Composed, base64_lines
from outbox.models import OutboxDelivery, OutboxMessage, OutboxWorker
from outbox.store.enqueue import Posting, enqueue
from outbox.store.paces import Report
from outbox.store.transports import Transports
from outbox.store.types import DbNow

SKELETON = b"Subject: x\r\n\r\nbody\r\n"


def composed(
    *recipients: str,
    subject: str = "Grüße",
    message_id: str = "<1@example.org>",
    blob: bytes = b"",
    envelope_from: str = "from@example.org",
) -> Composed:
    """A small message, with a big part at its end if `blob` is given."""
    return Composed(
        message_id=message_id,
        envelope_from=envelope_from,
        recipients=recipients or ("to@example.org",),
        subject=subject,
        headers=(("Subject", subject),),
        skeleton=SKELETON,
        blobs=((len(SKELETON), Blob(blob)),) if blob else (),
        size=len(SKELETON) + len(base64_lines(blob)),
    )


def put(
    engine: sa.Engine,
    *recipients: str,
    state: State = State.QUEUED,
    ago: float = 0.0,
    posting: Posting | None = None,
    delivery: dict[str, Any] | None = None,
    **message: Any,
) -> list[int]:
    """Enqueue and commit one message, then take its deliveries to `state`, `ago` seconds ago; their ids.

    `delivery`: columns to set besides; `message`: arguments of `composed`.
    """
    with Session(engine) as session:
        written, _ = enqueue(session, composed(*recipients, **message), posting or Posting())
        session.commit()
        pk = written.id
    with engine.begin() as connection:
        connection.execute(sa.update(OutboxMessage).where(OutboxMessage.id == pk).values(created_at=DbNow(-ago)))
        connection.execute(
            sa.update(OutboxDelivery)
            .where(OutboxDelivery.message_id == pk)
            .values({**_in_state(state, ago), **(delivery or {})})
        )
        ids = connection.execute(
            sa.select(OutboxDelivery.id).where(OutboxDelivery.message_id == pk).order_by(OutboxDelivery.id)
        )
        return list(ids.scalars())


def worker(
    engine: sa.Engine, *, heartbeat: float = 0.0, environment: str = "", health: Any = None, **columns: Any
) -> int:
    """A worker's row whose last heartbeat was `heartbeat` seconds ago; its id."""
    values = {
        "host": "mailhost",
        "pid": 4711,
        "version": "1.0",
        "environment": environment,
        "connections": 4,
        "started_at": DbNow(-3600.0),
        "heartbeat_at": DbNow(-heartbeat),
        "health": health,
    }
    with engine.begin() as connection:
        inserted = connection.execute(sa.insert(OutboxWorker).values({**values, **columns}))
        return int(inserted.inserted_primary_key[0])


def states(engine: sa.Engine) -> dict[int, str]:
    """The state of each delivery."""
    with engine.connect() as connection:
        rows = connection.execute(sa.select(OutboxDelivery.id, OutboxDelivery.state))
        return {row.id: row.state for row in rows}


@contextmanager
def beside(work: Callable[[], int]) -> Iterator[list[int]]:
    """Runs `work` in a thread until it ends or waits for a lock; at the end of the block it must come to its end."""
    results: list[int] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as failure:
            failures.append(failure)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(0.5)  # long enough to end if nothing stands in its way
    yield results
    thread.join(30)
    assert not failures, failures[0]
    assert results, "it still waits for a lock"


def slow(engine: sa.Engine, transport: str, reply: str = "dot: 454 4.7.0 Throttling failure") -> None:
    """As a worker does whose relay throttled at 8 messages a second: all mail of the transport goes by 4."""
    rows = Transports(engine, "")
    rows.add(transport)
    assert rows.paces.throttled(transport, {"": Report(4, 8.0, 4.0, reply)}) is not None


def _in_state(state: State, ago: float) -> dict[str, Any]:
    live = state in LIVE
    return {
        "state": state.value,
        "due_at": DbNow(-ago) if live else None,
        "token": 77 if state is State.SENDING else None,
        "finished_at": None if live else DbNow(-ago),
        "updated_at": DbNow(-max(ago, 0.0)),  # nothing was changed in the future
    }
