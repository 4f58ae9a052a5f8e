"""The worker's log on stderr: one line for each event, plain or as a JSON object."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, TextIO

from outbox.cli.base import safe_lines
from outbox.events import Event


class Lines(logging.Formatter):
    """`2026-11-02T10:00:00Z INFO <id@host> status=sent …`, with nothing in it that a terminal could obey."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        return safe_lines(super().format(record))

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        return _time(record)


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


class Stderr(logging.StreamHandler[TextIO]):
    """Writes to whatever stderr is now, so that a progress bar can take it over for a while."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        return sys.stderr


def log_to_stderr(*, as_json: bool, level: int = logging.INFO) -> None:
    """Send the package's log to stderr, unless the application has set up its own logging."""
    root = logging.getLogger()
    logger = logging.getLogger("outbox")
    if not root.handlers and not logger.handlers:
        handler = Stderr()
        handler.setFormatter(JsonLines() if as_json else Lines())
        root.addHandler(handler)
    if logger.level == logging.NOTSET:
        logger.setLevel(level)


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
