"""Which event leads to which suppression, and which suppression stops which mail."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from outbox.delivery.reported import EventType
from outbox.delivery.suppression import Follows, Suppressed, Why, following, stopping

NOW = datetime(2026, 11, 27, tzinfo=UTC)


@pytest.mark.parametrize(
    ("type", "enhanced", "category", "expected"),
    [
        *(
            (EventType.BOUNCED, code, None, ("all", "bounced"))
            for code in ("5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10")
        ),
        (EventType.BOUNCED, "5.2.1", None, ("all", "bounced")),  # the second time: who calls knows
        *((EventType.BOUNCED, code, None, None) for code in ("5.7.1", "5.3.0", "5.4.4", "5.2.2", "4.1.1", None)),
        (EventType.DEFERRED, "5.1.1", None, None),
        (EventType.AUTORESPONDED, "5.1.1", None, None),
        (EventType.COMPLAINED, None, "subscription", ("category:subscription", "complained")),
        (EventType.COMPLAINED, None, "receipt", ("category:receipt", "complained")),
        (EventType.COMPLAINED, None, "security", ("all", "complained")),
        (EventType.COMPLAINED, None, None, ("all", "complained")),
        (EventType.UNSUBSCRIBED, None, "subscription", ("kind:news", "unsubscribed")),
        (EventType.UNSUBSCRIBED, None, None, ("kind:news", "unsubscribed")),
        (EventType.UNSUBSCRIBED, None, "security", None),
        (EventType.UNSUBSCRIBED, None, "receipt", None),
        (EventType.DELIVERED, None, None, None),
        (EventType.OPENED, None, None, None),
    ],
)
def test_what_follows(
    type: EventType, enhanced: str | None, category: str | None, expected: tuple[str, str] | None
) -> None:
    found = following(type, enhanced, "news", category)
    assert found == (None if expected is None else Follows(expected[0], Why(expected[1])))


def test_unsubscribing_from_what_has_no_kind() -> None:
    """It stops the category of what people subscribe to, and nothing else."""
    assert following(EventType.UNSUBSCRIBED, None, None, None) == Follows("category:subscription", Why.UNSUBSCRIBED)


@pytest.mark.parametrize(
    ("scope", "why", "kind", "category", "stops"),
    [
        ("all", Why.BOUNCED, None, None, True),
        ("all", Why.BOUNCED, "news", "subscription", True),
        ("all", Why.BOUNCED, "reset", "security", False),
        ("all", Why.COMPLAINED, "reset", "security", False),
        ("all", Why.MANUAL, "reset", "security", True),
        ("category:subscription", Why.COMPLAINED, "news", "subscription", True),
        ("category:subscription", Why.COMPLAINED, "receipt", "receipt", False),
        ("category:subscription", Why.COMPLAINED, "news", None, False),
        ("kind:news", Why.UNSUBSCRIBED, "news", "subscription", True),
        ("kind:news", Why.UNSUBSCRIBED, "newsletter", "subscription", False),
        ("kind:news", Why.UNSUBSCRIBED, None, None, False),
    ],
)
def test_what_is_stopped(scope: str, why: Why, kind: str | None, category: str | None, stops: bool) -> None:
    entry = Suppressed(scope, why, NOW)
    assert stopping([entry], kind, category) is (entry if stops else None)


def test_what_a_person_reads() -> None:
    assert str(Suppressed("kind:news", Why.UNSUBSCRIBED, NOW)) == (
        "the address is suppressed for mail of the kind news: unsubscribed, since 2026-11-27"
    )
