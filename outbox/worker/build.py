"""What workers, the supervisor and `outbox.testing` are made of, by the settings: the one place where that is done."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from outbox import operations
from outbox.core.clock import monotonic
from outbox.core.errors import ConfigurationError
from outbox.core.events import Events, logger
from outbox.core.progress import Progress
from outbox.core.version import VERSION
from outbox.delivery.blame import Blame
from outbox.delivery.breaker import Breaker
from outbox.delivery.evidence import Refusals
from outbox.delivery.retry import RetryPolicy
from outbox.extension.state import Bound
from outbox.message.dkim.signer import Signer
from outbox.monitoring import prometheus
from outbox.monitoring.counters import Meters
from outbox.monitoring.http import Monitor
from outbox.monitoring.readiness import Readiness
from outbox.settings import Settings
from outbox.settings.kinds import Policy
from outbox.settings.relay import Relay
from outbox.smtp.learned import Learned
from outbox.smtp.opening import connection_to
from outbox.store.database_clock import DatabaseClock
from outbox.store.databases import of
from outbox.store.databases.news import FileWatch
from outbox.store.due import live_routes
from outbox.store.engines import worker_engine
from outbox.store.listening import Listening
from outbox.store.queue import Queue
from outbox.store.record import OutcomeStore
from outbox.store.rulings import Rulings
from outbox.store.transports import Transports
from outbox.worker import checks, duties, keys, policies, staging
from outbox.worker.asked import Asked
from outbox.worker.bounce_mailbox import BounceMailbox
from outbox.worker.connection_share import share_of
from outbox.worker.lease_guard import LeaseGuard
from outbox.worker.one_cpu import is_of_use
from outbox.worker.pacer import paced
from outbox.worker.pool import Pool
from outbox.worker.pools import Pools
from outbox.worker.registration import Registration
from outbox.worker.returning import returning
from outbox.worker.router import Router, Share
from outbox.worker.scheduler import Duty
from outbox.worker.shared_health import SharedHealth, introduce
from outbox.worker.slowing import Slowing
from outbox.worker.terms import Terms

if TYPE_CHECKING:
    from sqlalchemy import Engine


def check(engine: Engine, session_engine: Engine | None, step: Callable[[str], AbstractContextManager[None]]) -> None:
    """Raises ConfigurationError, SchemaError or DatabaseError where no worker should start.

    `session_engine`: that of the application's session. What may hang happens within a `step`.
    """
    with step("checking the application's database"):
        if wrong := operations.another_database(engine, session_engine):
            raise ConfigurationError([wrong])
    with step("checking the tables"):
        operations.check_schema(engine)
    with step("checking whether outcomes can be recorded"):
        operations.check_recording(engine)
        keys.report(engine)


def queue(
    engine: Engine,
    settings: Settings,
    *,
    wake: bool = False,
    relay: Relay | None = None,
    clock: DatabaseClock | None = None,
) -> Queue:
    """The queue of the application's environment. `wake`: commits end a wait where the settings want that.

    `relay`: by which what is claimed is to go; None: the first. `clock`: the database's, as another queue watches it.
    """
    relay = relay or settings.transports[0]
    return Queue(
        engine,
        environment=settings.environment,
        lease=settings.lease_seconds,
        wake=wake and settings.wake and settings.listen_url is None,
        transport=relay.name if settings.transport_names else None,
        seen=clock,
        together=relay.max_recipients,
    )


def connections(settings: Settings, of_each: int | None) -> int:
    """To all relays together. `of_each`: to each; None: as the settings say."""
    return sum(of_each or relay.connections for relay in settings.transports)


def _queue_beside(first: Queue, engine: Engine, settings: Settings, relay: Relay, *, wake: bool) -> Queue:
    """For another transport of the same worker."""
    return queue(engine, settings, wake=wake, relay=relay, clock=first.clock)


def pauses(pools: Pools, queue: Queue, settings: Settings, engine: Engine, events: Events) -> duties.Pauses:
    """Reads the pauses, and what else decides which mail goes by which transport."""
    introduce(_transports(engine, settings), [relay.name for relay in settings.transports])
    return duties.Pauses(
        pools,
        queue,
        rulings(engine, settings, settings.transports[0]),
        events,
        transports={relay.name for relay in settings.transports},
        routes=lambda: live_routes(engine),
        health=_transports(engine, settings).read,
        allowed=staging.allowed(settings),
    )


def _transports(engine: Engine, settings: Settings) -> Transports:
    return Transports(engine, settings.environment)


def rulings(engine: Engine, settings: Settings, relay: Relay) -> Rulings:
    """What workers write down about senders, domains and the relay."""
    return Rulings(engine, environment=settings.environment, transport=relay.name)


def retry_policy(settings: Settings) -> RetryPolicy:
    """When and how often a delivery is tried again."""
    return RetryPolicy(
        first=settings.retry_first_seconds,
        most=settings.retry_max_seconds,
        attempts=settings.max_attempts,
        poison=settings.poison_rescues,
        lead=settings.poll_seconds + settings.connect_timeout_seconds,
        probe=settings.probe_max_seconds,
    )


def terms(settings: Settings, relay: Relay, bound: Bound, engine: Engine) -> Terms:
    """By which one attempt goes."""
    general = retry_policy(settings)
    return Terms(
        policy=general,
        policies=(of_kinds := policies.of_kinds(bound.kinds, general)),
        lease=settings.lease_seconds,
        send_timeout=settings.send_timeout,
        dot_timeout=relay.dot_timeout,
        soft_until=relay.soft_bounce_until,
        ramp=relay.ramp,
        suppress=settings.suppress_send,
        transport=relay.name,
        address=relay.address,
        redirect_to=settings.redirect_to,
        allowed=staging.allowed(settings),
        returning=returning(settings, relay),
        checks=checks.of_application(bound, settings, engine, lambda kind: of_kinds.get(kind or "", general)),
    )


def blame(settings: Settings, slowing: Slowing) -> Blame:
    """The judge of the relay."""
    several = len(settings.transports) > 1
    breaker = Breaker(settings.breaker_faults, settings.probe_seconds, settings.probe_max_seconds, has_stand_in=several)
    return Blame(breaker, Refusals(settings.breaker_refusals), slowing.saw)


def purger(engine: Engine, settings: Settings, kinds: Iterable[Policy] = ()) -> operations.Purger:
    """Removes what the settings, or the `kinds` themselves, say is old."""
    return operations.Purger(
        engine,
        environment=settings.environment,
        older_than=settings.retention_seconds,
        audit_older_than=settings.audit_retention_seconds,
        kinds={one.name: one.retention for one in kinds if one.retention is not None},
    )


def further_duties(engine: Engine, settings: Settings, bound: Bound, one_cpu: Callable[[], Duty] | None) -> list[Duty]:
    """Those that depend on the settings. `one_cpu`: makes the one that keeps the threads together, if any may."""
    kinds = bound.kinds.redacted(settings.sensitive_kinds, settings.sensitive_failed_seconds)
    wanted: list[Duty] = [duties.Redaction(engine, kinds, settings.environment)] if kinds else []
    if (late := settings.delay_warning_seconds) is not None:
        wanted.append(duties.DelayWarning(operations.Delays(engine, settings, settings.environment, late)))
    if one_cpu is not None and settings.one_cpu and is_of_use():
        wanted.append(one_cpu())
    if settings.bounce_imap_url is not None:
        wanted.append(BounceMailbox(engine, settings))
    return wanted


def pools(
    bound: Bound,
    settings: Settings,
    engine: Engine,
    *,
    worker_id: int,
    connections: int | None,
    queue: Queue,
    events: Events,
    lease_guard: LeaseGuard,
    progress: Progress,
    meters: Meters | None,
    asked: Mapping[str, Asked] | None = None,
    signers: Mapping[str, Signer],
) -> Pools:
    """The threads that claim, send and record. `connections` of each transport; None: as the settings say.

    `asked`: what each transport claims, by its name; None: all that is due. `signers`: of those that sign.
    """
    router = Router(settings.routes) if settings.transport_names else None

    def pool(relay: Relay, first: bool) -> Pool:
        learned, name, rows = Learned(), relay.name, _transports(engine, settings)
        own = queue if first else _queue_beside(queue, engine, settings, relay, wake=asked is None)
        slowing = Slowing(rows.paces, name, paced(own.rates, relay, settings, worker_id))
        return Pool(
            own,
            OutcomeStore(engine, bounce_seconds=settings.bounce_suppression_seconds),
            worker_id,
            terms(settings, relay, bound, engine),
            blame(settings, slowing),
            rulings(engine, settings, relay),
            events,
            lease_guard,
            progress=progress,
            connect=lambda: connection_to(bound, relay, learned, signers.get(name)),
            connections=connections or relay.connections,
            poll=settings.poll_seconds,
            idle=relay.idle_timeout,
            chance=random.random,
            watch=_watch(engine, settings) if asked is None else None,
            meters=meters,
            share=Share(router, name),
            asked=asked[name] if asked is not None else None,
            shared=SharedHealth(
                rows,
                events,
                name=name,
                worker_id=worker_id,
                slowing=slowing,
                share=share_of(relay, rows, settings, worker_id, connections, asked),
            ),
            pacer=slowing.pacer,
        )

    made = {relay.name: pool(relay, number == 0) for number, relay in enumerate(settings.transports)}
    if router is not None:
        router.begin(made)
        events.observe(router.observe)
    return Pools(made, router)


def _watch(engine: Engine, settings: Settings) -> FileWatch | None:
    """What tells of commits from a thread of its own; None: the connection that claims does, or polling."""
    if not settings.wake:
        return None
    if settings.listen_url is None:
        return of(engine).watch(engine)
    return Listening(worker_engine(settings.listen_url, connections=1, timeout=settings.database_timeout_seconds))


def learn(pools: Pools, engine: Engine, settings: Settings) -> None:
    """From what was written down before this worker started: one that lives for a pass may see too little."""
    for relay in settings.transports:
        try:
            seen = rulings(engine, settings, relay).recent(2 * settings.breaker_refusals)
            pools.of(relay.name).learn(seen)
        except Exception as error:  # noqa: BLE001 - it learns as it goes, then
            logger.error("earlier attempts can't be read: %s", type(error).__name__)


def monitor(
    settings: Settings,
    engine: Engine,
    pools: Pools,
    registration: Registration,
    meters: Meters,
    port: int,
    illness: Callable[[], str | None],
) -> Monitor:
    """Health and metrics of this process."""
    found = prometheus.Queue(engine, settings, meters=meters)
    found.look()  # for the clock
    database = Readiness(engine)
    own = prometheus.Worker(meters, pools.health, lambda: registration.lease_guard.age(monotonic()), VERSION)
    return Monitor(
        settings.metrics_host,
        port,
        live=illness,
        ready=lambda: database() or (None if pools.records else "outcomes can't be recorded"),
        metrics=lambda: prometheus.exposition(found, own),
    )
