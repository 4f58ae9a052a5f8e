"""What to do about a reply or a failure of the relay, by the names of the settings. Data, first match wins.

The words of our own errors are matched too (`smtp/`); a test with real sockets holds both together.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from outbox.delivery.reply import Phase


@dataclass(frozen=True, slots=True)
class Hint:
    """A pattern on what was said, and the remedy. What is left empty fits everything."""

    remedy: str
    phases: frozenset[Phase] = frozenset()
    codes: frozenset[int | None] = frozenset()  # None in it: no reply came
    text: re.Pattern[str] | None = None
    port: int | None = None
    plain: bool = False  # only where TLS does not come first

    def fits(self, phase: Phase, code: int | None, text: str, port: int | None, tls_first: bool) -> bool:
        """Whether this hint is about the failure."""
        return (
            (not self.phases or phase in self.phases)
            and (not self.codes or code in self.codes)
            and (self.port is None or self.port == port)
            and not (self.plain and tls_first)
            and (self.text is None or self.text.search(text) is not None)
        )


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


def _words(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE)


_NO_REPLY: frozenset[int | None] = frozenset({None})
_FROM_MAIL = frozenset({Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.BODY, Phase.DOT})
_TO_EHLO = frozenset({Phase.GREETING, Phase.EHLO})
_AUTH = frozenset({Phase.AUTH})
_TLS = frozenset({Phase.TLS})

_TLS_FROM_START = "Port 465 speaks TLS from the first byte: set MAIL_USE_SSL=true."

_CONNECTING: tuple[Hint, ...] = (
    Hint(
        "The relay asks for a client certificate, which the outbox cannot present. Use a port or a relay with a "
        "log-in by name and password (usually 587).",
        phases=_TLS | _TO_EHLO,
        text=_words(r"certificate.required", r"client certificate", r"alert.bad.certificate", r"peer did not return"),
    ),
    Hint(
        "The name server did not answer. Check this machine's DNS, or set MAIL_SERVER to an IP address.",
        phases=frozenset({Phase.RESOLVE}),
        text=_words(r"was not resolved in", r"temporary failure"),
    ),
    Hint(
        "The name is not in the DNS. Check the spelling of MAIL_SERVER.",
        phases=frozenset({Phase.RESOLVE}),
    ),
    Hint(
        "Nothing listens there. Check that the relay runs, and that MAIL_SERVER and MAIL_PORT are right (usual: 587 "
        "with MAIL_USE_TLS, 465 with MAIL_USE_SSL, 25).",
        phases=frozenset({Phase.CONNECT}),
        text=_words(r"refused"),
    ),
    Hint(
        "This machine has no way to that address. Check its network, and MAIL_SERVER.",
        phases=frozenset({Phase.CONNECT}),
        text=_words(r"unreachable", r"no route", r"not available", r"not supported"),
    ),
    Hint(
        "A firewall probably drops the connection; many hosting providers block port 25. Try MAIL_PORT=587 with "
        "MAIL_USE_TLS=true, and check MAIL_SERVER.",
        phases=frozenset({Phase.CONNECT}),
    ),
    Hint(_TLS_FROM_START, phases=frozenset({Phase.GREETING}), codes=_NO_REPLY, port=465, plain=True),
    Hint(
        "What answers there speaks TLS from the first byte: set MAIL_USE_SSL=true, and MAIL_USE_TLS=false.",
        phases=frozenset({Phase.GREETING}),
        codes=_NO_REPLY,
        text=_words(r"\\x15\\x03"),
        plain=True,
    ),
    Hint(
        "What answers there is not an SMTP server. Check MAIL_SERVER and MAIL_PORT.",
        phases=frozenset({Phase.GREETING}),
        codes=_NO_REPLY,
        text=_words(r"no SMTP reply", r"not an SMTP reply", r"more than \d+ bytes"),
    ),
    Hint(
        "The relay accepts the connection and says nothing. If the port speaks TLS from the first byte (465), set "
        "MAIL_USE_SSL=true; else the relay is overloaded, or its proxy cannot reach it.",
        phases=frozenset({Phase.GREETING}),
        codes=_NO_REPLY,
        plain=True,
    ),
    Hint(
        "The relay accepts the connection and says nothing: it is overloaded, or its proxy cannot reach it.",
        phases=frozenset({Phase.GREETING}),
        codes=_NO_REPLY,
    ),
)

_TLS_HINTS: tuple[Hint, ...] = (
    Hint(
        "The port does not speak TLS from the first byte. For STARTTLS (port 587) set MAIL_USE_TLS=true and "
        "MAIL_USE_SSL=false.",
        phases=_TLS,
        text=_words(r"WRONG_VERSION_NUMBER", r"RECORD_LAYER_FAILURE"),
    ),
    Hint(
        "Set MAIL_USE_SSL=true instead of MAIL_USE_TLS if the port is 465; else use the relay's port with STARTTLS, "
        "usually 587.",
        phases=_TLS,
        text=_words(r"not offer STARTTLS"),
    ),
    Hint(
        "Check the file that OUTBOX_TLS_CA_FILE names: it must hold certificates in PEM form.",
        phases=_TLS,
        text=_words(r"the CA file"),
    ),
    Hint(
        "Set MAIL_SERVER to a name that the relay's certificate contains.",
        phases=_TLS,
        text=_words(r"hostname mismatch", r"IP address mismatch", r"doesn't match", r"not valid for"),
    ),
    Hint(
        "Renew the relay's certificate. If it is still valid, this machine's clock is wrong.",
        phases=_TLS,
        text=_words(r"\bexpired\b"),
    ),
    Hint("Check this machine's clock.", phases=_TLS, text=_words(r"not yet valid")),
    Hint(
        "Set OUTBOX_TLS_CA_FILE to a PEM file with the certificate of the authority that signed the relay's (for a "
        "self-signed one: with that certificate itself).",
        phases=_TLS,
        text=_words(r"self[- ]signed", r"local issuer", r"issuer certificate", r"verify the first certificate"),
    ),
    Hint(
        "The relay speaks TLS 1.1 or older only. TLS 1.2 is the oldest version allowed: update the relay, or use "
        "another one.",
        phases=_TLS,
        text=_words(r"unsupported.protocol", r"protocol.version", r"no.protocols.available", r"TLS 1\.[01]"),
    ),
    Hint("The relay cannot start TLS now. Try again later.", phases=_TLS, codes=frozenset({421, 454})),
    Hint(
        "Check that the port is right: 587 for MAIL_USE_TLS, 465 for MAIL_USE_SSL; and that no firewall breaks TLS.",
        phases=_TLS,
    ),
)

_LOG_IN: tuple[Hint, ...] = (
    Hint(
        "The relay takes OAuth 2 only: set OUTBOX_AUTH=XOAUTH2 and MAIL_PASSWORD to an access token.",
        phases=_AUTH,
        text=_words(r"offers (?:\S*OAUTH\S* ?)+,"),
    ),
    Hint(
        "The relay offers no log-in on this connection. Most do so only after TLS: set MAIL_USE_TLS=true (port 587). "
        "A relay that asks for none: leave MAIL_USERNAME and MAIL_PASSWORD out.",
        phases=_AUTH,
        text=_words(r"offers (?:none|no log-?in)"),
    ),
    Hint(
        "Set OUTBOX_AUTH to a mechanism that the relay offers, or leave it out.",
        phases=_AUTH,
        text=_words(r"no common way", r"no common mechanism"),
    ),
    Hint(
        "The provider wants an app password: create one in the account's security settings, and set MAIL_PASSWORD to "
        "it.",
        phases=_AUTH,
        text=_words(r"app(?:lication)?[- ](?:specific )?password", r"InvalidSecondFactor"),
    ),
    Hint(
        "The provider has disabled log-in by password for this account (SMTP AUTH). Enable it there, or set "
        "OUTBOX_AUTH=XOAUTH2 and MAIL_PASSWORD to an access token.",
        phases=_AUTH,
        text=_words(
            r"basic auth\w* is disabled", r"SmtpClientAuthentication", r"\bis disabled for the (?:tenant|mail)"
        ),
    ),
    Hint(
        "Too many log-ins: wait, and lower OUTBOX_CONNECTIONS.",
        phases=_AUTH,
        text=_words(r"too many", r"rate.?limit", r"throttl"),
    ),
    Hint(
        "The access token is refused. It may have expired: set MAIL_PASSWORD to a new one.",
        phases=_AUTH,
        text=_words(r"\btoken\b", r"\bbearer\b", r"\"schemes\""),
    ),
    Hint(
        "The relay's log-in service is not available now. Try again later.",
        phases=_AUTH,
        codes=frozenset(range(400, 500)),
    ),
    Hint(
        "Check MAIL_USERNAME and MAIL_PASSWORD, and that the account may send by SMTP. If they are right, try "
        "OUTBOX_AUTH=LOGIN: some relays refuse PLAIN.",
        phases=_AUTH,
        codes=frozenset(range(500, 600)),
    ),
)

_SENDING: tuple[Hint, ...] = (
    Hint(
        "Set OUTBOX_LOCAL_HOSTNAME to this machine's full DNS name: the relay refuses the name that EHLO gave.",
        text=_words(
            r"\b(?:helo|ehlo)\b.{0,80}(?:reject|refus|invalid|denied|fqdn|hostname|syntax)",
            r"(?:reject|refus|invalid|bad|denied).{0,40}\b(?:helo|ehlo)\b",
        ),
        phases=frozenset({Phase.EHLO}) | _FROM_MAIL,
        codes=frozenset(range(400, 600)),
    ),
    Hint(
        "The relay wants TLS first: set MAIL_USE_TLS=true.",
        text=_words(r"STARTTLS"),
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
        text=_words(
            r"\bblocked\b", r"black-?list", r"block-?list", r"spamhaus", r"\brbl\b", r"poor reputation", r"dnsbl"
        ),
        codes=frozenset(range(400, 600)),
        phases=_TO_EHLO | _FROM_MAIL,
    ),
    Hint(
        "The relay takes no further connection now: lower OUTBOX_CONNECTIONS, or ask for a higher limit.",
        phases=_TO_EHLO,
        codes=frozenset(range(400, 500)),
    ),
    Hint(
        "The relay refuses this machine. Ask its administrator to allow this machine's IP address, or use the port "
        "with a log-in, usually 587.",
        phases=_TO_EHLO,
        codes=frozenset(range(500, 600)),
    ),
    Hint(
        "The relay wants a log-in: set MAIL_USERNAME and MAIL_PASSWORD.",
        phases=_FROM_MAIL,
        text=_words(
            r"auth\w* (?:is )?required", r"not authenticated", r"\bAUTH (?:command )?first", r"must (?:log|auth)"
        ),
    ),
    Hint(
        "The relay wants a log-in: set MAIL_USERNAME and MAIL_PASSWORD (and MAIL_USE_TLS=true).",
        phases=_FROM_MAIL,
        codes=frozenset({530}),
    ),
    Hint(
        "The relay takes no mail for other domains from this machine. Log in (MAIL_USERNAME, MAIL_PASSWORD), or ask "
        "its administrator to allow this machine's IP address.",
        phases=_FROM_MAIL,
        text=_words(r"relay\w* (?:access )?(?:is )?(?:denied|prohibited|disallowed|not)", r"not permitted to relay"),
    ),
    Hint(
        "Verify the sender's address or domain with the provider, or set MAIL_DEFAULT_SENDER to one that is verified.",
        phases=_FROM_MAIL,
        text=_words(r"not (?:been )?verified", r"unverified", r"verif\w+ (?:your|sender|identity)", r"verified sender"),
    ),
    Hint(
        "The account may not send as this address. Set MAIL_DEFAULT_SENDER to one that belongs to it.",
        phases=_FROM_MAIL,
        text=_words(
            r"not owned",
            r"send\w*[ -]?as",
            r"not (?:allowed|authori[sz]ed|permitted) to send",
            r"must (?:be (?:the )?same|equal)",
            r"sender address rejected",
        ),
    ),
    Hint(
        "The sender's domain fails SPF, DKIM or DMARC. Add the relay to the domain's DNS records as the provider says.",
        phases=_FROM_MAIL,
        text=_words(r"\bSPF\b", r"\bDKIM\b", r"\bDMARC\b"),
    ),
    Hint(
        "A quota of the account is used up, or it sends too fast. Wait, lower OUTBOX_CONNECTIONS, or ask the provider "
        "for a higher limit.",
        phases=_FROM_MAIL,
        text=_words(
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
        phases=_FROM_MAIL,
        codes=_NO_REPLY,
        text=_words(r"closed", r"broke", r"silence", r"used up"),
    ),
)

HINTS: tuple[Hint, ...] = (*_CONNECTING, *_TLS_HINTS, *_LOG_IN, *_SENDING)
"""In the order of a session; the narrower pattern before the wider one."""
