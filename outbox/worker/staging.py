"""The envelope of an attempt: whom it goes to, in production and where OUTBOX_REDIRECT_TO keeps mail from people."""

from __future__ import annotations

from dataclasses import replace

from outbox.delivery.reply import About, Phase, Result, Verdict
from outbox.delivery.retry import MOST_NOTE, Decision
from outbox.delivery.staging import Allowed
from outbox.message.values import Envelope
from outbox.settings import Settings
from outbox.store.claimed import Claimed


def allowed(settings: Settings) -> Allowed | None:
    """Who may get mail; None: everybody, or all goes to one address."""
    return None if settings.redirect_to is not None else settings.allow_recipients


def envelope(claimed: Claimed, redirect_to: str | None) -> Envelope:
    """To its recipient, or to `redirect_to`; the content is the same."""
    one = claimed.message
    to = claimed.recipient if redirect_to is None else redirect_to
    return Envelope(
        one.envelope_from,
        to,
        one.size,
        one.smtputf8,
        one.mail_options,
        one.rcpt_options,
        one.message_id,
        one.tags,
        one.created_at,
    )


def of_sink(result: Result, redirect_to: str | None) -> Result:
    """`result`; one that refuses the address for all mail is about the settings: no message may fail for it."""
    if redirect_to is None or result.phase is not Phase.RCPT or result.verdict is not Verdict.PERMANENT:
        return result
    reply = replace(result.reply, text=f"{result.reply.text} (to {redirect_to}: check OUTBOX_REDIRECT_TO)")
    return replace(result, verdict=Verdict.CONFIGURATION, about=About.RELAY, reply=reply)


def noted(decision: Decision, redirect_to: str | None) -> Decision:
    """`decision`, which tells where the message went."""
    if redirect_to is None:
        return decision
    words = f"offered to {redirect_to} instead (OUTBOX_REDIRECT_TO)"
    return replace(decision, note=(f"{decision.note}; {words}" if decision.note else words)[:MOST_NOTE])
