"""`mail.gather` and `mail.digest`: one message of what happened within a window, once, whatever dies in between."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask, current_app
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from outbox import ConfigurationError, Gathered, Message, MessageError, Outbox
from outbox.extension.digests import make
from outbox.models import OutboxDelivery, OutboxDigestItem, OutboxMessage
from outbox.operations import status
from outbox.operations.digests import run_again, waiting
from outbox.store.digests import DigestQueue
from tests.servers.databases import Database

KILLED = """
import os, signal, sys
import sqlalchemy as sa
from tests.db.test_digests import application, claimed
from outbox.extension.digests import make
from flask import current_app

mail, app = application(sys.argv[1])
with app.app_context():
    (due,) = claimed(mail, 0.0)
    with mail.database().begin() as connection:
        make(app, mail.digests, connection, due.event)
        os.kill(os.getpid(), signal.SIGKILL)
"""


def application(url: str) -> tuple[Outbox, Flask]:
    app, mail = Flask(__name__), Outbox()
    app.config.update(MAIL_DEFAULT_SENDER="shop@example.org")

    @mail.digest("comments", window=0.001, limit=3)
    def comments(gathered: Gathered) -> Message | None:
        if gathered.items == ["nothing"]:
            return None
        if gathered.items == ["broken"]:
            raise RuntimeError("as asked for")
        return Message(f"{gathered.items} and {gathered.omitted} more", body=f"{gathered.since:%Y}")

    mail.init_app(app, session=scoped_session(sessionmaker(sa.create_engine(url))))
    return mail, app


@pytest.fixture
def mail(database: Database) -> Iterator[Outbox]:
    mail, app = application(database.url)
    with app.app_context():
        yield mail
        mail._bound().sessions.current().close()


def claimed(mail: Outbox, lease: float = 60.0) -> list[Any]:
    queue = DigestQueue(mail.database(), "")
    assert set(queue.look(["comments", "other"])) <= {"comments"}
    return queue.claim("comments", 10, lease)


def run(mail: Outbox, due: Any) -> None:
    with mail.database().begin() as connection:
        make(current_app._get_current_object(), mail.digests, connection, due.event)  # type: ignore[attr-defined]


def subjects(database: Database) -> list[tuple[str, str]]:
    with Session(database.engine) as session:
        joined = sa.select(OutboxMessage.subject, OutboxDelivery.recipient).join(OutboxMessage.deliveries)
        return sorted((row[0], row[1]) for row in session.execute(joined))


def left(database: Database) -> int:
    with Session(database.engine) as session:
        return session.scalar(sa.select(sa.func.count()).select_from(OutboxDigestItem)) or 0


def gather(mail: Outbox, *items: Any, to: str = "ann@example.org") -> None:
    session = mail._bound().sessions.current()
    for item in items:
        mail.gather("comments", to, item)
    session.commit()


def test_one_message_of_all(mail: Outbox, database: Database) -> None:
    """By recipient, up to its limit; rolled back, an item never was; what returns None sends nothing."""
    session = mail._bound().sessions.current()
    mail.gather("comments", "ann@example.org", "never")
    session.rollback()
    gather(mail, 1, {"post": 2}, 3, 4, 5)
    gather(mail, "b", to="Bob <bob@example.org>")
    gather(mail, "nothing", to="cora@example.org")
    assert [(one.name, one.recipients, one.items) for one in waiting(session.connection(), "")] == [("comments", 3, 7)]
    session.rollback()
    for due in claimed(mail):
        run(mail, due)
    assert subjects(database) == [
        ("['b'] and 0 more", "bob@example.org"),
        ("[1, {'post': 2}, 3] and 2 more", "ann@example.org"),
    ]
    assert (left(database), claimed(mail)) == (0, [])


def test_two_workers_make_one(mail: Outbox, database: Database) -> None:
    """Also where the lease of the first has run out: who comes second does nothing."""
    gather(mail, 1)
    (first,) = claimed(mail, 0.0)
    gather(mail, 2)
    (second, *_) = claimed(mail, 60.0)
    run(mail, first)
    run(mail, second)
    assert subjects(database) == [("[1, 2] and 0 more", "ann@example.org")]


def test_killed_before_its_commit(mail: Outbox, database: Database) -> None:
    """Nothing was sent and nothing is lost: another worker makes it."""
    gather(mail, 1, 2)
    environ = {**os.environ, "PYTHONPATH": os.getcwd()}
    done = subprocess.run([sys.executable, "-c", KILLED, database.url], env=environ, check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert (subjects(database), left(database)) == ([], 2)
    (due,) = claimed(mail)
    run(mail, due)
    assert (subjects(database), left(database)) == ([("[1, 2] and 0 more", "ann@example.org")], 0)


def test_one_that_raises_is_kept(mail: Outbox, database: Database) -> None:
    """With its error, and given up after a while; items that come later are not held up."""
    gather(mail, "broken")
    (due,) = claimed(mail)
    with pytest.raises(RuntimeError):
        run(mail, due)
    DigestQueue(mail.database(), "").fail(due, "RuntimeError: as asked for", None)
    with mail.database().connect() as connection:
        (shown,) = waiting(connection, "")
        assert (shown.given_up, shown.items, shown.error) == (1, 1, "RuntimeError: as asked for")
        seen = status(connection, dead_after=60.0)
        assert any("the digest comments could not be made" in one for one in seen.problems)
    with mail.database().begin() as connection:
        assert run_again(connection, "", "comments", by="op") == 1
    (due,) = claimed(mail)
    DigestQueue(mail.database(), "").fail(due, "RuntimeError: as asked for", None)
    gather(mail, 2)
    (due,) = claimed(mail)
    run(mail, due)
    assert subjects(database) == [("['broken', 2] and 0 more", "ann@example.org")]


def test_what_is_refused(mail: Outbox) -> None:
    """Before anything is written."""
    for name, to, item in (("other", "a@b.example", 1), ("comments", "nobody", 1), ("comments", "a@b.example", {1})):
        with pytest.raises(MessageError):
            mail.gather(name, to, item)
    with pytest.raises(ConfigurationError, match="one of this name already"):
        mail.digest("comments", window=1)(lambda gathered: None)
