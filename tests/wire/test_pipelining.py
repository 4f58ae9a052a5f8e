"""PIPELINING that is offered and does not get through: found out, and never a message's fault."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import pytest

from outbox.delivery.reply import Phase, Verdict
from outbox.smtp.connection import Connection
from outbox.smtp.learned import Learned
from tests.wire.actions import CLOSE, SILENCE, Later, turns
from tests.wire.conftest import CONTENT, envelope
from tests.wire.server import Client, SmtpServer

Connect = Callable[..., Connection]


def eaten(passes: int) -> dict[str, Any]:
    """The script of a firewall that passes `passes` commands of a packet only."""

    def mail(client: Client) -> None:
        lines = bytes(client._buffer).split(b"\r\n")[:-1]
        del client._buffer[len(b"".join(line + b"\r\n" for line in lines[: passes - 1])) :]

    return {"mail": mail}


@pytest.mark.parametrize("passes", [1, 2])
def test_commands_that_are_eaten(passes: int, connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    """One delivery finds it out, over a fresh connection; the others send one command at a time; one line tells."""
    caplog.set_level(logging.INFO)
    learned = Learned()
    with SmtpServer(eaten(passes)) as server:
        for number in range(2):
            connection = connect(server.relay(command_timeout=3), learned=learned)
            for recipient in ("b", "c", "d"):
                result = connection.deliver(envelope(f"{recipient}{number}@example.net"), CONTENT)
                assert result.verdict is Verdict.ACCEPTED
        assert server.connections == 3
        assert len(server.messages) == 6
    assert learned.pipelining is False
    assert len([record for record in caplog.records if "OUTBOX_PIPELINING=false" in record.message]) == 1


def test_it_takes_a_share_of_the_command_time_out(connect: Connect) -> None:
    """The message is not held up for as long as a command may take."""
    with SmtpServer(eaten(1)) as server:
        started = time.monotonic()
        assert connect(server.relay(command_timeout=8)).deliver(envelope(), CONTENT).verdict is Verdict.ACCEPTED
        assert 1.6 < time.monotonic() - started < 7.9


@pytest.mark.parametrize("step", ["rcpt", "data"])
def test_a_relay_that_is_only_slow(step: str, connect: Connect) -> None:
    """One at a time it is as slow: commands go out in one packet again, and are waited for in full."""
    learned = Learned()
    ok = "250 2.1.5 ok" if step == "rcpt" else "354 go"
    with SmtpServer({step: Later(0.9, ok)}) as server:
        connection = connect(server.relay(command_timeout=3), learned=learned)
        for recipient in ("b", "c", "d"):
            assert connection.deliver(envelope(f"{recipient}@example.net"), CONTENT).verdict is Verdict.ACCEPTED
        assert len(server.messages) == 3
        assert learned.pipelining is True
        connection.close()
        assert connection.deliver(envelope("e@example.net"), CONTENT).verdict is Verdict.ACCEPTED
        assert server.connections == 3


def test_once_it_works_it_is_not_doubted(connect: Connect) -> None:
    """A silence later is the relay's, and waited for."""
    learned = Learned()
    with SmtpServer({"rcpt": turns(None, Later(0.9, "250 ok"))}) as server:
        connection = connect(server.relay(command_timeout=3), learned=learned)
        for recipient in ("b", "c"):
            assert connection.deliver(envelope(f"{recipient}@example.net"), CONTENT).verdict is Verdict.ACCEPTED
        assert server.connections == 1
    assert learned.pipelining is True


@pytest.mark.parametrize("action", [SILENCE, CLOSE], ids=str)
def test_a_relay_that_hangs_is_not_taken_for_a_firewall(action: Any, connect: Connect) -> None:
    """What is silent one at a time as well is the transport's fault, and nothing is concluded from it."""
    learned = Learned()
    with SmtpServer({"rcpt": action}) as server:
        limit = 2.0 if action is SILENCE else 30.0
        result = connect(server.relay(command_timeout=limit), learned=learned).deliver(envelope(), CONTENT)
        assert (result.verdict, result.phase) == (Verdict.TRANSPORT, Phase.RCPT)
        assert learned.pipelining is None


def test_it_can_be_left_alone(connect: Connect) -> None:
    """`pipelining=False`: one command at a time from the start."""
    pending: list[bytes] = []
    with SmtpServer({"mail": lambda client: pending.append(client.pending)}) as server:
        assert connect(server.relay(pipelining=False)).deliver(envelope(), CONTENT).verdict is Verdict.ACCEPTED
        assert pending == [b""]
