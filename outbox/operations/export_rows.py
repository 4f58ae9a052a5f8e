"""The rows and files of an export, table by table: what is stored of an address, and not who else got the same."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from outbox.core.errors import DamagedMessageError
from outbox.delivery.states import Lane
from outbox.message.digest import ERASED, digest, normal_form
from outbox.message.other_recipients import header_without, hidden, without_others
from outbox.operations import person_files
from outbox.operations.erase_others import named
from outbox.operations.erase_text import windows, words_of
from outbox.operations.find import wire
from outbox.operations.person import Budget, deliveries_to, spellings_of
from outbox.operations.person_files import Tables
from outbox.operations.person_items import items_for
from outbox.operations.tables import ATTEMPT, AUDIT, DELIVERY, EVENT, MESSAGE, SUPPRESSION
from outbox.operations.unsubscribing import APPLICATION, Lists, Subscriber
from outbox.store.reading import reading
from outbox.store.sealed_message import given_key

COLUMNS = {
    "deliveries": (
        *("delivery", "file", "text", "environment", "recipient", "sender", "subject", "kind", "category", "priority"),
        *("message_id", "state", "reason", "enqueued", "due", "last_change", "finished", "attempts", "code"),
        *("enhanced_code", "reply", "key", "metadata", "headers", "size"),
    ),
    "attempts": (
        *("delivery", "at", "relay", "phase", "verdict", "code", "enhanced_code", "reply", "relay_id", "seconds"),
        *("counted", "note"),
    ),
    "events": (
        *("delivery", "type", "at", "recorded", "source", "proven", "recipient", "code", "enhanced_code", "reply"),
        "category",
    ),
    "gathered": ("digest", "environment", "recipient", "gathered", "due", "item"),
    "suppressions": ("scope", "reason", "address", "since", "until", "note"),
    "subscriptions": ("list", "title", "subscribed", "held_by"),
    "about": ("message", "file", "text", "environment", "kind", "enqueued", "named_in"),
    "history": ("delivery", "at", "action"),
}
"""The tables, and what each row of them has."""


@dataclass(slots=True)
class Exported:
    """What was written."""

    digest: str  # keyed, of the address: what the audit has
    messages: int = 0  # .eml files of messages to it
    about: int = 0  # .eml files of messages to others that name it
    rows: dict[str, int] = field(default_factory=dict)  # by table
    cut: bool = False  # the time was spent before all was looked at

    @property
    def is_nothing(self) -> bool:
        """Nothing is stored of this address."""
        return not any(count for name, count in self.rows.items() if name != "subscriptions")


class Export:
    """One export, table by table."""

    def __init__(self, engine: sa.Engine, address: str, where: Path, key: bytes, budget: Budget) -> None:
        self.done = Exported(digest(address, key))
        self.budget = budget
        self._engine, self._where = engine, where
        self.spellings = spellings_of(engine, address, self.done.digest)
        self._own = {normal_form(one) for one in self.spellings}
        self._ids: set[int] = set()  # of deliveries to the address
        self._others: dict[int, set[str]] = {}  # by delivery: who else got it, of one portion

    def open(self, stack: ExitStack) -> None:
        """Make the folders and the tables, which `stack` closes."""
        for name in ("", "messages", "about"):
            person_files.folder(self._where / name)
        self.tables = Tables(self._where, COLUMNS, stack)

    def deliveries(self) -> None:
        """Deliveries with their messages, attempts and events."""
        after, ids = 0, [0]
        while ids:
            with reading(self._engine) as connection:
                ids = list(deliveries_to(connection, self.spellings, self.done.digest, after, erased=True))
                self._ids.update(ids)
                after = ids[-1] if ids else after
                self._portion(connection, ids)

    def _portion(self, connection: sa.Connection, ids: list[int]) -> None:
        joined = DELIVERY.join(MESSAGE, DELIVERY.c.message_id == MESSAGE.c.id)
        of_message = [one.label(f"of_{one.name}") for one in MESSAGE.c if one.name not in ("skeleton", "utf8_header")]
        statement = sa.select(DELIVERY, *of_message).select_from(joined).where(DELIVERY.c.id.in_(ids))
        rows = connection.execute(statement.order_by(DELIVERY.c.id)).all()
        recipients = _recipients(connection, {row.message_id for row in rows})
        self._others = {row.id: recipients[row.message_id] - self._own for row in rows}
        for row in rows:
            others = self._others[row.id]
            file = f"messages/{row.id}.eml"
            text = self._write(connection, file, row.message_id, row.of_redacted_at, row.recipient, others)
            self.done.messages += not text
            given = given_key(row.of_key, row.of_options)
            key, reply = (one and hidden(one, others) for one in (given, row.reply))
            headers = [[name, header_without(name, one, self._own, others)] for name, one in row.of_headers]
            self.tables.add(
                "deliveries",
                (
                    *(row.id, None if text else file, text or "in the file", row.of_environment, row.recipient),
                    *(row.of_envelope_from, hidden(row.of_subject, others), row.of_kind, row.of_category),
                    *(Lane.of_rank(row.of_lane).name.lower(), row.of_message_id, row.state, row.reason),
                    *(row.of_created_at, row.due_at, row.updated_at, row.finished_at, row.attempts, row.code),
                    *(row.enhanced, reply, key, _hidden(row.of_metadata, others), headers, row.of_size),
                ),
            )
        self._attempts(connection, ids)

    def _attempts(self, connection: sa.Connection, ids: list[int]) -> None:
        statement = sa.select(ATTEMPT).where(ATTEMPT.c.delivery_id.in_(ids)).order_by(ATTEMPT.c.id)
        for row in connection.execute(statement):
            others = self._others.get(row.delivery_id, set())
            reply, note = hidden(row.reply, others), row.note and hidden(row.note, others)
            self.tables.add(
                "attempts",
                (
                    *(row.delivery_id, row.at, row.transport, row.phase, row.verdict, row.code, row.enhanced, reply),
                    *(row.relay_id, round(row.duration, 3), row.counted, note),
                ),
            )
        self._events(connection, EVENT.c.delivery_id.in_(ids))

    def _events(self, connection: sa.Connection, which: sa.ColumnElement[bool]) -> None:
        for row in connection.execute(sa.select(EVENT).where(which).order_by(EVENT.c.id)):
            others = self._others.get(row.delivery_id, set())
            self.tables.add(
                "events",
                (
                    *(row.delivery_id, row.type, row.at, row.recorded_at, row.source, row.proven, row.recipient),
                    *(row.code, row.enhanced, row.reply and hidden(row.reply, others), row.category),
                ),
            )

    def reported(self) -> None:
        """Events of the address that no delivery has any more, and what suppresses it."""
        with reading(self._engine) as connection:
            mine = EVENT.c.digest == self.done.digest
            there = sa.exists().where(DELIVERY.c.id == EVENT.c.delivery_id)
            self._events(connection, sa.and_(mine, sa.or_(EVENT.c.delivery_id.is_(None), ~there)))
            statement = sa.select(SUPPRESSION).where(SUPPRESSION.c.digest == self.done.digest)
            for row in connection.execute(statement.order_by(SUPPRESSION.c.id)):
                self.tables.add("suppressions", (row.scope, row.reason, row.address, row.since, row.until, row.note))

    def gathered(self) -> None:
        """What waits for the next digests to the address."""
        with reading(self._engine) as connection:
            for row in items_for(connection, self.done.digest):
                self.tables.add("gathered", row)

    def subscriptions(self, lists: Lists, titles: Mapping[str, str]) -> None:
        """All lists, and whether the address is on them."""
        with reading(self._engine) as connection:
            for one in Subscriber(connection, min(self._own), lists, APPLICATION).preferences().of:
                held = None if one.held is None else one.held.value
                self.tables.add("subscriptions", (one.kind, titles.get(one.kind, one.kind), one.on, held))

    def about(self) -> None:
        """Messages to others that name the address."""
        words = words_of(self.spellings)
        for rows in named(self._engine, self.spellings, self.done.digest, budget=self.budget):
            with reading(self._engine) as connection:
                recipients = _recipients(connection, {row.id for row in rows})
                statement = sa.select(MESSAGE.c.id, MESSAGE.c.environment, MESSAGE.c.kind, MESSAGE.c.created_at)
                more = {
                    one.id: one
                    for one in connection.execute(statement.where(MESSAGE.c.id.in_([one.id for one in rows])))
                }
                for row in rows:
                    places = [name for name, value in row.headers if words.envelope.search(value)]
                    said = ("key", given_key(row.key, row.options)), ("metadata", row.metadata)
                    places += [name for name, value in said if words.whole.search(str(value))]
                    places += ["envelope sender"] if words.envelope.search(row.envelope_from) else []
                    file = f"about/{row.id}.eml"
                    others = recipients[row.id] - self._own
                    text = self._write(connection, file, row.id, row.redacted_at, "", others)
                    self.done.about += not text
                    other = more[row.id]
                    self.tables.add(
                        "about",
                        (
                            *(row.id, None if text else file, text or "in the file", other.environment, other.kind),
                            *(other.created_at, ", ".join(dict.fromkeys(places))),
                        ),
                    )

    def history(self) -> None:
        """What people did to these deliveries, without their names."""
        for window in windows(self._engine, AUDIT, self.budget):
            with reading(self._engine) as connection:
                statement = sa.select(AUDIT.c.at, AUDIT.c.action, AUDIT.c.delivery_ids).where(
                    window, AUDIT.c.delivery_ids.is_not(None)
                )
                for row in connection.execute(statement.order_by(AUDIT.c.id)):
                    for id in {int(one) for one in row.delivery_ids.split()} & self._ids:
                        self.tables.add("history", (id, row.at, row.action))

    def _write(
        self,
        connection: sa.Connection,
        name: str,
        message_pk: int,
        redacted_at: Any,
        recipient: str,
        others: set[str],
    ) -> str | None:
        """Why there is no file; None: it was written."""
        if redacted_at is not None or recipient == ERASED:
            return "redacted" if recipient != ERASED else "erased"
        try:
            raw = wire(connection, message_pk, recipient)
        except DamagedMessageError as damage:
            return f"damaged: {damage}"
        with person_files.opened(self._where / name) as file:
            file.write(without_others(raw, self._own, others))
        return None


def _recipients(connection: sa.Connection, message_pks: set[int]) -> dict[int, set[str]]:
    """Of each message all recipients, in their normal form."""
    found: dict[int, set[str]] = {pk: set() for pk in message_pks}
    statement = sa.select(DELIVERY.c.message_id, DELIVERY.c.recipient).where(DELIVERY.c.message_id.in_(message_pks))
    for row in connection.execute(statement):
        found[row.message_id].add(normal_form(row.recipient))
    return found


def _hidden(value: Any, others: set[str]) -> Any:
    if isinstance(value, str):
        return hidden(value, others)
    if isinstance(value, dict):
        return {hidden(name, others): _hidden(one, others) for name, one in value.items()}
    return [_hidden(one, others) for one in value] if isinstance(value, list) else value
