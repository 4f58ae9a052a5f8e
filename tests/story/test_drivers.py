"""The drivers that are known to work: each message sent once and recorded, whatever style its parameters have."""

from __future__ import annotations

from dataclasses import replace

import pytest

from outbox import Message
from tests.servers.databases import Database
from tests.story.conftest import MakeStage
from tests.story.stage import until
from tests.wire.actions import turns
from tests.wire.server import SmtpServer

BLOB = bytes(range(256)) * 200

OTHERS = {
    name: [pytest.param(one, marks=pytest.mark.long) for one in drivers]
    for name, drivers in {
        "postgresql": ["postgresql+pg8000"],
        "mariadb": ["mariadb+mysqlconnector", "mysql+mysqlconnector"],
    }.items()
}


@pytest.mark.databases("postgresql")
@pytest.mark.parametrize("driver", ["postgresql+psycopg2", *OTHERS["postgresql"]])
def test_postgresql(database: Database, make_stage: MakeStage, driver: str) -> None:
    """By drivers other than psycopg."""
    write_send_and_record(database, make_stage, driver)


@pytest.mark.databases("mariadb")
@pytest.mark.parametrize("driver", ["mysql+pymysql", *OTHERS["mariadb"]])
def test_mariadb(database: Database, make_stage: MakeStage, driver: str) -> None:
    """By drivers other than PyMySQL, and under SQLAlchemy's other name for the database."""
    write_send_and_record(database, make_stage, driver)


def write_send_and_record(database: Database, make_stage: MakeStage, driver: str) -> None:
    """One at a time and many at once; refused, deferred and sent; with a part that is stored by itself, and `hold`."""
    refusals = turns("550 5.1.1 No such user", "451 4.2.1 Try again in 1 second", None, last_stays=True)
    with SmtpServer({"rcpt": refusals}) as server:
        by_driver = replace(database, address=database.address.set(drivername=driver))
        stage = make_stage(by_driver, server.port, OUTBOX_CONNECTIONS="2")
        ids = stage.send(2, metadata={"größe": "ß"})
        with stage.transaction() as session:
            message = Message("Größe ✓ 100%", recipients=["hold@example.org"], body="Text ✓ 100%\n")
            message.attach("logo.png", "image/png", BLOB)
            ids.append(stage.outbox.enqueue(message, on_uncertain="hold").message_id)
            many = [Message(f"News {n}", recipients=[f"n{n}@example.org"], body="x\n") for n in range(40)]
            ids += [one.message_id for one in stage.outbox.enqueue_many(many)]
            session.commit()
        stage.fork(ready=True)
        assert stage.settle(60) == {"sent": 42, "failed": 1}
        assert len(server.messages) == len({mail.rcpt for mail in server.messages}) == 42
        assert len(ids) == 43
        attempts = stage.attempts()
        assert len(attempts) == 44
        assert {one.code for one in attempts} == {250, 451, 550}
        assert stage.status()["problems"] == []
        assert stage.command("outbox-check").returncode == 0
        assert stage.command("outbox-list", "--state", "failed").returncode == 0
        requeued = stage.command("outbox-requeue", "--state", "failed", "--yes")
        assert requeued.returncode == 0, requeued.stderr
        until(lambda: stage.states() == {"sent": 43}, "it is sent, too")
