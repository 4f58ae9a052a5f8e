"""An operator's terminal: the commands as real processes, in a pipe or on a pseudo-terminal of 80 columns."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from flask import Flask
from flask.cli import ScriptInfo

from outbox import Outbox, Settings
from outbox.cli import commands
from outbox.store.engines import worker_engine
from tests.servers import forked
from tests.servers.tables import create_tables

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 60.0
COLUMNS = 80

APP = """\
import os
from flask import Flask
from outbox import Outbox, Settings

def create_app():
    app = Flask(__name__)
    app.config.update(Settings.from_env(os.environ))
    Outbox().init_app(app)
    return app
"""

SGR = re.compile(r"\x1b\[[0-9;]*m")
"""Colours: the only thing that a command may tell a terminal to do while it prints."""


class Terminal:
    """A folder with a small application, and its environment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address = f"sqlite:///{folder / 'outbox.sqlite'}"
        self.engine = worker_engine(self.address)
        (folder / "trial.py").write_text(APP)
        self.env = {
            "PATH": os.environ.get("PATH", os.defpath),
            "PYTHONPATH": str(ROOT),
            "LC_ALL": "C.UTF-8",
            "TERM": "xterm-256color",
            "OUTBOX_DATABASE_URL": self.address,
            "MAIL_DEFAULT_SENDER": "shop@example.org",
            "MAIL_PORT": "1",
            "OUTBOX_POLL_SECONDS": "0.1",
        }

    def migrate(self) -> None:
        """Makes the tables."""
        create_tables(self.engine)
        self.engine.dispose()

    def run(self, *words: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """A command to its end, in pipes."""
        return forked.run(_command(words), cwd=self.folder, env=self.env | (env or {}), timeout=SECONDS)

    def here(self, *words: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """The same in this process: ten times as fast, for what does not depend on being one."""
        made: list[tuple[Outbox, Flask]] = []

        def create_app() -> Flask:
            app, outbox = Flask("trial"), Outbox()
            app.config.update(Settings.from_env(self.env | (env or {})))
            outbox.init_app(app)
            made.append((outbox, app))
            return app

        name, *rest = words
        command = commands.ALL[name]
        try:
            done = runner().invoke(command, rest, obj=ScriptInfo(create_app=create_app))
        finally:
            for outbox, app in made:
                outbox.database(app).dispose()
        return subprocess.CompletedProcess(words, done.exit_code, done.stdout, done.stderr)

    def json(self, *words: str, env: dict[str, str] | None = None) -> tuple[int, Any]:
        """The exit code, and the one JSON value on stdout; in this process."""
        done = self.here(*words, "--json", env=env)
        return done.returncode, json.loads(done.stdout)

    @contextmanager
    def started(self, *words: str) -> Iterator[forked.Process | subprocess.Popen[str]]:
        """A command that goes on until it is told to stop; SIGTERM at the end of the block."""
        process = forked.start(
            _command(words),
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        try:
            yield process
            process.send_signal(signal.SIGTERM)
            process.wait(SECONDS)
        finally:
            process.kill()
            process.communicate()

    @contextmanager
    def screen(self, *words: str, lines: int = 40, columns: int = COLUMNS, piped: bool = False) -> Iterator[Screen]:
        """A command on a pseudo-terminal; `piped`: all but its stdout."""
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        process = forked.start(
            _command(words),
            cwd=self.folder,
            env=self.env,
            new_session=True,
            stdin=slave,
            stdout=subprocess.PIPE if piped else slave,
            stderr=slave,
        )
        os.close(slave)
        try:
            yield Screen(process, master)
        finally:
            process.kill()
            process.wait()
            os.close(master)
            if process.stdout is not None:
                process.stdout.close()


class Screen:
    """What a process shows on its terminal."""

    def __init__(self, process: forked.Process | subprocess.Popen[str], master: int) -> None:
        self.process = process
        self.shown = ""
        self._master = master

    def until(self, words: str) -> str:
        """All that was shown, once `words` are among it. Raises AssertionError where it ends without them."""
        deadline = time.monotonic() + SECONDS
        while words not in self.shown:
            assert time.monotonic() < deadline, f"no {words!r} in {self.shown!r}"
            assert self._read(), f"ended without {words!r}: {self.shown!r}"
        return self.shown

    def to_end(self) -> str:
        """All that was shown when the process had ended."""
        while self._read():
            pass
        self.process.wait(SECONDS)
        return self.shown

    def type(self, words: str) -> None:
        """As a person would."""
        os.write(self._master, words.encode())

    def _read(self) -> bool:
        if not select.select([self._master], [], [], SECONDS)[0]:
            raise AssertionError(f"nothing more is shown after {self.shown!r}")
        try:
            piece = os.read(self._master, 65_536)
        except OSError:  # how Linux says that nobody holds the other end
            return False
        self.shown += piece.decode(errors="replace").replace("\r\n", "\n")
        return bool(piece)


def _command(words: tuple[str, ...]) -> list[str]:
    return ["flask", "--app", "trial", *words]


def runner() -> CliRunner:
    """One that keeps stdout and stderr apart, which before click 8.2 had to be asked for."""
    try:
        return CliRunner(mix_stderr=False)  # type: ignore[call-arg]
    except TypeError:
        return CliRunner()
