"""The settings of several transports, and of the rules between them."""

from __future__ import annotations

from typing import Any

import pytest

from outbox.core.errors import ConfigurationError
from outbox.settings import Settings
from outbox.settings.relay import Security
from outbox.settings.transport_options import in_its_words

TWO = {
    "OUTBOX_TRANSPORTS": "ses backup",
    "OUTBOX_TRANSPORT_SES_URL": "smtp+starttls://AKIA:a%40b%2Fc@mail.example.org?preset=ses&connections=8",
    "OUTBOX_TRANSPORT_BACKUP_URL": "smtps://[::1]:2465",
}


def faults(**config: Any) -> list[str]:
    """What is wrong with TWO and these."""
    with pytest.raises(ConfigurationError) as raised:
        Settings.from_config(TWO | config)
    return list(raised.value.faults)


def test_without_names_there_is_the_one_of_flask_mail() -> None:
    settings = Settings.from_config({"MAIL_SERVER": "mail.example.org", "MAIL_USE_TLS": True, "OUTBOX_CONNECTIONS": 7})
    (only,) = settings.transports
    assert (only.name, only.address, only.connections) == ("mail.example.org:25", "mail.example.org:25", 7)
    assert settings.routes.order == ("default",)


def test_each_has_its_url_and_keys() -> None:
    settings = Settings.from_config(
        TWO | {"OUTBOX_LOCAL_HOSTNAME": "web.example.org", "OUTBOX_TRANSPORT_BACKUP_MAX_EMAILS": "5"}
    )
    ses, backup = settings.transports
    assert (ses.name, ses.address, ses.security) == ("ses", "mail.example.org:587", Security.STARTTLS)
    assert (ses.username, ses.password, ses.preset, ses.connections) == ("AKIA", "a@b/c", "ses", 8)
    assert (backup.host, backup.port, backup.security) == ("::1", 2465, Security.TLS)
    assert (backup.username, backup.preset, backup.connections, backup.max_messages) == (None, "auto", 4, 5)
    assert {one.local_hostname for one in settings.transports} == {"web.example.org"}
    assert "a@b/c" not in repr(settings) + repr(ses)


def test_default_is_the_one_of_flask_mail() -> None:
    config = TWO | {"OUTBOX_TRANSPORTS": "default, SES", "MAIL_SERVER": "localhost", "OUTBOX_TRANSPORT_BACKUP_URL": ""}
    first, second = Settings.from_config(config).transports
    assert (first.name, first.address, second.name) == ("default", "localhost:25", "ses")


def test_an_environment_has_the_same_keys() -> None:
    assert Settings.from_env(TWO | {"HOME": "/"}) == TWO


@pytest.mark.parametrize(
    ("key", "value", "fault"),
    [
        ("OUTBOX_TRANSPORTS", "ses ses", "OUTBOX_TRANSPORTS names a transport twice."),
        ("OUTBOX_TRANSPORTS", "ses back-up", "a name is of letters, digits and _"),
        ("OUTBOX_TRANSPORTS", "ses backup third", "OUTBOX_TRANSPORT_THIRD_URL is not set"),
        ("OUTBOX_TRANSPORT_SES_URL", "smpt://mail.example.org", "does not begin with one of smtp://"),
        ("OUTBOX_TRANSPORT_SES_URL", "smtps://", "there is no host in it"),
        ("OUTBOX_TRANSPORT_SES_URL", "lmtp+unix://mail.example.org", "there is no path in it"),
        ("OUTBOX_TRANSPORT_SES_URL", "smtps://mail.example.org:port", "OUTBOX_TRANSPORT_SES_URL: "),
        ("OUTBOX_TRANSPORT_SES_URL", "smtps://mail.example.org/box", "a path ('/box') means nothing here"),
        ("OUTBOX_TRANSPORT_SES_URL", "smtps://mail.example.org?conections=3", "Did you mean connections?"),
        ("OUTBOX_TRANSPORT_SES_URL", "smtps://mail.example.org?connections=0", "is 0, not a whole number from 1"),
        (
            "OUTBOX_TRANSPORT_SES_URL",
            "smtps://ann@mail.example.org",
            "OUTBOX_TRANSPORT_SES_USERNAME is set without OUTBOX_TRANSPORT_SES_PASSWORD",
        ),
        ("OUTBOX_TRANSPORT_SES_URL", "smtps://mail.example.org?password=secret", "belongs before the host"),
        (
            "OUTBOX_TRANSPORT_SES_URL",
            "smtp://mail.example.org",
            "would go over plain text. Begin OUTBOX_TRANSPORT_SES_URL with smtp+starttls:// (or smtps://), or ",
        ),
        (
            "OUTBOX_TRANSPORT_SES_URL",
            "smtp://ann:secret@localhost",
            "The password for localhost:25 would go over plain text",
        ),
        (
            "OUTBOX_TRANSPORT_SES_URL",
            "lmtp+unix:///run/lmtp?tls_name=x&source_address=127.0.0.1&connections=0",
            "SES_TLS_NAME is set, but there is no TLS. Begin OUTBOX_TRANSPORT_SES_URL with smtp+starttls:// or smtps://",
        ),
        ("OUTBOX_TRANSPORT_SES_CONNECTIONS", "3", "mean the same. Set one of them."),
        ("OUTBOX_TRANSPORT_SESS_URL", "smtps://mail.example.org", "did you mean 'ses'?"),
        ("OUTBOX_ROUTES", "{}", "OUTBOX_ROUTES is {}, not a list of rules: put it into [ ]."),
        ("OUTBOX_ROUTES", "[1]", "rule 1: 1 is not an object."),
        ("OUTBOX_ROUTES", [{"kind": "x"}], "rule 1: it leads nowhere"),
        ("OUTBOX_ROUTES", [{"transports": []}], "rule 1: transports is empty"),
        (
            "OUTBOX_ROUTES",
            [{"transports": "ses"}, {"transports": "bakup"}],
            "rule 2: OUTBOX_TRANSPORTS does not name 'bakup': did",
        ),
        ("OUTBOX_ROUTES", [{"transports": {"ses": 0, "backup": 0}}], "every weight is 0"),
        ("OUTBOX_ROUTES", [{"transports": {"ses": -1}}], "the weight of ses is -1"),
        ("OUTBOX_ROUTES", [{"transports": "ses ses"}], "a transport is named twice"),
        ("OUTBOX_ROUTES", [{"transports": "ses", "knd": "x"}], "'knd' is not part of a rule: did you mean kind"),
        ("OUTBOX_ROUTES", [{"transports": "ses", "kind": ""}], "kind is '', not a text"),
        ("OUTBOX_ROUTES", [{"transports": "ses", "priority": "urgent"}], "the priority 'urgent' does not exist"),
    ],
)
def test_what_is_wrong_is_told(key: str, value: Any, fault: str) -> None:
    told = faults(**{key: value})
    assert any(fault in one for one in told), told
    assert "secret" not in " ".join(told)


def test_all_faults_are_told_at_once() -> None:
    told = faults(
        OUTBOX_TRANSPORT_SES_URL="smtps://mail.example.org?connections=0&presett=x",
        OUTBOX_TRANSPORT_BACKUP_URL="mail.example.org",
        OUTBOX_ROUTES=[{"transports": "thrid"}],
        OUTBOX_POLL_SECONDS="0",
    )
    assert len(told) == 5


def test_a_mailbox_server() -> None:
    """LMTP, over TCP and over a Unix socket; the options of the connection are those of each transport."""
    first, second = Settings.from_config(
        {
            "OUTBOX_TRANSPORTS": "near here",
            "OUTBOX_TRANSPORT_NEAR_URL": "lmtp://localhost?source_address=127.0.0.2&ehlo_ignore=SIZE",
            "OUTBOX_TRANSPORT_HERE_URL": "lmtp+unix:///run/dovecot/lm%20tp",
        }
    ).transports
    assert (first.protocol, first.port, first.source_address, first.ehlo_ignored) == (
        "lmtp",
        24,
        "127.0.0.2",
        ("size",),
    )
    assert (second.protocol, str(second.socket), second.shown) == (
        "lmtp",
        "/run/dovecot/lm tp",
        "here (/run/dovecot/lm tp)",
    )


@pytest.mark.parametrize(
    ("words", "own"),
    [
        (
            "MAIL_SERVER and MAIL_PORT are right (587 with MAIL_USE_TLS, 465 with MAIL_USE_SSL).",
            "the host and port in OUTBOX_TRANSPORT_SES_URL are right (587 with smtp+starttls://, 465 with smtps://).",
        ),
        (
            "For STARTTLS (port 587) set MAIL_USE_TLS=true and MAIL_USE_SSL=false.",
            "For STARTTLS (port 587) begin OUTBOX_TRANSPORT_SES_URL with smtp+starttls://.",
        ),
        ("Try MAIL_PORT=587, and check MAIL_SERVER.", "Try port 587, and check the host in OUTBOX_TRANSPORT_SES_URL."),
        ("lower OUTBOX_CONNECTIONS", "lower OUTBOX_TRANSPORT_SES_CONNECTIONS"),
        ("set MAIL_USERNAME", "set OUTBOX_TRANSPORT_SES_USERNAME"),
        ("(OUTBOX_TOKEN_…, init_app(token=…))", "(OUTBOX_TRANSPORT_SES_TOKEN_…, init_app(token=…))"),
        ("MAIL_DEFAULT_SENDER, OUTBOX_LEASE_SECONDS", "MAIL_DEFAULT_SENDER, OUTBOX_LEASE_SECONDS"),
    ],
)
def test_a_remedy_names_the_settings_of_its_transport(words: str, own: str) -> None:
    """The settings that a person with several transports has, not those of the only one."""
    assert in_its_words(words, "ses") == own
    for only in (None, "default", "mail.example.org:25", "/run/lmtp"):
        assert in_its_words(words, only) == words
