"""5xx replies count as temporary until the time that is set."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask
from sqlalchemy.orm import Session, scoped_session

from outbox import ConfigurationError, Message, Outbox
from outbox.operations.health import Transport
from outbox.testing.mailbox import Mailbox

MakeApp = Callable[..., Flask]


@pytest.mark.parametrize(("hours", "state"), [(1, "queued"), (-1, "failed")], ids=["on", "over"])
def test_until_then(
    hours: int,
    state: str,
    make_app: MakeApp,
    outbox: Outbox,
    db: scoped_session[Session],
) -> None:
    """It is deferred; after the time all is as without the setting."""
    app = make_app(OUTBOX_SOFT_BOUNCE_UNTIL=(datetime.now(UTC) + timedelta(hours=hours)).isoformat())
    with app.app_context():
        outbox.enqueue(Message("Hello", ["ann@example.org"], "x"))
        db.commit()
    (only,) = Mailbox(app).drain("550 5.1.1 no such user")
    assert only.state == state


def test_the_status_says_so_until_it_ends() -> None:
    """From what a worker says of its relay."""
    relay = Transport("mx:25", "up", None, None, None, None, 1, soft_until="2026-12-01 18:00 UTC")
    assert "mx:25 count as temporary until 2026-12-01 18:00 UTC" in relay.soft_words
    at = datetime(2026, 12, 1, 17, 59, tzinfo=UTC)
    assert (relay.is_soft(at), relay.is_soft(at + timedelta(minutes=1))) == (True, False)


def test_what_is_not_a_time(make_app: MakeApp) -> None:
    """Is a fault at the start."""
    with pytest.raises(ConfigurationError, match="OUTBOX_SOFT_BOUNCE_UNTIL"):
        make_app(OUTBOX_SOFT_BOUNCE_UNTIL="tomorrow")
