"""From a commit to the relay's 250: the worker in the web process beside one of its own, in turns within one run.

python -m benchmarks.in_process [postgresql|sqlite] [messages]
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import urllib.request
from pathlib import Path

from tests.servers.databases import Databases
from tests.story.served import Served
from tests.story.stage import Relay, Stage, until

ROUNDS = 3


def main(name: str = "postgresql", messages: str = "40") -> None:
    """Print the medians, round by round, and their ratio."""
    folder = Path(tempfile.mkdtemp())
    databases = Databases(folder)
    medians: dict[str, list[float]] = {"in process": [], "separate": []}
    try:
        for number in range(2 * ROUNDS):
            case = ("in process", "separate")[number % 2]
            own = folder / str(number)
            own.mkdir()
            with databases.with_schema(name) as database, Relay(own) as relay:
                with Stage(database, relay.port, own, quick=False) as stage:
                    medians[case].append(_median(stage, relay, int(messages), in_process=case == "in process"))
                database.dispose()
            print(f"{case}: p50 {medians[case][-1]:.2f} ms", flush=True)
    finally:
        databases.close()
    one, other = (statistics.median(found) for found in medians.values())
    print(f"{name}: in process {one:.2f} ms, separate {other:.2f} ms, ratio {one / other:.2f}")


def _median(stage: Stage, relay: Relay, messages: int, *, in_process: bool) -> float:
    taken: list[float] = []
    with Served(stage, "waitress", OUTBOX_IN_PROCESS=str(in_process).lower()) as server:
        server.ready()
        if not in_process:
            stage.start()
        for number in range(messages + 5):
            url = f"http://127.0.0.1:{server.port}/"
            with urllib.request.urlopen(url, data=b"x=1", timeout=30) as answer:
                committed = float(answer.headers["X-Committed-At"])
            until(lambda number=number: len(relay.taken()) == number + 1, "it arrives")
            taken.append((relay.taken()[-1].at - committed) * 1000)
    return statistics.median(taken[5:])


if __name__ == "__main__":
    main(*sys.argv[1:])
