"""Measures: `make bench`.

    python -m benchmarks.bench [--only drain,latency] [--quick] [--mails 8000] [--connections 1,8,16,32]

Raw lines go to a file under build/bench/, its name is told at the end.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import capacity, conditions, enqueueing, flat, latency, memory, peers
from benchmarks.ground import QUICK, Ground, Size, say
from benchmarks.sink import BUILD, Sink, Unavailable
from tests.servers.databases import Databases
from tests.servers.process import ServerUnavailable

FIGURES: dict[str, Callable[[Ground], None]] = {
    "sink": capacity.sink,
    "drain": conditions.connections,
    "commits": conditions.commits,
    "server": conditions.server,
    "network": conditions.network,
    "databases": conditions.databases,
    "flat": flat.flat,
    "latency": latency.latency,
    "memory": memory.attachments,
    "view": enqueueing.view,
    "many": enqueueing.many,
    "build": enqueueing.bytes_built,
    "peers": peers.peers,
}


def main() -> int:
    """Measure; the exit code is 1 where something could not be."""
    arguments = _arguments()
    chosen = arguments.only.split(",") if arguments.only else list(FIGURES)
    BUILD.mkdir(parents=True, exist_ok=True)
    raw = BUILD / f"{datetime.now(UTC):%Y-%m-%dT%H%M%SZ}.jsonl"
    with tempfile.TemporaryDirectory(prefix="outbox-bench-") as folder:
        try:
            sink = Sink(Path(folder))
        except Unavailable as reason:
            say(f"no benchmark without the SMTP sink: {reason}")
            return 1
        databases = Databases(Path(folder))
        ground = Ground(Path(folder), sink, databases, _size(arguments), raw)
        try:
            for name in chosen:
                say(f"{name} ...")
                try:
                    FIGURES[name](ground)
                except (ServerUnavailable, Unavailable) as reason:
                    say(f"{name}: left out: {reason}")
        finally:
            databases.close()
            sink.close()
    say(f"raw lines: {raw}")
    return 0


def _size(arguments: argparse.Namespace) -> Size:
    size = QUICK if arguments.quick else Size()
    given = {name: getattr(arguments, name) for name in ("mails", "repetitions") if getattr(arguments, name)}
    if arguments.connections:
        given["connections"] = tuple(map(int, arguments.connections.split(",")))
    return replace(size, **given)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", metavar="FIGURES", help=f"some of {', '.join(FIGURES)}; comma between")
    parser.add_argument("--quick", action="store_true", help="few mails, once: to see that it works")
    parser.add_argument("--mails", type=int, metavar="N", help="in one drain")
    parser.add_argument("--repetitions", type=int, metavar="N")
    parser.add_argument("--connections", metavar="N,N", help="of the figure drain (1,8,16,32)")
    arguments = parser.parse_args()
    if arguments.only and (unknown := set(arguments.only.split(",")) - FIGURES.keys()):
        parser.error(f"no figure {', '.join(sorted(unknown))}; there are {', '.join(FIGURES)}")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
