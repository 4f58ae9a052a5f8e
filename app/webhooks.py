"""What comes in without a log-in: providers' reports at /events/NAME, and people who unsubscribe."""

from __future__ import annotations

from flask import Flask

import outbox.web
from app import lists
from app.extensions import csrf

PREFIX = "/events"


def init_app(app: Flask) -> None:
    """Take both. They prove who they are by a signature or a password, not by a form's token."""
    events = outbox.web.events_blueprint()
    csrf.exempt(events)
    app.register_blueprint(events, url_prefix=PREFIX)
    unsubscribe = outbox.web.unsubscribe_blueprint()
    csrf.exempt(unsubscribe)
    app.register_blueprint(unsubscribe, url_prefix=lists.PATH)
