"""What to do about a reply or a failure of the relay, by the names of the settings. Data, first match wins.

The words of our own errors are matched too (`smtp/`); a test with real sockets holds both together.
"""

from __future__ import annotations

from outbox.delivery.connection_hints import CONNECTING, STARTING_TLS
from outbox.delivery.hint import AUTH, FROM_MAIL, NO_REPLY, TO_EHLO, Hint, words
from outbox.delivery.http_hints import HTTP
from outbox.delivery.reply import Phase
from outbox.delivery.token_hints import TOKENS


def hint_for(
    phase: Phase | str, code: int | None, text: str, *, port: int | None = None, tls_first: bool = False
) -> str | None:
    """The remedy for a relay's reply, or for our own error where `code` is None; None where nothing is known.

    `phase` and `text` are those of the reply (`Result.phase`, `Result.reply`), `port` is the relay's,
    `tls_first` whether TLS is spoken from the first byte (MAIL_USE_SSL).
    """
    try:
        reached = Phase(phase)
    except ValueError:
        return None
    return next((hint.remedy for hint in HINTS if hint.fits(reached, code, text, port, tls_first)), None)


_LOG_IN: tuple[Hint, ...] = (
    Hint(
        "The relay takes OAuth 2 only: set up access tokens in place of MAIL_PASSWORD (docs/oauth.md).",
        phases=AUTH,
        text=words(r"offers (?:\S*OAUTH\S* ?)+,"),
    ),
    Hint(
        "The relay offers no log-in on this connection. Most do so only after TLS: set MAIL_USE_TLS=true (port 587). "
        "A relay that asks for none: leave MAIL_USERNAME and MAIL_PASSWORD out.",
        phases=AUTH,
        text=words(r"offers (?:none|no log-?in)"),
    ),
    Hint(
        "Set OUTBOX_AUTH to a mechanism that the relay offers, or leave it out.",
        phases=AUTH,
        text=words(r"no common way", r"no common mechanism"),
    ),
    Hint(
        "The provider wants an app password: create one in the account's security settings, and set MAIL_PASSWORD to "
        "it.",
        phases=AUTH,
        text=words(r"app(?:lication)?[- ](?:specific )?password", r"InvalidSecondFactor"),
    ),
    Hint(
        "The provider has disabled log-in by password (SMTP AUTH) for this account. Enable SMTP AUTH there; if "
        "passwords are off for good, set up access tokens (docs/oauth.md).",
        phases=AUTH,
        text=words(r"basic auth\w* is disabled", r"SmtpClientAuthentication", r"\bis disabled for the (?:tenant|mail)"),
    ),
    Hint(
        "Too many log-ins: wait, and lower OUTBOX_CONNECTIONS.",
        phases=AUTH,
        text=words(r"too many", r"rate.?limit", r"throttl"),
    ),
    Hint(
        "The relay's log-in service is not available now. Try again later.",
        phases=AUTH,
        codes=frozenset(range(400, 500)),
    ),
    Hint(
        "Check MAIL_USERNAME and MAIL_PASSWORD, and that the account may send by SMTP. If they are right, try "
        "OUTBOX_AUTH=LOGIN: some relays refuse PLAIN.",
        phases=AUTH,
        codes=frozenset(range(500, 600)),
    ),
)

_SENDING: tuple[Hint, ...] = (
    Hint(
        "Set OUTBOX_LOCAL_HOSTNAME to this machine's full DNS name: the relay refuses the name that EHLO gave.",
        text=words(
            r"\b(?:helo|ehlo)\b.{0,80}(?:reject|refus|invalid|denied|fqdn|hostname|syntax)",
            r"(?:reject|refus|invalid|bad|denied).{0,40}\b(?:helo|ehlo)\b",
        ),
        phases=frozenset({Phase.EHLO}) | FROM_MAIL,
        codes=frozenset(range(400, 600)),
    ),
    Hint(
        "The relay wants TLS first: set MAIL_USE_TLS=true.",
        text=words(r"STARTTLS"),
        codes=frozenset({503, 530, 538, 550, 554}),
    ),
    Hint(
        "Set OUTBOX_LOCAL_HOSTNAME to this machine's full DNS name: the relay refuses the name that EHLO gave.",
        phases=frozenset({Phase.EHLO}),
        codes=frozenset(range(500, 600)),
    ),
    Hint(
        "The relay refuses the IP address of this machine. Use a relay with a log-in (port 587), or ask for the "
        "address to be taken from the blocklist.",
        text=words(
            r"\bblocked\b", r"black-?list", r"block-?list", r"spamhaus", r"\brbl\b", r"poor reputation", r"dnsbl"
        ),
        codes=frozenset(range(400, 600)),
        phases=TO_EHLO | FROM_MAIL,
    ),
    Hint(
        "The relay takes no further connection now: lower OUTBOX_CONNECTIONS, or ask for a higher limit.",
        phases=TO_EHLO,
        codes=frozenset(range(400, 500)),
    ),
    Hint(
        "The relay refuses this machine. Ask its administrator to allow this machine's IP address, or use the port "
        "with a log-in, usually 587.",
        phases=TO_EHLO,
        codes=frozenset(range(500, 600)),
    ),
    Hint(
        "The relay wants a log-in: set MAIL_USERNAME and MAIL_PASSWORD.",
        phases=FROM_MAIL,
        text=words(
            r"auth\w* (?:is )?required", r"not authenticated", r"\bAUTH (?:command )?first", r"must (?:log|auth)"
        ),
    ),
    Hint(
        "The relay wants a log-in: set MAIL_USERNAME and MAIL_PASSWORD (and MAIL_USE_TLS=true).",
        phases=FROM_MAIL,
        codes=frozenset({530}),
    ),
    Hint(
        "The relay takes no mail for other domains from this machine. Log in (MAIL_USERNAME, MAIL_PASSWORD), or ask "
        "its administrator to allow this machine's IP address.",
        phases=FROM_MAIL,
        text=words(r"relay\w* (?:access )?(?:is )?(?:denied|prohibited|disallowed|not)", r"not permitted to relay"),
    ),
    Hint(
        "Verify the sender's address or domain with the provider, or set MAIL_DEFAULT_SENDER to one that is verified.",
        phases=FROM_MAIL,
        text=words(r"not (?:been )?verified", r"unverified", r"verif\w+ (?:your|sender|identity)", r"verified sender"),
    ),
    Hint(
        "The account may not send as this address. Set MAIL_DEFAULT_SENDER to one that belongs to it.",
        phases=FROM_MAIL,
        text=words(
            r"not owned",
            r"send\w*[ -]?as",
            r"not (?:allowed|authori[sz]ed|permitted) to send",
            r"must (?:be (?:the )?same|equal)",
            r"sender address rejected",
        ),
    ),
    Hint(
        "The sender's domain fails SPF, DKIM or DMARC. Add the relay to the domain's DNS records as the provider says.",
        phases=FROM_MAIL,
        text=words(r"\bSPF\b", r"\bDKIM\b", r"\bDMARC\b"),
    ),
    Hint(
        "A quota of the account is used up, or it sends too fast. Wait, lower OUTBOX_CONNECTIONS, or ask the provider "
        "for a higher limit.",
        phases=FROM_MAIL,
        text=words(
            r"\bquota",
            r"\b(?:sending|daily|hourly|monthly|rate|message|mail|email) limit",
            r"\btoo (?:many|much) (?:messages|mail|e-?mails|connections)",
            r"throttl",
            r"rate.?limit",
            r"credits? exceeded",
            r"exceeded",
        ),
        codes=frozenset(range(400, 600)),
    ),
    Hint(
        "The relay hangs up or does not answer while mail is offered. Check that no firewall inspects SMTP, and see "
        "the relay's log.",
        phases=FROM_MAIL,
        codes=NO_REPLY,
        text=words(r"closed", r"broke", r"silence", r"used up"),
    ),
)

HINTS: tuple[Hint, ...] = (*HTTP, *CONNECTING, *STARTING_TLS, *TOKENS, *_LOG_IN, *_SENDING)
"""In the order of a session; the narrower pattern before the wider one."""
