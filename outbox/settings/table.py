# ruff: noqa: RUF009 - `setting` is dataclasses.field with a Spec in it
"""The table of settings: names, form, default and meaning of each.

It drives the parsing, the check for unknown keys and docs/configuration.md (`python -m outbox.settings.docs`). Its
parts follow one another: `mail_table.py`, `queue_table.py`, and here the relay, the alarms and the metrics.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from outbox.settings.host_values import EHLO_NAME, host
from outbox.settings.mail_table import MESSAGES_PER_CONNECTION
from outbox.settings.queue_table import QueueTable
from outbox.settings.relay import Relay, Security
from outbox.settings.spec import Spec, setting
from outbox.settings.values import FILE, FLAG, SECONDS, SHARE, choice, whole

_DOT_TIMEOUT = 600.0  # seconds, RFC 5321 §4.5.3.2.6
_BEFORE_DOT = 300.0  # seconds kept for connecting and for writing the message, 25 MiB on a slow line

PRESETS = ("auto", "generic", "gmail", "exchange", "ses", "sendgrid", "mailgun")
MECHANISMS = ("XOAUTH2", "PLAIN", "LOGIN", "CRAM-MD5")


@dataclass(frozen=True, slots=True, kw_only=True)
class Table(QueueTable):
    """Everything that can be configured. Times in seconds, sizes in bytes."""

    tls_ca_file: Path | None = setting(
        "OUTBOX_TLS_CA_FILE", FILE, None, "Certificates to trust, PEM.", says="unset: the system's store"
    )
    tls_verify: bool = setting("OUTBOX_TLS_VERIFY", FLAG, True, "False accepts any certificate: for experiments only.")
    allow_plaintext: bool = setting(
        "OUTBOX_ALLOW_PLAINTEXT",
        FLAG,
        False,
        "Allows plain text to another machine, and a password over plain text.",
    )
    auth: str | None = setting(
        "OUTBOX_AUTH",
        choice(*MECHANISMS),
        None,
        "The SASL mechanism to insist on.",
        says="unset: the best that both sides know",
    )
    local_hostname: str | None = setting(
        "OUTBOX_LOCAL_HOSTNAME", EHLO_NAME, None, "The name for EHLO.", says="unset: an address literal"
    )
    pipelining: bool = setting(
        "OUTBOX_PIPELINING",
        FLAG,
        True,
        "The commands of a message go out in one packet where the relay offers PIPELINING (RFC 2920). False: one at a "
        "time, for a firewall in between that swallows all but the first.",
    )
    breaker_faults: int = setting(
        "OUTBOX_BREAKER_FAULTS",
        whole(1, 1000),
        3,
        "Transport faults in a row after which a worker only probes; one refused log-in or certificate is enough.",
    )
    breaker_refusals: int = setting(
        "OUTBOX_BREAKER_REFUSALS",
        whole(0, 10_000),
        10,
        "Deliveries refused alike, over three domains or more and with nothing accepted between, after which a worker "
        "only probes: it is the relay that refuses every message. Those refusals do not count. 0: never.",
    )
    probe_seconds: float = setting("OUTBOX_PROBE_SECONDS", SECONDS, 5.0, "Wait before the first probe.")
    probe_max_seconds: float = setting("OUTBOX_PROBE_MAX_SECONDS", SECONDS, 60.0, "The longest wait between probes.")
    alarm_oldest_seconds: float = setting(
        "OUTBOX_ALARM_OLDEST_SECONDS", SECONDS, 300.0, "The status is degraded when the oldest due mail is older."
    )
    alarm_window_seconds: float = setting(
        "OUTBOX_ALARM_WINDOW_SECONDS", SECONDS, 900.0, "How far back the status looks at the outcomes of attempts."
    )
    alarm_outcomes: int = setting(
        "OUTBOX_ALARM_OUTCOMES",
        whole(1, 10_000),
        20,
        "The status judges only if there were at least this many attempts in that time.",
    )
    alarm_refused: float = setting(
        "OUTBOX_ALARM_REFUSED",
        SHARE,
        0.33,
        "The status is degraded when this share of the attempts was refused for good. 0: never.",
    )
    alarm_deferred: float = setting(
        "OUTBOX_ALARM_DEFERRED", SHARE, 0.5, "The same for the share that was deferred. 0: never."
    )
    alarm_paused: float = setting(
        "OUTBOX_ALARM_PAUSED",
        SHARE,
        0.1,
        "The status is degraded when this share of what is due is held by pauses that last long, or all mail is. 0: "
        "never.",
    )
    alarm_paused_seconds: float = setting(
        "OUTBOX_ALARM_PAUSED_SECONDS",
        SECONDS,
        86_400.0,
        "A pause without an end, or that lasts longer than this, lasts long.",
    )
    alarm_growing_seconds: float = setting(
        "OUTBOX_ALARM_GROWING_SECONDS",
        SECONDS,
        600.0,
        "The status is degraded when the time until all due mail is sent is above a minute, and has been growing for "
        "this long.",
    )
    poison_rescues: int = setting(
        "OUTBOX_POISON_RESCUES",
        whole(1, 1000),
        5,
        "A message that has broken more workers or connections than this is marked failed.",
    )
    relay_preset: str = setting(
        "OUTBOX_RELAY_PRESET",
        choice(*PRESETS),
        "auto",
        "The provider whose replies to recognise, in addition to the general ones; `auto` decides by the host name.",
    )
    metrics_port: int | None = setting(
        "OUTBOX_METRICS_PORT",
        whole(0, 65_535),
        None,
        "The port on which each worker serves `/healthz`, `/readyz` and `/metrics` over plain HTTP, without a log-in. "
        "0: any free port, shown in the log.",
        says="unset: nowhere",
    )
    metrics_host: str = setting(
        "OUTBOX_METRICS_HOST", host("OUTBOX_METRICS_PORT"), "127.0.0.1", "The address for `OUTBOX_METRICS_PORT`."
    )
    log_json: bool = setting("OUTBOX_LOG_JSON", FLAG, False, "Commands log one JSON object per line.")

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
            max_messages=self.max_emails or MESSAGES_PER_CONNECTION,
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
