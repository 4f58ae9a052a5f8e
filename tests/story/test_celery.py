"""Celery's workers send the outbox's mail, by real brokers: whatever becomes of a task, the database decides."""

from __future__ import annotations

import os
import signal
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from outbox.models import OutboxDelivery, OutboxEffect, OutboxWorker
from outbox.web import blueprint, health_blueprint
from tests.conftest import required
from tests.servers.brokers import BROKERS, RabbitMQServer, RedisServer
from tests.servers.databases import Database
from tests.servers.process import ServerUnavailable
from tests.story import handlers_app
from tests.story.celery_soak import soak
from tests.story.celery_stage import CeleryStage
from tests.story.soak import CONNECTIONS, KILLS, MAILS
from tests.story.stage import Relay, until
from tests.story.test_total_connections import shares, wanted
from tests.wire.actions import Later, Take
from tests.wire.server import Client, SmtpServer

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

Broker = RedisServer | RabbitMQServer
MakeStage = Callable[..., CeleryStage]

LOOPS = [("redis", "retry"), ("rabbitmq", "hold")]
if "OUTBOX_TEST_KILLS" in os.environ:
    LOOPS += [("redis", "hold"), ("rabbitmq", "retry")]

POSTGRESQL = pytest.mark.databases("postgresql")


def started(name: str) -> Broker:
    """A broker of the test's own; skips where this machine has none, unless it is required."""
    try:
        return BROKERS[name]()
    except ServerUnavailable as unavailable:
        if required(name):
            pytest.fail(f"{name} is required (OUTBOX_TEST_REQUIRE): {unavailable}", pytrace=False)
        pytest.skip(f"broker left out: {name}: {unavailable}")


@pytest.fixture(params=BROKERS)
def broker(request: pytest.FixtureRequest) -> Iterator[Broker]:
    """Each of them."""
    made = started(request.param)
    yield made
    made.close()


@pytest.fixture
def redis() -> Iterator[Broker]:
    """The one that is quick to start, where the broker does not matter."""
    made = started("redis")
    yield made
    made.close()


@pytest.fixture
def on_celery(database: Database, relay: Relay, tmp_path: Path) -> Iterator[MakeStage]:
    """Makes a stage on a broker, that is cleared after the test."""
    with ExitStack() as stages:

        def make(broker: Broker, **settings: str) -> CeleryStage:
            usual = {"OUTBOX_SWEEP_SECONDS": "1"}
            return stages.enter_context(CeleryStage(database, relay.port, tmp_path, broker.url, **usual | settings))

        yield make


@POSTGRESQL
@pytest.mark.parametrize(("broker", "policy"), LOOPS, indirect=["broker"])
def test_kill_loop(broker: Broker, database: Database, tmp_path: Path, policy: str) -> None:
    """Whoever dies when: nothing lost, nothing sent that was rolled back, duplicates only as promised."""
    seed = zlib.crc32(f"{policy} {type(broker).__name__}".encode())
    account = soak(database, broker.url, tmp_path, mails=MAILS, kills=KILLS, policy=policy, seed=seed)
    assert account.kills == KILLS
    assert len(account.committed) == MAILS
    print(account)  # `make test-engines` shows it
    assert list(account.faults(policy)) == []


@POSTGRESQL
@pytest.mark.parametrize("pool", ["prefork", "threads", "gevent"])
def test_pools(redis: Broker, on_celery: MakeStage, relay: Relay, pool: str) -> None:
    """Each sends by tasks alone, under rows that live and are retired with the worker's clean end."""
    stage = on_celery(redis)
    worker = stage.celery_worker("--pool", pool, "--concurrency", "2")
    sent = stage.send(20)
    assert stage.settle() == {"sent": 20}
    assert sorted(one.id for one in relay.taken()) == sorted(sent)
    rows = list(stage.engines(worker))
    assert sum(row.connections for row in rows) <= CONNECTIONS
    assert all(until(lambda row=row: stage.health(row).get("engine") == "celery", "it beats") for row in rows)
    worker.signal(signal.SIGTERM)
    assert worker.wait(60) == 0
    with stage.engine.connect() as connection:
        assert connection.scalar(sa.select(sa.func.count()).where(OutboxWorker.stopped_at.is_(None))) == 0


@POSTGRESQL
def test_handlers_are_called_once(redis: Broker, on_celery: MakeStage) -> None:
    """By whichever process of Celery's workers: one row of the handler's for each message."""
    stage = on_celery(redis)
    handlers_app.NOTES.create(stage.engine)
    for _ in range(2):
        stage.celery_worker(STORY_HANDLERS="sent")
    ids = stage.send(20)
    assert stage.settle() == {"sent": 20}
    until(lambda: len(handlers_app.notes(stage.engine)) >= 20 and not undone(stage), "all handlers are called")
    assert Counter(one.message_id for one in handlers_app.notes(stage.engine)) == Counter(ids)


def undone(stage: CeleryStage) -> int:
    """Effects that are still to do."""
    with stage.engine.connect() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(OutboxEffect)) or 0


@POSTGRESQL
def test_a_clean_stop_finishes_and_gives_back(redis: Broker, on_celery: MakeStage, relay: Relay) -> None:
    """SIGTERM in the middle of much mail: nothing is lost, nothing twice, nothing under lease."""
    stage = on_celery(redis)
    worker = stage.celery_worker()
    ids = [*stage.send_together(200), *stage.send_together(200)]
    until(lambda: len(relay.taken()) > 20, "some are sent")
    worker.signal(signal.SIGTERM)
    assert worker.wait(60) == 0
    assert set(stage.states()) <= {"sent", "queued"}
    stage.beat()
    stage.celery_worker()
    assert stage.settle() == {"sent": 400}
    assert dict.fromkeys(ids, 1) == {id_: count for (id_, _), count in relay.copies().items()}


@POSTGRESQL
def test_tasks_that_are_lost_doubled_late_or_wrong(broker: Broker, on_celery: MakeStage, relay: Relay) -> None:
    """Each message arrives once, under `acks_late` too: what tasks say only decides when."""
    stage = on_celery(broker, ACKS_LATE="1")
    stage.send(5)
    stage.publish()
    assert stage.celery.control.purge() > 0
    ids = [one.id for one in stage.deliveries()]
    for named in (ids[::-1], ids, [*ids, 999_999], [999_999], [], ids[:1]):
        stage.celery.send_task("outbox.deliver", (named,))
    worker = stage.celery_worker()
    assert stage.settle() == {"sent": 5}
    stage.celery.send_task("outbox.deliver", (ids,))  # late
    stage.celery.send_task("outbox.sweep")
    until(lambda: worker.log().count("succeeded in") >= 8, "all tasks have ended")
    assert set(relay.copies().values()) == {1}
    assert "Traceback" not in worker.log()


@POSTGRESQL
def test_the_sweep_finds_what_no_task_came_for(redis: Broker, on_celery: MakeStage) -> None:
    """Mail of a purged broker, and scheduled mail when it is due; a process that finds some asks for connections as
    long as there is any."""
    stage = on_celery(redis, OUTBOX_TOTAL_CONNECTIONS="1")
    stage.send(5)
    stage.publish()
    stage.celery.control.purge()
    stage.send(2, send_at=datetime.now(UTC) + timedelta(seconds=2))
    stage.beat()
    stage.celery_worker()
    assert stage.settle() == {"sent": 7}
    until(lambda: not any(wanted(stage)), "nobody asks for a connection")


@POSTGRESQL
def test_a_broker_that_is_down_holds_up_nobody(redis: Broker, on_celery: MakeStage) -> None:
    """The commit is as quick as before; once the broker is back, all of it is sent."""
    stage = on_celery(redis)
    stage.beat()
    stage.celery_worker()
    stage.send(1)
    stage.settle()
    redis.kill()
    began = datetime.now(UTC)
    stage.send(5)
    assert (datetime.now(UTC) - began).total_seconds() < 5.0
    redis.start()
    stage.celery_worker()  # some releases of Celery end with their broker, and are started again
    assert stage.settle(120.0) == {"sent": 6}


@POSTGRESQL
def test_beside_an_outbox_sender(redis: Broker, on_celery: MakeStage, relay: Relay) -> None:
    """Two engines on one database: each message is sent once, by either."""
    stage = on_celery(redis)
    worker, sender = stage.celery_worker(), stage.start()
    for _ in range(20):
        stage.send_together(10)
    assert stage.settle() == {"sent": 200}
    assert set(relay.copies().values()) == {1}
    by = {one.worker_id for one in stage.attempts()}
    row = stage.row(sender)
    assert row is not None
    assert by <= {row.id, *(one.id for one in stage.engines(worker))}


@POSTGRESQL
def test_status_pages_and_metrics_show_them(redis: Broker, on_celery: MakeStage) -> None:
    """As workers, by their processes' ids."""
    stage = on_celery(redis)
    worker = stage.celery_worker("--concurrency", "1")
    stage.send(1)
    stage.settle()
    (pid,) = {row.pid for row in stage.engines(worker)}
    (shown,) = stage.status()["workers"]
    assert (shown["pid"], shown["alive"]) == (pid, True)
    stage.app.secret_key = "story"
    stage.app.register_blueprint(blueprint(may_view=lambda: True), url_prefix="/outbox")
    stage.app.register_blueprint(health_blueprint(may_view=lambda: True), url_prefix="/health")
    client = stage.app.test_client()
    assert f"{pid}" in client.get("/outbox/workers").text
    assert f'pid="{pid}"' in client.get("/health/metrics").text


@POSTGRESQL
def test_a_relay_that_is_down_is_probed(redis: Broker, on_celery: MakeStage, relay: Relay) -> None:
    """By the engine itself: nothing is counted, and all is sent soon after the relay is back, without a sweep."""
    stage = on_celery(redis)
    stage.celery_worker()
    relay.stop()
    stage.send(5)
    until(lambda: stage.attempts(), "it was tried")
    relay.start()
    assert stage.settle() == {"sent": 5}
    with stage.engine.connect() as connection:
        assert connection.scalar(sa.select(sa.func.max(OutboxDelivery.attempts))) == 1


@POSTGRESQL
def test_a_rate_holds_for_all_of_them(redis: Broker, on_celery: MakeStage, relay: Relay) -> None:
    """Two processes and a sweep of both: no more in a second than the relay was promised."""
    stage = on_celery(redis, OUTBOX_RATE="10/s")
    stage.beat()
    stage.celery_worker()
    stage.send(40)
    assert stage.settle() == {"sent": 40}
    times = sorted(one.at for one in relay.taken())
    assert times[-1] - times[0] > 2.0


@POSTGRESQL
def test_processes_share_the_connections(redis: Broker, database: Database, tmp_path: Path) -> None:
    """Two processes of four connections, three of which all may have: the relay counts three at most, also once one is
    killed and Celery has put another in its place."""
    seen: list[int] = []

    def greet(client: Client) -> None:
        seen.append(len(client.server.clients))

    settings = {
        "OUTBOX_CONNECTIONS": "8",
        "OUTBOX_TOTAL_CONNECTIONS": "3",
        "OUTBOX_SWEEP_SECONDS": "1",
        "MAIL_MAX_EMAILS": "100000",
    }
    with (
        SmtpServer({"greeting": greet, "dot": Take(Later(0.05, "250 2.0.0 ok"))}) as server,
        CeleryStage(database, server.port, tmp_path, redis.url, **settings) as stage,
    ):
        worker = stage.celery_worker("--concurrency", "2")
        stage.beat()
        stage.send_together(500)
        stage.publish()
        until(lambda: shares(stage) == [1, 2], "both have a part", 60)
        until(lambda: len(server.clients) == 3, "as many are open as may be")
        os.kill(next(one.pid for one in stage.engines(worker)), signal.SIGKILL)
        assert stage.settle(120) == {"sent": 500}
        assert max(seen) == 3
