"""Send a mail to another address than it was written to, because that one was wrong."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from outbox.delivery.states import State
from outbox.message.addresses import Mailbox, parse
from outbox.message.correct_address import readdress
from outbox.message.digest import ERASED, digest
from outbox.message.downgrade import forms
from outbox.message.sealed import Opened, Unreadable, like
from outbox.operations import audit
from outbox.operations.conditions import MAX_ID
from outbox.operations.tables import DELIVERY, MESSAGE, PART
from outbox.operations.transitions import let_live, requeued
from outbox.store.messages import utf8_from
from outbox.store.sealed_message import like_before

CORRECTABLE = (State.QUEUED, State.FAILED, State.CANCELLED)
"""States in which the old address certainly did not get it, and no worker is about to send it there."""


def correct_recipient(
    connection: sa.Connection,
    id: int,
    address: str,
    *,
    by: str,
    sensitive_kinds: Collection[str],
    address_key: bytes,
    note: str | None = None,
    environment: str | None = None,
) -> str:
    """Give the delivery `id` another recipient and requeue it; its envelope address. Only of `environment`, if given.

    It shows the message to the new address, so a face must ask for the right to read bodies. Of `sensitive_kinds`
    (OUTBOX_SENSITIVE_KINDS) nothing is corrected: whoever may do that could send any password reset to themselves.

    If the message goes to nobody else, its To or Cc is corrected as well. A message to several stays as the others got
    it: there only the envelope changes. Raises AddressError for what is no address, ValueError where it can't be done,
    MessageError where the corrected field would be too long.
    """
    new = parse(address, "recipient")
    row = connection.execute(_look(id)).first()
    if row is None:
        raise ValueError(f"there is no delivery {id}: it was purged, or the ID is mistyped")
    siblings = _siblings(connection, row)
    if environment is not None and row.environment != environment:
        raise ValueError(f"the message belongs to the environment {row.environment!r}, not to {environment!r}")
    _check(row, new, siblings, sensitive_kinds)
    changed = connection.execute(
        DELIVERY.update()
        .where(
            DELIVERY.c.id == row.id,
            DELIVERY.c.digest == row.digest
            if isinstance(row.recipient, Opened)
            else DELIVERY.c.recipient == row.recipient,
            DELIVERY.c.state.in_([state.value for state in CORRECTABLE]),
            DELIVERY.c.marked_at.is_(None),
        )
        .values(
            recipient=like(row.recipient, new.envelope, "recipient"),
            domain=new.domain.lower(),
            digest=digest(new.envelope, address_key),
            **(requeued() | {"unsuppressed": False}),
            code=None,
            enhanced=None,
            reply=None,
        )
    ).rowcount
    if not changed:
        raise ValueError("it was changed in the meantime, or a worker has claimed it; look at it again")
    if not siblings:
        _rewrite(connection, row, new)
    let_live(connection, {row.message_id})
    audit.write(
        connection,
        "edit-recipient",
        by=by,
        count=1,
        filters=f"{row.recipient} → {new.envelope}",
        note=note,
        delivery_ids=[row.id],
    )
    return new.envelope


def _look(id: int) -> sa.Select[Any]:
    columns = (MESSAGE.c.skeleton, MESSAGE.c.size, MESSAGE.c.headers, MESSAGE.c.utf8_header, MESSAGE.c.redacted_at)
    return (
        sa.select(
            DELIVERY.c.id,
            DELIVERY.c.message_id,
            DELIVERY.c.recipient,
            DELIVERY.c.digest,
            DELIVERY.c.state,
            DELIVERY.c.marked_at,
            MESSAGE.c.subject,
            MESSAGE.c.environment,
            MESSAGE.c.kind,
            *columns,
        )
        .select_from(DELIVERY.join(MESSAGE, DELIVERY.c.message_id == MESSAGE.c.id))
        .where(DELIVERY.c.id == min(id, MAX_ID))
    )


def _siblings(connection: sa.Connection, row: Any) -> set[str]:
    """The message's other recipients."""
    others = sa.select(DELIVERY.c.recipient).where(DELIVERY.c.message_id == row.message_id, DELIVERY.c.id != row.id)
    return set(connection.execute(others).scalars())


def _check(row: Any, new: Mailbox, siblings: set[str], sensitive_kinds: Collection[str]) -> None:
    if row.recipient == ERASED:
        raise ValueError("its recipient was erased (outbox-erase), and with it what the message was about")
    if isinstance(row.recipient, Unreadable):
        raise ValueError(f"it can't be read: {row.recipient.why}")
    if row.kind in sensitive_kinds:
        raise ValueError(
            f"mail of the kind {row.kind!r} is sensitive (by its definition or OUTBOX_SENSITIVE_KINDS), so its "
            "recipient can't be corrected: cancel it, and have the application send a new one"
        )
    if State(row.state) not in CORRECTABLE:
        raise ValueError(f"the recipient of mail that is {row.state} can't be corrected")
    if row.marked_at is not None:
        raise ValueError("the relay may have the message for the old address already: wait until it is uncertain")
    if row.redacted_at is not None:
        raise ValueError("what it said was redacted, so there is nothing left to send")
    if new.envelope == row.recipient:
        raise ValueError(f"{new.envelope} is already its address")
    if new.envelope in siblings:
        raise ValueError(f"{new.envelope} gets this message already")


def _rewrite(connection: sa.Connection, row: Any, new: Mailbox) -> None:
    """Put the new address into the message's header; the places of its big parts move along."""
    whole = bytes(row.skeleton)
    if row.utf8_header is not None:  # the only form in which all addresses can be read
        whole = utf8_from(row.utf8_header).in_place(whole)
    whole, fields = readdress(whole, row.recipient, new)
    if not fields:  # it was in Bcc alone
        return
    skeleton, utf8, smtputf8 = forms(whole, [new.envelope])
    longer = len(skeleton) - len(row.skeleton)
    values = {
        "skeleton": skeleton,
        "size": row.size + longer,
        "headers": [[name, fields.get(name, value)] for name, value in row.headers],
        "smtputf8": smtputf8,
        "utf8_header": None if utf8 is None else asdict(utf8),
    }
    connection.execute(MESSAGE.update().where(MESSAGE.c.id == row.message_id).values(like_before(row.subject, values)))
    connection.execute(
        PART.update().where(PART.c.message_id == row.message_id).values(skeleton_offset=PART.c.skeleton_offset + longer)
    )
