"""Measures and prints one table: `make bench`.

    python -m benchmarks.bench [--only drain,latency] [--quick] [--write]

Each figure by name: `--only commits`. Raw lines and plots go to files under build/bench/, told at the end;
`--write` also puts them into benchmarks/results.jsonl in the place of older ones of the same figures, and writes the
tables and pictures of docs/performance.md anew from there. `--render` does that without measuring.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import (
    capacity,
    celery,
    churn,
    conditions,
    document,
    enqueueing,
    flat,
    in_process,
    latency,
    machine,
    memory,
    peers,
    plots,
    processor,
    purging,
    rates,
    suppressed,
    table,
    together,
)
from benchmarks.ground import QUICK, Ground, Size, say
from benchmarks.sink import BUILD, Sink, Unavailable
from tests.servers.databases import Databases
from tests.servers.process import ServerUnavailable

FIGURES: dict[str, Callable[[Ground], None]] = {
    "processor": processor.processor,
    "sink": capacity.sink,
    "build": enqueueing.bytes_built,
    "drain": conditions.connections,
    "processes": conditions.processes,
    "commits": conditions.commits,
    "server": conditions.server,
    "network": conditions.network,
    "sqlite": conditions.sqlite,
    "mariadb": conditions.mariadb,
    "rates": rates.rates,
    "latency": latency.latency,
    "together": together.together,
    "view": enqueueing.view,
    "enqueue": enqueueing.enqueue,
    "many": enqueueing.many,
    "memory": memory.attachments,
    "peers": peers.peers,
    "web": in_process.in_process,
    "celery": celery.celery,
    "flat": flat.flat,
    "purge": purging.purging,
    "churn": churn.churn,
    "suppressed": suppressed.suppressed,
}


def main() -> int:
    """Measure; the exit code is 1 where something failed."""
    arguments = _arguments()
    if arguments.render:
        document.write([])
        return 0
    chosen = arguments.only.split(",") if arguments.only else list(FIGURES)
    began = time.monotonic()
    try:
        ground = _measured(chosen, _size(arguments))
    except Unavailable as reason:
        say(f"no benchmark without the SMTP sink: {reason}")
        return 1
    print(table.report(ground.lines))
    plots.write(ground.lines, BUILD, ground.run)
    if arguments.write:
        document.write(ground.lines)
    say(f"{time.monotonic() - began:.0f} s; raw lines and plots: {BUILD}/{ground.run}*")
    return int(any(line.get("absent") == "failed" for line in ground.lines))


def _measured(chosen: list[str], size: Size) -> Ground:
    """Raises Unavailable without a sink."""
    BUILD.mkdir(parents=True, exist_ok=True)
    run = f"{datetime.now(UTC):%Y-%m-%dT%H%M%SZ}"
    with tempfile.TemporaryDirectory(prefix="outbox-bench-") as folder:
        sink = Sink(Path(folder))
        databases = Databases(Path(folder))
        ground = Ground(Path(folder), sink, databases, size, run, BUILD / f"{run}.jsonl")
        try:
            ground.keep("machine", machine.described(databases))
            for name in chosen:
                _measure(ground, name)
        finally:
            databases.close()
            sink.close()
    return ground


def _measure(ground: Ground, name: str) -> None:
    began = time.monotonic()
    try:
        FIGURES[name](ground)
    except (ServerUnavailable, Unavailable) as reason:
        ground.keep(name, "", absent=str(reason))
    except Exception:  # noqa: BLE001 - the figures before and after are worth their minutes
        traceback.print_exc()
        ground.keep(name, "", absent="failed")
    say(f"{name}: {time.monotonic() - began:.0f} s")


def _size(arguments: argparse.Namespace) -> Size:
    size = QUICK if arguments.quick else Size()
    names = ("mails", "repetitions", "turns", "queued", "history", "purged")
    given = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
    if arguments.connections:
        given["connections"] = tuple(map(int, arguments.connections.split(",")))
    return replace(size, **given)


def _arguments() -> argparse.Namespace:
    usual = Size()
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", metavar="FIGURES", help=f"some of {', '.join(FIGURES)}; comma between")
    parser.add_argument("--quick", action="store_true", help="few mails, once: to see that it works")
    parser.add_argument("--write", action="store_true", help="into benchmarks/results.jsonl and docs/performance.md")
    parser.add_argument("--render", action="store_true", help="docs/performance.md anew, without measuring")
    parser.add_argument("--mails", type=int, metavar="N", help=f"in one drain ({usual.mails:,})")
    parser.add_argument("--repetitions", type=int, metavar="N", help=f"of each measurement ({usual.repetitions})")
    parser.add_argument("--turns", type=int, metavar="N", help=f"of the figure processor ({usual.turns})")
    parser.add_argument("--connections", metavar="N,N", help="of the figure drain (1,8,16,32)")
    parser.add_argument("--queued", type=int, metavar="N", help=f"of the figure flat ({usual.queued:,})")
    parser.add_argument("--history", type=int, metavar="N", help=f"of the figure flat ({usual.history:,})")
    parser.add_argument("--purged", type=int, metavar="N", help=f"rows of the figure purge ({usual.purged:,})")
    arguments = parser.parse_args()
    if arguments.only and (unknown := set(arguments.only.split(",")) - FIGURES.keys()):
        parser.error(f"no figure {', '.join(sorted(unknown))}; there are {', '.join(FIGURES)}")
    if arguments.write and arguments.quick:
        parser.error("--quick is too little for the document")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
