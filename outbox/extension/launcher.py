"""When a worker starts inside the application: once a server serves it, in each process that does, after the fork.

A thread looks out for the server's loop for a while; then the first request of a server says so. It is stopped before
each fork and goes on after it, on both sides: no lock of it is ever held in a child.
"""

from __future__ import annotations

import os
import pkgutil
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any
from weakref import WeakSet

from flask import Flask, request, request_started

from outbox.core.clock import monotonic
from outbox.core.events import logger
from outbox.extension import serving
from outbox.extension.serving import Server

LAUNCHER = "outbox.launcher"
"""Where the application keeps it."""

LOOKING_SECONDS = 60.0
"""So long a thread looks out for the server: an application may take its time to load."""

_FIRST_LOOK, _LONGEST_PAUSE = 0.02, 1.0  # seconds
_RUN = "outbox.worker.in_process:run"  # by name: it is above this room, and only a process that is served imports it

_all: WeakSet[Launcher] = WeakSet()


class Launcher:
    """Starts the worker of one application in the processes that serve it, at most one in each."""

    def __init__(self, app: Flask, mode: str) -> None:
        """`mode`: "process", or "host" for one process of each machine."""
        self._app = app
        self._mode = mode
        self._forget()

    def _forget(self) -> None:
        self._decided = False  # whether it was started, or never will be in this process
        self._running = False
        self._deciding = threading.Lock()
        self._pid = os.getpid()
        self._end_at = monotonic() + LOOKING_SECONDS
        self._looking: threading.Thread | None = None
        self._ended = threading.Event()

    def arm(self) -> None:
        """Start the worker when this process, or one that is forked from it, serves the application."""
        if (why := serving.hindrance()) is not None:
            logger.error("no worker runs in this process: %s, or start outbox-sender beside it.", why)
            return
        _all.add(self)
        request_started.connect(self._requested, self._app)
        _hear_sigterm()
        _hear_uwsgi()
        self.look_out()

    @property
    def is_running(self) -> bool:
        """Whether it was started in this process."""
        return self._running and self._pid == os.getpid()

    def look_out(self) -> None:
        """Look for a server until there is one, in a thread."""
        if not self._decided and monotonic() < self._end_at:
            self._ended.clear()
            self._looking = threading.Thread(target=self._look, name="outbox-launcher", daemon=True)
            self._looking.start()

    def pause(self) -> None:
        """Leave no thread behind that a fork would cut off."""
        looking, self._looking = self._looking, None
        if looking is not None and looking is not threading.current_thread() and not self._decided:
            self._ended.set()
            looking.join()

    def forked(self) -> None:
        """In a child: what was started in its parent is not here, and what a serving process forks serves nothing."""
        belonged = self._decided or serving.server() is not None
        self._forget()
        self._decided = belonged
        self.look_out()

    def _look(self) -> None:
        pause = _FIRST_LOOK
        while not self._ended.wait(pause) and monotonic() < self._end_at:
            if (server := serving.server()) is not None:
                self._start(server)
                return
            pause = min(pause * 1.3, _LONGEST_PAUSE)

    def _requested(self, app: Flask, **_: Any) -> None:
        if self._decided:
            request_started.disconnect(self._requested, self._app)
        elif serving.is_served(request.environ):
            server = serving.server() or Server(request.environ.get("SERVER_SOFTWARE", "a server"))
            threading.Thread(target=self._start, args=(server,), name="outbox-in-process", daemon=True).start()

    def _start(self, server: Server) -> None:
        """Be the thread that keeps the worker running."""
        with self._deciding:
            if self._decided:
                return
            self._decided = True
        if self._app.testing:
            return
        self._running = True
        run: Callable[[Flask, str, Server], None] = pkgutil.resolve_name(_RUN)
        run(self._app, self._mode, server)


def _hear_sigterm() -> None:
    """Where nobody handles SIGTERM (waitress, Flask's own server) it ends a served process as `sys.exit()` does.

    So the server and the worker stop cleanly; elsewhere it does what it did before.
    """
    ours = threading.current_thread() is threading.main_thread() and not {"uwsgi", "mod_wsgi"} & sys.modules.keys()
    if ours and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _terminated)


def _terminated(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)  # a second one ends the process at once
    if any(launcher.is_running for launcher in _all):
        raise SystemExit(0)
    os.kill(os.getpid(), number)


def _hear_uwsgi() -> None:
    """It forks without Python's knowledge, and tells by a hook of its own."""
    uwsgi: Any = sys.modules.get("uwsgi")
    before = getattr(uwsgi, "post_fork_hook", None)
    if uwsgi is None or before is _after_uwsgi_fork:
        return
    _uwsgi_hooks[:] = [] if before is None else [before]
    uwsgi.post_fork_hook = _after_uwsgi_fork


_uwsgi_hooks: list[Callable[[], None]] = []


def _after_uwsgi_fork() -> None:
    for hook in _uwsgi_hooks:
        hook()
    _in_child()


def _before_fork() -> None:
    for launcher in list(_all):
        launcher.pause()


def _in_parent() -> None:
    for launcher in list(_all):
        launcher.look_out()


def _in_child() -> None:
    for launcher in list(_all):
        launcher.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_in_parent, after_in_child=_in_child)
