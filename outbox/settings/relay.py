"""One SMTP relay and how to reach it: a value, read from the configuration once."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from outbox.delivery.rate_limits import RateLimits
from outbox.delivery.reply_rule import Rule
from outbox.settings.dkim import Dkim
from outbox.settings.endpoint import Endpoint, TransportFactory
from outbox.settings.host_values import is_this_machine
from outbox.settings.token_source import TokenSource


class Security(StrEnum):
    """How the connection is protected."""

    NONE = "none"  # plain text
    STARTTLS = "starttls"  # RFC 3207
    TLS = "tls"  # implicit, RFC 8314


_ENCRYPT = "set MAIL_USE_TLS or MAIL_USE_SSL (or OUTBOX_ALLOW_PLAINTEXT=true)"


@dataclass(frozen=True, slots=True)
class Relay:
    """Where mail is handed over. All times in seconds."""

    host: str = "localhost"
    port: int = 25
    security: Security = Security.NONE
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    auth: str | None = None  # a SASL mechanism to insist on ("XOAUTH2"); None: the best that both sides know
    tokens: TokenSource | None = None  # in place of the password
    ca_file: Path | None = None  # None: the system's store
    verify: bool = True
    tls_name: str | None = None  # the name that the certificate must have; None: the host's
    fingerprints: tuple[str, ...] = ()  # SHA-256 of certificates that are accepted, in place of names and authorities
    tls_certificate_file: Path | None = None  # our own, PEM
    tls_key_file: Path | None = None  # None: in the same file
    tls_min_version: str = "1.2"
    tls_ciphers: str | None = None  # as OpenSSL writes them; TLS 1.3 has its own
    protocol: str = "smtp"  # or "lmtp"
    socket: Path | None = None  # a Unix socket, in place of host and port
    source_address: str | None = None  # of this machine; None: the system's choice
    ehlo_ignored: tuple[str, ...] = ()  # keywords, in lower case
    allow_plaintext: bool = (
        False  # plain text to another machine, and a password over plain text, are refused without it
    )
    local_hostname: str | None = None  # for EHLO; None: an address literal, no DNS look-up
    connect_timeout: float = 10.0  # resolve + TCP connect
    command_timeout: float = 60.0  # silence in one reply
    send_timeout: float = 300.0  # wall clock for one message before its final dot, connecting included
    dot_timeout: float = 600.0  # wait for the reply to the final dot; RFC 5321 §4.5.3.2.6 asks for ten minutes
    max_messages: int = 100  # on one connection, then a fresh one
    max_recipients: int = 50  # of one message in one transaction
    idle_timeout: float = 30.0  # an idle connection older than this is not reused
    soft_bounce_until: datetime | None = None  # until then 5xx replies count as temporary
    pipelining: bool = True  # use PIPELINING (RFC 2920) where it is offered
    headers: tuple[tuple[str, str], ...] = ()  # added to each message
    dkim: Dkim | None = None  # signs each message
    bounce_sender: str = "never"  # what its envelope senders name: "message", "delivery"; "never": they stay
    idempotency_header: str | None = None  # added with a value of its own for each delivery
    label: str | None = None  # its name in OUTBOX_TRANSPORTS
    connections: int = 4  # at once, of one worker
    preset: str = "auto"  # which table of reply rules applies on top of the general one; "auto": by the host's name
    rules: tuple[Rule, ...] = ()  # go before all others
    limits: RateLimits = field(default_factory=RateLimits)  # of all workers together
    rate_unit: str = "messages"  # what they count, or "recipients"
    total_connections: int | None = None  # at once, of all workers together
    ramp: float = 2.0  # seconds until twice as many connections work, after an outage; 0: all at once
    options: tuple[tuple[str, str], ...] = field(default=(), repr=False)  # of a transport that is not SMTP alone
    make: TransportFactory | None = field(default=None, repr=False)  # the application's own, in place of SMTP

    def time_for(self, timeout: float | None) -> float:
        """Seconds for one message before its final dot, of which a worker has `timeout` left; None: it does not say."""
        return self.send_timeout if timeout is None else min(timeout, self.send_timeout)

    @property
    def speaks_smtp(self) -> bool:
        """Whether it is reached by SMTP or LMTP."""
        return self.protocol in {"smtp", "lmtp"}

    @property
    def endpoint(self) -> Endpoint:
        """What a transport that is not SMTP needs to know."""
        return Endpoint(
            name=self.name,
            scheme=self.protocol,
            host=self.host,
            port=self.port or None,
            username=self.username,
            password=self.password,
            options=dict(self.options),
            ca_file=self.ca_file,
            connect_timeout=self.connect_timeout,
        )

    @property
    def name(self) -> str:
        """As logs, attempts, pauses and the status call it: its name among several, else `host:port`."""
        return self.label or self.address

    @property
    def shown(self) -> str:
        """Its name, and the address where that is another."""
        return self.address if self.label is None else f"{self.label} ({self.address})"

    @property
    def address(self) -> str:
        """`host:port`, or the path of the socket."""
        if self.socket is not None:
            return str(self.socket)
        if not self.port:
            return self.host or f"{self.protocol}:"
        return f"{self.host}:{self.port}"

    @property
    def is_local(self) -> bool:
        """Whether the relay is this machine (`localhost`, 127.0.0.0/8, `::1`): plain text never leaves it."""
        return self.socket is not None or is_this_machine(self.host)

    @property
    def refusal(self) -> str | None:
        """Why this relay must not be talked to as it is configured, with the remedy; None: nothing is against it."""
        if self.local_hostname is not None and not re.fullmatch("[!-~]+", self.local_hostname):
            return (
                f"the name for EHLO, {self.local_hostname!r}, can't be said in SMTP, which knows ASCII only: set "
                "OUTBOX_LOCAL_HOSTNAME to its A-label (xn--…)"
            )
        if self.socket is not None and sys.platform == "win32":
            return f"{self.socket} is a Unix socket, which this system lacks: give a host and a port instead"
        if self.username and not self.password and self.tokens is None:
            return "a user name is set without a password: set MAIL_PASSWORD, or leave MAIL_USERNAME out"
        if self.security is not Security.NONE or self.allow_plaintext:
            return None
        if self.username:
            return f"a password would go over plain text: {_ENCRYPT}"
        if not self.is_local:
            return f"mail to {self.name} would go over plain text: {_ENCRYPT}"
        return None
