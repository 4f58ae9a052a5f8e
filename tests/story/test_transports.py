"""Two transports: what the first can't carry goes by the second, and nothing that the first may have goes twice."""

from __future__ import annotations

import re
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from outbox import Message
from tests.servers.databases import Database
from tests.story.conftest import MakeStage
from tests.story.stage import Relay, Stage, now, until
from tests.wire.actions import CLOSE, Silence, Take, turns
from tests.wire.server import SmtpServer

CONNECTIONS = 4
PINNED = 12

TAKE_OVER_SECONDS = 2.0
"""From the first's stop until the second has mail."""


def two(first: int, second: int, **settings: str) -> dict[str, str]:
    """The settings of two transports on these ports, `first` preferred."""
    return {
        "OUTBOX_TRANSPORTS": "first second",
        "OUTBOX_TRANSPORT_FIRST_URL": f"smtp://127.0.0.1:{first}",
        "OUTBOX_TRANSPORT_SECOND_URL": f"smtp://127.0.0.1:{second}",
        "OUTBOX_CONNECTIONS": str(CONNECTIONS),
        "OUTBOX_PROBE_SECONDS": "0.5",
        "OUTBOX_PROBE_MAX_SECONDS": "1",
        **settings,
    }


@pytest.fixture
def relays(tmp_path: Path) -> Iterator[tuple[Relay, Relay]]:
    """Two, each with a record of its own."""
    with ExitStack() as started:
        folders = [tmp_path / name for name in ("first", "second")]
        for folder in folders:
            folder.mkdir()
        first, second = (started.enter_context(Relay(folder)) for folder in folders)
        yield first, second


def states(stage: Stage) -> dict[str, str]:
    """Of the transports, by name, as the status has them."""
    return {one["name"]: one["state"] for one in stage.status()["transports"]}


def by(stage: Stage) -> Counter[str | None]:
    """How many messages each transport has sent."""
    return Counter(one.transport for one in stage.attempts() if one.verdict == "accepted")


def arrivals(relay: Relay) -> dict[str, float]:
    """When it took each message, by Message-ID and its own clock."""
    return {one.id: one.at for one in relay.taken()}


@pytest.mark.parametrize("number", [300, pytest.param(2_000, marks=[pytest.mark.long, pytest.mark.timeout(400)])])
@pytest.mark.databases("sqlite", "postgresql")
@pytest.mark.once("postgresql")
def test_the_second_takes_over_while_the_first_is_down(
    number: int, database: Database, relays: tuple[Relay, Relay], make_stage: MakeStage
) -> None:
    """Also in the midst of a long queue: what the first may have taken waits for it, the rest and all new mail goes by
    the second; the first is used again once it is back."""
    first, second = relays
    stage = make_stage(database, 9, **two(first.port, second.port))
    stage.send_together(number)
    stage.start()
    until(lambda: len(first.taken()) > number / 10, "the first sends")
    stopped = now()
    first.stop()
    late = stage.send(1, priority="high")  # how long the rest takes is a matter of the machine
    until(lambda: len(second.taken()) > 5 and late[0] in arrivals(second), "the second takes over")
    queued = min(at for id, at in arrivals(second).items() if id != late[0]) - stopped
    new = arrivals(second)[late[0]] - stopped
    print(f"from the stop until the second took queued mail {queued:.2f} s, new mail {new:.2f} s")
    assert max(queued, new) < TAKE_OVER_SECONDS
    until(lambda: states(stage) == {"first": "down", "second": "up"}, "the status says so")
    told = stage.status()["problems"]
    assert any("first" in one and "Meanwhile what may go by second" in one for one in told), told
    unknown = {one.delivery_id for one in stage.attempts() if one.verdict == "unknown"}
    assert len(unknown) <= CONNECTIONS
    if number > 300:
        left = {"sent": number + 1 - len(unknown)} | ({"queued": len(unknown)} if unknown else {})
        until(lambda: stage.states() == left, "only what the first may have taken waits", 200)
    pinned = set(stage.send_together(PINNED, transport="first"))  # what only it may carry awaits its return
    before = len(first.taken())
    first.start()
    until(lambda: states(stage).get("first") == "up", "the first is back")
    stage.settle()
    probe, *rest = sorted(first.taken()[before:], key=lambda one: one.mail)
    assert pinned <= {one.id for one in (probe, *rest)}
    assert min(one.mail for one in rest) >= probe.at, "nothing was offered to it before the one probe was accepted"
    assert stage.states() == {"sent": number + 1 + PINNED}
    copies = first.copies() + second.copies()
    assert len(copies) == number + 1 + PINNED
    twice = [key for key, number in copies.items() if number > 1]
    assert len(twice) <= CONNECTIONS
    assert not set(first.copies()) & set(second.copies()), "what the first may have taken went by the second"
    assert set(second.copies().values()) == {1}
    before = len(second.taken())
    stage.send(3)
    stage.settle()
    assert len(second.taken()) == before, "with the first in use the second stands by"


@pytest.mark.databases("postgresql")
def test_the_first_message_that_does_not_get_through_goes_by_the_second(
    database: Database, relays: tuple[Relay, Relay], make_stage: MakeStage
) -> None:
    """By an idle worker with the usual waits: no poll, back-off or probe comes before the failover."""
    first, second = relays
    usual = {"OUTBOX_POLL_SECONDS": "5", "OUTBOX_RETRY_FIRST_SECONDS": "60", "OUTBOX_PROBE_SECONDS": "5"}
    stage = make_stage(database, 9, **two(first.port, second.port, **usual, OUTBOX_PROBE_MAX_SECONDS="60"))
    stage.send(CONNECTIONS)
    stage.start()
    stage.settle()
    stopped = now()
    first.stop()
    late = stage.send(1)
    until(lambda: late[0] in arrivals(second), "new mail goes by the second")
    new = arrivals(second)[late[0]] - stopped
    print(f"from the stop until the second took new mail {new:.2f} s")
    assert new < TAKE_OVER_SECONDS
    until(lambda: states(stage) == {"first": "down", "second": "up"}, "the status says so")
    assert {one.transport for one in stage.attempts() if one.verdict == "transport"} == {"first"}
    assert stage.deliveries()[-1].attempts == 1, "what the first did not take counts nothing"


def test_what_the_first_may_have_taken_is_never_offered_to_the_second(
    sqlite_database: Database, make_stage: MakeStage
) -> None:
    """The first takes each message and says nothing, then is gone."""
    with SmtpServer({"dot": Take(CLOSE)}) as first, SmtpServer() as second:
        stage = make_stage(sqlite_database, 9, **two(first.port, second.port, OUTBOX_CONNECTIONS="2"))
        stage.send_together(20)
        stage.start()
        until(lambda: len(second.messages) + len({one.content for one in first.messages}) >= 20, "all are offered")
        taken = {one.content for one in first.messages}
        assert taken
        assert not taken & {one.content for one in second.messages}
        first.script.clear()
        stage.settle()
        assert not {one.content for one in first.messages} & {one.content for one in second.messages}
        assert stage.states() == {"sent": 20}


def test_a_key_that_is_taken_once_leaves_nothing_to_hold(sqlite_database: Database, make_stage: MakeStage) -> None:
    """Resend has the message and the answer is lost: offered again with the same key, there and nowhere else."""
    with SmtpServer({"dot": turns(Take(CLOSE), None)}) as first, SmtpServer() as second:
        stage = make_stage(sqlite_database, 9, **two(first.port, second.port, OUTBOX_TRANSPORT_FIRST_PRESET="resend"))
        stage.send(on_uncertain="hold")
        stage.start()
        stage.settle()
        assert stage.states() == {"sent": 1}
        assert len(first.messages) == 2
        assert len({one.content for one in first.messages}) == 1
        assert b"Resend-Idempotency-Key: " in first.messages[0].content
        assert not second.messages


def test_a_lease_that_was_lost_waits_for_its_transport(sqlite_database: Database, make_stage: MakeStage) -> None:
    """A worker dies while the first has a message and says nothing; nobody knows whether it was taken."""
    with SmtpServer({"dot": Take(Silence())}) as first, SmtpServer() as second:
        settings = two(first.port, second.port, OUTBOX_CONNECTIONS="1")
        stage = make_stage(sqlite_database, 9, **settings)
        stage.send()
        worker = stage.start()
        until(lambda: first.messages, "the first has it")
        first.stop()
        worker.signal(signal.SIGKILL)
        worker.wait(30)
        stage.start()
        until(lambda: states(stage).get("first") == "down", "the first is down")
        stage.send(1)
        until(lambda: len(second.messages) == 1, "new mail goes by the second")
        first.script.clear()
        first.start()
        stage.settle()
        assert len(second.messages) == 1
        assert stage.states() == {"sent": 2}
        assert stage.deliveries()[0].route == "first"


def test_a_recipient_that_the_first_refuses_is_not_tried_elsewhere(
    sqlite_database: Database, make_stage: MakeStage
) -> None:
    with SmtpServer({"rcpt": "550 5.1.1 no such user"}) as first, SmtpServer() as second:
        stage = make_stage(sqlite_database, 9, **two(first.port, second.port))
        stage.send(2)
        stage.start()
        stage.settle()
        assert stage.states() == {"failed": 2}
        assert not second.commands


def test_a_sender_that_the_first_refuses_goes_by_the_second(sqlite_database: Database, make_stage: MakeStage) -> None:
    def refuse(client: Any) -> str | None:
        return "550 5.7.60 Client does not have permissions to send as this sender" if "wrong@" in client.line else None

    wait = {"OUTBOX_RETRY_FIRST_SECONDS": "600", "OUTBOX_RETRY_MAX_SECONDS": "600"}  # of what is offered to it twice
    with SmtpServer({"mail": refuse}) as first, SmtpServer() as second:
        stage = make_stage(sqlite_database, 9, **two(first.port, second.port, **wait))
        with stage.transaction() as session:
            for number in range(12):
                sender = "wrong@example.com" if number % 2 else "app@example.org"
                message = Message("x", recipients=[f"r{number}@d{number}.example"], body="x\n", sender=sender)
                stage.outbox.enqueue(message)
            session.commit()
        stage.start()
        until(lambda: len(first.messages) == 6, "the others go by the first")
        until(lambda: len(second.messages) >= 4, "they go by the second at once")  # all but what was claimed meanwhile
        assert {one.mail_from for one in second.messages} == {"wrong@example.com"}
        assert {one.mail_from for one in first.messages} == {"app@example.org"}


def test_routes_and_pins(database: Database, relays: tuple[Relay, Relay], make_stage: MakeStage) -> None:
    first, second = relays
    rules = (
        '[{"kind": "news-*", "transports": ["second"]}, {"recipient_domain": "*.net", "transports": "second first"},'
        '{"sender_domain": "*.example.com", "transports": "second"}, {"priority": "bulk", "transports": ["second"]},'
        '{"kind": "drawn", "transports": {"first": 1, "second": 1}}]'
    )
    stage = make_stage(database, 9, **two(first.port, second.port, OUTBOX_ROUTES=rules))
    with stage.transaction() as session:
        for options, recipients in (
            ({"kind": "news-7"}, ["a@x.example"]),
            ({"kind": "reset"}, ["b@x.example"]),
            ({}, ["c@x.net", "d@y.net", "e@x.example"]),
            ({"transport": "second"}, ["f@x.example"]),
            ({"envelope_from": "shop@mail.example.com"}, ["i@x.example"]),
            ({"priority": "bulk"}, ["j@x.example"]),
        ):
            stage.outbox.enqueue(Message("x", recipients=recipients, body="x\n"), **options)
        for number in range(40):  # one way alone would be a chance of 2 to the 39th
            drawn = Message("x", recipients=[f"d{number}@drawn.example"], body="x\n")
            stage.outbox.enqueue(drawn, kind="drawn")
        messages = [
            (Message("x", recipients=["g@x.net"], body="x\n"), {}),
            (Message("x", recipients=["h@x.example"]), {}),
        ]
        stage.outbox.enqueue_many(messages)
        session.commit()
    stage.start()
    stage.settle()
    went = [{one.to for one in relay.taken()} for relay in relays]
    drawn = [{to for to in some if to.endswith("@drawn.example")} for some in went]
    assert all(drawn), "both, by weight"
    assert len(drawn[0] | drawn[1]) == 40
    assert went[0] - drawn[0] == {"b@x.example", "e@x.example", "h@x.example"}
    others = {"a@x.example", "c@x.net", "d@y.net", "f@x.example", "g@x.net", "i@x.example", "j@x.example"}
    assert went[1] - drawn[1] == others
    assert by(stage) == {"first": 3 + len(drawn[0]), "second": 7 + len(drawn[1])}


def test_a_paused_transport_hands_its_mail_to_the_next(
    sqlite_database: Database, relays: tuple[Relay, Relay], make_stage: MakeStage
) -> None:
    first, second = relays
    stage = make_stage(sqlite_database, 9, **two(first.port, second.port))
    paused = stage.command("outbox-pause", "--transport", "first", "--reason", "moving", "--yes")
    assert paused.returncode == 0, paused.stdout + paused.stderr
    stage.send(3)
    stage.start()
    stage.settle()
    assert len(second.taken()) == 3
    assert not first.taken()


def test_a_drain_that_leaves_mail_for_a_transport_that_is_down(
    sqlite_database: Database, make_stage: MakeStage
) -> None:
    """It ends in 1 and says why, though the other has carried all that it may; and lists know both by name."""
    with SmtpServer({"greeting": "421 4.3.2 down"}) as first, SmtpServer() as second:
        stage = make_stage(sqlite_database, 9, **two(first.port, second.port))
        stage.send(2)
        with stage.transaction() as session:
            stage.outbox.enqueue(Message("x", recipients=["a@x.example"], body="x\n"), transport="first")
            session.commit()
        drained = stage.command("outbox-sender", "--drain")
        assert drained.returncode == 1, drained.stderr
        assert "1 due delivery could not be sent through first or second" in drained.stderr
        assert "421 4.3.2 down" in drained.stderr
        assert stage.states() == {"queued": 1, "sent": 2}
        listed = stage.command("outbox-list", "--transport", "Second", "--json")
        assert listed.stdout.count('"state": "sent"') == 2, listed.stdout
        (left,) = [one for one in stage.deliveries() if one.state == "queued"]
        assert re.search(r"goes by +first\n", stage.command("outbox-show", str(left.id)).stdout)


def test_what_is_routed_to_a_transport_that_was_removed_is_told(
    sqlite_database: Database, relays: tuple[Relay, Relay], make_stage: MakeStage
) -> None:
    first, second = relays
    stage = make_stage(sqlite_database, 9, **two(first.port, second.port))
    with stage.transaction() as session:
        stage.outbox.enqueue(Message("x", recipients=["a@x.example"], body="x\n"), transport="second")
        session.commit()
    only = {
        "OUTBOX_TRANSPORTS": "first",
        "OUTBOX_TRANSPORT_SECOND_URL": "",
    }
    stage.send(1)
    worker = stage.start(**only)
    until(lambda: len(first.taken()) == 1, "the other is sent")
    until(lambda: "OUTBOX_TRANSPORTS names none of these any more" in worker.log(), "the log says so")
    until(lambda: stage.states() == {"queued": 1, "sent": 1}, "the other is recorded")
    told = stage.status(**only)["problems"]
    assert any("only second may carry" in one for one in told), told
    checked = stage.command("outbox-check", "--json", **only)
    assert (checked.returncode, "only second may carry" in checked.stdout) == (1, True), checked.stdout
    drained = stage.command("outbox-sender", "--drain", **only)
    assert (drained.returncode, "only second may carry" in drained.stderr) == (1, True), drained.stderr
