"""Slips of the pen in the settings: each is reported when the application starts, with what is probably meant."""

from __future__ import annotations

from typing import Any

import pytest

from outbox.core.errors import ConfigurationError
from outbox.delivery.routes import Rule, covers
from outbox.settings import Settings, remarks

SES = "OUTBOX_TRANSPORT_SES_URL"
TWO = {
    "OUTBOX_TRANSPORTS": "ses backup",
    SES: "smtp+starttls://user:secret@mail.example.org",
    "OUTBOX_TRANSPORT_BACKUP_URL": "smtps://backup.example.org",
}


def route(**rule: Any) -> dict[str, Any]:
    return {**TWO, "OUTBOX_ROUTES": [rule]}


SLIPS: list[tuple[dict[str, Any], str]] = [
    ({"MAIL_SERVR": "mail.example.org"}, "Did you mean MAIL_SERVER?"),
    ({"MAIL_PASWORD": "x"}, "Did you mean MAIL_PASSWORD?"),
    ({"MAIL_USE_TSL": "true"}, "Did you mean MAIL_USE_TLS?"),
    ({"MAIL_PORTS": "587"}, "Did you mean MAIL_PORT?"),
    ({"MAIL_SERVER": "mail.example.org:587"}, "put the port in MAIL_PORT: mail.example.org and MAIL_PORT=587"),
    ({"MAIL_SERVER": "smtp://mail.example.org"}, "give the host name alone"),
    ({"MAIL_SERVER": "a.example.org, b.example.org"}, "several relays go in OUTBOX_TRANSPORTS"),
    ({"MAIL_PORT": "smtp"}, "not a whole number from 1 to 65,535"),
    ({"MAIL_USE_TLS": "ture"}, "neither true nor false"),
    ({"MAIL_USERNAME": "ann"}, "without MAIL_PASSWORD"),
    ({"MAIL_DEFAULT_SENDER": "shop at example"}, "give one such as shop@example.org"),
    ({"OUTBOX_CONECTIONS": 3}, "Did you mean OUTBOX_CONNECTIONS?"),
    ({"outbox_connections": 3}, "Did you mean OUTBOX_CONNECTIONS?"),
    ({"OUTBOX_LEASE": 60}, "Did you mean OUTBOX_LEASE_SECONDS?"),
    ({"OUTBOX_RELAY_PRESET": "ses"}, "Did you mean OUTBOX_PRESET?"),
    ({"OUTBOX_WORKERS": 3}, "OUTBOX_WORKERS is not a setting of the outbox. docs/configuration.md lists all settings."),
    ({"OUTBOX_PRESET": "sendgird"}, "did you mean sendgrid"),
    ({"OUTBOX_AUTH": "oauth2"}, "did you mean XOAUTH2"),
    ({"OUTBOX_POLL_SECONDS": "0.5s"}, "give the number of seconds alone"),
    ({"OUTBOX_TRANSPORT": "ses"}, "Did you mean OUTBOX_TRANSPORTS?"),
    ({"OUTBOX_TRANSPORTS": "ses;backup"}, "a name is of letters, digits and _"),
    ({"OUTBOX_TRANSPORTS": "ses", "OUTBOX_TRANSPORTS_SES_URL": "smtps://h"}, f"Did you mean {SES}?"),
    ({"OUTBOX_TRANSPORTS": "ses", "OUTBOX_SES_URL": "smtps://h"}, f"Did you mean {SES}?"),
    ({**TWO, "OUTBOX_TRANSPORT_SES_PRESSET": "ses"}, "Did you mean preset?"),
    ({**TWO, SES: "starttls://mail.example.org"}, "Did you mean smtp+starttls://?"),
    ({**TWO, SES: "smtp+ssl://mail.example.org"}, "Did you mean smtps://?"),
    ({**TWO, SES: "smtp+starttls//mail.example.org"}, "Did you mean smtp+starttls://?"),
    ({**TWO, SES: "mail.example.org:587"}, "does not begin with one of smtp://"),
    ({**TWO, SES: "smtps://user:sec/ret@mail.example.org"}, "/ as %2F"),
    ({**TWO, SES: "smtps://user:sec#ret@mail.example.org"}, "# as %23"),
    ({**TWO, SES: "smtps://user:sec?ret@mail.example.org"}, "? as %3F"),
    ({**TWO, SES: "smtps://user:sec[ret@mail.example.org"}, "[ as %5B"),
    ({**TWO, SES: "smtps://mail.example.org?presett=ses"}, "Did you mean preset?"),
    ({**TWO, SES: "smtps://mail.example.org?connections=2&connections=3"}, f"connections is twice in {SES}"),
    ({"OUTBOX_ROUTE": "[]"}, "Did you mean OUTBOX_ROUTES?"),
    ({**TWO, "OUTBOX_RATE": "5/s"}, "which nothing does. Set OUTBOX_TRANSPORT_SES_RATE, or leave it out."),
    (
        {**TWO, SES: "smtps://shop@mail.example.org?auth=xoauth2"},
        "nothing gives one. Set OUTBOX_TRANSPORT_SES_TOKEN_URL",
    ),
    ({"OUTBOX_EHLO_IGNORE": "SIZE PIPELINNING"}, "did you mean PIPELINING"),
    ({"OUTBOX_DOMAIN_RATES": {"*.example.org": "1/s", "a.example.org": "2/s"}}, "which never counts, since it fits *."),
    ({"OUTBOX_DOMAIN_RATES": {"ann@example.org": "1/s"}}, "did you mean example.org"),
    ({**TWO, "OUTBOX_ROUTES": '[{"transports": ["ses"],}]'}, "line 1 column"),
    ({**TWO, "OUTBOX_ROUTES": {"transports": ["ses"]}}, "put it into [ ]"),
    ({"OUTBOX_ROUTES": [{"transports": "ses"}]}, "OUTBOX_TRANSPORTS is not set"),
    (route(transport="ses"), "did you mean transports"),
    (route(kinds="x", transports="ses"), "did you mean kind"),
    (route(transports="bakup"), "did you mean 'backup'"),
    (route(kind="x"), "it leads nowhere"),
    (route(priority="High", transports="ses"), "did you mean high"),
    (route(sender_domain="@example.org", transports="ses"), "did you mean example.org"),
    (route(recipient_domain="ann@example.org", transports="ses"), "did you mean example.org"),
    (route(kind="x" * 65, transports="ses"), "nothing ever goes by it, since a kind has 64 characters at most"),
    (
        {**TWO, "OUTBOX_ROUTES": [{"transports": "ses"}, {"kind": "newsletter", "transports": "backup"}]},
        "rule 2: nothing ever goes by it, since all that fits it fits rule 1: put it first",
    ),
]


@pytest.mark.parametrize(("config", "said"), SLIPS, ids=[said[:40] for _, said in SLIPS])
def test_slips(config: dict[str, Any], said: str) -> None:
    """The fault says what is wrong and what is meant, and nothing of a password."""
    with pytest.raises(ConfigurationError) as raised:
        Settings.from_config(config)
    assert any(said in fault for fault in raised.value.faults), raised.value.faults
    for part in ("secret", "sec", "ret@"):
        assert not any(part in fault.replace("seconds", "") for fault in raised.value.faults)


def test_all_at_once() -> None:
    """Slips of different settings are reported together."""
    config = TWO | {
        SES: "starttls://mail.example.org",
        "MAIL_SERVR": "x",
        "OUTBOX_CONECTIONS": 3,
        "OUTBOX_ROUTES": [{"transports": "bakup"}, {"knd": "x", "transports": "ses"}],
    }
    with pytest.raises(ConfigurationError) as raised:
        Settings.from_config(config)
    assert len(raised.value.faults) == 5


def test_a_name_in_small_letters() -> None:
    """It may be the application's own, so it is remarked on and no fault."""
    assert ["mail_server is set" in one for one in remarks({"mail_server": "mail.example.org"})] == [True]


def test_a_domain_beyond_ascii() -> None:
    """A rule names it as people write it, and fits what is on the wire."""
    rates = {"OUTBOX_DOMAIN_RATES": {"münchen.de": "1/s"}}
    settings = Settings.from_config(route(recipient_domain="*.münchen.de", transports="ses") | rates)
    assert settings.routes.rules[0].recipient_domain == "*.xn--mnchen-3ya.de"
    assert settings.domain_rates[0][0] == "xn--mnchen-3ya.de"


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ({"kind": "news*"}, {"kind": "newsletter"}, True),
        ({"kind": "news*"}, {"kind": "news-*"}, True),
        ({"kind": "news?"}, {"kind": "news*"}, False),
        ({"kind": "news*"}, {"kind": "*"}, False),
        ({"kind": "news*"}, {}, False),
        ({"kind": "*"}, {}, True),
        ({"kind": "news*"}, {"kind": "newsletter", "sender_domain": "a.example"}, True),
        ({"kind": "news*", "sender_domain": "a.example"}, {"kind": "newsletter"}, False),
        ({"sender_domain": "*.example"}, {"recipient_domain": "a.example"}, False),
    ],
)
def test_a_rule_that_never_fits(first: dict[str, str], second: dict[str, str], expected: bool) -> None:
    """All that it fits, an earlier one fits."""
    ways: tuple[tuple[str, None], ...] = (("ses", None),)
    assert covers(Rule(ways, **first), Rule(ways, **second)) is expected


def test_settings_of_a_transport_that_is_not_named() -> None:
    """What is left over of the only transport has no effect, which outbox-check says."""
    (said,) = remarks({**TWO, "MAIL_SERVER": "old.example.org", "MAIL_PORT": 587, "MAIL_DEFAULT_SENDER": "a@b.example"})
    assert said.startswith("MAIL_SERVER, MAIL_PORT have no effect: OUTBOX_TRANSPORTS does not name default")
    assert not list(remarks({**TWO, "OUTBOX_TRANSPORTS": "ses default", "MAIL_SERVER": "old.example.org"}))
