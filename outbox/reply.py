"""What an SMTP server said, how far a try got, and what that means for the delivery: values only."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Phase(StrEnum):
    """How far a try got when it ended (RFC 5321 §3)."""

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
    """What the outcome of a try means for the delivery."""

    ACCEPTED = "accepted"  # the server took it
    TRANSIENT = "transient"  # the server asks to try this mail again later; costs an attempt
    PERMANENT = "permanent"  # the server will never take this mail
    TRANSPORT = "transport"  # the server's fault, not the mail's; costs nothing
    CONFIGURATION = "configuration"  # ours: log-in, certificate, right to send; costs nothing
    UNKNOWN = "unknown"  # nobody can know whether the server took it


@dataclass(frozen=True, slots=True)
class Reply:
    """One SMTP reply (RFC 5321 §4.2), or the local error that stands in its place (`code` is None then)."""

    code: int | None
    enhanced: str | None  # RFC 3463, e.g. "5.1.1"
    text: str  # decoded, control characters escaped, bounded


@dataclass(frozen=True, slots=True)
class Result:
    """What one try to deliver one message to one recipient came to."""

    verdict: Verdict
    phase: Phase
    reply: Reply
    duration: float  # seconds
    relay_id: str | None = None  # the relay's own id from its final 250
    retry_after: float | None = None  # seconds the server asked us to wait
    reusable: bool = False  # the connection may carry the next mail
