"""One message of 10 MB to fifty recipients, as a multiple of the same to one: time of the transaction, times sent."""

from __future__ import annotations

from datetime import UTC, datetime

import flask
import flask_mail
import sqlalchemy as sa
from sqlalchemy.orm import Session

from benchmarks import mails, stats
from benchmarks.ground import Ground
from benchmarks.process import worker
from outbox.extension.draft import draft_of
from outbox.message.compose import compose
from outbox.message.values import Composed
from outbox.models import OutboxAttempt, OutboxDelivery, table_of
from outbox.store.enqueue import enqueue
from outbox.store.posting import Posting
from tests.servers.databases import Database

BYTES = 10 * 2**20
RECIPIENTS = 50
_MESSAGES = 6  # the first of which opens the connection, and does not count
_DELIVERY, _ATTEMPT = table_of(OutboxDelivery), table_of(OutboxAttempt)


def together(ground: Ground) -> None:
    """In turns, over one connection."""
    for _ in range(ground.size.repetitions):
        alone, _ = _seconds(ground, 1)
        many, sent = _seconds(ground, RECIPIENTS)
        ground.keep("together", "10 MB", alone=alone, many=many, ratio=many / alone, sent=sent)


def _seconds(ground: Ground, recipients: int) -> tuple[float, float]:
    """The median of the transactions, in seconds, and how often the content of a message went over the wire."""
    with ground.database("postgresql") as database:
        with Session(database.worker_engine) as session, session.begin():
            for number in range(_MESSAGES):
                enqueue(session, _composed(number, recipients), Posting(max_age=86_400.0))
        ground.sink.reset()
        process = worker(ground.environ(database), ground.folder / "worker.log", "--drain", "--connections", "1")
        process.wait()
        process.stop()
        taken = _durations(database)
    if len(taken) != _MESSAGES:
        raise RuntimeError(f"{len(taken)} of {_MESSAGES} messages have an attempt: {process.last_words()}")
    return stats.percentile(taken[1:], 0.5), ground.sink.count() / _MESSAGES


def _composed(number: int, recipients: int) -> Composed:
    app = flask.Flask(__name__)
    flask_mail.Mail(app)
    with app.app_context():
        mail = mails.message(number)
        mail.recipients = [f"reader{one}@example.org" for one in range(recipients)]
        mail.attach("report.pdf", "application/pdf", bytes(BYTES))
        now = datetime.now(UTC)
        return compose(draft_of(mail), default_sender=None, now=now, max_bytes=25 << 20, unique=f"n{number}")


def _durations(database: Database) -> list[float]:
    """Of each message, in order, the attempt that took longest."""
    longest = sa.func.max(_ATTEMPT.c.duration)
    joined = _DELIVERY.join(_ATTEMPT, _ATTEMPT.c.delivery_id == _DELIVERY.c.id)
    statement = sa.select(longest).select_from(joined).group_by(_DELIVERY.c.message_id).order_by(_DELIVERY.c.message_id)
    with database.worker_engine.connect() as connection:
        return [float(one) for one in connection.scalars(statement)]
