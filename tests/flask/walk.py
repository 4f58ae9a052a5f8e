"""Walk once through the package, and print which of its files are entered, in order. Each walk is a process of its own.

    python -m tests.flask.walk message-in|message-out|requeue|status|migration FOLDER

The answer is a JSON object: the file, and the function of it that was called first.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import json
import os
import pkgutil
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import flask
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from flask.cli import FlaskGroup
from flask_mail import Message
from sqlalchemy.orm import Session

import outbox
from outbox import Outbox
from outbox.cli import commands
from outbox.models import Base
from tests.wire.server import SmtpServer

_PACKAGE = str(Path(outbox.__file__).parent) + os.sep


class Entered:
    """The files whose functions were called, in the order of their first call, on any thread.

    From the call of `first` on, a file and a function of it, with the files that led there: a process also starts and
    stops, which is no step of a walk. With `threads`, on those whose names begin so.
    """

    def __init__(self, first: tuple[str, str] | None = None, threads: tuple[str, ...] = ()) -> None:
        self.files: dict[str, str] = {}
        self._first = first
        self._threads = threads

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        if event != "call" or (step := _step(frame)) is None or (self._first and step != self._first):
            return
        if self._threads and not threading.current_thread().name.startswith(self._threads):
            return
        led_here = [] if self._first is None else _stack(frame.f_back)
        self._first = None
        for file, function in [*led_here, step]:
            self.files.setdefault(file, function)

    def follow(self, step: Callable[[], object]) -> None:
        threading.setprofile(self)
        sys.setprofile(self)
        try:
            step()
        finally:
            sys.setprofile(None)
            threading.setprofile(None)


def _step(frame: FrameType) -> tuple[str, str] | None:
    """The package's file and function; the body of a module or of a class is no step."""
    code = frame.f_code
    if not code.co_filename.startswith(_PACKAGE) or not code.co_flags & inspect.CO_OPTIMIZED:
        return None
    return code.co_filename.removeprefix(_PACKAGE), code.co_name


def _stack(frame: FrameType | None) -> list[tuple[str, str]]:
    """The steps that are under way, the outermost first."""
    steps = []
    while frame is not None:
        steps.append(_step(frame))
        frame = frame.f_back
    return [step for step in reversed(steps) if step is not None]


class Shop:
    """An application with an outbox in a database of its own."""

    def __init__(self, folder: Path, **config: object) -> None:
        url = f"sqlite:///{folder / 'walk.sqlite3'}"
        self.app = flask.Flask("shop")
        self.app.config.update(SECRET_KEY="x", MAIL_DEFAULT_SENDER="shop@example.com", OUTBOX_DATABASE_URL=url)
        self.app.config.update(config)
        self.engine = sa.create_engine(url)
        Base.metadata.create_all(self.engine)
        self.mail = Outbox()
        self.mail.init_app(self.app, session=lambda: flask.g.session)
        self.app.add_url_rule("/order", view_func=self.order)

    def order(self) -> str:
        with Session(self.engine) as flask.g.session:
            self.mail.send(Message("Your order", recipients=["ann@example.org"], body="text", html="<p>text</p>"))
            flask.g.session.commit()
        return "ordered"

    def get(self) -> None:
        assert self.app.test_client().get("/order").text == "ordered"

    def run(self, *words: str) -> None:
        """A command as `manage.py` runs it; what it prints is no part of the answer."""
        group = FlaskGroup(create_app=lambda: self.app)
        for one in commands.ALL.values():
            group.add_command(one)
        with contextlib.redirect_stdout(sys.stderr), contextlib.suppress(SystemExit):
            group.main(list(words), standalone_mode=False)


def message_in(folder: Path) -> dict[str, str]:
    entered, shop = Entered(("extension/outbox.py", "connect")), Shop(folder)
    shop.get()  # what is made once for an application is no step of a message's walk
    entered.follow(shop.get)
    return entered.files


def message_out(folder: Path) -> dict[str, str]:
    entered = Entered(("worker/dispatcher.py", "claim"), ("outbox-claimer", "outbox-connection", "outbox-recorder"))
    with SmtpServer() as server:
        shop = Shop(folder, MAIL_SERVER="127.0.0.1", MAIL_PORT=server.port)
        shop.get()
        entered.follow(lambda: shop.run("outbox-sender", "--once"))
        assert len(server.messages) == 1
    return entered.files


def requeue(folder: Path) -> dict[str, str]:
    entered, shop = Entered(("cli/change.py", "requeue")), Shop(folder)
    shop.get()
    with shop.engine.begin() as connection:
        connection.execute(sa.text("UPDATE outbox_delivery SET state = 'failed', due_at = NULL"))
    entered.follow(lambda: shop.run("outbox-requeue", "1"))
    with shop.engine.begin() as connection:
        assert connection.scalar(sa.text("SELECT state FROM outbox_delivery")) == "queued"
    return entered.files


def status(folder: Path) -> dict[str, str]:
    entered, shop = Entered(("cli/status.py", "status")), Shop(folder)
    shop.get()
    entered.follow(lambda: shop.run("outbox-status"))
    return entered.files


def migration(folder: Path) -> dict[str, str]:
    entered, config = Entered(), Config("alembic.ini")
    url = f"sqlite:///{folder / 'walk.sqlite3'}"
    config.set_main_option("sqlalchemy.url", url)
    entered.follow(lambda: command.upgrade(config, "head"))
    assert "outbox_delivery" in sa.inspect(sa.create_engine(url)).get_table_names()
    return entered.files


WALKS = {walk.__name__.replace("_", "-"): walk for walk in (message_in, message_out, requeue, status, migration)}

if __name__ == "__main__":
    for module in pkgutil.walk_packages(outbox.__path__, "outbox."):
        importlib.import_module(module.name)  # what runs at an import is no step
    importlib.import_module("app")
    print(json.dumps(WALKS[sys.argv[1]](Path(sys.argv[2]))))
