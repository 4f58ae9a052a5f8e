"""What the mail provider reports to the reference application."""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa
from flask import Flask

from app.db import get_session
from app.webhooks import PREFIX
from outbox.models import OutboxEvent

BOUNCE = {
    "RecordType": "Bounce",
    "ID": 42,
    "Type": "HardBounce",
    "Email": "ann@example.org",
    "Details": "smtp;550 5.1.1 no such user",
}


def test_a_bounce_is_recorded_without_a_forms_token(make_app: Callable[..., Flask]) -> None:
    """The provider has a password instead."""
    app = make_app(OUTBOX_POSTMARK_CREDENTIALS="hooks:secret")
    client = app.test_client()
    assert client.post(f"{PREFIX}/postmark", json=BOUNCE, auth=("hooks", "wrong")).status_code == 403
    answer = client.post(f"{PREFIX}/postmark", json=BOUNCE, auth=("hooks", "secret"))
    assert (answer.status_code, "Set-Cookie" in answer.headers) == (200, False)
    with app.app_context():
        assert [event.recipient for event in get_session().scalars(sa.select(OutboxEvent))] == ["ann@example.org"]


def test_closed_where_nothing_is_configured(make_app: Callable[..., Flask]) -> None:
    """404."""
    client = make_app().test_client()
    assert client.post(f"{PREFIX}/postmark", json=BOUNCE, auth=("hooks", "secret")).status_code == 404
