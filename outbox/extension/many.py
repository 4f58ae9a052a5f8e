"""Many messages at once: composed one by one, then written in a few statements."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol, cast

import flask_mail
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.orm import Session

from outbox.core.errors import MessageError
from outbox.extension import uncommitted
from outbox.extension.hooks import Hook, prepared
from outbox.extension.kinds import Kinds
from outbox.extension.options import EnqueueOptions, check_names, posting
from outbox.message.values import Composed
from outbox.settings import Settings
from outbox.settings.kinds import Policy
from outbox.store.enqueue import guarded, write_connection
from outbox.store.enqueue_many import Queued, enqueue_many
from outbox.store.posting import Posting

Given = flask_mail.Message | tuple[flask_mail.Message, Mapping[str, Any]]
"""A message, and options of its own."""

Refused = Callable[[int, MessageError], None]
"""Called with the number of a message in its list, from 0, and why it can't be enqueued."""


class Binding(Protocol):
    """What is needed of the outbox of an application."""

    app: Flask
    settings: Settings
    kinds: Kinds
    hooks: Sequence[Hook]

    def composed(
        self,
        message: flask_mail.Message,
        now: datetime,
        posted: Posting,
        options: EnqueueOptions,
        policy: Policy | None,
    ) -> Composed: ...

    def _commits_at_once(self, connection: sa.Connection) -> bool: ...

    def _dispatched(self, one: Prepared, now: datetime, *, committed: bool) -> None: ...


@dataclass(frozen=True, slots=True)
class Prepared:
    """One message that is composed, and not written yet."""

    given: flask_mail.Message
    sent: flask_mail.Message  # a copy of it, where hooks have changed it
    composed: Composed
    posted: Posting


def prepare(
    bound: Binding,
    messages: Iterable[Given],
    options: Mapping[str, Any],
    now: datetime,
    *,
    wake: bool,
    refused: Refused | None = None,
) -> list[Prepared]:
    """Compose all. `refused`: called for those that can't be, which are left out; None: the first raises."""
    strict = bound.settings.kinds_strict
    policy = bound.kinds.policy(options.get("kind"), strict=strict)
    common = posting(bound.settings, cast(EnqueueOptions, options), policy)
    made: list[Prepared] = []
    for number, one in enumerate(messages):
        message, own = one if isinstance(one, tuple) else (one, None)
        given = message
        check_names(own or {}, EnqueueOptions, "enqueue")
        merged = cast(EnqueueOptions, {**options, **(own or {})})
        try:
            if bound.hooks:
                message, merged = prepared(bound.hooks, message, merged)
            varied = bool(own or bound.hooks)
            own_policy = bound.kinds.policy(merged.get("kind"), strict=strict) if varied else policy
            posted = posting(bound.settings, merged, own_policy) if varied else common
            composed = bound.composed(message, now, posted, merged, own_policy)
        except MessageError as error:
            if refused is None:
                error.add_note(f"It is message {number + 1} of those for enqueue_many.")
                raise
            refused(number, error)
            continue
        made.append(Prepared(given, message, composed, replace(posted, wake=True) if wake and not made else posted))
    return made


def write(bound: Binding, session: Session, items: Sequence[Prepared], now: datetime, *, own: bool) -> list[Queued]:
    """Write all in the session's transaction. `own`: it is one of ours, which is committed at once."""
    connection = write_connection(session)
    pairs = [(one.composed, guarded(connection, one.posted)) for one in items]
    queued = enqueue_many(session, pairs)
    new = [one for one, result in zip(items, queued, strict=True) if result.is_new]
    if not own and new:
        own = bound._commits_at_once(connection)
        if not own:
            uncommitted.watch(session, *(told(one.composed, one.posted) for one in new), app=bound.app)
    for one in new:
        bound._dispatched(one, now, committed=own)
    return queued


def told(composed: Composed, posted: Posting) -> tuple[str, int, str | None]:
    """What is said of a message in the log and in signals."""
    return composed.message_id, len(composed.recipients), posted.kind
