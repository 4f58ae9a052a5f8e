"""What is known of providers and mail servers: where they listen, what they limit, what they do to a message.

Data, each with its source. A figure that no source gives is left out. Their words are in `reply_presets.py`. What an
account has of its own (a rate, a quota) the provider says, and the settings take.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import Literal

_MICROSOFT = "https://learn.microsoft.com"


@dataclass(frozen=True, slots=True)
class Preset:
    """One provider, or one kind of server."""

    name: str
    sources: tuple[str, ...]
    host: str | None = None  # None: each account has its own
    hosts: re.Pattern[str] | None = None  # the names of its relays
    starttls_port: int | None = 587
    tls_port: int | None = 465
    tls_first: bool = False  # TLS from the first byte is what its documentation wants
    connections: int | None = None  # at once
    messages_per_connection: int | None = None
    recipients: int | None = None  # of one message, in one transaction
    rate: str | None = None  # "30/m"
    per_day: int | None = None  # in any 24 hours
    unit: Literal["messages", "recipients"] = "messages"  # of the two
    rewrites_message_id: bool = False
    headers: tuple[tuple[str, str], ...] = ()  # added to each message when it is sent
    idempotency_header: str | None = None  # a message with the same value is taken once
    echo_header: tuple[str, int] | None = None  # its value, so many characters at most, comes back with each event
    any_sender: bool = False  # it takes any envelope sender, and bounces go there; else it has its own way to tell

    def is_at(self, host: str) -> bool:
        """Whether the relay with this name is one of its own."""
        return self.hosts is not None and self.hosts.search(host.lower().rstrip(".")) is not None


PROVIDERS: tuple[Preset, ...] = (
    Preset(
        "gmail",
        ("https://developers.google.com/workspace/gmail/imap/imap-smtp", "https://support.google.com/a/answer/166852"),
        host="smtp.gmail.com",
        hosts=re.compile(r"(^|\.)(gmail|googlemail|google)\.com$"),
        recipients=100,  # by SMTP
        per_day=2_000,  # Google Workspace; other accounts have less
    ),
    Preset(
        "exchange",
        (
            f"{_MICROSOFT}/exchange/clients-and-mobile-in-exchange-online/authenticated-client-smtp-submission",
            f"{_MICROSOFT}/office365/servicedescriptions/exchange-online-service-description/exchange-online-limits",
        ),
        host="smtp.office365.com",
        hosts=re.compile(r"(^|\.)(office365|outlook|hotmail)\.com$|(^|\.)office365\.us$|\.partner\.outlook\.cn$"),
        tls_port=None,
        connections=3,
        rate="30/m",
        per_day=10_000,
        unit="recipients",
    ),
    Preset(
        "ses",
        (
            "https://docs.aws.amazon.com/ses/latest/dg/smtp-connect.html",
            "https://docs.aws.amazon.com/ses/latest/dg/header-fields.html",
            "https://docs.aws.amazon.com/ses/latest/dg/quotas.html",
        ),
        hosts=re.compile(r"^email-smtp(-fips)?\.[a-z0-9-]+\.amazonaws\.com(\.cn)?$"),
        recipients=50,
        unit="recipients",
        rewrites_message_id=True,
    ),
    Preset(
        "sendgrid",
        ("https://www.twilio.com/docs/sendgrid/for-developers/sending-email/integrating-with-the-smtp-api",),
        host="smtp.sendgrid.net",
        hosts=re.compile(r"(^|\.)sendgrid\.net$"),
    ),
    Preset(
        "mailgun",
        ("https://documentation.mailgun.com/docs/mailgun/user-manual/sending-messages/send-smtp",),
        host="smtp.mailgun.org",  # in the EU smtp.eu.mailgun.org
        hosts=re.compile(r"(^|\.)mailgun\.org$"),
    ),
    Preset(
        "postmark",
        (
            "https://postmarkapp.com/support/article/811-what-are-the-smtp-details-api-tokens-i-should-be-using",
            "https://postmarkapp.com/developer/user-guide/send-email-with-smtp",
        ),
        host="smtp.postmarkapp.com",
        hosts=re.compile(r"(^|\.)postmarkapp\.com$"),
        tls_port=None,
        headers=(("X-PM-KeepID", "true"),),  # else it puts a Message-ID of its own in place of ours
        echo_header=("X-PM-Metadata-message-id", 80),  # its 250 does not tell the id that its events have
    ),
    Preset(
        "sparkpost",
        ("https://developers.sparkpost.com/api/smtp/",),
        host="smtp.sparkpostmail.com",  # in the EU smtp.eu.sparkpostmail.com
        hosts=re.compile(r"(^|\.)sparkpostmail\.com$"),
        tls_port=None,
    ),
    Preset(
        "mailjet",
        (
            "https://rubydoc.info/gems/mailjet/Mailjet/Mailer",  # its own library
            "https://smtptester.org/guides/mailjet-smtp-test/",  # port 465
        ),
        host="in-v3.mailjet.com",
        hosts=re.compile(r"(^|\.)mailjet\.com$"),
        echo_header=("X-MJ-CustomID", 64),
    ),
    Preset(
        "brevo",
        ("https://developers.brevo.com/docs/smtp-integration",),
        host="smtp-relay.brevo.com",
        hosts=re.compile(r"(^|\.)(brevo|sendinblue)\.com$"),
        tls_first=True,
    ),
    Preset(
        "resend",
        (
            "https://resend.com/docs/send-with-smtp",
            "https://resend.com/docs/dashboard/emails/idempotency-keys",
        ),
        host="smtp.resend.com",
        hosts=re.compile(r"(^|\.)resend\.com$"),
        idempotency_header="Resend-Idempotency-Key",
    ),
    Preset(
        "emailengine",
        ("https://newreleases.io/project/github/postalsys/emailengine/release/v2.52.0",),
        starttls_port=None,
        tls_port=None,
        idempotency_header="X-EE-Idempotency-Key",
    ),
    Preset(
        "zoho",
        ("https://www.zoho.com/mail/help/zoho-smtp.html",),
        host="smtp.zoho.com",  # other regions and paid organisations have others: smtppro.zoho.eu
        hosts=re.compile(r"(^|\.)zoho(cloud)?\.[a-z.]+$"),
    ),
    Preset(
        "ovh",
        ("http://gids.ovh.nl/EmailSmtpPop3Imap", "https://www.quai-des-entrepreneurs.com/ovh-mail"),
        host="ssl0.ovh.net",
        hosts=re.compile(r"(^|\.)ovh\.net$"),
        tls_first=True,
    ),
    Preset(
        "postfix",
        ("https://www.postfix.org/postconf.5.html#smtpd_client_connection_count_limit",),
        connections=50,  # its default for one client
        any_sender=True,
    ),
    Preset(
        "exim",
        ("https://www.exim.org/exim-html-current/doc/html/spec_html/ch-main_configuration.html",),
        connections=20,  # smtp_accept_max, its default for all clients
        messages_per_connection=1_000,  # smtp_accept_max_per_connection, its default
        any_sender=True,
    ),
)

GENERIC = Preset("generic", (), starttls_port=None, tls_port=None, any_sender=True)
"""Nothing is known."""

_BY_NAME = {preset.name: preset for preset in PROVIDERS}


@functools.lru_cache(maxsize=256)  # asked for each message
def preset_of(name: str, host: str) -> Preset:
    """The one with this name; for "auto" that of the relay with this host name. GENERIC if there is none."""
    if name == "auto":
        return next((preset for preset in PROVIDERS if preset.is_at(host)), GENERIC)
    return _BY_NAME.get(name, GENERIC)
