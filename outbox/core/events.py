"""Named events out: one line in the log for each, the message's id first; observers never break delivery."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import field
from enum import StrEnum
from typing import Any

from outbox.core.loggers import get_logger
from outbox.core.value import value

logger = get_logger()


class EventName(StrEnum):
    """What can happen, as a log line's `status`."""

    QUEUED = "queued"  # committed by the application
    SENT = "sent"
    RETRIED = "retried"  # an attempt that counted; due again
    RELEASED = "released"  # due again at no cost
    FAILED = "failed"
    UNCERTAIN = "uncertain"
    CANCELLED = "cancelled"  # by its guard, or a hook, when it was to be sent
    RESCUED = "rescued"
    UNSERVED = "unserved"  # due mail that this worker does not send: another environment, an unknown transport
    LOST_LEASE = "lost-lease"
    TAKEN_BACK = "taken-back"  # failures that turned out to be the account's or the relay's
    SCOPE_PAUSED = "scope-paused"
    SCOPE_RELEASED = "scope-released"
    TRANSPORT_DOWN = "transport-down"
    TRANSPORT_UP = "transport-up"
    WORKER_STARTED = "worker-started"
    WORKER_STOPPING = "worker-stopping"
    WORKER_STOPPED = "worker-stopped"
    WORKER_FAULT = "worker-fault"


_LEVELS = {
    EventName.RETRIED: logging.WARNING,
    EventName.FAILED: logging.ERROR,
    EventName.UNCERTAIN: logging.ERROR,
    EventName.RESCUED: logging.WARNING,
    EventName.UNSERVED: logging.ERROR,
    EventName.LOST_LEASE: logging.WARNING,
    EventName.TAKEN_BACK: logging.WARNING,
    EventName.SCOPE_PAUSED: logging.WARNING,
    EventName.TRANSPORT_DOWN: logging.ERROR,
    EventName.WORKER_FAULT: logging.ERROR,
}  # the others: INFO


@value(frozen=True, slots=True)
class Event:
    """Something that happened, with the facts of it (never a body, never a secret)."""

    name: EventName
    message_id: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    def line(self) -> str:
        """One greppable line, as in `<id@host> status=sent delivery=7 to=<a@b.c> …`."""
        facts = [f" {name}={_quoted(value)}" for name, value in self.facts.items() if value not in (None, "")]
        return f"{self.message_id or '-'} status={self.name}{''.join(facts)}"

    def fields(self) -> dict[str, Any]:
        """The same for machines, message first."""
        facts = {name: value for name, value in self.facts.items() if value not in (None, "")}
        return {"message_id": self.message_id, "status": self.name, **facts}

    def __str__(self) -> str:
        return self.line()


class Events:
    """Where events go: the log, and the observers."""

    def __init__(self) -> None:
        self._observers: list[Callable[[Event], None]] = [_log]

    def observe(self, observer: Callable[[Event], None]) -> None:
        """Call `observer` with each event from now on; what it raises is logged and otherwise ignored."""
        self._observers.append(observer)

    def emit(self, name: EventName, message_id: str | None = None, **facts: Any) -> None:
        """Log an event and notify all observers."""
        event = Event(name, message_id, facts)
        for observer in self._observers:
            try:
                observer(event)
            except Exception:
                logger.exception("an observer of outbox events failed on %s", name)


def _log(event: Event) -> None:
    # the event itself: a handler for machines finds its fields
    logger.tell(_LEVELS.get(event.name, logging.INFO), event)


_PLAIN = re.compile("[!#-&(-<>-~]+")  # ASCII, without spaces, quotes, and the equals sign
_AMBIGUOUS = re.compile("[ \"'=]")


def _quoted(value: Any) -> str:
    if value.__class__ is not str:  # the others are few
        if isinstance(value, int):
            return str(value)
        value = f"{value:.3f}" if isinstance(value, float) else str(value)
    text: str = value
    if _PLAIN.fullmatch(text) or (text.isprintable() and not _AMBIGUOUS.search(text)):
        return text
    escaped = text.encode("unicode_escape").decode("ascii").replace('"', '\\"')
    return f'"{escaped}"'


def first_line(error: BaseException) -> str:
    """What a log line says of an error: its first line, or its type where it has no words."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
