"""The metrics in Prometheus's text format. Needs the extra `metrics` (prometheus-client).

Two sources: what the database says, which every process could ask and one look in a few seconds answers for all; and
what one worker has counted since it started.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from outbox import operations
from outbox.core.clock import monotonic, utcnow
from outbox.core.errors import ConfigurationError
from outbox.core.events import first_line, logger
from outbox.delivery.states import Lane, State
from outbox.monitoring.counters import Histogram, Meters
from outbox.operations import GAUGE_CAP, Gauges
from outbox.operations.rates import RateUse
from outbox.settings import Settings

if TYPE_CHECKING:
    from prometheus_client.core import Metric
    from sqlalchemy import Engine

FRESH_SECONDS = 5.0
"""How long a look at the database is good for."""

_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""What generate_latest writes by itself; older versions of prometheus-client have no name for it."""

_MISSING = "Metrics need the package prometheus-client. Install it: pip install prometheus-client."

_CAPPED = f"counted to {GAUGE_CAP:,}"

GAUGES = {
    "database_up": "Whether the last look at the database succeeded.",
    "queue_depth": f"Deliveries that wait or are being sent, by state and lane, {_CAPPED}.",
    "due_deliveries": f"Deliveries that are due now and not paused, by lane, {_CAPPED}.",
    "paused_deliveries": f"Deliveries that are due now and paused, {_CAPPED}.",
    "pauses": "Pauses in force.",
    "oldest_due_age_seconds": "Since when the oldest delivery has been due that is not paused, by lane; 0: none.",
    "deferred_deliveries": f"Deliveries that wait for their next attempt, {_CAPPED}.",
    "effects": f"Calls of handlers and webhooks that are not done, by name and state, {_CAPPED}.",
    "oldest_effect_age_seconds": "Since the oldest call that is not done was recorded, by name.",
    "events_last_day": f"What was reported of sent mail in the last day, by type and source, {_CAPPED}.",
    "reported_messages": "Of what was sent lately, messages that were complained about or bounced.",
    "reported_share": "Their share, from 0 to 1.",
    "suppressions": f"Suppressions in force, {_CAPPED}.",
    "problems": "What outbox-status calls a problem, by kind; degraded where one is above 0.",
    "unresolved_deliveries": f"Deliveries that a person has to look at, by state, {_CAPPED}.",
    "workers": "Workers with a fresh heartbeat.",
    "worker_heartbeat_age_seconds": "Since the last heartbeat of each worker that has not shut down cleanly.",
    "transport_workers": "Living workers by relay and whether it is up or down for them.",
    "rate_limit": "How many may go, of those that a limit of the settings counts, by its window.",
    "rate_used_last_day": "How many went in the last 24 hours, of those that a daily limit counts.",
    "slowed_messages_per_second": "The lower rate by which mail goes while the relay throttles.",
    "rate_held_until_timestamp_seconds": "When more may go where a limit lets nothing go now; 0: it does.",
}
COUNTERS = {
    "deliveries_total": "Attempts, by verdict and class of the relay's reply code.",
    "outcomes_total": "What was recorded of claimed deliveries.",
    "duplicates_avoided_total": "Messages not sent a second time, by how: stopped before the final dot, held.",
    "lost_leases_total": "Outcomes not recorded because another worker had taken the delivery over.",
    "rescues_total": "Deliveries taken over from workers that died.",
}
HISTOGRAMS = {
    "send_duration_seconds": "One attempt, including connecting.",
    "commit_to_accepted_seconds": "From when a message was enqueued or due until the relay took it (first attempts).",
    "claim_duration_seconds": "One claim that found mail.",
}
OWN_GAUGES = {
    "worker_info": "This worker's version.",
    "breaker_open": "Whether this worker's circuit breaker keeps mail from the relay.",
    "heartbeat_age_seconds": "Since this worker's last heartbeat.",
}
HELP: Mapping[str, str] = {
    f"outbox_{name}": said for name, said in (GAUGES | COUNTERS | HISTOGRAMS | OWN_GAUGES).items()
}
"""Every metric and its description."""


class Queue:
    """The database's part. Reads at most once in FRESH_SECONDS, for all who ask."""

    def __init__(self, engine: Engine, settings: Settings, *, meters: Meters | None = None) -> None:
        """`meters` are told of the database's clock."""
        self._engine = engine
        self._settings = settings
        self._meters = meters
        self._lock = threading.Lock()
        self._read_at: float | None = None
        self._seen: Gauges | None = None

    def look(self) -> Gauges | None:
        """What was read at most FRESH_SECONDS ago; None: the database can't be read."""
        with self._lock:
            if self._read_at is None or monotonic() - self._read_at >= FRESH_SECONDS:
                self._seen = self._read()
                self._read_at = monotonic()
            return self._seen

    def _read(self) -> Gauges | None:
        try:
            with operations.connected(self._engine) as connection:
                if self._meters is not None:
                    began = utcnow()
                    self._meters.ahead = operations.database_time(connection) - began - (utcnow() - began) / 2
                return operations.gauges(
                    connection,
                    dead_after=self._settings.dead_after_seconds,
                    alarms=operations.Alarms.of(self._settings),
                    environment=self._settings.environment,
                )
        except Exception as error:  # noqa: BLE001 - whatever it is, the other metrics are told
            logger.error("the metrics can't read the database: %s", first_line(error))
            return None

    def collect(self) -> Iterator[Metric]:
        """For a registry."""
        yield from _of_queue(self.look())


class Worker:
    """One worker's part."""

    def __init__(
        self, meters: Meters, health: Callable[[], Mapping[str, Any]], heartbeat_age: Callable[[], float], version: str
    ) -> None:
        """`health`: as the worker writes it into its row; `heartbeat_age`: seconds since the last."""
        self._meters = meters
        self._health = health
        self._heartbeat_age = heartbeat_age
        self._version = version

    def collect(self) -> Iterator[Metric]:
        """For a registry."""
        yield from _of_meters(self._meters)
        transports = self._health()["transports"]
        yield _gauge("worker_info", ("version",), {(self._version,): 1})
        yield _gauge("breaker_open", ("transport",), {(one["name"],): one["state"] != "closed" for one in transports})
        yield _gauge("heartbeat_age_seconds", (), {(): self._heartbeat_age()})


def check() -> None:
    """Raises ConfigurationError where prometheus-client is not installed."""
    try:
        import prometheus_client  # noqa: F401
    except ImportError:
        raise ConfigurationError([_MISSING]) from None


def exposition(*collectors: Queue | Worker) -> tuple[bytes, str]:
    """The metrics of `collectors` and their content type. Raises ConfigurationError without prometheus-client."""
    check()
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry(auto_describe=False)
    for collector in collectors:
        registry.register(collector)
    return generate_latest(registry), _CONTENT_TYPE


def _of_queue(seen: Gauges | None) -> Iterator[Metric]:
    yield _gauge("database_up", (), {(): seen is not None})
    if seen is None:
        return
    yield _gauge("queue_depth", ("state", "lane"), seen.depth)
    yield _gauge("due_deliveries", ("lane",), {(lane,): seen.due[lane] for lane in Lane})
    yield _gauge("paused_deliveries", (), {(): seen.paused})
    yield _gauge("pauses", (), {(): seen.pauses})
    yield _gauge("deferred_deliveries", (), {(): seen.deferred})
    yield _gauge("problems", ("kind",), {(kind.value,): number for kind, number in seen.problems.items()})
    yield _gauge("oldest_due_age_seconds", ("lane",), {(lane,): seen.oldest_due[lane] for lane in Lane})
    yield _gauge("unresolved_deliveries", ("state",), {(state,): n for state, n in seen.unresolved.items()})
    yield _gauge("effects", ("name", "state"), seen.effects)
    yield _gauge("oldest_effect_age_seconds", ("name",), {(name,): age for name, age in seen.oldest_effect.items()})
    yield _gauge(
        "events_last_day", ("type", "source"), {(type, source): n for (type, source), n in seen.events.items()}
    )
    labels = ("type", "transport", "sender_domain")
    shares = {(one.type, one.transport or "default", one.sender_domain): one for one in seen.reported}
    yield _gauge("reported_messages", labels, {of: one.reported for of, one in shares.items()})
    yield _gauge("reported_share", labels, {of: one.share for of, one in shares.items()})
    yield _gauge("suppressions", (), {(): seen.suppressions})
    yield _gauge("workers", (), {(): sum(one.alive for one in seen.heartbeats)})
    yield _gauge(
        "worker_heartbeat_age_seconds",
        ("host", "pid", "environment"),
        {(one.host, str(one.pid), one.environment): one.age for one in reversed(seen.heartbeats)},
    )
    relays: dict[tuple[str, ...], float] = {}
    for one in seen.heartbeats:
        for name, state in one.transports if one.alive else ():
            relays[name, state] = relays.get((name, state), 0) + 1
    yield _gauge("transport_workers", ("transport", "state"), relays)
    yield from _of_rates(seen.rates)
    lower = {(one.transport, one.domain or ""): one.per_second for one in seen.slowed}
    yield _gauge("slowed_messages_per_second", ("transport", "domain"), lower)


def _of_rates(uses: list[RateUse]) -> Iterator[Metric]:
    whose = ("of", "name")
    allowed = {(use.what, use.name, word): number for use in uses for word, number in use.allowed.items()}
    yield _gauge("rate_limit", (*whose, "window"), allowed)
    used = {(use.what, use.name): use.used for use in uses if use.used is not None}
    yield _gauge("rate_used_last_day", whose, used)
    held = {(use.what, use.name): use.held_until.timestamp() if use.held_until else 0.0 for use in uses}
    yield _gauge("rate_held_until_timestamp_seconds", whose, held)


def _of_meters(meters: Meters) -> Iterator[Metric]:
    yield _counter("deliveries_total", ("verdict", "code_class"), meters.deliveries.copy())
    outcomes = ("sent", "retried", "released", str(State.FAILED), str(State.UNCERTAIN), str(State.CANCELLED))
    yield _counter("outcomes_total", ("outcome",), {(name,): meters.outcomes[name] for name in outcomes})
    yield _counter("duplicates_avoided_total", ("how",), {(how,): meters.avoided[how] for how in ("stopped", "held")})
    yield _counter("lost_leases_total", (), {(): meters.lost_leases})
    yield _counter("rescues_total", (), {(): meters.rescues})
    yield _histogram("send_duration_seconds", meters.sending)
    yield _histogram("commit_to_accepted_seconds", meters.waiting)
    yield _histogram("claim_duration_seconds", meters.claiming)


def _gauge(name: str, labels: tuple[str, ...], values: Mapping[Any, float]) -> Metric:
    from prometheus_client.core import GaugeMetricFamily

    return _filled(GaugeMetricFamily(f"outbox_{name}", HELP[f"outbox_{name}"], labels=labels), values)


def _counter(name: str, labels: tuple[str, ...], values: Mapping[Any, float]) -> Metric:
    from prometheus_client.core import CounterMetricFamily

    return _filled(CounterMetricFamily(f"outbox_{name}", HELP[f"outbox_{name}"], labels=labels), values)


def _histogram(name: str, histogram: Histogram) -> Metric:
    from prometheus_client.core import HistogramMetricFamily

    family = HistogramMetricFamily(f"outbox_{name}", HELP[f"outbox_{name}"])
    family.add_metric([], histogram.buckets(), histogram.sum)
    return family


def _filled(family: Any, values: Mapping[Any, float]) -> Metric:
    for labels, value in sorted(values.items()):
        family.add_metric([str(label) for label in labels], float(value))
    filled: Metric = family
    return filled
