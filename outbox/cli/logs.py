"""The worker's log on stderr: one line for each event, plain or as a JSON object."""

from __future__ import annotations

import io
import json
import logging
import logging.handlers
import math
import os
import queue
import select
import sys
import threading
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, TextIO

from outbox.cli.console import Console
from outbox.cli.output import safe_lines
from outbox.cli.text import Text
from outbox.core.events import Event
from outbox.core.forks import after_fork
from outbox.core.readiness import ready

CAPACITY = 10_000
"""At most this many lines wait to be written."""

READER_SECONDS = 1.0
"""How long a process without a writer of its own waits for somebody to read."""

FLUSH_SECONDS = 2.0
"""For what is still to be written when the process ends."""

_WAIT_SECONDS = 0.02


class Lines(logging.Formatter):
    """`2026-11-02T10:00:00Z INFO <id@host> status=sent …`, with nothing in it that a terminal could obey."""

    def format(self, record: logging.LogRecord) -> str:
        line = f"{_time(record)} {record.levelname} {record.getMessage()}"
        if record.exc_info:
            line += f"\n{self.formatException(record.exc_info)}"
        if record.stack_info:
            line += f"\n{record.stack_info}"
        return safe_lines(line)


class WrappedLines(Lines):
    """The same for a terminal: a long line is wrapped at a word."""

    def format(self, record: logging.LogRecord) -> str:
        line, out = super().format(record), Console(sys.stderr)
        return "\n".join(part.plain for part in Text(line).wrapped(out.width)) if out.is_terminal else line


class JsonLines(logging.Formatter):
    """The same as one JSON object a line; each fact of an event is a field of its own."""

    def format(self, record: logging.LogRecord) -> str:
        said = _fields(record) | {"at": _time(record), "level": record.levelname.lower(), "logger": record.name}
        if record.exc_info:
            said["exception"] = self.formatException(record.exc_info)
        return json.dumps(said, default=str)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    event = record.args[0] if isinstance(record.args, tuple) and record.args else None
    return event.fields() if isinstance(event, Event) else {"message": record.getMessage()}


class Stderr(logging.Handler):
    """Writes to whatever stderr is now, so that a progress bar can take it over for a while.

    Whoever reads it may stop (a full pipe, Ctrl-S on a terminal), and the worker must go on: lines are written by a
    thread of their own, and dropped, and counted, once CAPACITY of them wait. Without `aside` they are written at once
    by the logging thread, and dropped if nobody has read for READER_SECONDS; for a process that is about to fork.
    """

    def __init__(self, *, aside: bool = True) -> None:
        super().__init__()
        self._aside = aside
        self._begin()
        after_fork(self._forked)

    def emit(self, record: logging.LogRecord) -> None:
        """Called by `logging` under the handler's lock."""
        try:
            line = self.format(record)
        except Exception:  # noqa: BLE001 - as every handler does it
            self.handleError(record)
            return
        stuck = self._put - self._written >= CAPACITY if self._aside else not _is_read(READER_SECONDS)
        if stuck:
            self._dropped += 1
        else:
            if self._dropped:
                self._say(self._gap())
            self._say(line)

    def flush(self) -> None:
        """Wait until all is written, for at most FLUSH_SECONDS.

        Counted in waits: on a machine that lets the process stand still, the writer has not had that time either.
        """
        for _ in range(math.ceil(FLUSH_SECONDS / _WAIT_SECONDS)):
            if self._written >= self._put:
                return
            self._progress.wait(_WAIT_SECONDS)

    def _begin(self) -> None:
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()  # gevent may have replaced it
        self._progress = threading.Event()  # never set: to wait a moment
        self._put = self._written = self._dropped = 0
        self._writer: threading.Thread | None = None

    def _forked(self) -> None:
        self._aside = True
        self._begin()

    def _say(self, line: str) -> None:
        if not self._aside:
            _write(line)
            return
        self._put += 1
        self._lines.put(line)
        if self._writer is None:
            self._writer = threading.Thread(target=self._write_all, name="outbox-log", daemon=True)
            self._writer.start()

    def _write_all(self) -> None:
        while True:
            _write(self._lines.get())
            self._written += 1

    def _gap(self) -> str:
        words = f"{self._dropped} log lines were dropped: the reader of this log did not keep up"
        self._dropped = 0
        return self.format(logging.LogRecord("outbox", logging.WARNING, __file__, 0, words, None, None))


def _write(line: str) -> None:
    stream: TextIO | None = sys.stderr  # None without a terminal, on some systems
    if stream is None:
        return
    with suppress(OSError, ValueError):  # nobody reads it any more: there is nobody to tell
        if stream is sys.__stderr__ and isinstance(stream, io.TextIOWrapper):
            _write_at_once(stream.fileno(), (line + "\n").encode(errors="backslashreplace"))
        else:
            stream.write(line + "\n")
            stream.flush()


def _write_at_once(descriptor: int, left: bytes) -> None:
    """Without the stream's own lock: one that a stuck writer holds would break the interpreter's end."""
    while left:
        try:
            left = left[os.write(descriptor, left) :]
        except BlockingIOError:
            select.select([], [descriptor], [])


def _is_read(timeout: float) -> bool:
    """Whether somebody takes what is written to stderr."""
    if sys.stderr is not sys.__stderr__ or sys.stderr is None:
        return True
    try:
        return bool(ready(timeout, writing=(sys.stderr.fileno(),)))
    except (OSError, ValueError):
        return True


def log_to_stderr(*, as_json: bool, level: int = logging.INFO, aside: bool = True, wrapped: bool = False) -> None:
    """Send the package's log to stderr, unless the application's own logging shows it on the terminal already.

    `aside`: see `Stderr`. `wrapped`: see `WrappedLines`.
    """
    logger = logging.getLogger("outbox")
    logger.disabled = False  # see `outbox.loggers`
    if logger.level == logging.NOTSET:
        logger.setLevel(level)
    if not _is_shown(logger, level):
        handler = Stderr(aside=aside)
        handler.setFormatter(JsonLines() if as_json else WrappedLines() if wrapped else Lines())
        (logger if logging.getLogger().handlers else logging.getLogger()).addHandler(handler)


_ELSEWHERE = (
    logging.NullHandler,
    logging.FileHandler,
    logging.handlers.SMTPHandler,
    logging.handlers.SocketHandler,
    logging.handlers.SysLogHandler,
    logging.handlers.HTTPHandler,
    logging.handlers.MemoryHandler,
)
"""Handlers that do not write to the terminal. One that is not listed here is assumed to."""


def _is_shown(logger: logging.Logger, level: int) -> bool:
    """Whether a line of `level` reaches a handler that shows it."""
    record = logging.LogRecord(logger.name, level, __file__, 0, "", None, None)
    above: logging.Logger | None = logger
    while above is not None:
        if any(
            handler.level <= level and not isinstance(handler, _ELSEWHERE) and handler.filter(record)
            for handler in above.handlers
        ):
            return True
        above = above.parent if above.propagate else None
    return False


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
