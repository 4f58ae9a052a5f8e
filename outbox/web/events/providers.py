"""The providers whose webhooks are read: the path of each, and what proves that it is they who report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from outbox.delivery.reported import ReportedEvent
from outbox.settings import Settings
from outbox.web.events import brevo, mailgun, mailjet, postmark, resend, sendgrid, ses
from outbox.web.events.incoming import Incoming


@dataclass(frozen=True, slots=True)
class Provider:
    """One provider. `name`: of its path, and of its preset."""

    name: str
    read: Callable[[Incoming, Settings], list[ReportedEvent]]
    secrets: Callable[[Settings], tuple[str, ...]]
    setting: str
    needs_extra: bool = False

    def is_open(self, settings: Settings) -> bool:
        """Whether there is something to tell its requests by."""
        return bool(self.secrets(settings))


PROVIDERS = (
    Provider("ses", ses.read, lambda settings: settings.ses_topics, "OUTBOX_SES_TOPICS", needs_extra=True),
    Provider(
        "sendgrid",
        sendgrid.read,
        lambda settings: settings.sendgrid_public_keys,
        "OUTBOX_SENDGRID_PUBLIC_KEY",
        needs_extra=True,
    ),
    Provider("mailgun", mailgun.read, lambda settings: settings.mailgun_signing_keys, "OUTBOX_MAILGUN_SIGNING_KEY"),
    Provider("postmark", postmark.read, lambda settings: settings.postmark_credentials, "OUTBOX_POSTMARK_CREDENTIALS"),
    Provider("mailjet", mailjet.read, lambda settings: settings.mailjet_credentials, "OUTBOX_MAILJET_CREDENTIALS"),
    Provider(
        "brevo",
        brevo.read,
        lambda settings: settings.brevo_credentials + settings.brevo_tokens,
        "OUTBOX_BREVO_CREDENTIALS",
    ),
    Provider("resend", resend.read, lambda settings: settings.resend_signing_secrets, "OUTBOX_RESEND_SIGNING_SECRET"),
)
