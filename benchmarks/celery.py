"""Celery's workers on RabbitMQ: the outbox on them, and the usual task with Flask-Mail, one after the other in one run.

Latency: from the moment that `commit()` has returned, or that the usual view calls `delay()`, to the sink's 250; single
mails to an idle worker. Drain: mail of as many commits is queued, then a worker of two processes starts; the first
quarter, in which its processes start and connect, is not timed. Each drain of ours has one of theirs before and after.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy.orm import Session

from benchmarks import mails, stats
from benchmarks.ground import Ground
from benchmarks.process import Process, running
from tests.servers.brokers import RabbitMQServer

OURS, USUAL = "the outbox on Celery", "Celery + Flask-Mail"

_PROCESSES = "2"
_PAUSE = (0.01, 0.03)  # seconds between the arrival of a mail and the next
_WARM = 10  # mails that do not count
_STARTING = 4  # of a drain, this part is not timed
_PATIENCE = 60.0
_USUAL_SHARE = 8  # the usual task gets an eighth of the mail

Send = Callable[[int], int]
"""Returns when it began: monotonic nanoseconds."""


def celery(ground: Ground) -> None:
    """Both, by turns."""
    broker = RabbitMQServer()
    try:
        for _ in range(ground.size.fewer):
            found = {case: _latency(ground, broker, case) for case in (USUAL, OURS)}
            ground.keep("celery", "latency, ratio", ratio=found[OURS] / found[USUAL])
        before = _drain(ground, broker, USUAL)
        for _ in range(ground.size.repetitions):
            ours, after = (_drain(ground, broker, case) for case in (OURS, USUAL))
            ground.keep("celery", "drain, ratio", ratio=ours / ((before + after) / 2))
            before = after
    finally:
        broker.close()


def _latency(ground: Ground, broker: RabbitMQServer, case: str) -> float:
    count = max(60, ground.size.singles // 3)
    pauses = random.Random(1)
    begun: list[int] = []
    with _on(ground, broker, case) as (send, environ, module), running(_worker(ground, environ, module)):
        ground.sink.reset()
        for number in range(count + _WARM):
            begun.append(send(number))
            _wait_for(ground, number + 1)
            time.sleep(pauses.uniform(*_PAUSE))
    taken = [(one.at - at) / 1e6 for one, at in zip(ground.sink.accepted(), begun, strict=True)][_WARM:]
    p50 = stats.percentile(taken, 0.5)
    p99, samples = stats.percentile(taken, 0.99), [round(one, 2) for one in taken]
    ground.keep("celery", f"latency, {case}", p50=p50, p99=p99, samples=samples)
    return p50


def _drain(ground: Ground, broker: RabbitMQServer, case: str) -> float:
    count = max(100, ground.size.mails // (4 if case == OURS else 4 * _USUAL_SHARE))
    with _on(ground, broker, case) as (send, environ, module):
        ground.sink.reset()
        for number in range(count):
            send(number)
        with running(_worker(ground, environ, module)):
            _wait_for(ground, count)
    accepted = ground.sink.accepted()
    if len(accepted) != count:
        raise RuntimeError(f"{len(accepted)} of {count} mails accepted")
    rate = stats.rate(sorted(one.at for one in accepted)[count // _STARTING :])
    ground.keep("celery", f"drain, {case}", rate=rate, mails=count)
    return rate


@contextmanager
def _on(ground: Ground, broker: RabbitMQServer, case: str) -> Iterator[tuple[Send, dict[str, str], str]]:
    """What sends one mail, the environment of the worker, and the module that it loads."""
    if case == USUAL:
        environ = {"MAIL_PORT": str(ground.sink.port), "BROKER_URL": broker.url}
        yield _usual(broker), environ, "benchmarks.peers.on_celery"
        return
    with ground.database("postgresql") as database:
        environ = ground.environ(database) | {"BROKER_URL": broker.url}
        before = dict(os.environ)
        os.environ.update(environ)
        sys.modules.pop("benchmarks.celery_app", None)
        from benchmarks.celery_app import flask_app

        os.environ.clear()
        os.environ.update(before)
        with flask_app.app_context(), Session(flask_app.extensions["database"].engine) as session:

            def send(number: int) -> int:
                flask_app.extensions["outbox"].enqueue(mails.message(number), session)
                session.commit()
                return time.monotonic_ns()

            yield send, environ, "benchmarks.celery_app"
        flask_app.extensions["outbox.celery"].flush(_PATIENCE)
        flask_app.extensions["outbox.celery"].disconnect()


def _usual(broker: RabbitMQServer) -> Send:
    from celery import Celery

    publisher = Celery("peer", broker=broker.url)
    words: dict[str, Any] = {"sender": mails.SENDER, "recipients": [mails.RECIPIENT], "body": mails.TEXT}

    def send(number: int) -> int:
        began = time.monotonic_ns()
        publisher.send_task("send", kwargs={"subject": f"Order {number}", "html": mails.PAGE, **words})
        return began

    return send


def _worker(ground: Ground, environ: dict[str, str], module: str) -> Process:
    words = ("worker", "--concurrency", _PROCESSES, "--loglevel", "INFO", "--without-gossip", "--without-mingle")
    command = [sys.executable, "-m", "celery", "-A", module, *words]
    made = Process(command, environ, ground.folder / "celery.log")
    log = ground.folder / "celery.log"
    made.wait(lambda: " ready." in log.read_text(errors="replace"), seconds=_PATIENCE)
    return made


def _wait_for(ground: Ground, count: int) -> None:
    deadline = time.monotonic() + _PATIENCE + count / 20
    while ground.sink.count() < count:
        if time.monotonic() > deadline:
            raise TimeoutError(
                f"mail {count} was not accepted in time: {(ground.folder / 'celery.log').read_text()[-2000:]}"
            )
        time.sleep(0.002)
