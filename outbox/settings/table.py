# ruff: noqa: RUF009 - `_set` is dataclasses.field with a Spec in it
"""The table of settings: names, form, default and meaning of each.

It drives the parsing, the check for unknown keys and docs/configuration.md (`python -m outbox.settings.docs`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from outbox.delivery.states import OnUncertain
from outbox.settings.relay import Relay, Security
from outbox.settings.values import (
    DEBUG,
    EHLO_NAME,
    FILE,
    FLAG,
    HEADERS,
    KINDS,
    NAMES,
    POLICY,
    SECONDS,
    SECRET,
    SENDER,
    SHARE,
    URL,
    Form,
    choice,
    host,
    text,
    whole,
)

_MESSAGES_PER_CONNECTION = 100
_DOT_TIMEOUT = 600.0  # seconds, RFC 5321 §4.5.3.2.6
_BEFORE_DOT = 300.0  # seconds kept for connecting and for writing the message, 25 MiB on a slow line

PRESETS = ("auto", "generic", "gmail", "exchange", "ses", "sendgrid", "mailgun")
MECHANISMS = ("XOAUTH2", "PLAIN", "LOGIN", "CRAM-MD5")
UNCOMMITTED = ("auto", "commit", "warn", "raise")


@dataclass(frozen=True, slots=True)
class Spec:
    """One setting: its names in the configuration, its form, what it means."""

    names: tuple[str, ...]  # the first is its own, the others are aliases
    form: Form
    doc: str
    default: str | None = None  # in words, where the default depends on something

    @property
    def name(self) -> str:
        """The setting's own name."""
        return self.names[0]


def _set(name: str, form: Form, default: Any, doc: str, *, alias: str | None = None, says: str | None = None) -> Any:
    names = (name,) if alias is None else (name, alias)
    return field(default=default, repr=not form.secret, metadata={"spec": Spec(names, form, doc, says)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Everything that can be configured. Times in seconds, sizes in bytes."""

    server: str = _set(
        "MAIL_SERVER", host("MAIL_PORT"), "127.0.0.1", "The relay's host name or address.", alias="MAIL_HOSTNAME"
    )
    port: int = _set("MAIL_PORT", whole(1, 65_535), 25, "The relay's port. Usual: 25, 587 with STARTTLS, 465 with TLS.")
    use_tls: bool = _set("MAIL_USE_TLS", FLAG, False, "STARTTLS (RFC 3207). The certificate is verified.")
    use_ssl: bool = _set(
        "MAIL_USE_SSL", FLAG, False, "TLS from the first byte (RFC 8314). The certificate is verified."
    )
    username: str | None = _set("MAIL_USERNAME", text(), None, "For the log-in; only together with `MAIL_PASSWORD`.")
    password: str | None = _set(
        "MAIL_PASSWORD", SECRET, None, "For the log-in; with `OUTBOX_AUTH=XOAUTH2` the access token."
    )
    default_sender: str | tuple[str, str] | None = _set(
        "MAIL_DEFAULT_SENDER", SENDER, None, "The sender of messages that have none of their own."
    )
    reply_to: str | tuple[str, str] | None = _set(
        "OUTBOX_REPLY_TO", SENDER, None, "The Reply-To of messages that have none of their own."
    )
    headers: tuple[tuple[str, str], ...] = _set(
        "OUTBOX_HEADERS", HEADERS, (), "Headers for all messages that have none of the same name, such as X-Mailer."
    )
    debug: int = _set(
        "MAIL_DEBUG",
        DEBUG,
        0,
        "Accepted for compatibility with Flask-Mail. Workers never log the SMTP dialogue, which holds messages and "
        "passwords.",
        says="`DEBUG`",
    )
    max_emails: int | None = _set(
        "MAIL_MAX_EMAILS",
        whole(1, 1_000_000),
        None,
        "Messages on one connection, then a fresh one.",
        says=f"unset: {_MESSAGES_PER_CONNECTION}",
    )
    suppress_send: bool = _set(
        "MAIL_SUPPRESS_SEND",
        FLAG,
        False,
        "Mail is enqueued and recorded as usual, but workers send nothing, and the status says so.",
        says="`TESTING`",
    )
    ascii_attachments: bool = _set("MAIL_ASCII_ATTACHMENTS", FLAG, False, "Attachment names are reduced to ASCII.")

    filename_fallback: bool = _set(
        "OUTBOX_FILENAME_FALLBACK",
        FLAG,
        False,
        "Attachment names beyond ASCII are written twice: by RFC 2231, and as `name=` in encoded words, for readers "
        "that know no RFC 2231 (older Outlook).",
    )

    database_url: str | None = _set(
        "OUTBOX_DATABASE_URL",
        URL,
        None,
        "Where workers and commands find the outbox. Needed where `init_app` is given no session: `send` then uses a "
        "transaction of its own on it. Where it is the session's own address, workers and commands connect by that "
        "engine's options and listeners, too; where it is another address of the same database (a direct one beside a "
        "pooler), by the URL alone: give options in its query.",
        says="unset: the session's database",
    )
    database_timeout_seconds: float = _set(
        "OUTBOX_DATABASE_TIMEOUT_SECONDS",
        SECONDS,
        30.0,
        "How long workers, commands and pages wait for one answer of the database; then they close that connection.",
    )
    environment: str = _set(
        "OUTBOX_ENVIRONMENT",
        text(64),
        "",
        "Stamped on each message. A worker of another environment refuses it, so that a production database restored "
        "on a staging machine sends nothing.",
    )
    connections: int = _set("OUTBOX_CONNECTIONS", whole(1, 1000), 4, "SMTP connections of one worker.")
    poll_seconds: float = _set("OUTBOX_POLL_SECONDS", SECONDS, 0.5, "How often an idle worker looks for due mail.")
    wake: bool = _set(
        "OUTBOX_WAKE",
        FLAG,
        True,
        "Let a commit wake the worker at once (PostgreSQL by NOTIFY, SQLite by its data version); polling goes on "
        "in any case.",
    )
    lease_seconds: float = _set(
        "OUTBOX_LEASE_SECONDS", SECONDS, 1200.0, "How long a claim holds; then another worker may take the mail."
    )
    send_timeout_seconds: float = _set(
        "OUTBOX_SEND_TIMEOUT_SECONDS",
        SECONDS,
        900.0,
        "Time limit for sending one message, including connecting and the reply to the final dot. RFC 5321 §4.5.3.2.6 "
        "asks for ten minutes for that reply alone: with less, a slow server's mail is sent twice.",
        says="900, or 0.8 of the lease where that is less",
    )
    connect_timeout_seconds: float = _set(
        "OUTBOX_CONNECT_TIMEOUT_SECONDS", SECONDS, 10.0, "Looking up the relay's name and connecting to it."
    )
    command_timeout_seconds: float = _set(
        "OUTBOX_COMMAND_TIMEOUT_SECONDS", SECONDS, 60.0, "Timeout while waiting for the next bytes of a reply."
    )
    heartbeat_seconds: float = _set(
        "OUTBOX_HEARTBEAT_SECONDS", SECONDS, 5.0, "How often a worker writes its heartbeat."
    )
    dead_after_seconds: float = _set(
        "OUTBOX_DEAD_AFTER_SECONDS",
        SECONDS,
        20.0,
        "A worker whose heartbeat is older is considered dead, and others take over its mail.",
        says="4 heartbeats: 20",
    )
    shutdown_seconds: float = _set(
        "OUTBOX_SHUTDOWN_SECONDS", SECONDS, 30.0, "How long a stopping worker may take to finish what it is sending."
    )
    max_age_seconds: float = _set(
        "OUTBOX_MAX_AGE_SECONDS",
        SECONDS,
        5 * 86_400.0,
        "A message without an `expires_at` of its own expires this long after it is due.",
    )
    max_attempts: int = _set(
        "OUTBOX_MAX_ATTEMPTS", whole(1, 10_000), 30, "Counted attempts after which a delivery is marked failed."
    )
    retry_first_seconds: float = _set(
        "OUTBOX_RETRY_FIRST_SECONDS", SECONDS, 60.0, "Wait after the first deferred attempt; doubled each time."
    )
    retry_max_seconds: float = _set(
        "OUTBOX_RETRY_MAX_SECONDS", SECONDS, 4 * 3600.0, "The longest wait between attempts."
    )
    max_message_bytes: int = _set(
        "OUTBOX_MAX_MESSAGE_BYTES",
        whole(1024, 2**31 - 1),
        25 * 2**20,
        "The largest wire form of a message; a larger one is refused when it is enqueued.",
    )
    retention_seconds: float = _set(
        "OUTBOX_RETENTION_SECONDS", SECONDS, 30 * 86_400.0, "Mail that was sent or cancelled is purged after this."
    )
    audit_retention_seconds: float = _set(
        "OUTBOX_AUDIT_RETENTION_SECONDS",
        SECONDS,
        365 * 86_400.0,
        "Entries of the audit (who changed or read what) are removed after this. Environments that share a database "
        "share the audit: the shortest time of their workers counts.",
    )
    sensitive_kinds: tuple[str, ...] = _set(
        "OUTBOX_SENSITIVE_KINDS",
        NAMES,
        (),
        "Kinds whose mail holds secrets (`password-reset`): its content is removed from the database about half a "
        "minute after it was sent.",
    )
    uncommitted: str = _set(
        "OUTBOX_UNCOMMITTED",
        choice(*UNCOMMITTED),
        "auto",
        "What happens at the end of a request that succeeded, or of an application context outside of a request (a "
        "thread, task, job or command), with mail that nobody committed: `auto` commits it if its transaction wrote "
        "nothing but mail, else does as `warn`, under `TESTING` and `DEBUG` as `raise`; `commit` commits whatever is "
        "there; `warn` logs a warning; `raise` raises UncommittedMailError.",
    )
    on_uncertain: OnUncertain = _set(
        "OUTBOX_ON_UNCERTAIN",
        POLICY,
        OnUncertain.RETRY,
        "What to do if nobody can know whether the server took a message: `retry` sends it again, `hold` leaves the "
        "decision to a person.",
    )
    on_uncertain_kinds: tuple[tuple[str, OnUncertain], ...] = _set(
        "OUTBOX_ON_UNCERTAIN_KINDS", KINDS, (), "The same by kind of message."
    )
    tls_ca_file: Path | None = _set(
        "OUTBOX_TLS_CA_FILE", FILE, None, "Certificates to trust, PEM.", says="unset: the system's store"
    )
    tls_verify: bool = _set("OUTBOX_TLS_VERIFY", FLAG, True, "False accepts any certificate: for experiments only.")
    allow_plaintext: bool = _set(
        "OUTBOX_ALLOW_PLAINTEXT",
        FLAG,
        False,
        "Allows plain text to another machine, and a password over plain text.",
    )
    auth: str | None = _set(
        "OUTBOX_AUTH",
        choice(*MECHANISMS),
        None,
        "The SASL mechanism to insist on.",
        says="unset: the best that both sides know",
    )
    local_hostname: str | None = _set(
        "OUTBOX_LOCAL_HOSTNAME", EHLO_NAME, None, "The name for EHLO.", says="unset: an address literal"
    )
    pipelining: bool = _set(
        "OUTBOX_PIPELINING",
        FLAG,
        True,
        "The commands of a message go out in one packet where the relay offers PIPELINING (RFC 2920). False: one at a "
        "time, for a firewall in between that swallows all but the first.",
    )
    breaker_faults: int = _set(
        "OUTBOX_BREAKER_FAULTS",
        whole(1, 1000),
        3,
        "Transport faults in a row after which a worker only probes; one refused log-in or certificate is enough.",
    )
    breaker_refusals: int = _set(
        "OUTBOX_BREAKER_REFUSALS",
        whole(0, 10_000),
        10,
        "Deliveries refused alike, over three domains or more and with nothing accepted between, after which a worker "
        "only probes: it is the relay that refuses every message. Those refusals do not count. 0: never.",
    )
    probe_seconds: float = _set("OUTBOX_PROBE_SECONDS", SECONDS, 5.0, "Wait before the first probe.")
    probe_max_seconds: float = _set("OUTBOX_PROBE_MAX_SECONDS", SECONDS, 60.0, "The longest wait between probes.")
    alarm_oldest_seconds: float = _set(
        "OUTBOX_ALARM_OLDEST_SECONDS", SECONDS, 300.0, "The status is degraded when the oldest due mail is older."
    )
    alarm_window_seconds: float = _set(
        "OUTBOX_ALARM_WINDOW_SECONDS", SECONDS, 900.0, "How far back the status looks at the outcomes of attempts."
    )
    alarm_outcomes: int = _set(
        "OUTBOX_ALARM_OUTCOMES",
        whole(1, 10_000),
        20,
        "The status judges only if there were at least this many attempts in that time.",
    )
    alarm_refused: float = _set(
        "OUTBOX_ALARM_REFUSED",
        SHARE,
        0.33,
        "The status is degraded when this share of the attempts was refused for good. 0: never.",
    )
    alarm_deferred: float = _set(
        "OUTBOX_ALARM_DEFERRED", SHARE, 0.5, "The same for the share that was deferred. 0: never."
    )
    alarm_paused: float = _set(
        "OUTBOX_ALARM_PAUSED",
        SHARE,
        0.1,
        "The status is degraded when this share of what is due is held by pauses that last long, or all mail is. 0: "
        "never.",
    )
    alarm_paused_seconds: float = _set(
        "OUTBOX_ALARM_PAUSED_SECONDS",
        SECONDS,
        86_400.0,
        "A pause without an end, or that lasts longer than this, lasts long.",
    )
    alarm_growing_seconds: float = _set(
        "OUTBOX_ALARM_GROWING_SECONDS",
        SECONDS,
        600.0,
        "The status is degraded when the time until all due mail is sent is above a minute, and has been growing for "
        "this long.",
    )
    poison_rescues: int = _set(
        "OUTBOX_POISON_RESCUES",
        whole(1, 1000),
        5,
        "A message that has broken more workers or connections than this is marked failed.",
    )
    relay_preset: str = _set(
        "OUTBOX_RELAY_PRESET",
        choice(*PRESETS),
        "auto",
        "The provider whose replies to recognise, in addition to the general ones; `auto` decides by the host name.",
    )
    metrics_port: int | None = _set(
        "OUTBOX_METRICS_PORT",
        whole(0, 65_535),
        None,
        "The port on which each worker serves `/healthz`, `/readyz` and `/metrics` over plain HTTP, without a log-in. "
        "0: any free port, shown in the log.",
        says="unset: nowhere",
    )
    metrics_host: str = _set(
        "OUTBOX_METRICS_HOST", host("OUTBOX_METRICS_PORT"), "127.0.0.1", "The address for `OUTBOX_METRICS_PORT`."
    )
    log_json: bool = _set("OUTBOX_LOG_JSON", FLAG, False, "Commands log one JSON object per line.")

    @property
    def send_timeout(self) -> float:
        """`send_timeout_seconds`: wall clock for sending one message, all in."""
        return self.send_timeout_seconds

    @property
    def security(self) -> Security:
        """How the connection to the relay is protected."""
        if self.use_ssl:
            return Security.TLS
        return Security.STARTTLS if self.use_tls else Security.NONE

    @property
    def relay(self) -> Relay:
        """Where mail is handed over. Its two times for one message come to `send_timeout` together."""
        dot_timeout = min(_DOT_TIMEOUT, max(self.send_timeout - _BEFORE_DOT, self.send_timeout / 2))
        return Relay(
            host=self.server,
            port=self.port,
            security=self.security,
            username=self.username,
            password=self.password,
            auth=self.auth,
            ca_file=self.tls_ca_file,
            verify=self.tls_verify,
            allow_plaintext=self.allow_plaintext,
            local_hostname=self.local_hostname,
            connect_timeout=self.connect_timeout_seconds,
            command_timeout=self.command_timeout_seconds,
            send_timeout=self.send_timeout - dot_timeout,
            dot_timeout=dot_timeout,
            max_messages=self.max_emails or _MESSAGES_PER_CONNECTION,
            pipelining=self.pipelining,
            preset=self.relay_preset,
        )


def specs() -> Iterator[Spec]:
    """Every setting, in the order of the documentation."""
    for declared in fields(Table):
        yield declared.metadata["spec"]


def default_of(spec: Spec) -> Any:
    """The default, where it does not depend on anything."""
    return next(declared.default for declared in fields(Table) if declared.metadata["spec"] is spec)
