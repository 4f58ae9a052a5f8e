"""The reply rules for every relay: whose fault a refusal is, and what it is about.

Data, first match wins: the narrow before the wide, the recipient's own before the account's. Each word here was seen
in a provider's documentation or in a public report; tests/unit/delivery/replies.py has texts with their sources, and
the recipients' own faults that no rule may take for the account's. `docs/replies.md` says how to report another.
"""

from __future__ import annotations

from outbox.delivery.reply import About, Phase, Verdict
from outbox.delivery.reply_accounts import ACCOUNT, SENDER
from outbox.delivery.reply_rule import (
    AFTER_RCPT,
    AT_RCPT,
    BLOCKED,
    COMMANDS,
    DELIVERING,
    GREETED,
    LOG_IN,
    THROTTLE,
    Rule,
    both,
    words,
)

_RECIPIENTS_OWN: tuple[Rule, ...] = (
    Rule(
        None,
        "the sender's address can't be verified",
        text=words(r"\bsender verify (?:failed|callout)", r"\bsender address rejected: (?!not )"),
        phases=AT_RCPT,
        about=About.SENDER,
    ),
    Rule(
        None,
        "the recipient's server refuses the recipient",
        text=words(r"\bhost \S+ said:", r"\b(?:unverified|undeliverable) address", r"\bcallout\b"),
        phases=AT_RCPT,
        about=About.RECIPIENT,
    ),
    Rule(
        None,
        "the recipient accepts mail from some senders only",
        text=words(r"\bRESOLVER\.RST\.", r"\bto (?:this|the) (?:group|distribution list|mailing list)\b"),
        about=About.RECIPIENT,
    ),
    DELIVERING,
    Rule(
        None,
        "the recipient's own limits",
        enhanced=both("2.0", "2.1", "2.2", "2.3", "2.4"),
        text=words(
            r"you (?:are |have )?tr(?:ied|ying) to (?:reach|contact)",
            r"recipient'?s? (?:mailbox|inbox|account|is|has)",
            r"^(?!.*(?:\brelay|\bsen[dt]|\bcustomer|\bstoredrv|\bsubmission))(?=.*\b(?:user|mailbox|inbox|recipient)\b)"
            r".*\b(?:rate|limit|too (?:many|quickly|fast))",
        ),
        about=About.RECIPIENT,
    ),
    Rule(
        Verdict.TRANSIENT,
        "the relay limits what this domain gets",
        text=words(
            r"\b(?:rate[- ]?limit\w*|too many \w+) .{0,20}"
            r"\b(?:for|to) (?:this|the) (?:recipient|destination)(?:'s)? domain"
        ),
        phases=AT_RCPT | AFTER_RCPT,
        about=About.DOMAIN,
    ),
    Rule(
        Verdict.TRANSIENT,
        "the relay limits what this recipient gets",
        text=words(
            r"\brate[- ]?limit\w* .{0,20}\b(?:for|of|to|on) (?:this|the|that) (?:recipient|address|mailbox|user)\b",
            r"\brecipient(?:'s)? (?:rate|receiving)[- ]?limit",
            r'\bratelimit "(?:bounce_)?to\w*" exceeded',
            r"\btoo many (?:messages|e?-?mails) (?:to|for) (?:this|the same) (?:recipient|address|mailbox)",
            r"\breceiving mail (?:at a rate|too quickly)",
            r"\breceiv(?:e|ing)(?: rate)? (?:limit|quota)",
        ),
        phases=AT_RCPT | AFTER_RCPT,
        about=About.RECIPIENT,
    ),
    Rule(None, "about the recipient's domain", text=words(r"\bfor rcpt domain\b"), about=About.DOMAIN),
    Rule(None, "greylisted", text=words(r"\bgr[ea]y-?list"), phases=COMMANDS, about=About.RECIPIENT),
)

_SESSION: tuple[Rule, ...] = (
    Rule(
        Verdict.TRANSPORT,
        "a limit of this connection is reached",
        text=words(
            r"\b(?:messages?|mails?|e-?mails?|recipients?|transactions?|commands?)\b.{0,30}"
            r"\b(?:per|in|on|for|during|within) (?:this |the |a |one |each |single |same |your )*"
            r"(?:smtp )?(?:session|connection)\b",
            r"\b(?:session|connection) (?:message|mail|recipient|transaction)s? (?:limit|count|quota)",
        ),
        phases=COMMANDS,
        about=About.SESSION,
    ),
    Rule(
        Verdict.TRANSPORT,
        "the relay had closed this connection: it was idle for too long",
        codes=frozenset({421, 451}),
        text=words(r"\btime-?out\b.{0,40}\b(?:waiting|closing|idle|client)", r"\bidle\b.{0,20}\b(?:time|too long)"),
        phases=frozenset({Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.BODY}),
        about=About.SESSION,
    ),
)

_RECIPIENTS: tuple[Rule, ...] = (
    Rule(
        Verdict.TRANSPORT,
        THROTTLE,
        text=words(r"\btoo (?:much mail|many recipients|many AUTH commands|many messages) from\b"),
        about=About.ACCOUNT,
    ),
    Rule(Verdict.TRANSIENT, "too many recipients at once", enhanced=both("5.3"), phases=AT_RCPT | AFTER_RCPT),
    Rule(Verdict.TRANSIENT, "too many recipients at once", text=words(r"too many recipients\b")),
)

_RELAY: tuple[Rule, ...] = (
    Rule(Verdict.CONFIGURATION, LOG_IN, codes=frozenset({530, 534, 538}), phases=COMMANDS, about=About.RELAY),
    Rule(
        Verdict.CONFIGURATION,
        LOG_IN,
        text=words(
            r"\bsend AUTH command first",
            r"\bauth(?:entication)? (?:is )?(?:required|needed)\b",
            r"\b(?:must|need to|have to|please) (?:first )?(?:authenticate|log ?in|sign in)\b",
            r"\bturn on smtp authentication",
            r"\bwithout (?:smtp )?authentication\b",
            r"\brequires? (?:smtp )?authentication\b",
            r"\bclient was not authenticated\b",
            r"\bmust issue a STARTTLS\b",
        ),
        phases=COMMANDS,
        about=About.RELAY,
    ),
    Rule(
        Verdict.CONFIGURATION,
        GREETED,
        text=words(
            r"\b(?:helo|ehlo)\b.{0,30}\b(?:rejected|invalid|not (?:accepted|allowed|resolv))",
            r"\b(?:invalid|bad|fake|need) (?:\S+ )?(?:helo|ehlo)\b",
        ),
        about=About.RELAY,
    ),
    Rule(
        None,
        "the content names a domain on a blocklist",
        text=words(r"\b(?:url|uri|link|content|body)s?\b.{0,60}\b(?:(?:block|black)-?list|listed|dbl|uribl|surbl)"),
        about=About.MESSAGE,
    ),
    Rule(
        Verdict.CONFIGURATION,
        "the sender's domain is on a blocklist",
        text=words(
            r"\b(?:sender address|mail ?from|sender domain|having a domain)\b.{0,60}"
            r"\b(?:blocked using|listed|present in|dbl\.)"
        ),
        about=About.SENDER,
    ),
    Rule(
        Verdict.CONFIGURATION,  # only a person can have an address delisted, or send by another
        BLOCKED,
        text=words(
            r"\b(?:client|host|ip|address|service unavailable)\b.{0,60}\bblocked (?:using|by)\b",
            r"\b(?:listed|found|rejected) (?:at|in|on|by|using) .{0,40}"
            r"(?:spamhaus|spamcop|sorbs|barracuda|dnsbls?\b|\brbl)",
            r"\bip\b(?: address)?.{0,40}\b(?:black|block|deny)-? ?list",
            r"\bspamhaus\.org/(?:query|lookup)",
            r"\bin an? (?:black ?list at|rbl)\b",
            r"\bconnections (?:will )?not (?:be )?accepted from\b",
            r"\bip address .{0,40}\b(?:is )?not (?:allowed|authori[sz]ed)",
            r"\bip you're using to send mail is not authori[sz]ed",
            r"\bbanned sending ip",
            r"\bpoor reputation\b",
            r"\bclient host (?:rejected|blocked for)",
            r"\baccess to (?:submit messages to )?this (?:e-?mail|mail) system has been rejected",
            r"\byou are not allowed to connect",
        ),
        about=About.RELAY,
    ),
    Rule(
        Verdict.CONFIGURATION,
        "the relay's address has no name in the DNS, or it does not use TLS",
        enhanced=frozenset({"5.7.25", "5.7.29"}),
        about=About.RELAY,
    ),
)

_ONLY_ABOUT: tuple[Rule, ...] = (
    Rule(
        None,
        "the recipient's address or mailbox",
        text=words(
            r"\b(?:user|recipient|mailbox|account|addressee?|alias)\b.{0,60}"
            r"\b(?:unknown|not found|does(?: not|n't) exist|unavailable|disabled|inactive|full|over ?-?quota|invalid"
            r"|unallocated)\b",
            r"\b(?:no such|unknown|invalid|unrouteable|not our) (?:user|recipient|mailbox|address|person|customer)\b",
            r"\bover ?-?quota\b",
            r"\bquota exceeded\b",
        ),
        phases=AT_RCPT,
        about=About.RECIPIENT,
    ),
    Rule(
        None,
        "the content",
        text=words(
            r"\bspam\b", r"\bvirus\b", r"\bmalware\b", r"\bcontent\b", r"\bmessage size\b", r"\btoo (?:large|big)\b"
        ),
        phases=AFTER_RCPT,
        about=About.MESSAGE,
    ),
)

GENERAL: tuple[Rule, ...] = (
    *_RECIPIENTS_OWN,
    *_SESSION,
    *_RECIPIENTS,
    *_RELAY,
    *SENDER,
    *ACCOUNT,
    *_ONLY_ABOUT,
)
"""Rules for every relay. Each recipient's own fault must pass through: `550 5.1.1`, mailbox full, greylisting."""
