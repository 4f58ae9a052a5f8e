"""A mail that came back: read, and recorded with what follows."""

from __future__ import annotations

import hashlib

import sqlalchemy as sa

from outbox.delivery.reported import EventType
from outbox.message import reports, unsubscribe_link
from outbox.operations.connect import transaction
from outbox.operations.events import Recorded, record
from outbox.operations.unsubscribing import MAIL, Lists, Subscriber, told
from outbox.settings import Settings
from outbox.settings.bounce_addresses import bounce_addresses
from outbox.settings.secret_keys import derived


def take(engine: sa.Engine, settings: Settings, mail: bytes, *, to: str = "") -> list[Recorded]:
    """What it reports, each event stored once. `to`: the address that it came to, where that is known beside the mail.

    One whose subject is "unsubscribe TOKEN" unsubscribes whom the token is for.
    Raises UnreadableError: there is no report in it; DatabaseError or SchemaError: nothing was stored, try again.
    """
    asked = reports.asked(mail)
    if asked is not None:
        return [_unsubscribed(engine, settings, asked)]
    return record(engine, settings, reports.events(mail, bounce_addresses(settings), to=to))


def _unsubscribed(engine: sa.Engine, settings: Settings, asked: reports.Asked) -> Recorded:
    keys = derived(settings, unsubscribe_link.PURPOSE) if settings.secrets else ()
    wanted = unsubscribe_link.read(asked.token, keys)
    if wanted is None:
        raise reports.UnreadableError(
            "its subject asks to unsubscribe, with a token that is incomplete or not of this application. Nothing was "
            "changed: look for the writer's address with outbox-suppressions"
        )
    lists = Lists((), settings.environment, settings.address_digest_key)
    event_id = hashlib.sha256(f"{asked.mail}\0{wanted.scope}\0{wanted.address}".encode()).hexdigest()
    with transaction(engine) as connection:
        subscriber = Subscriber(connection, wanted.address, lists, MAIL)
        recorded = subscriber.unsubscribe_once(wanted.scope, event_id)
    told(engine, subscriber.recorded)
    return recorded


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
    elif event.type is EventType.UNSUBSCRIBED and event.source == MAIL:
        words.append("was unsubscribed already")
    elif not event.proven:
        words.append("not proven, so nothing follows")
    return "; ".join(words)
