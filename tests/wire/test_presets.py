"""What a preset adds to a message, and what a taught reply leads to, over real sockets."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from outbox.delivery.reply import About, Verdict
from outbox.delivery.reply_rule import Rule
from outbox.smtp.connection import Connection
from tests.wire.conftest import CONTENT, envelope
from tests.wire.server import SmtpServer

Connect = Callable[..., Connection]
KEY = "Resend-Idempotency-Key"


@pytest.mark.parametrize("pieces", [False, True])
def test_an_idempotency_key_for_each_delivery(pieces: bool, connect: Connect) -> None:
    """The same on each attempt, another for each recipient and message; the message itself follows as it was."""
    with SmtpServer() as server:
        connection = connect(server.relay(idempotency_header=KEY))
        for recipient, message_id in [("b@example.net", "<1@x>")] * 2 + [("c@example.net", "<1@x>"), ("b@a", "<2@x>")]:
            content = iter([CONTENT[:40], CONTENT[40:]]) if pieces else CONTENT
            result = connection.deliver(envelope(recipient, message_id=message_id), content)
            assert result.verdict is Verdict.ACCEPTED
        found = [re.fullmatch(rb"Resend-Idempotency-Key: (\w{64})\r\n(.*)", m.content, re.S) for m in server.messages]
        keys = [match[1] for match in found if match]
        assert keys[0] == keys[1]
        assert len(set(keys)) == 3
        assert {match[2] for match in found if match} == {CONTENT}
        size = len(server.messages[0].content)
        assert f"SIZE={size}" in next(line for line in server.commands if line.startswith("MAIL"))


def test_headers_of_a_provider(connect: Connect) -> None:
    """They go before the message's own; without them nothing is added."""
    with SmtpServer() as server:
        connection = connect(server.relay(headers=(("X-PM-KeepID", "true"),)))
        assert connection.deliver(envelope(), CONTENT).verdict is Verdict.ACCEPTED
        assert connect(server.relay()).deliver(envelope(message_id="<1@x>"), CONTENT).verdict is Verdict.ACCEPTED
        assert [mail.content for mail in server.messages] == [b"X-PM-KeepID: true\r\n" + CONTENT, CONTENT]


@pytest.mark.parametrize(("preset", "name"), [("postmark", "X-PM-Metadata-message-id"), ("mailjet", "X-MJ-CustomID")])
def test_the_message_id_is_handed_back(preset: str, name: str, connect: Connect) -> None:
    """Where the 250 does not tell the id that events have; not in place of a value of the application's own."""
    own = name.upper().encode() + b": mine\r\n" + CONTENT
    with SmtpServer() as server:
        connection = connect(server.relay(preset=preset))
        for message_id, content in (("<1@x>", CONTENT), ("<1@x>", own), ("", CONTENT), (f"<{'1' * 90}@x>", CONTENT)):
            assert connection.deliver(envelope(message_id=message_id), content).verdict is Verdict.ACCEPTED
        assert connection.deliver(envelope(message_id="<1@x>"), iter([CONTENT])).verdict is Verdict.ACCEPTED
        echoed = f"{name}: <1@x>\r\n".encode() + CONTENT
        assert [mail.content for mail in server.messages] == [echoed, own, CONTENT, CONTENT, echoed]


def test_a_taught_reply(connect: Connect) -> None:
    """What would fail the message waits, and is about the account."""
    rule = Rule(Verdict.TRANSPORT, "used up", codes=frozenset({550}), about=About.ACCOUNT)
    with SmtpServer({"rcpt": "550 Kontingent erschoepft"}) as server:
        result = connect(server.relay(rules=(rule,))).deliver(envelope(), CONTENT)
        assert (result.verdict, result.about, result.note) == (Verdict.TRANSPORT, About.ACCOUNT, "used up")
        assert connect(server.relay()).deliver(envelope(), CONTENT).verdict is Verdict.PERMANENT
