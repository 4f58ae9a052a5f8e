"""Three hosts with two workers each, on one database: one loses the database, one the relay, one has a wrong clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy as sa

from outbox.models import OutboxAttempt, OutboxWorker
from tests.servers.databases import Database
from tests.servers.faketime import FakeClock
from tests.servers.hosts import Host
from tests.servers.process import ServerUnavailable
from tests.story.conftest import MakeStage
from tests.story.stage import CommandWorker, Relay, Stage, until

pytestmark = [pytest.mark.long, pytest.mark.databases("postgresql"), pytest.mark.timeout(240)]

DATABASE, RELAY = "database", "relay"
CONNECTIONS = 2
HOUR = 3600


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[Relay]:
    with Relay(tmp_path, delay=0.1) as relay:
        yield relay


@pytest.fixture
def hosts(database: Database, relay: Relay) -> Iterator[list[Host]]:
    """Three, with a cable to the database and one to the relay each."""
    servers = {DATABASE: database.address.port or 0, RELAY: relay.port}
    with ExitStack() as stack:
        try:
            made = [stack.enter_context(Host(name, servers)) for name in ("alder", "birch", "cedar")]
        except ServerUnavailable as reason:
            pytest.skip(str(reason))
        yield made


class Hosted:
    """Two workers on a host; one that has ended is started again, as a service manager does."""

    def __init__(self, stage: Stage, host: Host, **settings: str) -> None:
        name, port = host.addresses[DATABASE]
        address = stage.database.address.set(host=name, port=port).render_as_string(hide_password=False)
        server, smtp = host.addresses[RELAY]
        self._settings = {"DATABASE_URL": address, "MAIL_SERVER": server, "MAIL_PORT": str(smtp), **settings}
        self._stage, self._host = stage, host
        self._workers = [self._start(), self._start()]

    def _start(self) -> CommandWorker:
        return self._stage.start(prefix=self._host.prefix, ready=False, **self._settings)

    def look(self) -> None:
        self._workers = [self._start() if worker.dead else worker for worker in self._workers]


def senders(stage: Stage, after: int) -> set[str]:
    """The hosts that have sent something with an attempt after this one."""
    statement = (
        sa.select(OutboxWorker.host)
        .join(OutboxAttempt, OutboxAttempt.worker_id == OutboxWorker.id)
        .where(OutboxAttempt.id > after)
    )
    with stage.engine.connect() as connection:
        return set(connection.execute(statement).scalars())


def test_each_loses_something_else(
    database: Database, relay: Relay, hosts: list[Host], clock: FakeClock, make_stage: MakeStage
) -> None:
    """Nothing is lost, and all come back.

    At most one message for each open connection of the first two is sent twice: one can't record that it was taken, one
    does not hear of it.
    """
    alder, birch, cedar = hosts
    clock.step(HOUR)
    stage = make_stage(
        database,
        relay.port,
        OUTBOX_CONNECTIONS=str(CONNECTIONS),
        OUTBOX_ALLOW_PLAINTEXT="true",
        OUTBOX_DATABASE_TIMEOUT_SECONDS="4",
    )
    watched = [Hosted(stage, alder), Hosted(stage, birch), Hosted(stage, cedar, **clock.environ)]
    for worker in stage.workers:
        until(partial(stage.row, worker), f"worker {worker.pid} starts")
    stage.send_together(400)
    until(lambda: len(relay.taken()) >= 60, "mail flows")
    alder.pull(DATABASE)
    birch.pull(RELAY)
    assert stage.settle(90) == {"sent": 400}  # longer than any lease of alder's

    last = max(attempt.id for attempt in stage.attempts())
    alder.plug(DATABASE)
    birch.plug(RELAY)

    def all_send() -> bool:
        for one in watched:
            one.look()
        stage.send_together(12)
        return senders(stage, last) == {"alder", "birch", "cedar"}

    until(all_send, "all three hosts send again", 60)
    stage.settle()
    taken = relay.copies()
    assert {message for message, _ in taken} == stage.ids("sent")
    assert sum(taken.values()) - len(taken) <= 2 * 2 * CONNECTIONS

    def alive() -> Counter[str]:
        return Counter(worker["host"] for worker in stage.status()["workers"] if worker["alive"])

    until(lambda: alive() == {"alder": 2, "birch": 2, "cedar": 2}, f"all six live; {stage.folder}", 30)
