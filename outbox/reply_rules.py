"""The reply rules: which replies are the account's fault and not the message's. Data, first match wins."""

from __future__ import annotations

import re
from dataclasses import dataclass

from outbox.reply import About, Phase, Reply, Verdict


@dataclass(frozen=True, slots=True)
class Rule:
    """A pattern on a reply and its verdict. What is left empty fits everything."""

    verdict: Verdict | None  # None: stop here, the class of the code decides
    note: str
    codes: frozenset[int] = frozenset()
    enhanced: frozenset[str] = frozenset()
    text: re.Pattern[str] | None = None
    phases: frozenset[Phase] = frozenset()
    about: About | None = None  # what such a reply is about; None: the words don't tell

    def fits(self, phase: Phase, reply: Reply) -> bool:
        """Whether the rule speaks about this reply."""
        return (
            (not self.codes or reply.code in self.codes)
            and (not self.enhanced or reply.enhanced in self.enhanced)
            and (not self.phases or phase in self.phases)
            and (self.text is None or self.text.search(reply.text) is not None)
        )


def _words(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE)


_RCPT = frozenset({Phase.RCPT})
_AFTER_RCPT = frozenset({Phase.DATA, Phase.BODY, Phase.DOT})
_NOT_RCPT = _AFTER_RCPT | {Phase.AUTH, Phase.MAIL}

_QUOTA = "a quota of the account or of the relay is used up"
_THROTTLE = "the relay throttles this account"
_CONNECTIONS = "the relay admits fewer connections at once"
_NOT_VERIFIED = "the relay does not know the sender as verified"
_NOT_ALLOWED = "the account may not send (as this sender)"
_LOG_IN = "the relay asks for a log-in or refuses it"
_UNAUTHENTICATED = "the sender's domain fails SPF, DKIM or DMARC"

GENERAL: tuple[Rule, ...] = (
    Rule(
        None,
        "the recipient's own limits",
        enhanced=frozenset({"4.2.1", "4.2.2", "5.2.1", "5.2.2"}),
        text=_words(
            r"you (?:are |have )?tr(?:ied|ying) to (?:reach|contact)", r"recipient'?s? (?:mailbox|inbox|account|is|has)"
        ),
        about=About.RECIPIENT,
    ),
    Rule(
        Verdict.TRANSIENT,
        "the relay limits what this recipient gets",
        text=_words(
            r"\brate[- ]limit\w* (?:\w+ )?(?:for|of|to|on) (?:this|the|that) (?:recipient|address|mailbox)",
            r"\brecipient(?:'s)? rate[- ]limit",
        ),
        phases=_RCPT | _AFTER_RCPT,
        about=About.RECIPIENT,
    ),
    Rule(None, "greylisted", text=_words(r"\bgr[ea]y-?list"), phases=_NOT_RCPT | _RCPT, about=About.RECIPIENT),
    Rule(
        Verdict.TRANSPORT,
        "a limit of this connection is reached",
        text=_words(
            r"\b(?:messages?|mails?|e-?mails?|recipients?|transactions?|commands?)\b.{0,30}"
            r"\b(?:per|in|on|for|during|within) (?:this |the |a |one |each |single |same |your )*"
            r"(?:smtp )?(?:session|connection)\b",
            r"\b(?:session|connection) (?:message|mail|recipient|transaction)s? (?:limit|count|quota)",
        ),
        phases=_NOT_RCPT | _RCPT,
        about=About.SESSION,
    ),
    Rule(
        Verdict.TRANSIENT,
        "too many recipients at once",
        enhanced=frozenset({"4.5.3", "5.5.3"}),
        phases=_RCPT | _AFTER_RCPT,
    ),
    Rule(Verdict.TRANSIENT, "too many recipients at once", text=_words(r"too many recipients")),
    Rule(
        Verdict.CONFIGURATION,
        _LOG_IN,
        codes=frozenset({530, 534, 538}),
        phases=_NOT_RCPT | _RCPT,
        about=About.RELAY,
    ),
    Rule(
        Verdict.CONFIGURATION,
        _UNAUTHENTICATED,
        enhanced=frozenset({"5.7.26", "5.7.515", "5.7.27", "5.7.30"}),
        about=About.SENDER,
    ),
    Rule(
        Verdict.CONFIGURATION,
        "the relay's address has no name in the DNS, or it does not use TLS",
        enhanced=frozenset({"5.7.25", "5.7.29"}),
        about=About.RELAY,
    ),
    Rule(
        Verdict.CONFIGURATION,
        _NOT_VERIFIED,  # SES: of a sandbox, the recipient's; only comparison can tell whose
        text=_words(r"identities failed the check", r"^message rejected: email address is not verified"),
    ),
    Rule(
        Verdict.CONFIGURATION,
        _NOT_VERIFIED,
        text=_words(
            r"(?:address|domain|identity|identities|sender|from) (?:is |are |has |have )?(?:not (?:been )?|un)verified",
            r"does not match a verified",
            r"unverified (?:sender|domain|address|identity)",
            r"verify your (?:sender|domain|account)",
        ),
        about=About.SENDER,
    ),
    Rule(
        Verdict.CONFIGURATION,
        _NOT_ALLOWED,
        text=_words(
            r"not (?:allowed|authori[sz]ed|permitted|entitled) to (?:send|submit|relay|use) "
            r"(?:mail |email |messages? )?(?:as|from|using|on behalf|this (?:sender|address|from|domain))",
            r"permissions? to send (?:as|on behalf|from)",
            r"SendAsDenied",
            r"not authori[sz]ed to perform\W+ses:",
            r"sender address rejected: (?:not owned|not logged in)",
            r"bad outbound sender",
            r"unauthenticated senders? (?:is |are )?not allowed",
            r"domain \S+ is not allowed to send",
        ),
        about=About.SENDER,
    ),
    Rule(
        Verdict.CONFIGURATION,
        "the relay has suspended the account",
        text=_words(
            r"\b(?:sending|sender|your account) (?:for this account )?(?:is |was |has been )?(?:suspended|paused)"
        ),
        about=About.RELAY,
    ),
    Rule(Verdict.TRANSPORT, _THROTTLE, codes=frozenset({432}), phases=frozenset({Phase.AUTH}), about=About.RELAY),
    Rule(Verdict.TRANSPORT, _CONNECTIONS, codes=frozenset({432}), about=About.CONNECTIONS),
    Rule(Verdict.TRANSPORT, _QUOTA, enhanced=frozenset({"5.4.5", "5.1.90", "5.7.705"}), about=About.ACCOUNT),
    Rule(
        Verdict.TRANSPORT,
        _THROTTLE,
        enhanced=frozenset(f"{c}.2.{n}" for c in (4, 5) for n in (251, 252, 253, 254, 255)),
        about=About.ACCOUNT,
    ),
    Rule(
        Verdict.TRANSPORT,
        _QUOTA,
        text=_words(
            r"submission ?quota",
            r"\b(?:daily|hourly|monthly|weekly|peak)\b.{0,60}?\b(?:limit|quota|rate|credits|allowance)\b",
            r"\b(?:sending|submission|outbound|relay|outgoing) (?:message |e?-?mail )?(?:quota|limit|rate|credits)\b",
            r"\b(?:message|mail|email|e-mail) (?:rate|limit|credits)\b.{0,30}\b(?:exceed|reach|hit)",
            r"\bcredits? (?:exceeded|exhausted|used)",
            r"sender'?s? .{0,30}\b(?:quota|limit|mailbox is full|mailbox full)",
            r"storedrv\.submission",
        ),
        about=About.ACCOUNT,
    ),
    Rule(
        Verdict.TRANSPORT,
        _QUOTA,
        text=_words(r"\bquota exceeded", r"\bover quota"),
        phases=frozenset({Phase.AUTH, Phase.MAIL}),
        about=About.ACCOUNT,
    ),
    Rule(
        Verdict.TRANSPORT,
        _QUOTA,
        codes=frozenset({554}),
        enhanced=frozenset({"5.2.2"}),
        phases=_NOT_RCPT,
        about=About.ACCOUNT,
    ),
    Rule(
        Verdict.TRANSPORT,
        _CONNECTIONS,
        text=_words(
            r"\btoo many (?:\w+ ){0,2}(?:connections|sessions)\b",
            r"\b(?:concurrent|simultaneous) (?:\w+ )?(?:connections?|sessions?)\b",
        ),
        about=About.CONNECTIONS,
    ),
    Rule(
        Verdict.TRANSPORT,
        _THROTTLE,
        text=_words(
            r"\bthrottl",
            r"\btoo many (?:\w+ )?(?:messages|e?-?mails?|requests|log-?[io]ns?|auth\w*)\b",
            r"\brate[- ]limit",
            r"\b(?:sending|message|mail|connection) rate\b",
            r"\bexceed\w* .{0,40}\brate\b",
        ),
        about=About.ACCOUNT,
    ),
)
"""Rules for every relay. Each recipient's own fault must pass through: `550 5.1.1`, mailbox full, greylisting."""

PRESETS: dict[str, tuple[Rule, ...]] = {
    "gmail": (
        Rule(
            Verdict.CONFIGURATION,
            _LOG_IN,
            codes=frozenset({535}),
            enhanced=frozenset({"5.7.8", "5.7.9", "5.7.14"}),
            about=About.RELAY,
        ),
        Rule(
            Verdict.CONFIGURATION,
            _UNAUTHENTICATED,
            enhanced=frozenset({"4.7.26", "4.7.27", "4.7.30", "4.7.32", "5.7.32"}),
            about=About.SENDER,
        ),
        Rule(
            Verdict.CONFIGURATION,
            _NOT_ALLOWED,
            text=_words(r"mail relay denied", r"invalid credentials for relay"),
            about=About.RELAY,
        ),
    ),
    "exchange": (
        Rule(Verdict.CONFIGURATION, _NOT_ALLOWED, text=_words(r"SendAsDenied"), about=About.SENDER),
        Rule(
            Verdict.CONFIGURATION,
            _NOT_ALLOWED,
            enhanced=frozenset({"5.1.8", "5.7.60", "5.7.501", "5.7.502", "5.7.503", "5.7.750"}),
            about=About.SENDER,
        ),
        Rule(Verdict.CONFIGURATION, _LOG_IN, enhanced=frozenset({"5.7.57", "5.7.139", "5.7.708"}), about=About.RELAY),
        Rule(
            Verdict.TRANSPORT,
            _THROTTLE,
            enhanced=frozenset({"4.3.2", "4.7.500", "4.7.501", "4.7.550"}),
            about=About.ACCOUNT,
        ),
    ),
    "ses": (
        Rule(
            Verdict.CONFIGURATION,
            _NOT_ALLOWED,
            text=_words(r"^access denied", r"sending paused", r"sending suspended"),
            about=About.RELAY,
        ),
        Rule(
            Verdict.CONFIGURATION,
            _NOT_VERIFIED,
            text=_words(r"mail.?from domain is not verified"),
            about=About.SENDER,
        ),
        Rule(Verdict.CONFIGURATION, _NOT_VERIFIED, text=_words(r"not verified")),  # of a sandbox, the recipient's, too
    ),
    "sendgrid": (
        Rule(Verdict.TRANSPORT, _QUOTA, text=_words(r"maximum credits exceeded"), about=About.ACCOUNT),
        Rule(Verdict.CONFIGURATION, _NOT_VERIFIED, text=_words(r"verified sender identity"), about=About.SENDER),
        Rule(
            Verdict.CONFIGURATION,
            _LOG_IN,
            text=_words(r"authentication failed", r"account (?:disabled|frozen)"),
            about=About.RELAY,
        ),
    ),
    "mailgun": (
        Rule(
            Verdict.CONFIGURATION,
            _NOT_ALLOWED,
            text=_words(r"sandbox subdomains", r"is not allowed to send"),
            about=About.SENDER,
        ),
        Rule(
            Verdict.TRANSPORT,
            _QUOTA,
            text=_words(r"\b(?:recipient|message|request|account) limit (?:exceeded|reached)"),
            about=About.ACCOUNT,
        ),
    ),
}
"""Rules of single relays; they go before the general ones."""
