"""What is committed arrives, at once and once; what is rolled back never existed."""

from __future__ import annotations

import email
import email.policy
import os
import random

import pytest

from outbox import Message
from outbox.worker.one_cpu import is_of_use
from tests.servers.databases import Database
from tests.story.conftest import MakeStage
from tests.story.stage import Relay, Stage, now, until
from tests.wire.server import SmtpServer


def test_a_committed_mail_arrives_within_a_second(stage: Stage, relay: Relay) -> None:
    """An idle worker has mail at the server within a second of the commit, mostly; one rolled back is nowhere."""
    stage.start(OUTBOX_POLL_SECONDS="0.5")  # the default
    delays = []
    for _ in range(5):
        before = len(relay.taken())
        rolled_back = stage.send(commit=False)
        (sent,) = stage.send()
        committed = now()
        until(lambda: len(relay.taken()) > before, "the mail at the server", 10)  # noqa: B023
        mail = relay.taken()[-1]
        assert mail.id == sent
        delays.append(mail.at - committed)
        assert stage.settle() == {"sent": before + 1}
        assert rolled_back[0] not in {one.id for one in relay.taken()}
    assert sorted(delays)[2] < 1.0, delays  # the machine may be busy with something else now and then


@pytest.mark.quick("postgresql")
def test_workers_at_once_send_each_mail_once(stage: Stage, relay: Relay) -> None:
    """Three workers at the same queue: every mail once, and each takes a share."""
    ids = stage.send_together(150)
    workers = [stage.fork() for _ in range(3)]
    assert stage.settle() == {"sent": 150}
    assert sorted(one.id for one in relay.taken()) == sorted(ids)
    until(lambda: sum(stage.health(w).get("counts", {}).get("sent", 0) for w in workers) == 150, "the workers' counts")


@pytest.mark.quick("postgresql")
def test_a_large_attachment_arrives_as_it_was(database: Database, make_stage: MakeStage) -> None:
    """Read from the database and sent piece by piece, it is put together by the receiver to the byte."""
    film = random.Random(7).randbytes(3_000_001)
    with SmtpServer() as server:
        stage = make_stage(database, server.port)
        with stage.transaction() as session:
            message = Message("A film", recipients=["r@example.org"], body="See the film.\n")
            message.attach("film.bin", "application/octet-stream", film)
            stage.outbox.enqueue(message)
            session.commit()
        stage.fork()
        assert stage.settle() == {"sent": 1}
        (mail,) = server.messages
    (part,) = email.message_from_bytes(mail.content, policy=email.policy.default).iter_attachments()
    assert part.get_content() == film


@pytest.mark.once("postgresql")
def test_single_messages_go_over_the_connection_that_is_open(database: Database, make_stage: MakeStage) -> None:
    """An idle worker with eight connections hands one message after the other to the one that was used last."""
    with SmtpServer(tls="starttls") as server:
        stage = make_stage(
            database,
            server.port,
            MAIL_USE_TLS="true",
            OUTBOX_TLS_CA_FILE=str(server.ca_file),
            OUTBOX_CONNECTIONS="8",
        )
        stage.start()
        for number in range(1, 21):
            stage.send()
            assert stage.settle() == {"sent": number}
        assert len(server.messages) == 20
        assert server.connections <= 2, "each a TLS session"  # a second one where the machine was busy for a moment


@pytest.mark.skipif(not is_of_use(), reason="needs Linux and two processors")
@pytest.mark.parametrize(("setting", "most"), [("true", 1), ("false", len(os.sched_getaffinity(0)))])
def test_a_worker_keeps_its_threads_on_one_processor(
    sqlite_database: Database, relay: Relay, make_stage: MakeStage, setting: str, most: int
) -> None:
    stage = make_stage(sqlite_database, relay.port, OUTBOX_ONE_CPU=setting)
    worker = stage.start()
    stage.send()
    stage.settle()

    def processors() -> set[int]:
        return set().union(*(os.sched_getaffinity(int(name)) for name in os.listdir(f"/proc/{worker.pid}/task")))

    until(lambda: len(processors()) == most, "the processors of its threads")
