"""Relays that throttle are sent just what they take, by all workers together."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

import pytest
import sqlalchemy as sa

from outbox import Message
from outbox.delivery.adaptive import SETTLED_HOLD
from outbox.store.paces import Slowed, slowed_by
from outbox.store.transport_model import OutboxTransport
from tests.servers.databases import Database
from tests.story.conftest import MakeStage
from tests.story.stage import Stage, until
from tests.wire.server import Client, SmtpServer

THROTTLED = "454 4.7.0 Throttling failure: Maximum sending rate exceeded."
DOWN = "status=transport-down"
ALLOWED = 5
"""Messages a second."""

OFFERS = 120
"""Over which it is measured what goes."""


class Relay:
    """Answers THROTTLED to what is more than it allows, after the final dot."""

    def __init__(self, admits: Callable[[float], bool]) -> None:
        self._admits = admits
        self._lock = threading.Lock()
        self.offers: list[tuple[float, bool]] = []

    def __call__(self, _client: Client) -> str | None:
        with self._lock:
            now = time.monotonic()
            self.offers.append((now, self._admits(now)))
            return None if self.offers[-1][1] else THROTTLED

    def counted(self, since: int) -> tuple[float, float]:
        """(accepted a second, part refused) from the offer with this number on."""
        offers = self.offers[since:]
        taken = sum(taken for _, taken in offers)
        return taken / (offers[-1][0] - offers[0][0]), 1 - taken / len(offers)


def window() -> Relay:
    """ALLOWED in any second."""
    taken: deque[float] = deque([float("-inf")] * ALLOWED, ALLOWED)

    def admits(now: float) -> bool:
        is_free = taken[0] <= now - 1
        if is_free:
            taken.append(now)
        return is_free

    return Relay(admits)


def bucket() -> Relay:
    """ALLOWED tokens, of which as many come back each second."""
    left, at = float(ALLOWED), time.monotonic()

    def admits(now: float) -> bool:
        nonlocal left, at
        left, at = min(ALLOWED, left + ALLOWED * (now - at)), now
        is_free = left >= 1
        left -= is_free
        return is_free

    return Relay(admits)


@pytest.mark.long
@pytest.mark.timeout(360)
@pytest.mark.databases("postgresql", "sqlite")
def test_relays_are_sent_nearly_what_they_allow(database: Database, make_stage: MakeStage) -> None:
    """Once the limit is found: at least nine tenths of it, less than one offer in twenty refused, by two workers.

    That goes on for 120 messages; where a busy machine sends late, it may take more than one attempt. Nothing that
    waits costs an attempt, and no relay counts as down from then on.
    """
    relays = {"window": window(), "bucket": bucket()}
    with SmtpServer({"dot": relays["window"]}) as first, SmtpServer({"dot": relays["bucket"]}) as second:
        stage = make_stage(
            database,
            first.port,
            OUTBOX_TRANSPORTS="window bucket",
            OUTBOX_TRANSPORT_WINDOW_URL=f"smtp://127.0.0.1:{first.port}",
            OUTBOX_TRANSPORT_BUCKET_URL=f"smtp://127.0.0.1:{second.port}",
            OUTBOX_LEASE_SECONDS="20",
        )
        for name in relays:
            stage.send_together(1_500, transport=name)
        for _ in range(2):
            stage.fork()
        until(lambda: found(stage) == set(relays), "the limits are found", 90)
        before = stage.logs().count(DOWN)
        left = {name: len(relay.offers) for name, relay in relays.items()}

        def goes_well(name: str) -> bool:
            speed, refused = relays[name].counted(max(left[name], len(relays[name].offers) - OFFERS))
            return speed >= 0.9 * ALLOWED and refused < 0.05

        def all_went_well() -> bool:
            """Each of them once."""
            for name in [name for name, since in left.items() if len(relays[name].offers) >= since + OFFERS]:
                if goes_well(name):
                    del left[name]
            return not left

        until(all_went_well, "what is allowed goes", 200)
        deliveries = stage.deliveries()
        assert not any(row.attempts for row in deliveries if row.state == "queued")
        assert {row.attempts for row in deliveries if row.state == "sent"} == {1}
        assert stage.logs().count(DOWN) == before


def found(stage: Stage) -> set[str]:
    """The transports whose limit is found."""
    known = {name: scopes.get("") for name, scopes in slowed(stage).items()}
    return {name for name, one in known.items() if one is not None and one.pace.hold >= SETTLED_HOLD}


def test_a_throttled_domain_is_slowed_alone(sqlite_database: Database, make_stage: MakeStage) -> None:
    """At RCPT the relay limits the mail to one domain: the rest is sent meanwhile, and nothing is paused."""
    limit = window()

    def throttle(client: Client) -> str | None:
        return "450 4.7.1 rate limit exceeded" if "@slow.example" in client.line and limit(client) else None

    with SmtpServer({"rcpt": throttle}) as server:
        stage = make_stage(sqlite_database, server.port)
        with stage.transaction() as session:
            for number in range(100):
                for domain in ("slow.example", "one.example", "two.example"):
                    to = [f"r{number}@{domain}"]
                    stage.outbox.enqueue(Message("Mail", recipients=to, body="x\n"))
            session.commit()
        for _ in range(2):
            stage.fork()
        until(lambda: slowed(stage), "the domain is slowed", 30)
        until(lambda: stage.states()["sent"] >= 200 + 20, "the others are sent", 90)
        (known,) = slowed(stage).values()
        assert set(known) == {"slow.example"}
        assert {row.domain for row in stage.deliveries() if row.state != "sent"} == {"slow.example"}
        assert not any(row.attempts for row in stage.deliveries() if row.state == "queued")
        status = stage.status()
        assert status["pauses"] == []
        assert [(one["domain"], one["reply"]) for one in status["slowed"]] == [
            ("slow.example", "rcpt: 450 4.7.1 rate limit exceeded")
        ]
        assert any(note.startswith("mail to slow.example by ") and " is slowed to " in note for note in status["notes"])
        transport = status["slowed"][0]["transport"]
        assert "Is not slowed any more" in stage.command("outbox-resume", "--slowed", transport).stdout
        assert stage.command("outbox-resume", "--slowed", "other").returncode == 1


def slowed(stage: Stage) -> dict[str, dict[str, Slowed]]:
    """What goes by a lower rate, by transport and scope."""
    with stage.engine.connect() as connection:
        rows = connection.execute(sa.select(OutboxTransport.name, OutboxTransport.paces)).all()
    return {name: slowed_by(paces) for name, paces in rows if paces}
