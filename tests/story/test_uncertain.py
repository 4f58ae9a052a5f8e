"""Nobody can know whether the server took it: sent again, or left to a person, as the mail's policy says."""

from __future__ import annotations

import json
import signal

import pytest

from outbox import Message
from tests.servers.databases import Database
from tests.story.conftest import MakeStage
from tests.story.stage import Relay, Stage, until
from tests.wire.actions import CLOSE, SILENCE, Later, Take, turns
from tests.wire.server import SmtpServer


def send(stage: Stage, recipient: str, **options: str) -> None:
    """One mail to one recipient."""
    with stage.transaction() as session:
        stage.outbox.enqueue(Message("Hello", recipients=[recipient], body="once\n"), session, **options)
        session.commit()


def state(stage: Stage, recipient: str) -> tuple[str, str | None]:
    """State and reason of its one delivery."""
    (row,) = [row for row in stage.deliveries() if row.recipient == recipient]
    return row.state, row.reason


def test_retry_sends_the_same_bytes_again_and_says_why(database: Database, make_stage: MakeStage) -> None:
    """The connection is lost after the final dot: a second copy, the same to the byte, and the attempt says why."""
    with SmtpServer({"dot": turns(Take(CLOSE))}) as server:
        stage = make_stage(database, server.port)
        send(stage, "ann@example.org")
        stage.fork()
        assert stage.settle() == {"sent": 1}
        first, second = server.messages
        assert first.content == second.content
        assert first.content.count(b"Message-ID:") == 1
    lost, taken = stage.attempts()
    assert (lost.verdict, lost.phase, lost.counted) == ("unknown", "dot", True)
    assert "sent again" in (lost.note or "")
    assert "RFC 1047" in (lost.note or "")
    assert (taken.verdict, taken.code) == ("accepted", 250)


def test_the_policy_is_the_messages_or_its_kinds(sqlite_database: Database, make_stage: MakeStage) -> None:
    """What the message says counts before what is configured for its kind, and that before the default."""
    with SmtpServer({"dot": lambda client: Take(CLOSE) if len(client.server.messages) < 4 else None}) as server:
        kinds = "invoice=hold,notice=retry"
        stage = make_stage(
            sqlite_database, server.port, OUTBOX_CONNECTIONS="1", OUTBOX_ON_UNCERTAIN_KINDS=kinds, OUTBOX_WAKE="false"
        )
        send(stage, "own@example.org", kind="notice", on_uncertain="hold")
        send(stage, "kind@example.org", kind="invoice")
        send(stage, "other@example.org", kind="invoice", on_uncertain="retry")
        send(stage, "plain@example.org")
        stage.fork()
        assert stage.settle() == {"uncertain": 2, "sent": 2}
        for held in ("own@example.org", "kind@example.org"):
            assert state(stage, held) == ("uncertain", "unknown")
            assert [mail.rcpt for mail in server.messages].count(held) == 1


@pytest.mark.quick("postgresql")
def test_held_mail_waits_for_a_person(database: Database, relay: Relay, make_stage: MakeStage) -> None:
    """After the dot its worker is killed: it is uncertain, the status counts it, nothing sends it; a person decides."""
    waits_for_a_person(database, relay, make_stage, killed=True)


def test_held_mail_whose_connection_was_lost_waits_for_a_person(
    sqlite_database: Database, relay: Relay, make_stage: MakeStage
) -> None:
    """The same where the worker learns of it."""
    waits_for_a_person(sqlite_database, relay, make_stage, killed=False)


def waits_for_a_person(database: Database, relay: Relay, make_stage: MakeStage, *, killed: bool) -> None:
    with SmtpServer({"dot": Take(SILENCE if killed else CLOSE)}) as server:
        stage = make_stage(database, relay.port, OUTBOX_CONNECTIONS="1")
        worker = stage.fork(MAIL_PORT=str(server.port))
        for recipient in ("arrived@example.org", "lost@example.org"):
            taken = len(server.messages)
            send(stage, recipient, on_uncertain="hold")
            server.wait_for(taken + 1, 20)
            if killed:
                worker.signal(signal.SIGKILL)
                worker.wait(10)
                worker = stage.fork(MAIL_PORT=str(server.port))
            until(lambda: state(stage, recipient) == ("uncertain", "unknown"), "it is held")  # noqa: B023
        assert len(server.messages) == 2
        worker.signal(signal.SIGTERM)
        worker.wait(30)
    assert any("2 uncertain" in note for note in stage.status()["notes"])
    stage.fork()
    stage.send()
    assert stage.settle() == {"uncertain": 2, "sent": 1}

    arrived, lost = (row.id for row in stage.deliveries()[:2])
    assert stage.command("outbox-mark-sent", str(arrived)).returncode == 0
    done = stage.command("outbox-requeue", str(lost), "--json")
    assert done.returncode == 0, done.stderr
    json.loads(done.stdout)
    assert stage.settle() == {"sent": 3}
    assert [one.to for one in relay.taken()] == ["r0@example.org", "lost@example.org"]


def test_without_the_mark_held_mail_is_sent_again_by_itself(
    database: Database, relay: Relay, make_stage: MakeStage
) -> None:
    """A worker that is killed before the final dot proves that the server can't have the mail."""
    with SmtpServer({"data": SILENCE}) as server:
        stage = make_stage(database, relay.port, OUTBOX_CONNECTIONS="1")
        worker = stage.fork(MAIL_PORT=str(server.port))
        send(stage, "ann@example.org", on_uncertain="hold")
        server.wait_until(lambda: server.steps["data"], 20, "DATA")
        worker.signal(signal.SIGKILL)
        worker.wait(10)
        assert server.messages == []
    stage.fork()
    assert stage.settle() == {"sent": 1}
    assert [one.to for one in relay.taken()] == ["ann@example.org"]


@pytest.mark.long
def test_a_relay_that_is_slow_at_data_gets_each_message_once(sqlite_database: Database, make_stage: MakeStage) -> None:
    """DATA is answered after 7 s: each message is taken once, and none that is held after a doubt becomes uncertain."""
    with SmtpServer({"data": Later(7, "354 go ahead")}) as server:
        stage = make_stage(sqlite_database, server.port, OUTBOX_LEASE_SECONDS="40", OUTBOX_CONNECTIONS="1")
        names = [f"r{number}@example.org" for number in range(4)]
        for name in names:  # the first one proves the relay, the others follow one another
            send(stage, name, on_uncertain="hold" if name == names[2] else "retry")
        stage.fork()
        assert stage.settle(60) == {"sent": 4}
        assert [mail.rcpt for mail in server.messages] == names
    assert [attempt.verdict for attempt in stage.attempts()] == ["accepted"] * 4
