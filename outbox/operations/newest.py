"""The newest messages, for looking at what they say."""

from __future__ import annotations

from typing import NamedTuple

import sqlalchemy as sa

from outbox.operations.tables import DELIVERY, MESSAGE


class Newest(NamedTuple):
    """One message, by the first of its deliveries."""

    delivery_id: int
    message_pk: int
    subject: str


def newest(connection: sa.Connection, count: int, *, environment: str | None) -> list[Newest]:
    """The `count` newest messages whose content is there, the newest first. `environment`: None for all."""
    wanted = sa.select(MESSAGE.c.id, MESSAGE.c.subject).where(MESSAGE.c.redacted_at.is_(None))
    if environment is not None:
        wanted = wanted.where(MESSAGE.c.environment == environment)
    page = wanted.order_by(MESSAGE.c.id.desc()).limit(count).subquery("page")
    first = sa.select(sa.func.min(DELIVERY.c.id)).where(DELIVERY.c.message_id == page.c.id).scalar_subquery()
    rows = connection.execute(sa.select(first, page.c.id, page.c.subject).order_by(page.c.id.desc())).all()
    return [Newest(*row) for row in rows if row[0] is not None]
