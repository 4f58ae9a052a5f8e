"""A relay that takes a few messages a session: nobody waits for it, and no attempt is lost."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import pytest

from tests.servers.databases import Database
from tests.story.conftest import MakeStage
from tests.wire.actions import CLOSE, Action, Both, Later, Take
from tests.wire.server import Client, SmtpServer

MESSAGES = 80
PER_SESSION = 7


@pytest.mark.parametrize(
    ("step", "reply"),
    [
        ("mail", "451 4.7.1 Too many messages in this session"),
        ("rcpt", "452 4.5.3 Maximum number of recipients per session reached"),
        ("mail", "421 4.7.0 exim: too many messages in this connection"),
    ],
)
def test_a_limit_a_session_costs_nothing(
    step: str, reply: str, sqlite_database: Database, make_stage: MakeStage
) -> None:
    """Each message is taken once with one attempt, by all connections of a worker, and the limit is learnt."""
    taken: Counter[int] = Counter()

    def count(client: Any) -> None:
        taken[client.number] += 1

    script = {"dot": count, step: lambda client: reply if taken[client.number] >= PER_SESSION else None}
    with SmtpServer(script) as server:
        stage = make_stage(sqlite_database, server.port, OUTBOX_CONNECTIONS="4")
        stage.send_together(MESSAGES)
        stage.fork()
        assert stage.settle() == {"sent": MESSAGES}
        assert Counter(mail.rcpt for mail in server.messages) == Counter(f"r{n}@example.org" for n in range(MESSAGES))
        assert server.connections < MESSAGES / PER_SESSION + 2 * 4
    assert Counter(attempt.verdict for attempt in stage.attempts()) == {"accepted": MESSAGES}
    assert all(delivery.attempts == 1 for delivery in stage.deliveries())
    assert f"takes {PER_SESSION} messages on one connection" in stage.logs()


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("allowed", "opened", "messages"), [(2, 8, 200), (2, 4, 120), (3, 4, 180)])
@pytest.mark.databases("sqlite", "postgresql")
@pytest.mark.once("sqlite")
def test_more_connections_are_as_good_as_those_that_are_let_in(
    allowed: int, opened: int, messages: int, database: Database, make_stage: MakeStage
) -> None:
    """A relay that turns the next one away gets what those it lets in can carry, or nine tenths of it."""

    def greet(client: Client) -> Action | None:
        with client.server._changed:
            few = len(client.server.clients) <= allowed
        return None if few else Both("421 4.7.0 Error: too many connections from 127.0.0.1", CLOSE)

    def rate(connections: int) -> float:
        """Messages a second."""
        with SmtpServer({"greeting": greet, "dot": Take(Later(0.2, "250 2.0.0 ok"))}) as server:
            stage = make_stage(database, server.port, OUTBOX_CONNECTIONS=str(connections))
            before = stage.states().get("sent", 0)
            stage.send_together(messages)
            stage.fork()
            server.wait_for(1)
            began = time.monotonic()
            server.wait_for(messages, 120)
            seconds = time.monotonic() - began
            assert stage.settle() == {"sent": before + messages}
            assert {one.attempts for one in stage.deliveries()} == {1}
            stage.close()
        return messages / seconds

    rates: list[tuple[float, float]] = []
    while not rates or rates[-1][1] < 0.9 * rates[-1][0]:
        assert len(rates) < 3, rates  # twice the machine may have been busy with something else in one of the halves
        rates.append((rate(allowed), rate(opened)))
    print(
        f"{opened} connections of which {allowed} are let in: {rates[-1][1] / rates[-1][0]:.2f} of what {allowed} give"
    )
