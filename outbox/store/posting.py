"""How a composed message is to be queued, and what its rows say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from outbox.delivery.states import Lane, OnUncertain
from outbox.delivery.throttle import Throttle
from outbox.message.digest import digest
from outbox.message.keyring import DataKey, Keyring
from outbox.message.sealed import kept_clear, seal
from outbox.message.values import Composed
from outbox.store.sealed_message import sealed_message

HELD = datetime(9998, 12, 31, tzinfo=UTC)
"""When deliveries are due that wait for the canary of their batch: no claim sees them until they are released."""


@dataclass(frozen=True, slots=True)
class Limit:
    """How a new message depends on those of its kind that its recipient got before."""

    throttle: Throttle | None = None
    replaces: bool = False  # it takes the place of those that are still queued


@dataclass(frozen=True, slots=True)
class Posting:
    """How a composed message is to be queued."""

    environment: str = ""
    key: str | None = None  # idempotency: the same key in the same environment yields the same message
    kind: str | None = None
    category: str | None = None  # of the kind
    address_key: bytes = b""  # of `message.digest`
    lane: Lane = Lane.NORMAL
    send_at: datetime | None = None  # aware; None: at once
    expires_at: datetime | None = None  # aware
    max_age: float | None = None  # seconds after it is due; counts where `expires_at` is None
    on_uncertain: OnUncertain = OnUncertain.RETRY
    metadata: dict[str, Any] | None = None
    guard: Any = None  # a condition that must hold when it is sent: an expression, then as `guards.stored` has it
    tags: tuple[str, ...] = ()  # words, and named values: "campaign=spring"
    limit: Limit | None = None  # of a message with a kind and one recipient
    route: Callable[[str, str], str] | None = None  # of the envelope's sender and a recipient's domain; None: any
    batch: int | None = None  # the id of the batch that it belongs to
    held: bool = False  # until the batch's canary has ended well
    wake: bool = False  # let the commit wake a worker, where the database can
    trace: Mapping[str, str] | None = None  # the span that it is enqueued in: `tracing.carrier`
    keyring: Keyring | None = None  # what is stored of it is sealed
    data_key: DataKey | None = None  # with this: `sealing`
    clear_key: str | None = None  # as the application gave it, where `key` is its hash
    also_key: str | None = None  # the other form of `key`: which one is stored may have been decided otherwise


def message_values(composed: Composed, posting: Posting) -> dict[str, Any]:
    options: dict[str, Any] = {
        name: list(given) for name, given in (("mail", composed.mail_options), ("rcpt", composed.rcpt_options)) if given
    }
    if composed.content is not None:
        options["content"] = [composed.content]  # `check_same` compares it
    if posting.tags:
        options["tags"] = list(posting.tags)
    if posting.guard is not None:
        options["guard"] = posting.guard
    if composed.copy_to is not None:
        options["copy"] = [composed.copy_to]
    if posting.trace is not None:
        options["trace"] = dict(posting.trace)
    if composed.dated:
        options["date"] = ["given"]  # `operations.send_now` leaves it as it is
    values = {
        "message_id": composed.message_id,
        "environment": posting.environment,
        "key": posting.key,
        "kind": posting.kind,
        "category": posting.category,
        "lane": posting.lane.rank,
        "envelope_from": composed.envelope_from,
        "subject": composed.subject if posting.data_key is not None else kept_clear(composed.subject)[:998],
        "headers": [list(header) for header in composed.headers],
        "skeleton": composed.skeleton,
        "size": composed.size,
        "smtputf8": composed.smtputf8,
        "utf8_header": None if composed.utf8 is None else asdict(composed.utf8),
        "options": options or None,
        "on_uncertain": posting.on_uncertain.value,
        "metadata": posting.metadata,
        **_expiry(posting),
    }
    if posting.data_key is not None:
        values |= sealed_message(values, composed.recipients, posting.clear_key, posting.data_key)
    return values


def sealing(posting: Posting) -> Posting:
    """`posting` with a key of its own for one message, where that is to be sealed."""
    return posting if posting.keyring is None else replace(posting, data_key=posting.keyring.new())


def _expiry(posting: Posting) -> dict[str, Any]:
    if posting.expires_at is not None or posting.max_age is None:
        return {"expires_at": posting.expires_at}
    if posting.send_at is None:
        return {"max_age": posting.max_age}
    return {"expires_at": posting.send_at + timedelta(seconds=posting.max_age)}


def delivery_values(pk: int, composed: Composed, posting: Posting) -> list[dict[str, Any]]:
    """For `add_deliveries`: one for each recipient of the message with the primary key `pk`."""
    common: dict[str, Any] = {"message_id": pk, "lane": posting.lane.slot(retry=False)}
    if posting.held:
        common["due_at"] = HELD
    elif posting.send_at is not None:
        common["due_at"] = posting.send_at
    if posting.batch is not None:
        common["batch_id"] = posting.batch
    return [common | of_recipient(address, composed, posting) for address in composed.recipients]


def of_recipient(address: str, composed: Composed, posting: Posting) -> dict[str, Any]:
    """What a delivery has of its own."""
    key = posting.data_key
    values = {
        "recipient": address if key is None else seal(address, "recipient", key),
        "domain": address.rpartition("@")[2],
        "digest": digest(address, posting.address_key),
    }
    if posting.route is not None:
        values["route"] = posting.route(composed.envelope_from, values["domain"])
    return values
