"""The signed envelope sender of a real worker's mail."""

from __future__ import annotations

import re

import pytest

from outbox import Message
from outbox.message.bounce_address import Named
from outbox.settings import Settings
from outbox.settings.bounce_addresses import bounce_addresses
from tests.servers.databases import Database
from tests.story.conftest import MakeStage
from tests.story.stage import Stage
from tests.wire.actions import turns
from tests.wire.server import SmtpServer

BACK = {"SECRET_KEY": "new", "OUTBOX_SECRET_KEY": "new old", "OUTBOX_BOUNCE_DOMAIN": "bounces.example.org"}
ADDRESS = re.compile(r"MAIL FROM:<(bounce\+[0-9a-f]{40}@bounces\.example\.org)>")


def named(line: str, keys: str = "new old") -> Named | None:
    addresses = bounce_addresses(Settings.from_config({**BACK, "OUTBOX_SECRET_KEY": keys}))
    assert addresses is not None
    return addresses.read([line])


def send(stage: Stage, count: int = 1, **options: str) -> None:
    with stage.transaction() as session:
        recipients = [f"r{number}@example.org" for number in range(count)]
        stage.outbox.enqueue(Message("Hello", recipients=recipients, body="to all\n"), session, **options)
        session.commit()


def froms(server: SmtpServer) -> list[str]:
    return [line for line in server.commands if line.startswith("MAIL")]


def test_a_message_has_one_on_every_attempt(sqlite_database: Database, make_stage: MakeStage) -> None:
    """With the relay's DSN parameters, of which ENVID is the token; the first key signs."""
    later = turns("451 4.7.1 greylisted", "451 4.7.1 greylisted")
    with SmtpServer({"rcpt": later}, extensions=("PIPELINING", "DSN")) as server:
        stage = make_stage(sqlite_database, server.port, OUTBOX_CONNECTIONS="1", **BACK)
        send(stage, 2)
        stage.fork()
        assert stage.settle() == {"sent": 2}
        said = froms(server)
        assert len(said) >= 2
        assert len(set(said)) == 1
        found = ADDRESS.match(said[0])
        assert found is not None
        token = found[1].partition("@")[0].partition("+")[2]
        assert said[0].endswith(f" RET=HDRS ENVID={token}")
        (pk,) = {one.message_id for one in stage.deliveries()}
        assert named(said[0]) == Named(message_pk=pk)
        assert named(said[0], "new") is not None
        assert named(said[0], "old") is None


def test_by_delivery(sqlite_database: Database, make_stage: MakeStage) -> None:
    """By the setting each recipient has a transaction, and an address, of its own."""
    with SmtpServer() as server:
        stage = make_stage(sqlite_database, server.port, OUTBOX_BOUNCE_SENDER="delivery", **BACK)
        send(stage, 3)
        stage.fork()
        assert stage.settle() == {"sent": 3}
        assert {named(line) for line in froms(server)} == {Named(delivery_id=one.id) for one in stage.deliveries()}


def test_whose_sender_stays(sqlite_database: Database, make_stage: MakeStage) -> None:
    """The null sender: it is not to come back. All, where the relay takes only its own, or nothing is configured."""
    with SmtpServer(extensions=("DSN",)) as server:
        stage = make_stage(sqlite_database, server.port, OUTBOX_CONNECTIONS="1", **BACK)
        send(stage, envelope_from="")
        stage.fork()
        assert stage.settle() == {"sent": 1}
        assert froms(server) == ["MAIL FROM:<>"]
    with SmtpServer(extensions=("DSN",)) as server:
        stage = make_stage(sqlite_database, server.port, OUTBOX_PRESET="exchange", **BACK)
        send(stage)
        stage.fork()
        assert stage.settle() == {"sent": 2}
        (line,) = froms(server)
        assert "bounce+" not in line
        assert named(line) is not None  # ENVID, in which a report brings it back


@pytest.mark.parametrize(
    ("config", "names"),
    [
        ({}, "message"),
        ({"OUTBOX_PRESET": "postfix"}, "message"),
        ({"OUTBOX_PRESET": "gmail"}, "never"),
        ({"OUTBOX_PRESET": "gmail", "OUTBOX_BOUNCE_SENDER": "message"}, "message"),
        ({"MAIL_SERVER": "email-smtp.eu-west-1.amazonaws.com", "MAIL_USE_TLS": True}, "never"),
        ({"OUTBOX_BOUNCE_SENDER": "never"}, "never"),
    ],
)
def test_by_transport(config: dict[str, object], names: str) -> None:
    """The preset knows whether the relay takes any sender; a setting goes before it."""
    (relay,) = Settings.from_config({**BACK, **config}).transports
    assert relay.bounce_sender == names
    ses = {"OUTBOX_TRANSPORTS": "a b", "OUTBOX_TRANSPORT_A_URL": "smtp://localhost?bounce_sender=delivery"}
    ses |= {"OUTBOX_TRANSPORT_B_URL": "ses+https://key:secret@email.eu-west-1.amazonaws.com"}
    first, second = Settings.from_config({**BACK, **ses}).transports
    assert (first.bounce_sender, first.max_recipients, second.bounce_sender) == ("delivery", 1, "never")
