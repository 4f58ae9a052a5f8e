"""A row with a date that is none, edited by hand or restored badly, ends neither a list nor the queue."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from flask.cli import ScriptInfo

from outbox import operations
from outbox.cli import commands
from outbox.core.clock import UNREADABLE
from outbox.delivery.states import State
from outbox.models import OutboxAttempt
from outbox.operations import pauses
from outbox.store.pauses import What
from outbox.store.queue import Queue
from outbox.store.types import DbNow
from tests.db.mails import put, worker
from tests.flask.terminal import runner
from tests.servers.databases import Database
from tests.web.site import Site, site

NONE = {
    "sqlite": ("long ago",),
    "mariadb": ("0000-00-00 00:00:00",),
    "postgresql": ("infinity", "-infinity", "20000-01-01 00:00:00+00"),
}
DATES = (
    ("outbox_message", "created_at"),
    ("outbox_message", "expires_at"),
    ("outbox_delivery", "updated_at"),
    ("outbox_delivery", "due_at"),
)


EVERYWHERE = (
    *DATES,
    ("outbox_message", "redacted_at"),
    ("outbox_delivery", "finished_at"),
    ("outbox_delivery", "marked_at"),
    ("outbox_attempt", "at"),
    ("outbox_worker", "started_at"),
    ("outbox_worker", "heartbeat_at"),
    ("outbox_pause", "since"),
    ("outbox_pause", "until"),
    ("outbox_pause", "probe_at"),
    ("outbox_audit", "at"),
)
COMMANDS = (
    "outbox-status --shape",
    "outbox-status --json",
    "outbox-list",
    "outbox-list --json",
    "outbox-list --since 1h",
    "outbox-list --older-than 1s",
    "outbox-list --waits deferred",
    "outbox-show 1",
    "outbox-show 1 --json",
    "outbox-audit",
    "outbox-resume",
    "outbox-purge --dry-run --older-than 1s",
    "outbox-requeue --state failed --dry-run",
    "outbox-send-now --state queued --dry-run",
)
PAGES = ("/", "/mail", "/mail?state=queued", "/mail?waits=due", "/mail/1", "/failures", "/kinds", "/backlog")
PAGES += ("/pauses", "/workers", "/history")


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize(("table", "column"), DATES)
def test_the_others_are_listed_and_sent(database: Database, table: str, column: str, which: int) -> None:
    """The row itself is listed, too, with what can be read of it."""
    engine = database.worker_engine
    first, second = put(engine, "a@example.org"), put(engine, "b@example.org")
    spoil(engine, table, column, which)
    with operations.connected(engine) as connection:
        rows = operations.find(connection, operations.Filter())
        detail = operations.show(connection, first[0])
        operations.status(connection, dead_after=20)
    assert {row.id for row in rows} == {*first, *second}
    assert detail is not None
    assert getattr(detail, column) == UNREADABLE
    assert second[0] in {one.id for one in Queue(engine, environment="", lease=60).claim(1, 1, 10)}


@pytest.mark.parametrize("which", range(3))
def test_commands_and_pages_show_what_can_be_read(database: Database, which: int) -> None:
    """All of a table's first row, in every table: nothing ends in an error."""
    engine = database.worker_engine
    if which >= len(NONE[engine.dialect.name]):
        return  # fewer dates that are none can be written there
    for state in State:
        put(engine, f"{state}@example.org", state=state, ago=60)
    worker(engine)
    with engine.begin() as connection:
        pauses.pause(connection, What.KIND, "news", by="ann", seconds=3600)
        tried = {"phase": "rcpt", "verdict": "permanent", "code": 550, "reply": "no such user", "duration": 0.5}
        connection.execute(
            sa.insert(OutboxAttempt).values(delivery_id=1, at=DbNow(), counted=True, fenced=False, **tried)
        )
    made = site(database.url, MAIL_DEFAULT_SENDER="shop@example.org")
    try:
        for table, column in EVERYWHERE:
            spoil(engine, table, column, which)
        wrong = list(faults(made))
    finally:
        made.close()
    assert wrong == [], "\n".join(wrong)


def faults(made: Site) -> Iterator[str]:
    """What does not show what it can."""
    client = made.app.test_client()
    for path in PAGES:
        answer = client.get(f"/admin/outbox{path}")
        if answer.status_code != 200:
            yield f"{path}: {answer.status}"
    for line in COMMANDS:
        name, *words = line.split()
        command = commands.ALL[name]
        done = runner().invoke(command, words, obj=ScriptInfo(create_app=lambda: made.app))
        if done.exit_code not in (0, 1) or (done.exception and not isinstance(done.exception, SystemExit)):
            yield f"{line}: {done.stderr or done.exception!r:.300}"


def spoil(engine: sa.Engine, table: str, column: str, which: int = 0) -> None:
    """The date of the first row."""
    with engine.begin() as connection:
        name = engine.dialect.name if engine.dialect.name in NONE else "mariadb"
        if name == "mariadb":
            connection.execute(sa.text("SET SESSION sql_mode = ''"))
        value = NONE[name][which % len(NONE[name])]
        connection.execute(sa.text(f"UPDATE {table} SET {column} = '{value}' WHERE id = 1"))
