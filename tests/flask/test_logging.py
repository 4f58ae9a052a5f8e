"""docs/logging.md: however the application logs, a lost message leaves a line, and a worker shows what it does."""

from __future__ import annotations

import io
import itertools
import logging
import re
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from outbox.cli.logs import Stderr
from outbox.core import clock
from outbox.models import OutboxWorker
from tests.db.mails import put
from tests.flask.terminal import ROOT, Terminal
from tests.servers.process import polled

APP = """\
import logging, logging.config, logging.handlers, os, sys
import sqlalchemy as sa
from flask import Flask
from flask.logging import default_handler
from sqlalchemy.orm import scoped_session, sessionmaker
from outbox import Message, Outbox, Settings
{before}
def create_app():
    app = Flask(__name__)
    app.config.update(Settings.from_env(os.environ), OUTBOX_UNCOMMITTED="warn")
    session = scoped_session(sessionmaker(sa.create_engine(app.config.pop("OUTBOX_DATABASE_URL"))))
    mail = Outbox(app, session=session)
    app.teardown_appcontext(lambda error: session.remove())

    @app.post("/")
    def lose():
        session.execute(sa.text("UPDATE outbox_worker SET host = host"))
        mail.send(Message("Lost", recipients=["ann@example.org"], body="x"))
        return "sent?"

    @app.cli.command("lose")
    def lose_one():
        app.test_client().post("/")

{after}
    return app
"""

DOCUMENTED = """
logging.config.dictConfig({
    'version': 1,
    'formatters': {'default': {
        'format': '[%(asctime)s] %(levelname)s in %(module)s: %(message)s',
    }},
    'handlers': {'wsgi': {
        'class': 'logging.StreamHandler',
        'stream': 'ext://flask.logging.wsgi_errors_stream',
        'formatter': 'default'
    }},
    'root': {
        'level': 'INFO',
        'handlers': ['wsgi']
    }
})
"""  # https://flask.palletsprojects.com/en/stable/logging/

ALEMBIC = """
open("alembic.ini", "w").write('''
[loggers]
keys = root
[handlers]
keys = console
[formatters]
keys = generic
[logger_root]
level = WARNING
handlers = console
[handler_console]
class = StreamHandler
args = (sys.stderr,)
level = NOTSET
formatter = generic
[formatter_generic]
format = %(levelname)-5.5s [%(name)s] %(message)s
''')
logging.config.fileConfig("alembic.ini")
"""

SETUPS = {
    "everything": "logging.basicConfig(level='DEBUG')\nlogging.getLogger('apscheduler').setLevel('DEBUG')",
    "Flask's documentation": DOCUMENTED,
    "Alembic's env.py": ALEMBIC,
    "only errors": "logging.basicConfig(level=logging.ERROR)",
    "a file": "logging.basicConfig(level=logging.INFO, filename='app.log')",
    "a handler for one name": (
        "logging.getLogger().addHandler(logging.StreamHandler())\n"
        "logging.getLogger().handlers[0].addFilter(logging.Filter('trial'))"
    ),
}


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    made = Terminal(tmp_path)
    made.migrate()
    made.env["OUTBOX_DATABASE_URL"] = made.address
    yield made
    made.engine.dispose()


@pytest.fixture
def set_up(terminal: Terminal) -> Callable[..., Terminal]:
    def write(name: str, *, late: bool = False) -> Terminal:
        setup = SETUPS[name]
        indented = "\n".join(f"    {line}" if line else "" for line in setup.splitlines())
        if "'''" in setup:  # what is in it can't be indented
            indented = f"    exec({setup!r}, globals())"
        source = APP.format(before="" if late else setup, after=indented if late else "")
        (terminal.folder / "trial.py").write_text(source)
        return terminal

    return write


@pytest.mark.parametrize(
    ("name", "late"), [("Flask's documentation", False), ("Flask's documentation", True), ("Alembic's env.py", True)]
)
def test_a_lost_message_leaves_a_line(name: str, late: bool, set_up: Callable[..., Terminal]) -> None:
    """Also where the configuration disables every logger that it does not name."""
    done = set_up(name, late=late).run("lose")
    assert done.returncode == 0, done.stderr
    assert "trial.py" in done.stderr


@pytest.mark.parametrize("name", SETUPS)
def test_a_worker_shows_what_it_does(name: str, set_up: Callable[..., Terminal]) -> None:
    """Each event once, on stderr, or by the handler that the application has for it."""
    terminal = set_up(name, late=True)
    put(terminal.engine)
    done = terminal.run("outbox-sender", "--once", env={"MAIL_SUPPRESS_SEND": "true"})
    assert done.returncode == 0, done.stderr
    for event in ("worker-started", "worker-stopped"):
        assert len(re.findall(rf"status={event}", done.stderr)) == 1, done.stderr


def test_an_idle_worker_is_quiet(set_up: Callable[..., Terminal]) -> None:
    """Ten polls and several heartbeats later there is nothing in the log but its start."""
    terminal = set_up("everything")
    terminal.env |= {"OUTBOX_POLL_SECONDS": "0.05", "OUTBOX_HEARTBEAT_SECONDS": "0.1", "OUTBOX_DEAD_AFTER_SECONDS": "9"}

    def beats() -> float:
        with Session(terminal.engine) as session:
            row = session.scalars(sa.select(OutboxWorker)).first()
            return 0.0 if row is None else (row.heartbeat_at - row.started_at).total_seconds()

    with terminal.started("outbox-sender") as process:
        with polled("the worker beats", 30) as wait_a_little:
            while beats() < 0.5:
                wait_a_little()
        process.terminate()
        said, _ = process.communicate(timeout=30)
    assert "worker-started" in said
    assert "apscheduler" not in said


def test_the_document_names_the_loggers() -> None:
    """Each logger of the package stands in docs/logging.md."""
    document = (ROOT / "docs" / "logging.md").read_text()
    sources = "".join(path.read_text() for path in (ROOT / "outbox").rglob("*.py"))
    names = set(re.findall(r'get_logger\("([a-z.]+)"\)', sources)) | {"outbox", "outbox.pending"}
    assert {name for name in names if f"`{name}`" not in document} == set()


def test_what_a_process_wrote_last_is_read_though_it_stood_still(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine the writer has not run in the seconds that it was given by the clock."""
    ready = threading.Event()

    class Slow(io.StringIO):
        def write(self, text: str) -> int:
            ready.wait(20)
            return super().write(text)

    stream = Slow()
    monkeypatch.setattr(sys, "stderr", stream)
    minutes = itertools.count(step=60)
    monkeypatch.setattr(clock, "time", SimpleNamespace(clock_gettime=lambda _: next(minutes)))
    handler = Stderr()
    handler.emit(logging.LogRecord("outbox", logging.INFO, __file__, 1, "the last words", None, None))
    threading.Timer(0.2, ready.set).start()
    handler.flush()
    assert stream.getvalue() == "the last words\n"
