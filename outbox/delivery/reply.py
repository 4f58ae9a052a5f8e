"""What an SMTP server said, how far an attempt got, and what that means for the delivery: values only."""

from __future__ import annotations

import re
from enum import StrEnum

from outbox.core.value import value
from outbox.delivery.retry_after import seconds_to_wait


class Phase(StrEnum):
    """How far an attempt got before it ended (RFC 5321 §3)."""

    RESOLVE = "resolve"
    CONNECT = "connect"
    GREETING = "greeting"
    EHLO = "ehlo"
    TLS = "tls"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"  # the DATA command and its 354
    BODY = "body"  # the content is being written, the final dot is not yet with the kernel
    DOT = "dot"  # the final dot is with the kernel; the server may have taken the mail
    LOCAL = "local"  # before any network I/O: expired, damaged, refused by this worker


class Verdict(StrEnum):
    """What the outcome of an attempt means for the delivery."""

    ACCEPTED = "accepted"  # the server took it
    TRANSIENT = "transient"  # the server asks to try this mail again later; costs an attempt
    PERMANENT = "permanent"  # the server will never take this mail
    TRANSPORT = "transport"  # the server's fault, not the mail's; costs nothing
    CONFIGURATION = "configuration"  # ours: log-in, certificate, right to send; costs nothing
    UNKNOWN = "unknown"  # nobody can know whether the server took it


class About(StrEnum):
    """What a failure is about: the narrowest thing that would have to change for the next attempt to pass."""

    RECIPIENT = "recipient"  # this address: unknown, full, greylisted, throttled
    MESSAGE = "message"  # this content: size, policy, spam
    SENDER = "sender"  # this From or envelope sender: not verified, not allowed for this account
    DOMAIN = "domain"  # the recipient's domain
    SESSION = "session"  # this connection: a limit per session, an idle time-out
    CONNECTIONS = "connections"  # more connections at once than the relay admits
    ACCOUNT = "account"  # a quota or rate of the account
    RELAY = "relay"  # it can't be used: down, TLS, log-in


@value(frozen=True, slots=True)
class Reply:
    """One SMTP reply (RFC 5321 §4.2), or the local error in place of one (then `code` is None)."""

    code: int | None
    enhanced: str | None  # RFC 3463, e.g. "5.1.1"; it is not repeated in `text`
    text: str  # decoded, one line, control characters escaped, bounded

    def __str__(self) -> str:
        return " ".join(str(part) for part in (self.code, self.enhanced, self.text) if part)


@value(frozen=True, slots=True)
class Result:
    """The result of one attempt to deliver one message to one recipient."""

    verdict: Verdict
    phase: Phase
    reply: Reply
    duration: float  # seconds
    relay_id: str | None = None  # the relay's own id from its final 250
    retry_after: float | None = None  # seconds the server asked us to wait
    reusable: bool = False  # the connection may carry the next mail
    note: str = ""  # what it means in our words, where the server's may mislead; "" where they say it all
    about: About | None = None  # what the reply itself says it is about; None: only comparison with others can tell

    @classmethod
    def accepted(cls, id: str | None = None, text: str = "", *, code: int | None = None) -> Result:
        """The service took the message, under this id of its own."""
        return cls(Verdict.ACCEPTED, Phase.DOT, Reply(code, None, text), 0.0, relay_id=id)

    @classmethod
    def refused(cls, text: str, *, code: int | None = None, about: str | None = None) -> Result:
        """It will never take this message. `about`: "recipient", "message", "sender" or "domain", where that is
        known; else the outbox compares what it says to other messages."""
        return cls(Verdict.PERMANENT, Phase.DOT, Reply(code, None, text), 0.0, about=_about(about))

    @classmethod
    def deferred(
        cls, text: str, retry_after: float | None = None, *, code: int | None = None, about: str | None = None
    ) -> Result:
        """It did not take this message now; it may later, after `retry_after` seconds. Costs the message an attempt."""
        reply = Reply(code, None, text)
        return cls(Verdict.TRANSIENT, Phase.DOT, reply, 0.0, retry_after=retry_after, about=_about(about))

    @classmethod
    def unavailable(cls, text: str, retry_after: float | None = None, *, code: int | None = None) -> Result:
        """It did not take the message, and takes none now: it is down, or the account sends too much (then with
        `retry_after`, in seconds). No attempt is counted, and another transport may carry the message.
        """
        if retry_after is None:
            return cls(Verdict.TRANSPORT, Phase.CONNECT, Reply(code, None, text), 0.0, about=About.RELAY)
        reply = Reply(code, None, text)
        return cls(Verdict.TRANSPORT, Phase.DOT, reply, 0.0, retry_after=retry_after, about=About.ACCOUNT)

    @classmethod
    def misconfigured(cls, text: str, *, code: int | None = None) -> Result:
        """It did not take the message, and takes none until a person has changed something: a refused log-in, an
        account that is suspended. Treated like `unavailable`, with an alarm."""
        return cls(Verdict.CONFIGURATION, Phase.AUTH, Reply(code, None, text), 0.0, about=About.RELAY)

    @classmethod
    def unknown(cls, text: str) -> Result:
        """Nobody can know whether it took the message: it was handed over, and no answer came."""
        return cls(Verdict.UNKNOWN, Phase.DOT, Reply(None, None, text), 0.0)


def _about(about: str | None) -> About | None:
    return None if about is None else About(about)


MAX_TEXT = 1_000
"""Characters of a reply's text that are kept."""

_ENHANCED = re.compile(r"#?([245]\.\d{1,3}\.\d{1,3})(?:[\s:;,]+|$)")

_RELAY_IDS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"\bqueued as[: ]+<?([\w.+/=-]+)",  # Postfix, SendGrid
        r"\[InternalId=(\d+)",  # Exchange
        r"\bid=([\w.+/=-]+)",  # Exim
        r"^ok\s+(\S.*?)\s+-\s+gsmtp\b",  # Gmail
        r"^(\w{8,}) message accepted for delivery",  # Sendmail
        r"^ok:? (\d{9,} qp \d+)",  # qmail
        r"^ok:? <?([\w.-]{16,})>?$",  # SES and others whose only word is the id
        r"^<?([\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12})>?$",  # Resend
    )
)


def parse_reply(code: int, raw: bytes) -> Reply:
    """The reply with the lines `raw` (without their codes, joined by LF)."""
    lines = [line.strip() for line in raw.decode("utf-8", "replace").split("\n")]
    enhanced, lines = _take_enhanced(code, lines)
    return Reply(code, enhanced, printable(" ".join(line for line in lines if line)))


def printable(text: str) -> str:
    """`text` with everything escaped that is not to be printed, at most `MAX_TEXT` characters."""
    if len(text) > MAX_TEXT:
        text = text[: MAX_TEXT - 1] + "\N{HORIZONTAL ELLIPSIS}"
    if text.isprintable():
        return text
    escaped = "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)
    return escaped if len(escaped) <= MAX_TEXT else escaped[: MAX_TEXT - 1] + "\N{HORIZONTAL ELLIPSIS}"


def relay_id(reply: Reply) -> str | None:
    """The id under which the relay took the mail, as far as its final 250 tells; at most 200 characters."""
    for pattern in _RELAY_IDS:
        if found := pattern.search(reply.text):
            return found[1][:200]
    return None


def retry_after(reply: Reply) -> float | None:
    """Seconds that the server asks us to wait ("try again in 5 minutes"), a day at most; None if it does not say."""
    return seconds_to_wait(reply.text)


def _take_enhanced(code: int, lines: list[str]) -> tuple[str | None, list[str]]:
    """The enhanced code (RFC 2034 §4) and the lines without it; one that says success for a failure is ignored."""
    found = _ENHANCED.match(lines[0])
    if found is None or (found[1][0] == "2") != (code < 300):
        return None, lines
    enhanced = found[1]
    if len(lines) == 1:
        return enhanced, [lines[0][found.end() :]]
    return enhanced, [
        line[mark.end() :] if (mark := _ENHANCED.match(line)) and mark[1] == enhanced else line for line in lines
    ]
