"""Signals for applications (blinker), about mail that was queued and about what became of it.

    from outbox import delivery_failed

    @delivery_failed.connect_via(app)
    def bounced(app, *, message_id, recipient, code, reply, **more): ...

The sender is the Flask application. Take `**more`: later releases may add arguments.

| signal | sent | arguments |
|---|---|---|
| `message_queued` | after the commit, once for each new message | `message_id`, `recipients` (how many), `kind` |
| `delivery_sent` | the server took it | those below |
| `delivery_retried` | it will be retried, and the attempt counted | those below |
| `delivery_failed` | it is given up | those below |
| `delivery_uncertain` | nobody can know, and it is held for a person | those below |
| `event_recorded` | something was reported after that: a bounce, a complaint | `event` |

`message_id`, `delivery_id`, `recipient`, `kind`, `relay` (host:port), `reason` (`retry.Reason`), `phase`, `code`,
`enhanced`, `reply` (the server's words), `duration` (seconds), `delay` (seconds until the next attempt), `note`; None
if unknown. Never a body.

`event` is an `outbox.operations.events.Recorded`: `event.event.type`, `event.event.recipient`, `event.delivery_id` and
`event.follows` (what was suppressed); not everything that is recorded is proven. It is sent in the process that
records the event (a provider's call, `outbox-bounce`), after the commit, once for each that was not known before.

In which thread: `message_queued`, and `event_recorded` of `mail.unsubscribe`, in the one that committed, in
SQLAlchemy's `after_commit`, where the session can't be used for SQL. The others in a thread of the worker that is there
for them alone, one call after the other, after the outcome is durable, within an application context of their own. They
report what this process did: a worker that is killed between commit and signal sends none.

A receiver that raises is logged on one line, and harms neither delivery nor the other receivers. A slow one does not
hold up mail: at most 10,000 calls wait, the rest are dropped, and the log says how many. One that has not
returned after 30 seconds is named in the log and not called again until it returns. For anything you must not miss,
query the database (`outbox_delivery`, `outbox_attempt`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from blinker import NamedSignal, Namespace
from flask import Flask

from outbox.core.events import Event, EventName, Events
from outbox.core.loggers import get_logger

logger = get_logger()

_signals = Namespace()

message_queued = _signals.signal("outbox-message-queued")
delivery_sent = _signals.signal("outbox-delivery-sent")
delivery_retried = _signals.signal("outbox-delivery-retried")
delivery_failed = _signals.signal("outbox-delivery-failed")
delivery_uncertain = _signals.signal("outbox-delivery-uncertain")
event_recorded = _signals.signal("outbox-event-recorded")

BY_EVENT = {
    EventName.SENT: delivery_sent,
    EventName.RETRIED: delivery_retried,
    EventName.FAILED: delivery_failed,
    EventName.UNCERTAIN: delivery_uncertain,
}
_FACTS = ("kind", "relay", "reason", "phase", "code", "enhanced", "reply", "duration", "delay", "note")

_events = Events()


def queued(app: Flask, message_id: str, *, recipients: int, kind: str | None) -> None:
    """Say that a message was committed: to the log, where that is asked for, and to the receivers."""
    if logger.isEnabledFor(logging.INFO):
        _events.emit(EventName.QUEUED, message_id, recipients=recipients, kind=kind)
    if message_queued.receivers:
        _send(message_queued, app, message_id=message_id, recipients=recipients, kind=kind)


def recorded(app: Flask, events: Sequence[Any]) -> None:
    """Say which events were recorded and committed, each a `Recorded` of `operations.events`."""
    if not event_recorded.receivers:
        return
    for receiver in list(event_recorded.receivers_for(app)):
        with app.app_context():
            for event in events:
                _call(receiver, event_recorded, app, event=event)


def observer(app: Flask) -> Callable[[Event], None]:
    """Turns the events of a worker of `app` into signals, in the thread that emits them."""

    def observe(event: Event) -> None:
        signal = BY_EVENT.get(event.name)
        if signal is not None and signal.receivers:
            for receiver in list(signal.receivers_for(app)):
                tell(app, signal, receiver, event)

    return observe


def tell(app: Flask, signal: NamedSignal, receiver: Callable[..., Any], event: Event) -> None:
    """Tell one receiver what a worker of `app` did."""
    facts = event.facts
    with app.app_context():
        _call(
            receiver,
            signal,
            app,
            message_id=event.message_id,
            delivery_id=facts.get("delivery"),
            recipient=facts.get("to"),
            **{name: facts.get(name) for name in _FACTS},
        )


def _send(signal: NamedSignal, app: Flask, **told: Any) -> None:
    # not `signal.send`: there the first receiver that raises keeps the others from being called
    for receiver in list(signal.receivers_for(app)):
        _call(receiver, signal, app, **told)


def _call(receiver: Callable[..., Any], signal: NamedSignal, app: Flask, **told: Any) -> None:
    try:
        receiver(app, **told)
    except Exception as error:  # noqa: BLE001 - it is the application's, and must not break delivery
        about = told.get("message_id", "-")
        logger.error("%s: a receiver of %s failed: %s", about, signal.name, _place(error))


def _place(error: Exception) -> str:
    """Type and line, not the words: they may hold what the receiver was told, or looked up."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = "" if trace is None else f" at {trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
    return f"{type(error).__name__}{where}"
