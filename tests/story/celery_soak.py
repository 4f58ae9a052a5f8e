"""The soak on Celery: mails enqueued, some rolled back, processes of Celery killed at random moments."""

from __future__ import annotations

import contextlib
import os
import random
import signal
from pathlib import Path

import psutil

from tests.servers.databases import Database
from tests.servers.process import polled
from tests.story.celery_stage import Celery, CeleryStage
from tests.story.soak import CONNECTIONS, Account, balance, enqueue
from tests.story.stage import Relay

PROCESSES = 2
OTHERS = 3
"""Of so many kills one is of all the processes of a worker, the others of one process of its pool."""


def soak(
    database: Database,
    broker: str,
    folder: Path,
    *,
    mails: int,
    kills: int,
    policy: str,
    seed: int,
    acks_late: bool = False,
) -> Account:
    """Send `mails` with `kills` times `kill -9`, by one worker of Celery and beat. `broker`: its URL."""
    chance = random.Random(seed)
    account = Account()
    settings = {
        "OUTBOX_ON_UNCERTAIN": policy,
        "OUTBOX_CONNECTIONS": str(CONNECTIONS),
        "OUTBOX_SWEEP_SECONDS": "1",
        "ACKS_LATE": str(int(acks_late)),
    }
    with Relay(folder) as relay, CeleryStage(database, relay.port, folder, broker, **settings) as stage:
        stage.beat()
        worker = stage.celery_worker("--concurrency", str(PROCESSES))
        for number in range(kills):
            enqueue(stage, account, mails * (number + 1) // kills - mails * number // kills, chance)
            worker = _kill(worker, relay, stage, chance, whole=number % OTHERS == OTHERS - 1)
            account.kills += 1
        account.states = stage.settle(60.0 + mails / 100)
        balance(account, stage, relay)
    return account


def _kill(worker: Celery, relay: Relay, stage: CeleryStage, chance: random.Random, *, whole: bool) -> Celery:
    """At a random moment, in the middle of what goes on; the worker that there is then."""
    target = len(relay.taken()) + chance.randrange(1, 12)
    with contextlib.suppress(TimeoutError), polled("a moment to kill", 10.0) as wait_a_little:
        while len(relay.taken()) < target and not stage.settled():
            wait_a_little()
    if whole:  # the kernel kills its pool along with it
        worker.signal(signal.SIGKILL)
        worker.wait(10)
        return stage.celery_worker("--concurrency", str(PROCESSES))
    busy = [row.pid for row in stage.engines(worker)] or worker.children()
    if busy:
        with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
            os.kill(chance.choice(busy), signal.SIGKILL)
    return worker
