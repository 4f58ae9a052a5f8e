"""A mail that came back: read, and recorded with what follows."""

from __future__ import annotations

import sqlalchemy as sa

from outbox.message import reports
from outbox.operations.events import Recorded, record
from outbox.settings import Settings
from outbox.settings.bounce_addresses import bounce_addresses


def take(engine: sa.Engine, settings: Settings, mail: bytes, *, to: str = "") -> list[Recorded]:
    """What it reports, each event stored once. `to`: the address that it came to, where that is known beside the mail.

    Raises UnreadableError: there is no report in it; DatabaseError or SchemaError: nothing was stored, try again.
    """
    return record(engine, settings, reports.events(mail, bounce_addresses(settings), to=to))


def line(one: Recorded) -> str:
    """What became of an event, for people."""
    event = one.event
    about = "nothing of ours" if one.delivery_id is None else f"delivery {one.delivery_id}"
    words = [f"{event.type} {event.recipient or '(no recipient named)'}: {about}"]
    if event.reply is not None and str(event.reply):
        words.append(str(event.reply))
    if one.id is None:
        words.append("known already")
    elif one.follows is not None:
        words.append(f"suppressed for {one.follows.scope}")
    elif not event.proven:
        words.append("not proven, so nothing follows")
    return "; ".join(words)
