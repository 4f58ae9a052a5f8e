"""Send a sent message again: a new one with the same content, which refers to the old."""

from __future__ import annotations

import uuid
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from outbox.delivery.states import Lane, State
from outbox.message.digest import ERASED
from outbox.message.downgrade import forms
from outbox.message.header_encoding import fold, split_fields
from outbox.message.header_section import date_value
from outbox.message.sealed import like
from outbox.operations import audit
from outbox.operations.conditions import MAX_ID
from outbox.operations.tables import DELIVERY, MESSAGE, PART
from outbox.store.enqueue import tell
from outbox.store.messages import utf8_from
from outbox.store.models import new_id
from outbox.store.sealed_message import like_before
from outbox.store.types import DbNow

ACTION = "send-again"

REPEATABLE = (State.SENT,)
"""States in which the old message is at its end, and requeueing is not for it."""

_OF_DELIVERY = ("recipient", "domain", "digest", "route")
_COPIED = ("kind", "category", "lane", "envelope_from", "subject", "on_uncertain", "metadata", "environment")


def send_again(
    connection: sa.Connection,
    id: int,
    *,
    by: str,
    note: str | None = None,
    environment: str | None = None,
    wake: bool = True,
) -> int:
    """Enqueue the message of the delivery `id` again, to its recipient alone; the new delivery's id.

    It gets a Message-ID and a Date of its own, and the old Message-ID in References; it has no key and no expiry date.
    `environment`: only one of this environment. Raises ValueError where it can't be done.
    """
    row = connection.execute(_look(id)).first()
    if row is None:
        raise ValueError(f"there is no delivery {id}: it was purged, or the ID is mistyped")
    if environment is not None and row.environment != environment:
        raise ValueError(f"the message belongs to the environment {row.environment!r}, not to {environment!r}")
    if State(row.state) not in REPEATABLE:
        raise ValueError(f"a message that is {row.state} can't be sent again, only one that was sent")
    if row.recipient == ERASED:
        raise ValueError("its recipient was erased (outbox-erase)")
    if row.redacted_at is not None:
        raise ValueError("what it said was redacted, so there is nothing left to send")
    now = connection.execute(sa.select(DbNow())).scalar_one()
    message_id = f"<{uuid.uuid4().hex}@{_domain(row.message_id_header)}>"
    renewed = {"Message-ID": message_id, "Date": date_value(now)}
    whole = bytes(row.skeleton)
    if row.utf8_header is not None:  # the only form in which all addresses can be read
        whole = utf8_from(row.utf8_header).in_place(whole)
    whole, references = _renewed(whole, renewed, row.message_id_header)
    skeleton, utf8, smtputf8 = forms(whole, [row.recipient])
    longer = len(skeleton) - len(row.skeleton)
    values = {name: getattr(row, name) for name in _COPIED} | {
        "message_id": message_id,
        "headers": _headers(row.headers, renewed | {"References": references}),
        "skeleton": skeleton,
        "size": row.size + longer,
        "smtputf8": smtputf8,
        "utf8_header": None if utf8 is None else asdict(utf8),
        "options": {name: value for name, value in (row.options or {}).items() if name != "date"} or None,
        "created_at": now,
    }
    values |= {"envelope_from": like(row.envelope_from, row.envelope_from, "envelope_from")}
    pk = new_id(connection.execute(MESSAGE.insert().values(like_before(row.subject, values))))
    _copy_parts(connection, row.message_pk, pk, longer)
    delivery = {"message_id": pk, "state": State.QUEUED.value} | {name: getattr(row, name) for name in _OF_DELIVERY}
    delivery["recipient"] = like(row.recipient, row.recipient, "recipient")
    slot = Lane.of_rank(row.lane).slot(retry=False)
    row_of = DELIVERY.insert().values(**delivery, lane=slot, due_at=DbNow(), updated_at=DbNow())
    made = new_id(connection.execute(row_of))
    audit.write(connection, ACTION, by=by, count=1, filters=f"{id} → {made}", note=note, delivery_ids=[id, made])
    if wake:
        tell(connection)
    return made


def _look(id: int) -> sa.Select[Any]:
    columns = [MESSAGE.c[name] for name in (*_COPIED, "headers", "skeleton", "size", "utf8_header", "options")]
    return (
        sa.select(
            *columns,
            MESSAGE.c.id.label("message_pk"),
            MESSAGE.c.message_id.label("message_id_header"),
            MESSAGE.c.redacted_at,
            *(DELIVERY.c[name] for name in _OF_DELIVERY),
            DELIVERY.c.state,
        )
        .select_from(DELIVERY.join(MESSAGE, DELIVERY.c.message_id == MESSAGE.c.id))
        .where(DELIVERY.c.id == min(id, MAX_ID))
    )


def _renewed(whole: bytes, renewed: dict[str, str], old: str) -> tuple[bytes, str]:
    """`whole` with these fields, and with the old Message-ID as the last of its References; their value."""
    head, blank, body = whole.partition(b"\r\n\r\n")
    fields = split_fields(head)
    names = [field.partition(b":")[0].strip().lower() for field in fields]
    before = [
        " ".join(field.partition(b":")[2].decode("ascii", "replace").split())
        for name, field in zip(names, fields, strict=True)
        if name == b"references"
    ]
    references = " ".join([*before, old])
    kept: list[bytes] = []
    for name, field in zip(names, fields, strict=True):
        label = next((one for one in renewed if one.lower().encode() == name), None)
        if label is not None:
            kept.append(f"{label}: {renewed[label]}".encode("ascii"))
            if label == "Message-ID":
                kept.append(fold("References", references).removesuffix(b"\r\n"))
        elif name != b"references":
            kept.append(field)
    return b"\r\n".join(kept) + blank + body, references


def _headers(headers: list[list[str]], values: dict[str, str]) -> list[list[str]]:
    lower = {name.lower(): value for name, value in values.items()}
    found = [[name, lower.get(name.lower(), value)] for name, value in headers if name.lower() != "references"]
    at = next((place for place, (name, _) in enumerate(found) if name.lower() == "message-id"), len(found) - 1)
    return [*found[: at + 1], ["References", values["References"]], *found[at + 1 :]]


def _copy_parts(connection: sa.Connection, old: int, new: int, longer: int) -> None:
    columns = sa.literal(new), PART.c.position, PART.c.skeleton_offset + longer, PART.c.digest
    names = ["message_id", "position", "skeleton_offset", "digest"]
    connection.execute(PART.insert().from_select(names, sa.select(*columns).where(PART.c.message_id == old)))


def _domain(message_id: str) -> str:
    return message_id.strip("<>").rpartition("@")[2] or "localhost"
