"""What answers over HTTP mean, and what an operator is told to do about them."""

from __future__ import annotations

import pytest

from outbox.delivery.hints import hint_for
from outbox.delivery.http_rules import SES, http_rule
from outbox.delivery.reply import Verdict

STOPS = sorted({error for rule in SES if rule.verdict is Verdict.CONFIGURATION for error in rule.errors})


@pytest.mark.parametrize("error", STOPS)
def test_what_stops_a_transport_comes_with_a_remedy(error: str) -> None:
    rule = http_rule(403, error, "configuration set <x> does not exist", SES)
    assert rule.verdict is Verdict.CONFIGURATION
    said = hint_for(rule.phase, 403, f"{error}: configuration set <x> does not exist")
    assert said is not None
    assert "MAIL_" not in said or "MAIL_DEFAULT_SENDER" in said, "that is SMTP's"


def test_every_status_has_a_verdict() -> None:
    """Which never says that a message was taken; no answer of a gateway says that it was not."""
    for status in range(300, 600):
        _has_a_verdict(status)


def _has_a_verdict(status: int) -> None:
    verdict = http_rule(status, "", "", ()).verdict
    assert verdict is not Verdict.ACCEPTED
    if status in {500, 502, 504} or (status >= 500 and status not in {501, 503, 505, 509, 529}):
        assert verdict is Verdict.UNKNOWN
