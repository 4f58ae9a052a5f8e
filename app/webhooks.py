"""What the mail provider reports, at /events/NAME: each provider is closed until its setting is there."""

from __future__ import annotations

from flask import Flask

import outbox.web
from app.extensions import csrf

PREFIX = "/events"


def init_app(app: Flask) -> None:
    """Take webhooks. Providers prove who they are by a signature or a password, not by a form's token."""
    events = outbox.web.events_blueprint()
    csrf.exempt(events)
    app.register_blueprint(events, url_prefix=PREFIX)
