"""What waits by domain and age, the same on every database."""

from __future__ import annotations

from importlib import import_module

import pytest
import sqlalchemy as sa

from outbox import operations
from outbox.delivery.states import State
from tests.db.mails import put

MINUTE = 60


def test_live_mail_by_domain_and_age(engine: sa.Engine) -> None:
    """The fullest domain first; the last column is what is older than all bounds; what ended is not in it."""
    put(engine, "a@example.org", "b@example.org", "c@example.com", ago=7 * MINUTE)
    put(engine, "d@example.org", ago=3 * MINUTE, state=State.SENDING)
    put(engine, "e@example.com", ago=2000 * MINUTE)
    put(engine, "f@example.net", ago=7 * MINUTE, state=State.SENT)
    with engine.connect() as connection:
        seen = operations.shape(connection)
    assert [(row.domain, row.total, row.ages) for row in (seen.total, *seen.domains)] == [
        ("", 5, (1, 3, 0, 0, 0, 0, 0, 0, 0, 1)),
        ("example.org", 3, (1, 2, 0, 0, 0, 0, 0, 0, 0, 0)),
        ("example.com", 2, (0, 1, 0, 0, 0, 0, 0, 0, 0, 1)),
    ]
    assert (seen.others, seen.partial) == (0, False)


def test_an_empty_queue_has_an_empty_shape(engine: sa.Engine) -> None:
    """Zeros, no domain."""
    with engine.connect() as connection:
        seen = operations.shape(connection)
    assert (seen.total.total, seen.domains) == (0, [])


def test_what_is_left_out_is_told(engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Domains beyond those shown, and mail beyond what was looked at: the oldest is."""
    module = import_module("outbox.operations.ages")  # the package has the function under this name
    monkeypatch.setattr(module, "SEEN", 4)
    monkeypatch.setattr(module, "DOMAINS", 2)
    for number in range(5):
        put(engine, f"a@example{number}.org")
    with engine.connect() as connection:
        seen = operations.shape(connection)
    assert (len(seen.domains), seen.others, seen.partial, seen.total.total) == (2, 2, True, 4)
