"""`mail.digest`, `mail.gather`: what happens to a recipient within some minutes, told in one message."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import flask_mail
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.orm import Session

from outbox.core.errors import ConfigurationError, MessageError
from outbox.delivery.happened import DigestDue
from outbox.extension.options import label
from outbox.extension.state import Bound, bound_to
from outbox.message.addresses import mailbox_of
from outbox.store import digests as store
from outbox.store.enqueue import write_connection
from outbox.store.transactions import writing_mail

LONGEST_ITEM = 16 * 1024
"""Characters of JSON."""

_LONGEST_NAME = 64
_REMEDY = "Give texts, numbers, truth values, None, lists and dictionaries: ids of your rows, best."


@dataclass(frozen=True, slots=True)
class Gathered:
    """What a digest's function gets."""

    recipient: str
    items: list[Any]
    """As they were given to `gather`, the oldest first; `limit` of them at most."""
    omitted: int
    """How many more there were."""
    since: datetime
    """When the first was gathered."""


Render = Callable[[Gathered], flask_mail.Message | None]
R = TypeVar("R", bound=Render)


@dataclass(frozen=True, slots=True)
class Digest:
    """One that is defined."""

    name: str
    render: Render
    window: float  # seconds
    limit: int
    kind: str | None


class Digests:
    """Those of one `Outbox`, by name."""

    def __init__(self) -> None:
        self._by_name: dict[str, Digest] = {}

    def __iter__(self) -> Iterator[Digest]:
        return iter(self._by_name.values())

    def get(self, name: str) -> Digest | None:
        """The one with this name."""
        return self._by_name.get(name)

    def define(self, made: Digest) -> None:
        """Raises ConfigurationError with all faults."""
        faults = []
        if not made.name or len(made.name) > _LONGEST_NAME or not made.name.isprintable():
            faults.append(f"its name is not a text of up to {_LONGEST_NAME} characters.")
        if made.name in self._by_name:
            faults.append("there is one of this name already. Define each once, at the top of its module.")
        if inspect.iscoroutinefunction(made.render):
            faults.append("its function is a coroutine function. Write it with `def`.")
        if not 0 < made.window <= 31 * 86_400:
            faults.append(f"window={made.window!r} is not a number of seconds above 0 and up to 31 days.")
        if made.limit < 1:
            faults.append(f"limit={made.limit!r} is below 1.")
        if faults:
            raise ConfigurationError([f"the digest {made.name!r}: {fault}" for fault in faults])
        self._by_name[made.name] = made


class Gathering:
    """What an `Outbox` has of this."""

    _bound: Callable[..., Bound]

    def __init__(self, app: Flask | None = None) -> None:
        self.digests = Digests()
        super().__init__(app)  # type: ignore[call-arg]  # Flask-Mail's

    def digest(self, name: str, *, window: float, limit: int = 50, kind: str | None = None) -> Callable[[R], R]:
        """Have `function(gathered)` make one message of what `gather` was given within `window` seconds. A decorator.

        A worker calls it in an app context, `window` seconds after the first item for a recipient. It returns a
        message, to `gathered.recipient` where it names no recipient, or None to send nothing. `limit`: items that it
        gets at most; `gathered.omitted` says how many more there were. `kind`: of the message. One that raises, or
        takes longer than OUTBOX_HANDLER_SECONDS, is called again later. Raises ConfigurationError.
        """

        def registered(function: R) -> R:
            self.digests.define(Digest(name, function, float(window), int(limit), kind))
            return function

        return registered

    def gather(self, name: str, to: str | tuple[str, str], item: Any, session: Any = None) -> None:
        """Add `item` to the next digest `name` for `to`, in the caller's transaction: rolled back, it never was.

        `item`: what JSON can hold, up to 16 K characters. Raises MessageError.
        """
        bound = self._bound()
        made = self.digests.get(name)
        if label("digest", name, _LONGEST_NAME) is None or made is None:
            known = ", ".join(sorted(one.name for one in self.digests)) or "none"
            raise MessageError("digest", f"{name!r} is not defined", f"Define it with @mail.digest. Defined: {known}.")
        recipient = mailbox_of(to, "to").envelope
        kept = _kept(item)
        with bound.writing(session) as (current, _):
            connection = write_connection(current)
            with writing_mail(connection):
                store.add(
                    *(connection, bound.settings.environment, name, recipient, kept),
                    window=made.window,
                    address_key=bound.settings.address_digest_key,
                )


def make(app: Flask, digests: Digests, connection: sa.Connection, due: DigestDue) -> None:
    """Make the message of one digest in the transaction of `connection`, which removes its items. For workers."""
    made = digests.get(due.name)
    if made is None:
        raise LookupError(f"there is no digest {due.name!r} any more")
    with app.app_context(), Session(connection, join_transaction_mode="create_savepoint") as session:
        taken = store.take(session.connection(), due, made.limit)
        if taken is None:
            return
        message = made.render(Gathered(due.recipient, taken.items, taken.omitted, taken.since))
        if message is not None:
            if not message.send_to:
                message.recipients = [due.recipient]
            bound_to(app).enqueue(message, session, kind=made.kind)
        session.commit()


def _kept(item: Any) -> Any:
    try:
        text = json.dumps(item, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as problem:
        raise MessageError("item", f"cannot be written as JSON ({problem})", _REMEDY) from None
    if len(text) > LONGEST_ITEM or "\\u0000" in text:
        raise MessageError("item", f"has {len(text):,} characters as JSON, or a NUL", f"At most {LONGEST_ITEM:,}.")
    return json.loads(text)
