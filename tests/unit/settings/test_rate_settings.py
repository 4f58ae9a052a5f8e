"""The settings of rates: what they may be, what contradicts, and what presets add."""

from __future__ import annotations

from typing import Any

import pytest

from outbox import ConfigurationError, Settings


def limits(**config: Any) -> str:
    """Of the first transport."""
    return str(Settings.from_config(config).transports[0].limits)


@pytest.mark.parametrize(
    ("config", "word"),
    [
        ({"OUTBOX_RATE": "quick"}, "5/second"),
        ({"OUTBOX_RATE": 5}, "5/second"),
        ({"OUTBOX_RATE": "0/s"}, "Pause the transport"),
        ({"OUTBOX_RATE": "10/second, 5/minute"}, "Leave 10/second out"),
        ({"OUTBOX_RATE": "100/hour", "OUTBOX_PER_DAY": "50"}, "OUTBOX_RATE with OUTBOX_PER_DAY allows 100/hour"),
        ({"OUTBOX_RATE": "100/day", "OUTBOX_PER_DAY": "500"}, "Leave one of them out"),
        ({"OUTBOX_PER_DAY": "0"}, "OUTBOX_PER_DAY is 0"),
        ({"OUTBOX_RATE_UNIT": "bytes"}, "OUTBOX_RATE_UNIT"),
        ({"OUTBOX_DOMAIN_RATES": "gmail.com"}, "OUTBOX_DOMAIN_RATES"),
        ({"OUTBOX_DOMAIN_RATES": {"ann@example.com": "1/s"}}, "not a domain"),
        ({"OUTBOX_DOMAIN_RATES": {"example.com": "1/x"}}, "for example.com"),
    ],
)
def test_a_bad_rate_is_told_with_the_remedy(config: dict[str, Any], word: str) -> None:
    with pytest.raises(ConfigurationError) as told:
        Settings.from_config(config)
    assert word in str(told.value)


def test_all_bad_rates_are_told_at_once_and_by_the_names_of_their_transports() -> None:
    with pytest.raises(ConfigurationError) as told:
        Settings.from_config(
            {
                "OUTBOX_TRANSPORTS": "ses backup",
                "OUTBOX_TRANSPORT_SES_URL": "smtps://ses.example.org?rate=5/x&per_day=many",
                "OUTBOX_TRANSPORT_BACKUP_URL": "smtps://backup.example.org?rate=100/h&per_day=20",
                "OUTBOX_DOMAIN_RATES": {"example.com": "none at all"},
            }
        )
    words = str(told.value)
    assert words.count("\n  - ") == 4
    assert "rate in OUTBOX_TRANSPORT_SES_URL" in words
    assert "OUTBOX_TRANSPORT_BACKUP_RATE with OUTBOX_TRANSPORT_BACKUP_PER_DAY" in words


def test_a_preset_sets_what_is_left_open() -> None:
    assert limits(MAIL_SERVER="smtp.gmail.com", MAIL_USE_TLS=True) == "2000/day"
    assert limits(OUTBOX_PRESET="exchange") == "30/minute, 10000/day"
    assert limits(OUTBOX_PRESET="exchange", OUTBOX_RATE="1/s") == "1/second, 10000/day"
    assert limits(OUTBOX_PRESET="exchange", OUTBOX_PER_DAY="20") == "20/day"
    assert limits(OUTBOX_PRESET="exchange", OUTBOX_RATE="none", OUTBOX_PER_DAY="none") == ""
    assert limits() == ""
    assert Settings.from_config({"OUTBOX_PRESET": "exchange"}).transports[0].rate_unit == "recipients"
