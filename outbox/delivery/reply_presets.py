"""Reply rules of single relays: what they say in their own words. Data; they go before the general ones."""

from __future__ import annotations

from outbox.delivery.reply import About, Verdict
from outbox.delivery.reply_rule import (
    AT_AUTH,
    COMMANDS,
    CONNECTIONS,
    DELIVERING,
    LOG_IN,
    NOT_ALLOWED,
    NOT_USABLE,
    NOT_VERIFIED,
    QUOTA,
    THROTTLE,
    UNAUTHENTICATED,
    Rule,
    words,
)

PRESETS: dict[str, tuple[Rule, ...]] = {
    "gmail": (
        Rule(
            Verdict.CONFIGURATION,
            LOG_IN,
            codes=frozenset({535}),
            enhanced=frozenset({"5.7.8", "5.7.9", "5.7.14"}),
            about=About.RELAY,
        ),
        Rule(
            Verdict.CONFIGURATION,
            UNAUTHENTICATED,
            enhanced=frozenset({"4.7.26", "4.7.27", "4.7.30", "4.7.32", "5.7.32"}),
            about=About.SENDER,
        ),
        Rule(
            Verdict.CONFIGURATION,
            NOT_ALLOWED,
            text=words(r"mail relay denied", r"invalid credentials for relay"),
            about=About.RELAY,
        ),
    ),
    "exchange": (
        DELIVERING,
        Rule(Verdict.CONFIGURATION, NOT_ALLOWED, text=words(r"SendAsDenied"), about=About.SENDER),
        Rule(Verdict.CONFIGURATION, UNAUTHENTICATED, enhanced=frozenset({"5.7.509"}), about=About.SENDER),
        Rule(
            Verdict.CONFIGURATION,
            NOT_ALLOWED,
            enhanced=frozenset({"5.1.8", "5.7.60", "5.7.501", "5.7.502", "5.7.503", "5.7.750"}),
            about=About.SENDER,
        ),
        Rule(
            Verdict.CONFIGURATION,
            LOG_IN,
            enhanced=frozenset({"5.7.54", "5.7.57", "5.7.64", "5.7.139", "5.7.708"}),
            about=About.RELAY,
        ),
        Rule(
            Verdict.TRANSPORT,
            CONNECTIONS,
            codes=frozenset({432}),
            phases=COMMANDS - AT_AUTH,
            about=About.CONNECTIONS,
        ),
        Rule(
            Verdict.TRANSPORT,
            THROTTLE,
            enhanced=frozenset({"4.3.2", "4.7.500", "4.7.501", "4.7.550"}),
            about=About.ACCOUNT,
        ),
    ),
    "ses": (
        Rule(
            Verdict.CONFIGURATION,
            NOT_ALLOWED,
            text=words(r"^access denied", r"sending paused", r"sending suspended"),
            about=About.RELAY,
        ),
        Rule(
            Verdict.CONFIGURATION,
            NOT_VERIFIED,
            text=words(r"mail.?from domain is not verified"),
            about=About.SENDER,
        ),
        Rule(Verdict.CONFIGURATION, NOT_VERIFIED, text=words(r"not verified")),  # of a sandbox, the recipient's, too
    ),
    "sendgrid": (
        Rule(Verdict.TRANSPORT, QUOTA, text=words(r"maximum credits exceeded"), about=About.ACCOUNT),
        Rule(Verdict.CONFIGURATION, NOT_VERIFIED, text=words(r"verified sender identity"), about=About.SENDER),
        Rule(
            Verdict.CONFIGURATION,
            LOG_IN,
            text=words(r"authentication failed", r"account (?:disabled|frozen)"),
            about=About.RELAY,
        ),
    ),
    "mailgun": (
        Rule(
            Verdict.TRANSPORT,
            QUOTA,
            text=words(r"\b(?:recipient|message|request|account) limit (?:exceeded|reached)"),
            about=About.ACCOUNT,
        ),
        Rule(Verdict.CONFIGURATION, NOT_USABLE, text=words(r"activate your mailgun account"), about=About.RELAY),
        Rule(
            Verdict.CONFIGURATION,
            NOT_ALLOWED,
            text=words(r"sandbox subdomains", r"is not allowed to send"),
            about=About.SENDER,
        ),
    ),
}
"""Rules of single relays; they go before the general ones."""
