"""What is likely wrong with a message, in the log of an application in development (`app.debug`), each once."""

from __future__ import annotations

from flask import Flask

from outbox.core.loggers import get_logger
from outbox.message.lint import of_message
from outbox.message.values import Composed

logger = get_logger("outbox.lint")


class Remarks:
    """Those of one application: each check speaks once of each kind, or of each subject where there is no kind."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._made: set[tuple[str, str]] = set()

    def look(self, composed: Composed, kind: str | None) -> None:
        """Log what is likely wrong with `composed`; never in production, and never an error."""
        if not self._app.debug:
            return
        about = kind or composed.subject
        try:
            found = of_message(composed.skeleton, composed.recipients)
        except Exception:  # advice must not keep a message from being enqueued
            logger.debug("a message could not be checked", exc_info=True)
            return
        for one in found:
            if (one.check, about) not in self._made:
                self._made.add((one.check, about))
                logger.warning("message %r: %s", about, one)
