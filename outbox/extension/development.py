"""What is likely wrong with a message, in the log of an application in development (`app.debug`), each once.

Also in production: that a message of a list has no way to leave it, since mail servers refuse who sends such.
"""

from __future__ import annotations

import re

from flask import Flask

from outbox.core.loggers import get_logger
from outbox.message.lint import of_message
from outbox.message.values import Composed

logger = get_logger("outbox.lint")

_HEADER = re.compile(rb"^list-unsubscribe[ \t]*:", re.IGNORECASE | re.MULTILINE)


class Remarks:
    """Those of one application: each check speaks once of each kind, or of each subject where there is no kind."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._made: set[tuple[str, str]] = set()

    def look(self, composed: Composed, kind: str | None, *, can_be_left: bool = False) -> None:
        """Log what is likely wrong with `composed`; never an error. `can_be_left`: it must say how to unsubscribe."""
        if can_be_left and not _HEADER.search(composed.skeleton.partition(b"\r\n\r\n")[0]):
            self._say(
                "unsubscribe",
                kind or "",
                "it has no List-Unsubscribe, since it was given as bytes, which are sent as they are. Put the headers "
                "into them: docs/unsubscribe.md.",
            )
        if not self._app.debug:
            return
        about = kind or composed.subject
        try:
            found = of_message(composed.skeleton, composed.recipients)
        except Exception:  # advice must not keep a message from being enqueued
            logger.debug("a message could not be checked", exc_info=True)
            return
        for one in found:
            self._say(one.check, about, one)

    def _say(self, check: str, about: str, words: object) -> None:
        if (check, about) not in self._made:
            self._made.add((check, about))
            logger.warning("message %r: %s", about, words)
