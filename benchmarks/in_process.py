"""From a commit to the relay's 250: the worker in the web process beside one of its own, in turns within one run.

The clock starts where the view's `commit()` has returned, and stops at the moment that the relay writes down, both by
the wall clock of one machine. Single mails, each when the one before has arrived.
"""

from __future__ import annotations

import urllib.request
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import stats
from benchmarks.ground import Ground
from tests.servers.databases import Database
from tests.story.served import Served
from tests.story.stage import Relay, Stage, until

INSIDE, OUTSIDE = "in the web process", "a process of its own"

_WARM = 5  # mails that do not count


def in_process(ground: Ground) -> None:
    """PostgreSQL and SQLite, served by waitress."""
    count = max(30, ground.size.singles // 10)
    for name in ("postgresql", "sqlite"):
        found: dict[str, list[float]] = {INSIDE: [], OUTSIDE: []}
        for _ in range(ground.size.repetitions):
            for case, medians in found.items():
                with ground.database(name) as database:
                    medians.append(_p50(ground, database, case, count))
        inside, outside = (stats.summary(medians).median for medians in found.values())
        ground.keep("web", f"{name}, ratio", ratio=inside / outside)


def _p50(ground: Ground, database: Database, case: str, count: int) -> float:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(dir=ground.folder)))
        relay = stack.enter_context(Relay(folder))
        stage = stack.enter_context(Stage(database, relay.port, folder, quick=False))
        taken = _milliseconds(stage, relay, count, inside=case == INSIDE)
    p50, p99 = (stats.percentile(taken, share) for share in (0.5, 0.99))
    ground.keep("web", f"{database.name}, {case}", p50=p50, p99=p99, samples=[round(one, 2) for one in taken])
    return p50


def _milliseconds(stage: Stage, relay: Relay, count: int, *, inside: bool) -> list[float]:
    taken: list[float] = []
    with Served(stage, "waitress", OUTBOX_IN_PROCESS=str(inside).lower()) as server:
        server.ready()
        if not inside:
            stage.start()
        for number in range(count + _WARM):
            url = f"http://127.0.0.1:{server.port}/"
            with urllib.request.urlopen(url, data=b"x=1", timeout=30) as answer:
                committed = float(answer.headers["X-Committed-At"])
            until(lambda number=number: len(relay.taken()) == number + 1, "it arrives")
            taken.append((relay.taken()[-1].at - committed) * 1000)
    return taken[_WARM:]
