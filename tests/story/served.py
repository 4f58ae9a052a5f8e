"""Real web servers with the application of `served_app.py`."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil
import pytest

from tests.servers.process import kill_with_children
from tests.story.stage import ROOT, Stage, free_port, plain_environment, until

APP = "tests.story.served_app:app"
COMMANDS = {
    "gunicorn": ["-m", "gunicorn", "--workers", "2", "--bind", "127.0.0.1:{port}", APP],
    "gunicorn --preload": ["-m", "gunicorn", "--preload", "--workers", "2", "--bind", "127.0.0.1:{port}", APP],
    "gunicorn gthread": [
        *("-m", "gunicorn", "--worker-class", "gthread", "--threads", "4", "--workers", "2"),
        *("--bind", "127.0.0.1:{port}", APP),
    ],
    "gunicorn gevent": ["-m", "gunicorn", "--worker-class", "gevent", "--bind", "127.0.0.1:{port}", APP],
    "waitress": ["-m", "waitress", "--listen=127.0.0.1:{port}", APP],
    "flask run": ["-m", "flask", "--app", APP, "run", "--port", "{port}"],
    "flask run --reload": ["-m", "flask", "--app", APP, "run", "--reload", "--port", "{port}"],
    "uwsgi": [
        *("--master", "--enable-threads", "--processes", "2", "--die-on-term", "--need-app"),
        *("--http-socket", "127.0.0.1:{port}", "--module", APP),
    ],
}


def uwsgi() -> str:
    """Its program, which the wheel pyuwsgi brings; the lock files don't have it, since few need it."""
    found = shutil.which("uwsgi", path=str(Path(sys.executable).parent)) or shutil.which("uwsgi")
    if found is None:
        pytest.skip("there is no uwsgi: pip install pyuwsgi")
    return found


class Served:
    """A web server as a process of its own, with all that it starts."""

    def __init__(self, stage: Stage, name: str, *more: str, **settings: str) -> None:
        """`more`: arguments after the server's own."""
        self.port = free_port()
        self._log = stage.folder / "server.log"
        program = [uwsgi()] if name == "uwsgi" else [sys.executable]
        command = [word.format(port=self.port) for word in COMMANDS[name]]
        environ: Mapping[str, str] = {**plain_environment(), **stage.environ, "OUTBOX_IN_PROCESS": "true", **settings}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*program, *command, *more],
                cwd=ROOT,
                env={**environ, "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def ready(self) -> Self:
        """It answers."""
        until(self.answers, f"the server answers; its log: {self._log}", 60)
        return self

    def answers(self) -> bool:
        """Whether it does."""
        if self._process.poll() is not None:
            raise AssertionError(f"the server has ended: {self.log()}")
        try:
            self.get("/")
        except OSError:
            return False
        return True

    def get(self, path: str) -> str:
        """What it answers."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30) as answer:
            return str(answer.read().decode())

    def post(self, path: str = "/") -> list[str]:
        """The Message-IDs that a request has enqueued."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", data=b"x=1", timeout=30) as answer:
            return str(answer.read().decode()).split()

    @property
    def pid(self) -> int:
        return self._process.pid

    def family(self) -> list[psutil.Process]:
        """It and all that it started."""
        own = psutil.Process(self.pid)
        return [own, *own.children(recursive=True)]

    def signal(self, number: signal.Signals) -> None:
        """To the process that was started, as a service manager does."""
        os.kill(self.pid, number)

    def wait(self, limit: float) -> int:
        """Its exit code."""
        return self._process.wait(limit)

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            kill_with_children(self.pid)
            self._process.wait(30)
