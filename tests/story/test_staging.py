"""A staging machine: its mail goes to one address, or to few, and to nobody by mistake. Real workers, a real relay."""

from __future__ import annotations

import hashlib
import signal

import pytest
import sqlalchemy as sa

from outbox import Message, operations
from outbox.extension.previews import make, write
from outbox.extension.state import bound_to
from outbox.message.keyring import new_key
from outbox.models import OutboxPause
from outbox.operations import wire
from tests.servers.databases import Database
from tests.story.conftest import MakeStage
from tests.story.stage import Relay, Stage, until
from tests.wire.server import SmtpServer

SINK = "staging@example.net"
ANN, BOB, EVA = "ann@customer.example", "bob@elsewhere.example", "eva@example.org"


def enqueue(stage: Stage, *recipients: str, together: bool = False) -> None:
    with stage.transaction() as session:
        for group in [list(recipients)] if together else [[one] for one in recipients]:
            stage.outbox.enqueue(Message("Hello", recipients=group, body="Hello.\n"))
        session.commit()


def pauses(stage: Stage) -> set[tuple[str, str]]:
    with stage.engine.connect() as connection:
        rows = connection.execute(sa.select(OutboxPause.what, OutboxPause.value, OutboxPause.actor))
        return {(row.what, row.value) for row in rows if row.actor == "OUTBOX_ALLOW_RECIPIENTS"}


def states(stage: Stage) -> dict[str, str]:
    return {one.recipient: one.state for one in stage.deliveries()}


@pytest.mark.once("postgresql")
def test_every_envelope_goes_to_the_sink(stage: Stage, relay: Relay) -> None:
    """Only its address is in RCPT; the bytes are the customers', and the attempt says where it went."""
    enqueue(stage, ANN, BOB, together=True)
    stage.start(OUTBOX_REDIRECT_TO=SINK)
    stage.settle()
    with stage.engine.connect() as connection:
        content = wire(connection, stage.deliveries()[0].message_id)
    assert b"To: ann@customer.example, bob@elsewhere.example\r\n" in content
    assert [(one.to, one.digest) for one in relay.taken()] == [(SINK, hashlib.sha256(content).hexdigest())] * 2
    assert states(stage) == {ANN: "sent", BOB: "sent"}
    assert {one.note for one in stage.attempts()} == {f"offered to {SINK} instead (OUTBOX_REDIRECT_TO)"}


@pytest.mark.databases("sqlite")
def test_a_sample_goes_to_the_sink_as_well(stage: Stage, relay: Relay) -> None:
    """What the gallery sends to an address is a message as any other."""
    stage.outbox.kind("welcome").preview("one")(lambda: Message("Welcome", recipients=[BOB], body="Hello.\n"))
    bound = bound_to(stage.app)
    (sample,) = bound.kinds.samples
    with stage.transaction() as session:
        write(session, make(bound, sample, to=ANN))
        session.commit()
    stage.start(OUTBOX_REDIRECT_TO=SINK)
    stage.settle()
    assert [one.to for one in relay.taken()] == [SINK]
    assert states(stage) == {ANN: "sent"}


@pytest.mark.databases("sqlite")
def test_a_sink_that_is_refused_fails_no_message(database: Database, make_stage: MakeStage) -> None:
    """It is the setting that is wrong: all wait, and the status says why."""

    with SmtpServer({"rcpt": lambda client: "550 5.1.1 no such user"}) as server:
        stage = make_stage(database, server.port, OUTBOX_REDIRECT_TO=SINK)
        enqueue(stage, ANN, BOB, EVA)
        stage.start()
        until(stage.attempts, "an attempt")
        said = until(lambda: [one for one in stage.status()["problems"] if SINK in str(one)], "the status says it")
        assert set(states(stage).values()) <= {"queued", "sending"}
        assert {one.counted for one in stage.attempts()} == {False}
        assert "OUTBOX_REDIRECT_TO" in str(said)
        assert not [one for one in server.commands if "customer" in one or "elsewhere" in one]


@pytest.mark.databases("sqlite")
def test_a_copy_of_productions_database(database: Database, make_stage: MakeStage) -> None:
    """Its fifty queued messages open no connection, redirected or not; what staging enqueues goes to the sink alone."""
    with SmtpServer() as server:
        production = make_stage(database, server.port, OUTBOX_ENVIRONMENT="production")
        enqueue(production, *(f"customer{number}@customer.example" for number in range(50)))
        staging = make_stage(database, server.port, OUTBOX_ENVIRONMENT="staging", OUTBOX_REDIRECT_TO=SINK)
        drained = staging.start("--drain", ready=False)
        assert drained.wait(60) == 0
        assert server.connections == 0
        assert "OUTBOX_ENVIRONMENT" in drained.log()
        enqueue(staging, ANN)
        staging.start()
        until(lambda: staging.states()["sent"] == 1, "its own message")
        assert [one.rcpt for one in server.messages] == [SINK]
        assert b"To: ann@customer.example\r\n" in server.messages[0].content
        assert production.states() == {"queued": 50, "sent": 1}


@pytest.mark.databases("sqlite", "postgresql")
@pytest.mark.once("postgresql")
def test_only_those_who_are_allowed_get_mail(stage: Stage, relay: Relay) -> None:
    """The others wait, shown as paused; the pause comes back when somebody lifts it, and goes with the setting."""
    some = {"OUTBOX_ALLOW_RECIPIENTS": "example.org Ann@Customer.example"}
    other = "other@customer.example"
    enqueue(stage, ANN, BOB, EVA, other)
    worker = stage.start(**some)
    until(lambda: {ANN, EVA} <= {one.to for one in relay.taken()}, "those who are allowed")
    waits = {("domain", "elsewhere.example"), ("message", str(stage.deliveries()[3].id))}
    until(lambda: pauses(stage) == waits, "the others are shown as paused")
    for word in ("elsewhere.example", "OUTBOX_ALLOW_RECIPIENTS"):
        assert word in stage.command("outbox-status").stdout
    with stage.engine.begin() as connection:
        operations.pauses.resume(connection, by="ann")
    until(lambda: pauses(stage) == waits, "the pauses are there again")
    enqueue(stage, "new@elsewhere.example", EVA)
    until(lambda: len(relay.taken()) == 3, "what is allowed goes on")
    assert states(stage)[BOB] == states(stage)["new@elsewhere.example"] == states(stage)[other] == "queued"
    assert {one.to for one in relay.taken()} == {ANN, EVA}
    worker.signal(signal.SIGTERM)
    worker.wait(30)
    stage.start()
    stage.settle()
    assert {one.to for one in relay.taken()} == {ANN, EVA, BOB, other, "new@elsewhere.example"}
    assert pauses(stage) == set()


@pytest.mark.databases("sqlite")
def test_a_pattern_lets_encrypted_mail_through(database: Database, make_stage: MakeStage, relay: Relay) -> None:
    """A worker opens the addresses; who does not fit waits, shown as paused."""
    keys = {"OUTBOX_ENCRYPTION_KEYS": new_key(), "OUTBOX_ENCRYPTION": "all", "OUTBOX_ADDRESS_KEY": "story"}
    stage = make_stage(database, relay.port, **keys)
    enqueue(stage, "qa-1@customer.example", ANN)
    stage.start(OUTBOX_ALLOW_RECIPIENTS="qa-*@customer.example")
    until(lambda: [one.to for one in relay.taken()] == ["qa-1@customer.example"], "the one who fits")
    until(lambda: pauses(stage) == {("message", str(stage.deliveries()[1].id))}, "the other is shown as paused")
    enqueue(stage, "qa-2@customer.example")
    until(lambda: len(relay.taken()) == 2, "the next one who fits")
    assert relay.taken()[1].to == "qa-2@customer.example"
    until(lambda: [one.state for one in stage.deliveries()] == ["sent", "queued", "sent"], "what was taken is recorded")


@pytest.mark.databases("sqlite")
def test_a_drain_ends_though_some_must_wait(stage: Stage, relay: Relay) -> None:
    """They are paused, as by an operator: nothing is left undone."""
    enqueue(stage, BOB, EVA)
    worker = stage.start("--drain", ready=False, OUTBOX_ALLOW_RECIPIENTS="example.org")
    assert worker.wait(60) == 0
    assert [one.to for one in relay.taken()] == [EVA], f"{states(stage)}, {worker.log()}"
    assert states(stage) == {BOB: "queued", EVA: "sent"}


@pytest.mark.databases("sqlite")
@pytest.mark.parametrize("name", ["OUTBOX_REDIRECT_TO", "OUTBOX_ALLOW_RECIPIENTS"])
def test_a_blank_setting_starts_no_worker(stage: Stage, relay: Relay, name: str) -> None:
    """A deployment that forgot to fill it in must not write to customers."""
    enqueue(stage, ANN)
    done = stage.command("outbox-sender", "--drain", **{name: " "})
    assert done.returncode == 2
    assert f"{name} is ' ', not " in done.stderr
    assert relay.taken() == []
    assert states(stage) == {ANN: "queued"}
