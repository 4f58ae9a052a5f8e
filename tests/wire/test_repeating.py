"""A provider that takes a message with the same key once: an answer that was lost is asked for again, at once."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from outbox.delivery.reply import Result, Verdict
from outbox.settings.relay import Relay
from outbox.smtp.opening import connection_to
from outbox.smtp.repeating import NOTE, RepeatingConnection
from tests.wire.actions import CLOSE, SILENCE, Choice, Take, turns
from tests.wire.conftest import CONTENT, envelope, mail_state
from tests.wire.server import SmtpServer

KEY = "Resend-Idempotency-Key"


def offered(relay: Relay, asked: list[int]) -> Result:
    """One message, whose hand-over is asked about."""
    with connection_to(mail_state(), relay) as connection:
        content: Iterator[bytes] = iter([CONTENT[:40], CONTENT[40:]])
        one = envelope(message_id="<1@x>")
        return connection.deliver(one, content, before_dot=lambda: not asked.append(1))


def test_a_lost_answer_is_asked_for_again() -> None:
    """Over a fresh connection, with the same key and bytes; whether it may be sent is asked once."""
    asked: list[int] = []
    with SmtpServer({"dot": turns(Take(CLOSE), None)}) as server:
        result = offered(server.relay(idempotency_header=KEY), asked)
        first, second = (one.content for one in server.messages)
    assert (result.verdict, result.note, asked) == (Verdict.ACCEPTED, NOTE, [1])
    assert first == second
    assert re.match(rb"Resend-Idempotency-Key: \w{64}\r\n", first)


@pytest.mark.parametrize(
    "dot",
    [
        turns(Take(CLOSE), CLOSE),
        turns(Take(CLOSE), "550 5.7.1 a message with this key is under way"),
        turns(Take(CLOSE), "451 4.7.1 later"),
    ],
    ids=["closed", "refused", "deferred"],
)
def test_what_is_not_accepted_proves_nothing(dot: Choice) -> None:
    """It may be about the second copy: the first stays unknown."""
    with SmtpServer({"dot": dot}) as server:
        result = offered(server.relay(idempotency_header=KEY), [])
    assert (result.verdict, result.note) == (Verdict.UNKNOWN, "")


def test_without_time_or_a_key_it_is_unknown() -> None:
    with SmtpServer({"dot": Take(SILENCE)}) as server:
        relay = server.relay(idempotency_header=KEY, send_timeout=0.4, dot_timeout=0.5)
        assert offered(relay, []).verdict is Verdict.UNKNOWN
        assert len(server.messages) == 1
    with SmtpServer({"dot": Take(CLOSE)}) as server:
        assert not isinstance(connection_to(mail_state(), server.relay()), RepeatingConnection)
        assert offered(server.relay(), []).verdict is Verdict.UNKNOWN
        assert len(server.messages) == 1
