"""`outbox.celery.connect`, with a broker in memory; brokers and pools of their own: tests/story/test_celery.py."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator

import celery
import pytest
import sqlalchemy as sa
from celery.contrib.testing.worker import start_worker
from flask import Flask
from sqlalchemy.orm import Session, scoped_session

import outbox.celery
from outbox import Message, NotBoundError
from outbox.models import OutboxWorker
from tests.flask.conftest import Committed
from tests.wire.server import SmtpServer


@pytest.fixture
def celery_app() -> Iterator[celery.Celery]:
    """One with a broker in this process's memory."""
    made = celery.Celery("shop", broker="memory://", set_as_current=False)
    made.conf.update(broker_connection_retry_on_startup=True, worker_hijack_root_logger=False)
    yield made
    made.control.purge()
    made.close()


@pytest.fixture
def smtp() -> Iterator[SmtpServer]:
    """A relay."""
    with SmtpServer() as server:
        yield server


@pytest.fixture
def shop(make_app: Callable[..., Flask], smtp: SmtpServer, celery_app: celery.Celery) -> Iterator[Flask]:
    """An application that is connected, and not TESTING, under which no task is published."""
    relay = smtp.relay()
    app = make_app(TESTING=False, MAIL_SERVER=relay.host, MAIL_PORT=relay.port, OUTBOX_SWEEP_SECONDS=2.5)
    outbox.celery.connect(celery_app, app)
    yield app
    app.extensions["outbox.celery"].disconnect()
    app.extensions["outbox"].database(app).dispose()


def enqueue(app: Flask, db: scoped_session[Session], *recipients: str) -> None:
    """One message to each, and one commit."""
    with app.app_context():
        for recipient in recipients:
            app.extensions["mail"].send(Message("Hello", [recipient], "Hello."))
        db.commit()


def test_a_commit_is_sent_by_a_worker_that_keeps_its_connection(
    shop: Flask, celery_app: celery.Celery, db: scoped_session[Session], smtp: SmtpServer
) -> None:
    """A rollback is not; task after task goes by the same engine."""
    with start_worker(celery_app, pool="solo", perform_ping_check=False, shutdown_timeout=60.0):
        enqueue(shop, db, "ann@example.org")
        smtp.wait_for(1)
        with shop.app_context():
            shop.extensions["mail"].send(Message("Hello", ["nobody@example.org"], "Hello."))
            db.rollback()
        enqueue(shop, db, "bob@example.org", "cleo@example.org")
        smtp.wait_for(3)
    assert sorted(mail.rcpt for mail in smtp.messages) == ["ann@example.org", "bob@example.org", "cleo@example.org"]
    assert len(Committed(shop.extensions["outbox"].database(shop)).recipients()) == 3


def test_an_engine_that_cannot_go_on_is_replaced(
    shop: Flask, celery_app: celery.Celery, db: scoped_session[Session], smtp: SmtpServer
) -> None:
    """The process goes on: the next task makes another one."""
    connected = shop.extensions["outbox.celery"]
    with start_worker(celery_app, pool="solo", perform_ping_check=False, shutdown_timeout=60.0):
        enqueue(shop, db, "ann@example.org")
        smtp.wait_for(1)
        first = connected._engine
        first._pools._pools[0].fault.set()  # as where a thread dies of a defect
        smtp.wait_until(lambda: first.ended, what="the engine has given up")
        enqueue(shop, db, "bob@example.org")
        smtp.wait_for(2)
    assert connected._engine is not first
    with Session(shop.extensions["outbox"].database(shop)) as session:
        assert len(session.scalars(sa.select(OutboxWorker)).all()) == 2


def test_no_task_is_published_in_tests(
    shop: Flask, celery_app: celery.Celery, db: scoped_session[Session], smtp: SmtpServer
) -> None:
    """Under TESTING, and where tasks run at once: nothing would send behind the back of a test."""
    shop.testing = True
    enqueue(shop, db, "ann@example.org")
    shop.testing = False
    celery_app.conf.task_always_eager = True
    enqueue(shop, db, "bob@example.org")
    shop.extensions["outbox.celery"].flush(30.0)
    with celery_app.connection_for_read() as connection:
        assert connection.default_channel.basic_get("celery") is None
    assert smtp.messages == []


def test_the_sweep_is_on_the_schedule(shop: Flask, celery_app: celery.Celery) -> None:
    """Unless the application has set one of its own. An old one is not worth running: the broker counts its seconds,
    and no worker compares a time of beat's clock with its own, which may be ahead."""
    entry = celery_app.conf.beat_schedule["outbox.sweep"]
    assert (entry["task"], entry["schedule"]) == ("outbox.sweep", 2.5)
    assert {"outbox.deliver", "outbox.sweep"} <= celery_app.tasks.keys()
    celery_app.tasks["outbox.sweep"].apply_async((), **entry["options"])
    with celery_app.connection_for_read() as connection:
        published = connection.default_channel.basic_get("celery")
    assert published.properties["expiration"] == "2500"
    assert published.headers["expires"] is None


def test_tasks_can_be_published_as_any_other(shop: Flask, celery_app: celery.Celery) -> None:
    """As beat does, which checks the arguments."""
    celery_app.tasks["outbox.sweep"].apply_async(())
    celery_app.tasks["outbox.deliver"].delay([1, 2])
    with pytest.raises(TypeError):
        celery_app.tasks["outbox.deliver"].delay()


def test_an_application_without_an_outbox_is_told(celery_app: celery.Celery) -> None:
    """As everywhere else."""
    with pytest.raises(NotBoundError):
        outbox.celery.connect(celery_app, Flask("shop"))


def test_connecting_twice_publishes_once(shop: Flask, celery_app: celery.Celery, db: scoped_session[Session]) -> None:
    """The second takes the place of the first."""
    outbox.celery.connect(celery_app, shop)
    enqueue(shop, db, "ann@example.org")
    shop.extensions["outbox.celery"].flush(30.0)
    with celery_app.connection_for_read() as connection:
        assert connection.default_channel.basic_get("celery") is not None
        assert connection.default_channel.basic_get("celery") is None


def test_without_celery_the_error_says_what_to_install() -> None:
    """And `import outbox` needs none of it."""
    code = """
import sys
sys.modules["celery"] = None
import outbox
try:
    import outbox.celery
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "outbox.celery needs Celery: pip install flask-outbox[celery]\n"
