"""Samples of an application's mail, by kind: registered by `kind.preview`, made into messages by `previews`."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeVar

import flask_mail

from outbox.core.errors import ConfigurationError
from outbox.extension.locales import tag_of
from outbox.store.models import OutboxMessage

S = TypeVar("S", bound=Callable[..., Any])

_LONGEST = 100  # characters of a name


@dataclass(frozen=True, slots=True)
class Sample:
    """A function that makes one message of a kind, with made-up people and values."""

    kind: str
    name: str
    function: Callable[..., Any]
    locales: tuple[str, ...] = ()  # language tags; empty: those that the application has
    file: str | None = None  # where the function is written
    written: int = 0  # when that file was changed last before it was imported, nanoseconds

    @property
    def id(self) -> str:
        """In addresses and file names: kind/name, of letters, digits and hyphens."""
        return f"{_slug(self.kind)}/{_slug(self.name)}"

    @property
    def takes_locale(self) -> bool:
        """Whether the function has a parameter `locale`."""
        return "locale" in inspect.signature(self.function).parameters

    def __str__(self) -> str:
        return f"{self.kind}: {self.name}"


class Samples:
    """Those of one `Outbox`, by kind and in the order in which they were registered."""

    def __init__(self) -> None:
        self._by_id: dict[str, Sample] = {}

    def __iter__(self) -> Iterator[Sample]:
        return iter(sorted(self._by_id.values(), key=lambda one: one.kind))

    def get(self, id: str) -> Sample | None:
        """The sample with this `Sample.id`."""
        return self._by_id.get(id)

    def register(self, kind: str, function: S, name: str | None, locales: Iterable[str]) -> S:
        """Raises ConfigurationError with all faults."""
        named = (getattr(function, "__name__", "") if name is None else str(name)).strip().replace("_", " ").strip()
        tags = tuple(tag for one in ([locales] if isinstance(locales, str) else locales) if (tag := tag_of(one)))
        file = getattr(getattr(function, "__code__", None), "co_filename", None)
        made = Sample(kind, named, function, tags, file, _changed(file))
        if faults := list(self._faults(made)):
            raise ConfigurationError(faults)
        self._by_id[made.id] = made
        return function

    def _faults(self, made: Sample) -> Iterator[str]:
        about = f"a sample of the kind {made.kind!r}"
        if not _slug(made.name) or len(made.name) > _LONGEST:
            yield f"{about} is named {made.name[:_LONGEST]!r}: use words of at most {_LONGEST} characters."
        elif made.id in self._by_id:
            yield (
                f"{about} named {made.name!r} exists already ({self._by_id[made.id]}). Give each a name of its own: "
                '@kind.preview("long name").'
            )
        if made.locales and not made.takes_locale:
            yield (
                f"{about}, {made.name!r}, has locales, and its function takes none. Write it as def sample(locale): "
                "and hand that on to send_email or compose_email."
            )


@dataclass(slots=True)
class Taken:
    """What a sample's function enqueues while it makes the sample: kept here, and written nowhere."""

    messages: list[tuple[flask_mail.Message, dict[str, Any]]] = field(default_factory=list)

    def take(self, message: flask_mail.Message, options: Any) -> OutboxMessage:
        """In place of enqueueing it. Returns a row that is in no session."""
        self.messages.append((message, dict(options)))
        return OutboxMessage(message_id=message.msgId, kind=options.get("kind"))


TAKING: ContextVar[Taken | None] = ContextVar("outbox_taking", default=None)
"""Where messages go in a sample's function; None everywhere else."""


def _slug(text: str) -> str:
    return re.sub(r"[\W_]+", "-", text.lower()).strip("-")


def _changed(file: str | None) -> int:
    try:
        return os.stat(file or "").st_mtime_ns
    except OSError:
        return 0
