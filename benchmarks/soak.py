"""The long soak: thousands of mails, hundreds of `kill -9`, then the account of every mail. `make soak` runs it.

    python -m benchmarks.soak [--mails 10000] [--kills 200] [--databases sqlite,mariadb] [--policies retry,hold]

Exit code 1 where a promise was broken. A seed makes the choice of moments repeatable, not the moments themselves.
"""

from __future__ import annotations

import argparse
import platform
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.servers.databases import NAMES, Databases
from tests.servers.process import ServerUnavailable
from tests.story.soak import CONNECTIONS, MOST_WORKERS, Account, soak

HEAD = (
    "database",
    "policy",
    "mails",
    "kills",
    "lost",
    "rolled back",
    "sent of these",
    "duplicates",
    "allowed",
    "uncertain",
    "s",
)


def main() -> int:
    arguments = _arguments()
    print(
        f"{_machine()}; 1 to {MOST_WORKERS} workers with {CONNECTIONS} connections; seed {arguments.seed}", flush=True
    )
    rows, broken = [], []
    with tempfile.TemporaryDirectory(prefix="outbox-soak-") as folder:
        databases = Databases(Path(folder))
        try:
            for name in arguments.databases.split(","):
                for policy in arguments.policies.split(","):
                    _say(f"{name}, {policy} ...")
                    own = Path(folder) / f"{name}-{policy}"
                    own.mkdir()
                    started = time.monotonic()
                    try:
                        with databases.with_schema(name) as database:
                            account = soak(
                                database,
                                own,
                                mails=arguments.mails,
                                kills=arguments.kills,
                                policy=policy,
                                seed=arguments.seed,
                                told=lambda line: _say(f"  {line}"),
                            )
                    except ServerUnavailable as unavailable:
                        _say(f"left out: {unavailable}")
                        continue
                    rows.append(_row(name, policy, account, time.monotonic() - started))
                    broken += [f"{name}, {policy}: {fault}" for fault in account.faults(policy)]
        finally:
            databases.close()
    _table([HEAD, *rows])
    print(*broken, sep="\n")
    return 1 if broken else 0


def _row(name: str, policy: str, account: Account, seconds: float) -> tuple[str, ...]:
    numbers = (
        len(account.committed),
        account.kills,
        len(account.lost),
        len(account.rolled_back),
        len(account.ghosts),
        account.duplicates,
        account.allowed_duplicates if policy == "retry" else 0,
        len(account.uncertain),
        round(seconds),
    )
    return (name, policy, *(f"{number:,}" for number in numbers))


def _table(rows: list[tuple[str, ...]]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    for number, row in enumerate(rows):
        words = [cell.ljust(width) for cell, width in zip(row[:2], widths[:2], strict=True)]
        numbers = [cell.rjust(width) for cell, width in zip(row[2:], widths[2:], strict=True)]
        print("| " + " | ".join(words + numbers) + " |")
        if number == 0:
            print("|" + "|".join("-" * (width + 1) + ("-" if i < 2 else ":") for i, width in enumerate(widths)) + "|")


def _machine() -> str:
    with open("/proc/cpuinfo") as info:
        models = [line.partition(":")[2].strip() for line in info if line.startswith("model name")]
    cpu = f"{len(models)} × {models[0]}" if models else platform.machine()
    return f"{cpu}, {platform.system()} {platform.release()}, Python {platform.python_version()}"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--mails", type=int, default=10_000, help="committed, for each database (default: %(default)s)")
    parser.add_argument("--kills", type=int, default=200, help="for each database (default: %(default)s)")
    parser.add_argument("--databases", default=",".join(NAMES), help="default: %(default)s")
    parser.add_argument("--policies", default="retry,hold", help="values of OUTBOX_ON_UNCERTAIN (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
