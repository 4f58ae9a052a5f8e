"""The reply rules about senders and accounts: who may send as whom, and how much. Part of `reply_rules`."""

from __future__ import annotations

from outbox.delivery.reply import About, Verdict
from outbox.delivery.reply_rule import (
    AT_AUTH,
    AT_MAIL,
    CONNECTIONS,
    NOT_ALLOWED,
    NOT_RCPT,
    NOT_USABLE,
    NOT_VERIFIED,
    QUOTA,
    THROTTLE,
    UNAUTHENTICATED,
    Rule,
    both,
    words,
)

SENDER: tuple[Rule, ...] = (
    Rule(
        Verdict.TRANSPORT,
        QUOTA,
        text=words(
            r"\bnot allowed to send: .{0,40}\blimit (?:exceeded|reached)",
            r"\bon probation\b",
            r"\bunusual (?:sending activity|rate of unsolicited mail)",
        ),
        about=About.ACCOUNT,
    ),
    Rule(
        Verdict.CONFIGURATION,
        NOT_USABLE,
        text=words(
            r"\bactivate your (?:\w+ )?account",
            r"\baccount is not (?:yet )?(?:activated|active)",
            r"\baccount (?:\S+ )?(?:is |was |has been )?(?:disabled|suspended|frozen|blocked) (?:from|for) sending",
            r"\b(?:sending|sender|your account) (?:for this account )?(?:is |was |has been )?(?:suspended|paused)",
            r"\byour account (?:is |was |has been )?(?:disabled|blocked|restricted|locked|frozen)",
        ),
        about=About.RELAY,
    ),
    Rule(
        Verdict.CONFIGURATION,
        NOT_USABLE,
        text=words(r"\baccount (?:is |was |has been )?(?:disabled|suspended|blocked|restricted|locked|frozen)"),
        phases=AT_MAIL,  # once a recipient was named it may be the recipient's account
        about=About.RELAY,
    ),
    Rule(
        Verdict.CONFIGURATION,
        UNAUTHENTICATED,
        enhanced=frozenset({"5.7.26", "5.7.515", "5.7.27", "5.7.30"}),
        about=About.SENDER,
    ),
    Rule(
        Verdict.CONFIGURATION,
        UNAUTHENTICATED,
        text=words(
            r"\bdue to (?:\S+ )?(?:domain's )?dmarc\b",
            r"\bper dmarc policy",
            r"\b(?:fails?|not pass) dmarc\b",
            r"\bunauthenticated e?-?mail\b",
        ),
        about=About.SENDER,
    ),
    Rule(
        Verdict.CONFIGURATION,
        NOT_VERIFIED,  # SES: of a sandbox, the recipient's; only comparison can tell whose
        text=words(r"identities failed the check", r"^message rejected: email address is not verified"),
    ),
    Rule(
        Verdict.CONFIGURATION,
        NOT_VERIFIED,
        text=words(
            r"(?:address|domain|identity|identities|sender|from) (?:is |are |has |have )?(?:not (?:been )?|un)"
            r"(?:verified|validated|confirmed)",
            r"does not match a verified",
            r"unverified (?:sender|domain|address|identity)",
            r"verify your (?:sender|domain|account)",
            r"\bunconfigured sending domain",
            r"\bsender signature\b.{0,40}\bnot\b",
            r"\bnot a sender signature\b",
            r"\b(?:validate|authenticate) your (?:sender|domain)\b",
            r"\b(?:domain|address|sender) .{0,30}\bnot associated with (?:your|this) account",
        ),
        about=About.SENDER,
    ),
    Rule(
        Verdict.CONFIGURATION,
        NOT_ALLOWED,
        text=words(
            r"not (?:allowed|authori[sz]ed|permitted|entitled) to (?:send|submit|relay|use) "
            r"(?:mail |email |messages? )?(?:as|from|using|on behalf|this (?:sender|address|from|domain))",
            r"permissions? to send (?:as|on behalf|from)",
            r"SendAsDenied",
            r"not authori[sz]ed to perform\W+ses:",
            r"sender address rejected: (?:not owned|not logged in)",
            r"bad outbound sender",
            r"unauthenticated senders? (?:is |are )?not allowed",
            r"domain \S+ is not allowed to send",
            r"\b(?:mail ?from|from|sender)(?: address)? must (?:be (?:the )?same|equal|match)",
            r"\brelaying disallowed as\b",
            r"\bnot (?:allowed|permitted) to use the domain\b",
            r"\bsender address (?:is )?not allowed",
            r"\bfrom address is not (?:one of your|allowed)",
            r"\bnot local sender\b",
            r"\bsender address blocked$",
        ),
        about=About.SENDER,
    ),
    Rule(
        Verdict.CONFIGURATION,
        NOT_ALLOWED,  # before a recipient was named these speak of the sender
        text=words(
            r"\blocal user only", r"\b(?:sender|from address)\b.{0,40}\bnot (?:allowed|authori[sz]ed|permitted)\b"
        ),
        phases=AT_MAIL,
        about=About.SENDER,
    ),
)

ACCOUNT: tuple[Rule, ...] = (
    Rule(Verdict.TRANSPORT, THROTTLE, codes=frozenset({432}), phases=AT_AUTH, about=About.RELAY),
    Rule(Verdict.TRANSPORT, CONNECTIONS, codes=frozenset({432}), about=About.CONNECTIONS),
    Rule(Verdict.TRANSPORT, QUOTA, enhanced=frozenset({"5.4.5", "5.1.90", "5.7.705"}), about=About.ACCOUNT),
    Rule(
        Verdict.TRANSPORT,
        THROTTLE,
        enhanced=both("2.251", "2.252", "2.253", "2.254", "2.255"),
        about=About.ACCOUNT,
    ),
    Rule(
        Verdict.TRANSPORT,
        CONNECTIONS,
        text=words(
            r"\btoo many (?:\w+ ){0,2}(?:connections|sessions)\b",
            r"\b(?:concurrent|simultaneous) (?:\w+ )?(?:connections?|sessions?)\b",
            r"\bconnections? (?:rate )?limit\b",
            r"\btrop de connexions\b",
        ),
        about=About.CONNECTIONS,
    ),
    Rule(
        Verdict.TRANSPORT,
        QUOTA,
        text=words(
            r"submission ?quota",
            r"\b(?:daily|hourly|monthly|weekly|peak)\b.{0,60}?\b(?:limit|quota|rate|credits|allowance)\b",
            r"\b(?:sending|submission|outbound|relay|outgoing) (?:message |e?-?mail )?(?:quota|limit|rate|credits)\b",
            r"\b(?:message|mail|email|e-mail) (?:rate|limit|credits)\b.{0,30}\b(?:exceed|reach|hit)",
            r"\bcredits? (?:exceeded|exhausted|used)",
            r"sender'?s? .{0,30}\b(?:quota|limit|mailbox is full|mailbox full)",
            r"storedrv\.submission",
            r"\bpolicy rejection\W+quota exceeded",
            r"\bexceeded the max (?:e?-?mails|defers and failures)\b",
            r"\b(?:messages|e?-?mails|mails|recipients) (?:per|an?|/) ?(?:second|minute|hour|day|month)\b",
            r"\bexceeded (?:the |its |your )?(?:hour|minute|day|month)\w* limit",
            r"\blimit on the number of allowed outgoing\b",
            r"\breached its limit for processing requests\b",
            r"\btoo many recipient attempts\b",
            r"\byou(?:'ve| have)? (?:exceeded|reached) (?:the|your|an?) (?!.*\bsize\b).{0,40}\b(?:limit|quota|maximum)",
        ),
        about=About.ACCOUNT,
    ),
    Rule(
        Verdict.TRANSPORT,
        QUOTA,
        enhanced=both("7.0", "7.1"),
        text=words(r"^e?-?mail quota exceeded"),
        about=About.ACCOUNT,
    ),
    Rule(
        Verdict.TRANSPORT,
        QUOTA,
        text=words(
            r"^(?:sorry, |error: )?(?!size|length|line|hop|mailbox|storage|recipient)"
            r"(?:\w+ )?limit (?:is |was |has been )?(?:exceeded|reached)"
        ),
        codes=frozenset({450, 451, 452, 454}),
        phases=NOT_RCPT,
        about=About.ACCOUNT,
    ),
    Rule(
        Verdict.TRANSPORT,
        QUOTA,
        text=words(r"\bquota exceeded", r"\bover quota"),
        phases=AT_AUTH | AT_MAIL,
        about=About.ACCOUNT,
    ),
    Rule(
        Verdict.TRANSPORT,
        QUOTA,
        codes=frozenset({554}),
        enhanced=frozenset({"5.2.2"}),
        phases=NOT_RCPT,
        about=About.ACCOUNT,
    ),
    Rule(
        Verdict.TRANSPORT,
        THROTTLE,
        text=words(
            r"\bthrottl",
            r"\btoo many (?:\w+ )?(?:messages|e?-?mails?|requests|log-?[io]ns?|auth\w*)\b",
            r"\btoo much mail from\b",  # Postfix
            r"\brate[- ]?limit",
            r"\b(?:sending|message|mail) rate\b",
            r"\bexceed\w* .{0,40}\brate\b",
            r"\bdeferred due to unexpected volume\b",
            r"\bslow(?:er)? down\b",
            r"\btry again slower\b",
        ),
        about=About.ACCOUNT,
    ),
)
