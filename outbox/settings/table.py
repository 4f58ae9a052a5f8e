"""The table of settings: names, form, default and meaning of each.

It drives the parsing, the check for unknown keys and docs/configuration.md (`python -m outbox.settings.docs`). Its
parts follow one another: `mail_table.py`, `queue_table.py`, `relay_table.py`, and here the breaker, the alarms and
the metrics.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

from outbox.delivery.rate_limits import RateLimits
from outbox.settings.host_values import host
from outbox.settings.rate_values import DOMAIN_RATES
from outbox.settings.relay_table import PRESETS
from outbox.settings.spec import Spec, setting
from outbox.settings.values import FLAG, ROUTES, SECONDS, SHARE, TRANSPORTS, whole
from outbox.settings.webhook_table import WebhookTable

__all__ = ["PRESETS", "Table", "default_of", "specs"]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Table(WebhookTable):
    """Everything that can be configured. Times in seconds, sizes in bytes."""

    transport_names: tuple[str, ...] = setting(
        "OUTBOX_TRANSPORTS",
        TRANSPORTS,
        (),
        "Several transports, in the order of preference; each has its `OUTBOX_TRANSPORT_<NAME>_URL`. `default` is the "
        "one that the `MAIL_*` settings describe. See [transports](transports.md).",
        says="unset: the one of the `MAIL_*` settings",
    )
    route_rules: tuple[str, ...] = setting(
        "OUTBOX_ROUTES",
        ROUTES,
        (),
        "Which mail goes by which of them: rules by kind, sender's and recipient's domain and priority, of which the "
        "first that fits holds. See [transports](transports.md).",
        says="unset: all by the first that can be used",
    )
    domain_rates: tuple[tuple[str, RateLimits], ...] = setting(
        "OUTBOX_DOMAIN_RATES",
        DOMAIN_RATES,
        (),
        "At most so many messages to each recipient domain that fits, of all workers together; the first pattern that "
        "fits holds. See [rates](rates.md).",
    )
    breaker_faults: int = setting(
        "OUTBOX_BREAKER_FAULTS",
        whole(1, 1000),
        3,
        "Transport faults in a row after which a worker only probes; one refused log-in or certificate is enough, as "
        "is one failed connection where another transport can take over and nothing went through meanwhile.",
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
    delay_warning_seconds: float | None = setting(
        "OUTBOX_DELAY_WARNING_SECONDS",
        SECONDS,
        None,
        "A message that is still queued this long after it was due is warned of, once: by a log line, an event "
        "`delayed`, which [handlers](handlers.md) are told of, and a problem in the status while it waits.",
        says="unset: no warning",
    )
    poison_rescues: int = setting(
        "OUTBOX_POISON_RESCUES",
        whole(1, 1000),
        5,
        "A message that has broken more workers or connections than this is marked failed.",
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


def specs() -> Iterator[Spec]:
    """Every setting, in the order of the documentation."""
    for declared in fields(Table):
        yield declared.metadata["spec"]


def default_of(spec: Spec) -> Any:
    """The default, where it does not depend on anything."""
    return next(declared.default for declared in fields(Table) if declared.metadata["spec"] is spec)
