"""Flask-Mail's settings, and those of the message itself."""

from __future__ import annotations

from dataclasses import dataclass

from outbox.settings.host_values import host
from outbox.settings.spec import setting
from outbox.settings.staging_values import COPY
from outbox.settings.values import DEBUG, FLAG, HEADERS, SECRET, SENDER, text, whole

MESSAGES_PER_CONNECTION = 100


@dataclass(frozen=True, slots=True, kw_only=True, init=False, repr=False, eq=False)  # made by its last heir
class MailTable:
    """What Flask-Mail knows, and what goes into messages."""

    server: str = setting(
        "MAIL_SERVER", host("MAIL_PORT"), "127.0.0.1", "The relay's host name or address.", alias="MAIL_HOSTNAME"
    )
    port: int = setting(
        "MAIL_PORT", whole(1, 65_535), 25, "The relay's port. Usual: 25, 587 with STARTTLS, 465 with TLS."
    )
    use_tls: bool = setting("MAIL_USE_TLS", FLAG, False, "STARTTLS (RFC 3207). The certificate is verified.")
    use_ssl: bool = setting(
        "MAIL_USE_SSL", FLAG, False, "TLS from the first byte (RFC 8314). The certificate is verified."
    )
    username: str | None = setting(
        "MAIL_USERNAME", text(), None, "For the log-in, with `MAIL_PASSWORD` or access tokens."
    )
    password: str | None = setting(
        "MAIL_PASSWORD",
        SECRET,
        None,
        "For the log-in; with `OUTBOX_AUTH=XOAUTH2` or `OAUTHBEARER` an access token that nobody renews.",
    )
    default_sender: str | tuple[str, str] | None = setting(
        "MAIL_DEFAULT_SENDER", SENDER, None, "The sender of messages that have none of their own."
    )
    reply_to: str | tuple[str, str] | None = setting(
        "OUTBOX_REPLY_TO", SENDER, None, "The Reply-To of messages that have none of their own."
    )
    headers: tuple[tuple[str, str], ...] = setting(
        "OUTBOX_HEADERS", HEADERS, (), "Headers for all messages that have none of the same name, such as X-Mailer."
    )
    always_bcc: str | None = setting(
        "OUTBOX_ALWAYS_BCC",
        COPY,
        None,
        "An address that gets a copy of each message, which no header names. Not of kinds that are sensitive or of the "
        "category `security`, unless the kind says so (`always_bcc=True`).",
    )
    debug: int = setting(
        "MAIL_DEBUG",
        DEBUG,
        0,
        "Accepted for compatibility with Flask-Mail. Workers never log the SMTP dialogue, which holds messages and "
        "passwords.",
        says="`DEBUG`",
    )
    max_emails: int | None = setting(
        "MAIL_MAX_EMAILS",
        whole(1, 1_000_000),
        None,
        "Messages on one connection, then a fresh one.",
        says=f"unset: {MESSAGES_PER_CONNECTION}",
    )
    suppress_send: bool = setting(
        "MAIL_SUPPRESS_SEND",
        FLAG,
        False,
        "Mail is enqueued and recorded as usual, but workers send nothing, and the status says so.",
        says="`TESTING`",
    )
    ascii_attachments: bool = setting("MAIL_ASCII_ATTACHMENTS", FLAG, False, "Attachment names are reduced to ASCII.")

    filename_fallback: bool = setting(
        "OUTBOX_FILENAME_FALLBACK",
        FLAG,
        False,
        "Attachment names beyond ASCII are written twice: by RFC 2231, and as `name=` in encoded words, for readers "
        "that do not support RFC 2231 (older Outlook).",
    )
