"""The remedies: each names the setting or the place where the fault is fixed."""

from __future__ import annotations

import re

import pytest

from outbox.delivery.hints import HINTS, hint_for
from outbox.delivery.reply import Phase
from outbox.settings.table import specs

CASES = [
    (Phase.RESOLVE, None, "the name smtp.exmaple cannot be resolved: Name or service not known", "MAIL_SERVER"),
    (Phase.RESOLVE, None, "the name smtp.example was not resolved in 10 s", "DNS"),
    (Phase.CONNECT, None, "cannot connect to 127.0.0.1:1: [Errno 111] Connection refused", "Nothing listens"),
    (Phase.CONNECT, None, "cannot connect to 192.0.2.1:25: timed out", "firewall"),
    (Phase.CONNECT, None, "cannot connect to 192.0.2.1:25: [Errno 101] Network is unreachable", "no way"),
    (Phase.GREETING, None, "silence for 60 s (waiting for the greeting)", "MAIL_USE_SSL"),
    (Phase.GREETING, None, "no SMTP reply: b'HTTP/1.1 400 Bad Request' (…)", "not an SMTP server"),
    (Phase.GREETING, None, r"no SMTP reply: b'\x15\x03\x03\x00\x02\x02F'", "MAIL_USE_SSL=true"),
    (Phase.GREETING, 421, "too many connections from your host", "OUTBOX_CONNECTIONS"),
    (Phase.GREETING, 554, "no SMTP service here", "IP address"),
    (Phase.EHLO, 550, "syntax error in EHLO argument", "OUTBOX_LOCAL_HOSTNAME"),
    (Phase.EHLO, 501, "no", "OUTBOX_LOCAL_HOSTNAME"),
    (Phase.RCPT, 504, "<box>: Helo command rejected: need fully-qualified hostname", "OUTBOX_LOCAL_HOSTNAME"),
    (Phase.TLS, None, "the TLS handshake with x failed: WRONG_VERSION_NUMBER; what it sent is not TLS", "MAIL_USE_TLS"),
    (Phase.TLS, None, "the relay does not offer STARTTLS, or someone between removed it", "MAIL_USE_SSL"),
    (Phase.TLS, None, "the certificate of x is not accepted: unable to get local issuer certificate", "CA_FILE"),
    (Phase.TLS, None, "the certificate of x is not accepted: self-signed certificate", "OUTBOX_TLS_CA_FILE"),
    (Phase.TLS, None, "the certificate of x is not accepted: certificate has expired", "Renew"),
    (
        Phase.TLS,
        None,
        "the certificate of x is not accepted: Hostname mismatch, certificate is not valid",
        "MAIL_SERVER",
    ),
    (Phase.TLS, None, "the TLS handshake with x failed: [SSL: UNSUPPORTED_PROTOCOL] unsupported protocol", "TLS 1.2"),
    (Phase.TLS, None, "the TLS handshake with x failed: tlsv1 alert protocol version", "TLS 1.2"),
    (
        Phase.TLS,
        None,
        "[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] tlsv13 alert certificate required",
        "client certificate",
    ),
    (Phase.AUTH, None, "no common way to log in: the relay offers XOAUTH2, wanted is PLAIN", "access tokens"),
    (Phase.AUTH, None, "no common way to log in: the relay offers XOAUTH2 OAUTHBEARER, wanted is PLAIN", "oauth.md"),
    (
        Phase.AUTH,
        None,
        "no access token: https://x answered 401, invalid_client: AADSTS7000222",
        "OUTBOX_CLIENT_SECRET",
    ),
    (Phase.AUTH, None, "no access token: https://x answered 400, invalid_grant", "OUTBOX_REFRESH_TOKEN"),
    (Phase.AUTH, None, "no access token: https://x can't be reached: Connection refused", "HTTPS_PROXY"),
    (Phase.AUTH, None, "no access token: OUTBOX_TOKEN_COMMAND ended with status 1", "docs/oauth.md"),
    (Phase.AUTH, 535, '5.7.8 Bad {"status":"400","schemes":"Bearer"}', "SMTP.SendAsApp"),
    (Phase.AUTH, None, "no common way to log in: the relay offers none, wanted is PLAIN", "MAIL_USE_TLS"),
    (Phase.AUTH, None, "no common way to log in: the relay offers PLAIN LOGIN, wanted is CRAM-MD5", "leave it out"),
    (Phase.AUTH, 535, "Username and Password not accepted", "MAIL_PASSWORD"),
    (Phase.AUTH, 535, "5.7.139 Authentication unsuccessful, basic authentication is disabled.", "access tokens"),
    (Phase.AUTH, 534, "5.7.9 Application-specific password required", "app password"),
    (Phase.AUTH, 454, "Temporary authentication failure", "later"),
    (Phase.MAIL, 530, "Authentication required", "MAIL_USERNAME"),
    (Phase.MAIL, 530, "Must issue a STARTTLS command first", "MAIL_USE_TLS"),
    (Phase.MAIL, 553, "Sender address rejected: not owned by user shop", "MAIL_DEFAULT_SENDER"),
    (Phase.DATA, 554, "Message rejected: Email address is not verified.", "MAIL_DEFAULT_SENDER"),
    (Phase.RCPT, 554, "<a@example.org>: Relay access denied", "MAIL_USERNAME"),
    (Phase.RCPT, 554, "Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org", "blocklist"),
    (Phase.MAIL, 550, "5.4.5 Daily user sending limit exceeded", "quota"),
    (Phase.DOT, 454, "Throttling failure: Maximum sending rate exceeded.", "quota"),
]


@pytest.mark.parametrize(("phase", "code", "text", "says"), CASES)
def test_a_remedy_for_what_goes_wrong_most(phase: Phase, code: int | None, text: str, says: str) -> None:
    """What the relays and the network say leads to the setting that is wrong."""
    assert says in (hint_for(phase, code, text) or "")


def test_the_port_for_tls_from_the_first_byte() -> None:
    """A greeting that never comes on port 465 is a missing MAIL_USE_SSL, whatever the silence looks like."""
    for text in ("silence for 10 s (waiting for the greeting)", "the relay closed the connection"):
        said = hint_for(Phase.GREETING, None, text, port=465)
        assert said == "Port 465 speaks TLS from the first byte: set MAIL_USE_SSL=true."
        assert "MAIL_USE_SSL" not in (hint_for(Phase.GREETING, None, text, port=465, tls_first=True) or "")


@pytest.mark.parametrize(
    ("phase", "code", "text"),
    [
        (Phase.RCPT, 550, "5.1.1 <a@example.org>: no such user"),
        (Phase.RCPT, 452, "4.2.2 mailbox full"),
        (Phase.RCPT, 451, "4.7.1 greylisted, try again in 5 minutes"),
        (Phase.DOT, 552, "5.3.4 message too big"),
        ("no phase", 550, "x"),
    ],
)
def test_what_is_the_recipients_or_the_messages_own_needs_no_setting(phase: Phase, code: int, text: str) -> None:
    """Nothing is recommended where no setting is at fault."""
    assert hint_for(phase, code, text) is None


def test_every_setting_in_a_remedy_exists() -> None:
    """A remedy that names a setting which nobody can set would be worse than none."""
    known = {name for spec in specs() for name in spec.names}
    named = {name for hint in HINTS for name in re.findall(r"(?:MAIL|OUTBOX)_[A-Z_]+", hint.remedy)}
    assert named - known == set()
