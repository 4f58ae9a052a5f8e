"""How long pages and commands take over a large outbox in PostgreSQL, on the server's side, without the network.

    python -m benchmarks.faces [--messages 1000000] [--most 200] [--url postgresql://…]

It starts a server of its own and fills it, or takes the empty or already filled database at `--url`, which may be of
any version that is supported. Prints the median of several runs of each page and each command that looks (in this
process, without the start of Python); exit code 1 where one takes longer than `--most` ms.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from click.testing import CliRunner
from flask.cli import ScriptInfo
from flask.testing import FlaskClient

from outbox.cli import commands
from outbox.models import Base
from tests.servers.postgres import PostgresServer
from tests.web.site import Site, site

ROOT = "/admin/outbox"
SEED = Path(__file__).with_name("faces.sql")
REPEAT = 7

_CONFIRM = "/confirm?action=requeue&scope=all"
PAGES = {
    "overview": "/",
    "failures": "/failures",
    "list: all": "/mail",
    "list: failed": "/mail?state=failed",
    "list: uncertain (few)": "/mail?state=uncertain",
    "list: half way down": "/mail?before={half}",
    "recipient": "/mail?recipient=user4711@domain11.example",
    "recipient, none": "/mail?recipient=nobody@nowhere.example",
    "recipient, a part": "/mail?recipient=user4711",
    "domain": "/mail?domain=domain11.example",
    "domain, none": "/mail?domain=nowhere.example",
    "kind": "/mail?kind=newsletter",
    "kind, rare": "/mail?kind=rare",
    "kind, none": "/mail?kind=nothing",
    "kind, failed": "/mail?kind=password-reset&state=failed",
    "error": "/mail?error=5.1.1",
    "error, none": "/mail?error=5.9.9",
    "error, words": "/mail?error=mailbox+unavailable",
    "subject, common": "/mail?subject=message",
    "subject, none": "/mail?subject=nothing+like+it",
    "priority": "/mail?priority=high",
    "transport": "/mail?transport=smtp.bench.example:587",
    "transport, none": "/mail?transport=elsewhere.example",
    "older than a day": "/mail?older-than=1d",
    "older than 7 days": "/mail?older-than=7d",
    "older than 60 days": "/mail?older-than=60d",
    "older than 7 days, failed": "/mail?older-than=7d&state=failed",
    "newer than 10 minutes": "/mail?since=10m",
    "newer, failed": "/mail?since=10m&state=failed",
    "search: a Message-ID": "/mail?search=<{half}@bench.example>",
    "search: words": "/mail?search=message+4711",
    "search: words, none": "/mail?search=nothing+like+it",
    "pauses": "/pauses",
    "history": "/history",
    "one mail": "/mail/{half}",
    "its source": "/mail/{half}/source",
    "kinds": "/kinds",
    "backlog": "/backlog",
    "suppressions": "/suppressions",
    "workers": "/workers",
    # what is asked before a change
    "confirm: all failed": f"{_CONFIRM}&state=failed",
    "confirm: one cause": f"{_CONFIRM}&state=failed&error=5.1.1&domain=domain11.example&since=1d",
    "confirm: a kind": f"{_CONFIRM}&kind=newsletter&state=failed",
}


COMMANDS = {  # and why one may take longer than `--most`
    "outbox-status": "",
    "outbox-status --json": "",
    "outbox-list --state failed": "",
    "outbox-list --error 5.1.1 --domain domain11.example": "looks through all mail, where a page stops",
    "outbox-show HALF": "",
    "outbox-requeue --state failed --error 5.1.1 --dry-run": "counts all that match",
    "outbox-pause --kind newsletter --dry-run": "counts all that match",
    "outbox-status --shape": "reads the 50,000 oldest of each live state",
}


def main() -> int:
    arguments = _arguments()
    with _database(arguments.url) as url:
        engine = sa.create_engine(url)
        _fill(engine, arguments.messages)
        with engine.connect() as connection:
            version = str(connection.scalar(sa.text("SHOW server_version")))
        engine.dispose()
        made = site(url)
        try:
            half = arguments.messages // 2
            commands = {line: _runner(made, line.replace("HALF", str(half))) for line in COMMANDS}
            runs = _requests(made, half) | commands
            found = {name: timed(run, arguments.repeat) for name, run in runs.items()}
        finally:
            made.close()
    head = f"{arguments.messages:,} messages, PostgreSQL {version.split()[0]}"
    print(f"| page or command, {head} | median ms | worst |\n|---|--:|--:|")
    for name, times in found.items():
        print(f"| {name} | {statistics.median(times):.0f} | {max(times):.0f} |")
    held = {name: times for name, times in found.items() if not COMMANDS.get(name)}
    slow = [name for name, times in held.items() if statistics.median(times) > arguments.most]
    if slow:
        print(f"over {arguments.most} ms: {', '.join(slow)}", file=sys.stderr)
    return 1 if slow else 0


def timed(run: Callable[[], object], repeat: int) -> list[float]:
    """Milliseconds of each of `repeat` runs, after one that does not count."""
    run()
    times = []
    for _ in range(repeat):
        began = time.perf_counter()
        run()
        times.append((time.perf_counter() - began) * 1000)
    return times


def _requests(made: Site, half: int) -> dict[str, Callable[[], object]]:
    client = made.app.test_client()
    return {name: _getter(client, path.format(half=half)) for name, path in PAGES.items()}


def _runner(made: Site, line: str) -> Callable[[], object]:
    name, *words = line.split()
    command = commands.ALL[name]

    def run() -> None:
        done = CliRunner().invoke(command, words, obj=ScriptInfo(create_app=lambda: made.app))
        if done.exit_code not in (0, 1) or not isinstance(done.exception, SystemExit | None):
            raise RuntimeError(f"{line}: {done.output}")

    return run


def _getter(client: FlaskClient, path: str) -> Callable[[], object]:
    def get() -> None:
        response = client.get(ROOT + path, follow_redirects=True)
        if response.status_code != 200:
            raise RuntimeError(f"{path}: {response.status}")

    return get


@contextmanager
def _database(url: str | None) -> Iterator[str]:
    if url is not None:
        yield url
        return
    server = PostgresServer()
    try:
        server.create("faces")
        yield server.url("faces").render_as_string(hide_password=False)
    finally:
        server.close()


def _fill(engine: sa.Engine, messages: int) -> None:
    """Nothing where there is mail already."""
    Base.metadata.create_all(engine)
    with engine.connect() as connection:
        if connection.execute(sa.text("SELECT EXISTS (SELECT 1 FROM outbox_message)")).scalar():
            return
    began = time.perf_counter()
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for statement in SEED.read_text().split(";\n"):
            if statement.strip():
                connection.execute(sa.text(statement), {"messages": messages} if ":messages" in statement else {})
        connection.execute(sa.text("VACUUM ANALYZE"))
    print(f"filled in {time.perf_counter() - began:.0f} s", file=sys.stderr)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--messages", type=int, default=1_000_000, help="default: %(default)s")
    parser.add_argument("--repeat", type=int, default=REPEAT, help="requests of each page (default: %(default)s)")
    parser.add_argument("--most", type=float, default=200.0, metavar="MS", help="default: %(default)s")
    parser.add_argument("--url", help="of a PostgreSQL database to fill or to use as it is")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
