"""What every figure stands on: the sink, the databases, a folder, how much is asked for, where raw lines go."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.sink import Sink
from tests.servers.databases import Database, Databases


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    mails: int = 8000  # in one drain
    connections: tuple[int, ...] = (1, 8, 16, 32)
    bare: int = 10_000
    repetitions: int = 3
    turns: int = 9  # of the figure processor
    singles: int = 500  # latency, transactions of a view
    queued: int = 200_000
    history: int = 10_000_000
    suppressed: int = 1_000_000
    purged: int = 10_000_000  # rows of all tables
    hourly: int = 500  # messages in each hour of the figure churn

    @property
    def fewer(self) -> int:
        """Repetitions of what takes minutes."""
        return max(1, self.repetitions - 1)


QUICK = Size(
    mails=2000,
    bare=4000,
    repetitions=1,
    turns=1,
    singles=60,
    queued=20_000,
    history=100_000,
    suppressed=50_000,
    purged=300_000,
    hourly=100,
)


@dataclass
class Ground:
    """One run of the benchmarks."""

    folder: Path
    sink: Sink
    databases: Databases
    size: Size
    run: str = ""  # when it began: ties its lines together
    raw: Path | None = None
    lines: list[dict[str, Any]] = field(default_factory=list)

    def keep(self, figure: str, case: str, **values: Any) -> dict[str, Any]:
        """Keep one measurement, as a line of the raw file and on stderr; gives the line."""
        at = datetime.now(UTC).isoformat(timespec="seconds")
        line = {"run": self.run, "at": at, "figure": figure, "case": case, **values}
        self.lines.append(line)
        if self.raw is not None:
            with self.raw.open("a") as file:
                file.write(json.dumps(line) + "\n")
        told = ", ".join(f"{name} {_short(value)}" for name, value in values.items() if name != "samples")
        say(f"  {figure}: {case}: {told}".rstrip(": "))
        return line

    def environ(self, database: Database, *, port: int | None = None) -> dict[str, str]:
        """The settings of an application and its worker on `database`; all but these are the defaults."""
        return {
            "DATABASE_URL": database.url,
            "SECRET_KEY": "benchmark",
            "MAIL_SERVER": "localhost",
            "MAIL_PORT": str(port or self.sink.port),
            "MAIL_USE_TLS": "true",
            "OUTBOX_TLS_CA_FILE": str(self.sink.ca_file),
        }

    @contextmanager
    def database(self, name: str) -> Iterator[Database]:
        """A fresh database with the outbox's tables."""
        with self.databases.with_schema(name) as database:
            yield database


def say(line: str) -> None:
    """Tell how it goes on."""
    print(line, file=sys.stderr, flush=True)


def _short(value: Any) -> Any:
    if isinstance(value, list):
        return "/".join(str(_short(one)) for one in value)
    return f"{value:.4g}" if isinstance(value, float) else value
