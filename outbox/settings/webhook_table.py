"""The settings of what providers report by webhooks: what proves that it is they who report."""

from __future__ import annotations

from dataclasses import dataclass

from outbox.settings.encryption_table import EncryptionTable
from outbox.settings.spec import setting
from outbox.settings.values import FLAG
from outbox.settings.webhook_values import CREDENTIALS, PUBLIC_KEYS, SVIX_SECRETS, TOPICS, WORDS


@dataclass(frozen=True, slots=True, kw_only=True, init=False, repr=False, eq=False)  # made by its last heir
class WebhookTable(EncryptionTable):
    """A provider without its setting is refused."""

    ses_topics: tuple[str, ...] = setting(
        "OUTBOX_SES_TOPICS",
        TOPICS,
        (),
        "The ARNs of the SNS topics by which Amazon SES reports. Needs the extra `crypto`. [Webhooks](webhooks.md).",
        says="unset: refused",
    )
    sendgrid_public_keys: tuple[str, ...] = setting(
        "OUTBOX_SENDGRID_PUBLIC_KEY",
        PUBLIC_KEYS,
        (),
        "The verification key of SendGrid's signed event webhook. Needs the extra `crypto`.",
        says="unset: refused",
    )
    mailgun_signing_keys: tuple[str, ...] = setting(
        "OUTBOX_MAILGUN_SIGNING_KEY", WORDS, (), "Mailgun's HTTP webhook signing key.", says="unset: refused"
    )
    postmark_credentials: tuple[str, ...] = setting(
        "OUTBOX_POSTMARK_CREDENTIALS",
        CREDENTIALS,
        (),
        "What Postmark's requests to the webhook bring as basic auth.",
        says="unset: refused",
    )
    mailjet_credentials: tuple[str, ...] = setting(
        "OUTBOX_MAILJET_CREDENTIALS", CREDENTIALS, (), "The same for Mailjet.", says="unset: refused"
    )
    brevo_credentials: tuple[str, ...] = setting(
        "OUTBOX_BREVO_CREDENTIALS", CREDENTIALS, (), "The same for Brevo.", says="unset: refused"
    )
    brevo_tokens: tuple[str, ...] = setting(
        "OUTBOX_BREVO_TOKEN",
        WORDS,
        (),
        "For Brevo, instead: the token of an `Authorization: Bearer` header.",
        says="unset: refused",
    )
    resend_signing_secrets: tuple[str, ...] = setting(
        "OUTBOX_RESEND_SIGNING_SECRET",
        SVIX_SECRETS,
        (),
        "The signing secret of Resend's webhook, `whsec_…`.",
        says="unset: refused",
    )
    events_opened_clicked: bool = setting(
        "OUTBOX_EVENTS_OPENED_CLICKED",
        FLAG,
        False,
        "Store that mail was opened or a link in it clicked, where a provider reports it.",
    )
