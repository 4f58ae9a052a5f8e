"""The settings of what comes after the relay's 250: events, suppressions, and what is signed for them."""

from __future__ import annotations

from dataclasses import dataclass

from outbox.settings.bounce_table import BounceTable
from outbox.settings.host_values import EHLO_NAME
from outbox.settings.outgoing_webhooks import WEBHOOKS, Webhook
from outbox.settings.spec import setting
from outbox.settings.staging_values import ADDRESS
from outbox.settings.values import SECONDS, SECONDS_OR_NONE, SECRET, SHARE, text, whole
from outbox.settings.web_values import WEB_ADDRESS


@dataclass(frozen=True, slots=True, kw_only=True, init=False, repr=False, eq=False)  # made by its last heir
class EventTable(BounceTable):
    """Times in seconds."""

    secret_key: str | None = setting(
        "OUTBOX_SECRET_KEY",
        SECRET,
        None,
        "What signs the links and addresses that the outbox makes. Several, separated by blanks: the first signs, all "
        "verify. See [suppressions](suppressions.md).",
        says="`SECRET_KEY`, and `SECRET_KEY_FALLBACKS`",
    )
    address_key: str | None = setting(
        "OUTBOX_ADDRESS_KEY",
        SECRET,
        None,
        "What addresses are hashed with, where they are compared with suppressed ones. If it changes, earlier "
        "suppressions are found no more.",
        says="unset: a constant",
    )
    bounce_domain: str | None = setting(
        "OUTBOX_BOUNCE_DOMAIN",
        EHLO_NAME,
        None,
        "The domain of the signed envelope sender, `bounce+TOKEN@` it, whose mail `outbox-bounce` or `outbox-bounces` "
        "reads. See [bounces](bounces.md).",
        says="unset: bounces go to the sender of the message",
    )
    bounce_suppression_seconds: float = setting(
        "OUTBOX_BOUNCE_SUPPRESSION_SECONDS",
        SECONDS_OR_NONE,
        90 * 86_400.0,
        "How long an address gets no mail after it was refused as one that does not exist; mail of the category "
        "`security` is still tried. 0: bounces suppress nothing.",
    )
    unsubscribe_url: str | None = setting(
        "OUTBOX_UNSUBSCRIBE_URL",
        WEB_ADDRESS,
        None,
        "Where the application has mounted `outbox.web.unsubscribe_blueprint()`: `https://shop.example/unsubscribe`. "
        "Mail of the category `subscription` then says how to unsubscribe. See [unsubscribe](unsubscribe.md).",
        says="unset: it does not",
    )
    unsubscribe_mailto: str | None = setting(
        "OUTBOX_UNSUBSCRIBE_MAILTO",
        ADDRESS,
        None,
        "An address to which people may also write to unsubscribe, added to `List-Unsubscribe`. Deliver its mail to "
        "`outbox-bounce`, or to the mailbox of `OUTBOX_BOUNCE_IMAP_URL`.",
        says="unset: only by the link",
    )
    feedback_id: str | None = setting(
        "OUTBOX_FEEDBACK_ID",
        text(15),
        None,
        "Your name in the `Feedback-ID` of mail of the category `subscription`, 5 to 15 characters: Gmail then tells "
        "complaints by kind.",
        says="unset: none",
    )
    alarm_complained: float = setting(
        "OUTBOX_ALARM_COMPLAINED",
        SHARE,
        0.001,
        "The status is degraded when this share of what was sent lately, of one sender's domain by one transport, was "
        "complained about. Gmail and Yahoo ask for less than 0.001, and refuse mail from 0.003 on. 0: never.",
    )
    alarm_bounced: float = setting(
        "OUTBOX_ALARM_BOUNCED",
        SHARE,
        0.05,
        "The same for the share that bounced. Amazon SES reviews accounts from 0.05 on.",
    )
    alarm_reports: int = setting(
        "OUTBOX_ALARM_REPORTS",
        whole(1, 1_000_000),
        5,
        "The status judges these shares only if so many messages were complained about, or bounced.",
    )
    alarm_reports_seconds: float = setting(
        "OUTBOX_ALARM_REPORTS_SECONDS",
        SECONDS,
        7 * 86_400.0,
        "How far back the status looks at what became of mail that was sent.",
    )
    webhooks: tuple[Webhook, ...] = setting(
        "OUTBOX_WEBHOOKS",
        WEBHOOKS,
        (),
        "Addresses that are told of outcomes and events by HTTPS: objects with `url`, `secret` and `types`. See "
        "[handlers and webhooks](handlers.md).",
        says="none",
    )
    handler_seconds: float = setting(
        "OUTBOX_HANDLER_SECONDS",
        SECONDS,
        10.0,
        "How long a handler of `mail.on`, or a webhook, may take for one call. What takes longer is rolled back and "
        "tried again.",
    )
    handler_attempts: int = setting(
        "OUTBOX_HANDLER_ATTEMPTS",
        whole(1, 1000),
        20,
        "How often a handler or a webhook is tried about one outcome or event, with growing pauses; 20 times take "
        "about a day. After that a person must run it again (`outbox-effects`).",
    )
