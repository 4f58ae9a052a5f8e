"""Connections at once of all workers together: a relay that counts them sees no more, and a dead worker's come back."""

from __future__ import annotations

import signal

import pytest
import sqlalchemy as sa

from outbox.store.transport_model import OutboxTransport
from tests.servers.databases import Database
from tests.story.conftest import MakeStage
from tests.story.stage import Stage, until
from tests.wire.actions import Later, Take
from tests.wire.server import Client, SmtpServer


def shares(stage: Stage) -> list[int]:
    """What the workers have."""
    return sorted(held for held, _ in _said(stage))


def wanted(stage: Stage) -> list[int]:
    """What they ask for."""
    return sorted(wants for _, wants in _said(stage))


def _said(stage: Stage) -> list[tuple[int, int]]:
    with stage.engine.connect() as connection:
        return list((connection.execute(sa.select(OutboxTransport.shares)).scalar() or {}).values())


@pytest.mark.quick("postgresql")
def test_two_workers_have_no_more_than_one_would(database: Database, make_stage: MakeStage) -> None:
    """Three of eight each; the second gets its part while the first is at work, and all of it when that is killed."""
    seen: list[int] = []

    def greet(client: Client) -> None:
        seen.append(len(client.server.clients))

    with SmtpServer({"greeting": greet, "dot": Take(Later(0.05, "250 2.0.0 ok"))}) as server:
        settings = {"OUTBOX_CONNECTIONS": "8", "OUTBOX_TOTAL_CONNECTIONS": "3", "MAIL_MAX_EMAILS": "100000"}
        stage = make_stage(database, server.port, **settings)
        stage.send_together(350)
        first = stage.fork()
        until(lambda: len(server.clients) == 3, "the first has all")
        stage.fork()
        until(lambda: shares(stage) == [1, 2], "they share")
        until(lambda: len(server.clients) == 3, "as many are open as may be")
        first.signal(signal.SIGKILL)
        until(lambda: shares(stage) == [3], "the second has all")
        assert stage.settle() == {"sent": 350}
        assert max(seen) == 3
