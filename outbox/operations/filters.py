"""What an operator is looking for: one set of filter words for the terminal and the pages."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from outbox.delivery.reported import EventType
from outbox.delivery.retry import Reason
from outbox.delivery.states import Lane, State
from outbox.operations import conditions
from outbox.operations.conditions import Waits
from outbox.operations.tables import DELIVERY, MESSAGE, environments, in_states
from outbox.operations.times import duration
from outbox.store.types import DbNow

NO_KIND = "(none)"
"""The word for messages without a kind."""

_BESIDES = ("environment", "stopped")
"""Fields that choose among what the others find, and find nothing by themselves."""

_STOPPED = Reason.SUPPRESSION.value

_TEXTS = (
    "recipient",
    "domain",
    "kind",
    "error",
    "reason",
    "subject",
    "priority",
    "search",
    "transport",
    "environment",
    "waits",
    "metadata",
    "event",
    "batch",
)


@dataclass(frozen=True, slots=True)
class Filter:
    """All conditions must hold; an empty one always does. Parts of text are found in any case (SQLite: of ASCII)."""

    ids: tuple[int, ...] = ()  # of deliveries
    states: tuple[State, ...] = ()
    recipient: str | None = None  # a whole address (text on both sides of an @), or a part of one
    domain: str | None = None  # the recipient's, whole
    kind: str | None = None  # NO_KIND: of none
    error: str | None = None  # "550", "5.1.1", a reason ("expired"), or a part of the reply's text
    subject: str | None = None  # a part of it
    priority: Lane | None = None
    older_than: timedelta | None = None  # enqueued longer ago than this
    since: timedelta | None = None  # it was attempted or changed within this time
    search: str | None = None  # a whole address or Message-ID; anything else is a part of recipient or subject
    transport: str | None = None  # attempted by this one: its name, "host:port", or a host
    redacted: bool | None = None  # whether the body is gone
    waiting: bool | None = None  # whether it is queued and due later
    environment: str | None = None  # of this one; None: of all
    reason: str | None = None  # why it is in its state, one word ("suppressed")
    waits: Waits | None = None  # for what queued mail waits
    enqueued_from: datetime | None = None  # aware, as the next
    enqueued_until: datetime | None = None
    metadata: str | None = None  # "name=value" of the metadata at enqueue(), or a part of its JSON text
    event: EventType | None = None  # such an event was reported of it
    batch: str | None = None  # of the batch with this name
    stopped: bool | None = None  # whether it ended because its address is suppressed

    @property
    def is_empty(self) -> bool:
        """Whether everything matches, of one environment or of all."""
        asked = (getattr(self, field.name) for field in fields(self) if field.name not in _BESIDES)
        return all(value in (None, (), "") for value in asked)

    def __str__(self) -> str:
        """In the words that the commands and pages take: `state=failed error=5.1.1 since=2h`."""
        return " ".join(f"{name}={_quoted(word)}" for name, word in _words(self))

    @property
    def is_suppressed(self) -> bool:
        """Whether only what MAIL_SUPPRESS_SEND kept back matches."""
        return self.reason == Reason.SUPPRESSED.value

    @property
    def needs_message(self) -> bool:
        """Whether the message's row is looked at, not only the delivery's."""
        if self.search and not conditions.is_whole(self.search):
            return True
        times = (self.older_than, self.enqueued_from, self.enqueued_until)
        if any(one is not None for one in times):
            return True
        return any((self.kind, self.subject, self.metadata, self.redacted is not None))


def indexed(wanted: Filter) -> Filter:
    """The part of `wanted` that is looked up by an index."""
    return Filter(
        ids=wanted.ids,
        states=wanted.states,
        recipient=wanted.recipient if wanted.recipient and conditions.is_whole(wanted.recipient) else None,
        search=wanted.search if wanted.search and conditions.is_whole(wanted.search) else None,
    )


def by_id(wanted: Filter, *, oldest_first: bool = False) -> tuple[sa.ColumnElement[Any], ...]:
    """The order of the ids, newest first by default, such that the index on the state serves where there is one."""
    columns = (DELIVERY.c.state, DELIVERY.c.id) if _along_state(wanted) else (DELIVERY.c.id,)
    return tuple(column.asc() if oldest_first else column.desc() for column in columns)


def in_span(wanted: Filter, lower: int | None, upper: int | None) -> list[sa.ColumnElement[bool]]:
    """Ids from `lower` to below `upper`, such that the index on the state goes from the one to the other."""
    found: list[sa.ColumnElement[bool]] = []
    place = sa.tuple_(DELIVERY.c.state, DELIVERY.c.id)
    for bound, holds in ((lower, operator.ge), (upper, operator.lt)):
        if bound is not None:
            bound = min(bound, conditions.MAX_ID)
            found.append(holds(DELIVERY.c.id, bound))
            if _along_state(wanted):
                found.append(holds(place, sa.tuple_(sa.literal(wanted.states[0].value), bound)))
    return found


def _along_state(wanted: Filter) -> bool:
    """Whether there is one state, and nothing that a better index finds."""
    return len(wanted.states) == 1 and indexed(wanted) == Filter(states=wanted.states)


def clauses(wanted: Filter) -> list[sa.ColumnElement[bool]]:
    """The conditions over `outbox_delivery`, and over `outbox_message` where `wanted.needs_message`."""
    found: list[sa.ColumnElement[bool]] = []
    if wanted.ids:
        found.append(DELIVERY.c.id.in_(conditions.literal(wanted.ids)))
    if wanted.states:
        found.append(in_states(wanted.states))
    if wanted.recipient:
        found.append(conditions.recipient_is(wanted.recipient))
    if wanted.domain:
        found.append(DELIVERY.c.domain.in_(conditions.spellings(wanted.domain)))
    if wanted.kind:
        found.append(
            MESSAGE.c.kind.is_(None) if wanted.kind == NO_KIND else conditions.equal(MESSAGE.c.kind, wanted.kind)
        )
    if wanted.error:
        found.append(conditions.error_is(wanted.error.strip()))
    if wanted.subject:
        found.append(conditions.contains(MESSAGE.c.subject, wanted.subject))
    if wanted.priority is not None:
        found.append(DELIVERY.c.lane.in_([wanted.priority.slot(retry=retry) for retry in (False, True)]))
    if wanted.older_than is not None:
        found.append(MESSAGE.c.created_at <= conditions.ago(wanted.older_than))
    if wanted.since is not None:
        found.append(DELIVERY.c.updated_at >= conditions.ago(wanted.since))
    if wanted.search:
        found.append(conditions.search_is(wanted.search.strip()))
    if wanted.transport:
        found.append(conditions.tried_by(wanted.transport.strip()))
    if wanted.environment is not None:
        found.append(conditions.of_environment(wanted.environment))
    if wanted.reason:
        found.append(conditions.equal(DELIVERY.c.reason, wanted.reason.lower()))
    if wanted.redacted is not None:
        found.append(MESSAGE.c.redacted_at.is_not(None) if wanted.redacted else MESSAGE.c.redacted_at.is_(None))
    if wanted.enqueued_from is not None:
        found.append(MESSAGE.c.created_at >= wanted.enqueued_from)
    if wanted.enqueued_until is not None:
        found.append(MESSAGE.c.created_at <= wanted.enqueued_until)
    if wanted.metadata:
        found.append(conditions.metadata_is(wanted.metadata))
    if wanted.event is not None:
        found.append(conditions.has_event(wanted.event))
    if wanted.stopped is not None:
        reason = sa.func.coalesce(DELIVERY.c.reason, "")
        found.append((reason == _STOPPED) if wanted.stopped else (reason != _STOPPED))
    if wanted.batch:
        found.append(conditions.of_batch(wanted.batch, wanted.environment))
    if wanted.waits is not None:
        found.append(conditions.waits_is(wanted.waits))
    if wanted.waiting is not None:
        later = sa.and_(DELIVERY.c.state == State.QUEUED.value, DELIVERY.c.due_at > DbNow())
        found.append(later if wanted.waiting else sa.not_(later))
    return found


def narrowed(connection: sa.Connection, wanted: Filter) -> Filter:
    """`wanted` without the environment where all messages are of that one: so the indexes serve that serve without."""
    if wanted.environment is None:
        return wanted
    return replace(wanted, environment=None) if environments(connection) == {wanted.environment} else wanted


def _words(wanted: Filter) -> Iterator[tuple[str, str]]:
    if wanted.ids:
        yield "id", ",".join(str(id) for id in wanted.ids)
    if wanted.states:
        yield "state", ",".join(wanted.states)
    for name in _TEXTS:
        if value := getattr(wanted, name):
            yield name, value
    if wanted.since is not None:
        yield "since", duration(wanted.since.total_seconds())
    if wanted.enqueued_from is not None:
        yield "from", f"{wanted.enqueued_from.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    if wanted.enqueued_until is not None:
        yield "until", f"{wanted.enqueued_until.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    if wanted.older_than is not None:
        yield "older-than", duration(wanted.older_than.total_seconds())


def _quoted(word: str) -> str:
    return word if word and not any(char.isspace() or char in "\"'" for char in word) else repr(word)
