"""The settings of what comes after the relay's 250: events, suppressions, and what is signed for them."""

from __future__ import annotations

from dataclasses import dataclass

from outbox.settings.bounce_table import BounceTable
from outbox.settings.host_values import EHLO_NAME
from outbox.settings.spec import setting
from outbox.settings.values import SECONDS_OR_NONE, SECRET


@dataclass(frozen=True, slots=True, kw_only=True)
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
