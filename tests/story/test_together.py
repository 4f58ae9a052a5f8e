"""One message to many recipients goes over the wire once; each recipient has an outcome of its own."""

from __future__ import annotations

from collections import Counter

from outbox import Message
from tests.servers.databases import Database
from tests.story.conftest import MakeStage
from tests.story.stage import Stage
from tests.wire.actions import CLOSE, Take, turns
from tests.wire.server import Client, SmtpServer


def send(stage: Stage, count: int, *, size: int = 0, **options: str) -> None:
    """One message to so many recipients, with an attachment of that size."""
    with stage.transaction() as session:
        message = Message("Hello", recipients=[f"r{number}@example.org" for number in range(count)], body="to all\n")
        if size:
            message.attach("a.bin", "application/octet-stream", bytes(range(256)) * (size // 256))
        stage.outbox.enqueue(message, session, **options)
        session.commit()


def test_a_big_attachment_goes_once(database: Database, make_stage: MakeStage) -> None:
    """To 50 recipients, by a worker that has just started, over one connection: one DATA, and few bytes more."""
    extensions = ("PIPELINING", "SIZE 52428800")
    with SmtpServer(extensions=extensions) as server:
        stage = make_stage(database, server.port, OUTBOX_CONNECTIONS="1")
        send(stage, 50, size=1_000_000)
        stage.fork()
        assert stage.settle() == {"sent": 50}
        assert {mail.rcpt for mail in server.messages} == {f"r{number}@example.org" for number in range(50)}
        assert len(server.messages) == 50
        assert len({mail.content for mail in server.messages}) == 1
        assert server.steps["data"] == 1
        assert sum(map(len, server.commands)) < 0.01 * len(server.messages[0].content)
    attempts = stage.attempts()
    assert len(attempts) == 50
    assert {(one.verdict, one.code, one.relay_id) for one in attempts} == {("accepted", 250, attempts[0].relay_id)}


def test_the_setting_keeps_them_apart(sqlite_database: Database, make_stage: MakeStage) -> None:
    """1: one recipient a transaction, as it was."""
    with SmtpServer() as server:
        stage = make_stage(sqlite_database, server.port, OUTBOX_RECIPIENTS_PER_TRANSACTION="1")
        send(stage, 5)
        stage.fork()
        assert stage.settle() == {"sent": 5}
        assert server.steps["data"] == 5
    with SmtpServer() as server:
        stage = make_stage(sqlite_database, server.port, OUTBOX_RECIPIENTS_PER_TRANSACTION="2", OUTBOX_CONNECTIONS="1")
        send(stage, 5)
        stage.fork()
        assert stage.settle() == {"sent": 10}
        assert server.steps["data"] == 3


def test_a_refused_recipient_holds_back_no_other(sqlite_database: Database, make_stage: MakeStage) -> None:
    """Each ends as its own reply says."""
    replies = {"<r1@": "550 5.1.1 no such user", "<r3@": "452 4.2.2 mailbox full"}

    def rcpt(client: Client) -> str | None:
        return next((reply for name, reply in replies.items() if name in client.line), None)

    with SmtpServer({"rcpt": rcpt}) as server:
        stage = make_stage(sqlite_database, server.port, OUTBOX_MAX_ATTEMPTS="2")
        send(stage, 5)
        stage.fork()
        assert stage.settle() == {"sent": 3, "failed": 2}
        assert Counter(mail.rcpt for mail in server.messages) == dict.fromkeys(
            ["r0@example.org", "r2@example.org", "r4@example.org"], 1
        )
    states = {one.recipient[:2]: (one.state, one.code, one.attempts) for one in stage.deliveries()}
    assert states["r1"] == ("failed", 550, 1)
    assert states["r3"] == ("failed", 452, 2)


def test_a_message_refused_for_one_of_them_arrives_at_the_others(
    sqlite_database: Database, make_stage: MakeStage
) -> None:
    """A reply to the dot that one recipient causes: the rest is offered without it in the end."""

    named: list[list[str]] = []

    def dot(client: Client) -> str | None:
        return "550 5.7.1 rejected by policy" if "r2@example.org" in named[-1] else None

    with SmtpServer({"data": lambda client: named.append(client.recipients), "dot": dot}) as server:
        stage = make_stage(sqlite_database, server.port, OUTBOX_CONNECTIONS="1")
        send(stage, 6)
        stage.fork()
        assert stage.settle() == {"sent": 5, "failed": 1}
        assert Counter(mail.rcpt for mail in server.messages) == dict.fromkeys(
            [f"r{number}@example.org" for number in (0, 1, 3, 4, 5)], 1
        )
    assert len(named[0]) == 6
    (failed,) = [one for one in stage.deliveries() if one.state == "failed"]
    assert (failed.recipient, failed.reason, failed.attempts) == ("r2@example.org", "refused", 1)


def test_a_cut_after_the_dot_leaves_all_unknown(database: Database, make_stage: MakeStage) -> None:
    """`hold`: each of them is left to a person, and none is sent twice; a refused one is not among them."""
    script = {"rcpt": lambda client: "550 5.1.1 no" if "<r1@" in client.line else None, "dot": turns(Take(CLOSE))}
    with SmtpServer(script) as server:
        stage = make_stage(database, server.port)
        send(stage, 5, on_uncertain="hold")
        stage.fork()
        assert stage.settle() == {"uncertain": 4, "failed": 1}
        assert len(server.messages) == 4


def test_one_cut_connection_is_one_fault(sqlite_database: Database, make_stage: MakeStage) -> None:
    """However many shared it: the relay counts as down after three connections, not after three recipients."""
    with SmtpServer({"data": turns(None, CLOSE)}) as server:
        stage = make_stage(sqlite_database, server.port)
        worker = stage.fork()
        send(stage, 1)
        stage.settle()
        send(stage, 10)
        assert stage.settle() == {"sent": 11}
        assert "transport-down" not in worker.log()
    broken = [one for one in stage.attempts() if one.verdict == "transport"]
    assert len(broken) == 10
    assert not any(one.counted for one in broken)
