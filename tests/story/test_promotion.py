"""A primary and its synchronous standby: the standby is promoted while a worker sends."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from outbox.models import Base
from tests.servers.databases import Database
from tests.servers.postgres import PostgresServer
from tests.servers.proxy import Freezer
from tests.servers.standby import StandbyServer, is_followed, make_primary, set_globally
from tests.story.conftest import MakeStage
from tests.story.stage import Relay, until
from tests.story.switching import works_again

pytestmark = [pytest.mark.long, pytest.mark.databases("postgresql")]


@pytest.fixture
def slow_relay(tmp_path: Path) -> Iterator[Relay]:
    with Relay(tmp_path, delay=0.15) as relay:
        yield relay


@pytest.fixture
def servers() -> Iterator[tuple[PostgresServer, StandbyServer]]:
    """A primary with the outbox's tables, and its standby."""
    primary = make_primary()
    try:
        engine = sa.create_engine(
            primary.url("postgres"), connect_args={"options": "-c synchronous_commit=local"}
        )  # nobody follows yet
        Base.metadata.create_all(engine)
        engine.dispose()
        standby = StandbyServer(primary)
        try:
            until(lambda: is_followed(primary), "the standby follows")
            yield primary, standby
        finally:
            standby.close()
    finally:
        primary.close()


def test_hard(servers: tuple[PostgresServer, StandbyServer], slow_relay: Relay, make_stage: MakeStage) -> None:
    """The primary dies; the URL names both hosts. At most one duplicate for each connection."""
    primary, standby = servers
    one, two = primary.url("postgres"), standby.url("postgres")
    hosts = {"host": [f"127.0.0.1:{one.port}", f"127.0.0.1:{two.port}"], "target_session_attrs": "read-write"}
    address = one.set(host=None, port=None, query=hosts)
    stage = make_stage(Database("postgresql", address), slow_relay.port, OUTBOX_CONNECTIONS="2")
    stage.start()
    stage.send_together(60)
    until(lambda: len(slow_relay.taken()) >= 15, "the first arrive")
    primary.kill()
    standby.promote()
    works_again(stage, slow_relay, time.monotonic(), 60)
    assert sum(slow_relay.copies().values()) - len(slow_relay.copies()) <= 2
    assert len(slow_relay.copies()) == 63


def test_soft(servers: tuple[PostgresServer, StandbyServer], slow_relay: Relay, make_stage: MakeStage) -> None:
    """The primary stays up, read-only, with its connections; new ones lead to its successor. No duplicate."""
    primary, standby = servers
    with Freezer(("127.0.0.1", primary.url("postgres").port or 0)) as switch:
        address = primary.url("postgres").set(port=switch.port)
        stage = make_stage(Database("postgresql", address), slow_relay.port, OUTBOX_CONNECTIONS="2")
        stage.start()
        stage.send_together(60)
        until(lambda: len(slow_relay.taken()) >= 15, "the first arrive")
        set_globally(primary, "default_transaction_read_only", "on")
        until(lambda: _is_read_only(primary), "it takes no writes any more")
        standby.promote()
        switch.turn_to(("127.0.0.1", standby.url("postgres").port or 0))
        works_again(stage, slow_relay, time.monotonic(), 60)
        assert max(slow_relay.copies().values()) == 1
        assert len(slow_relay.copies()) == 63
        stage.close()


def _is_read_only(server: PostgresServer) -> bool:
    engine = sa.create_engine(server.url("postgres"))
    try:
        with engine.connect() as connection:
            return bool(connection.exec_driver_sql("SHOW default_transaction_read_only").scalar_one() == "on")
    finally:
        engine.dispose()


def test_status_and_pages_read_the_standby(
    servers: tuple[PostgresServer, StandbyServer], slow_relay: Relay, make_stage: MakeStage
) -> None:
    """OUTBOX_READ_URL: they answer from it, and say so; what changes something goes to the primary."""
    primary, standby = servers
    read = standby.url("postgres").render_as_string(hide_password=False)
    stage = make_stage(Database("postgresql", primary.url("postgres")), slow_relay.port, OUTBOX_READ_URL=read)
    stage.send(2)
    until(lambda: stage.status()["states"]["queued"] == 2, "the standby has it")
    checked = stage.command("outbox-check")
    assert f"pages and commands read by postgresql+psycopg://postgres:***@127.0.0.1:{standby.url('x').port}" in (
        " ".join(checked.stdout.split())
    )
    assert stage.command("outbox-cancel", "--state", "queued", "--yes").returncode == 0
    until(lambda: stage.status()["states"]["cancelled"] == 2, "the standby has that, too")
    primary.kill()
    assert stage.status()["states"]["cancelled"] == 2
    assert stage.command("outbox-list", "--state", "cancelled").returncode == 0
