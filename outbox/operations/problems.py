"""What is wrong with the outbox, judged by what its status found, each with what to do about it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from outbox.delivery.breaker import Cause
from outbox.delivery.reply import About
from outbox.delivery.states import State
from outbox.operations.alarms import Alarms
from outbox.operations.digests import notes_of, problems_of
from outbox.operations.few_connections import few_connections
from outbox.operations.health import Status, Transport
from outbox.operations.outcomes import Group, Outcomes
from outbox.operations.reported_shares import advice, too_many
from outbox.operations.stopped import stopped
from outbox.operations.times import sentence, spelled
from outbox.operations.transports import REMEDY, left_behind
from outbox.store.pauses import Pause, What

_CODE = re.compile(r"[2-5]\d\d\b")
_ERRNO = re.compile(r"\[Errno -?\d+\] ")

_LATE_SECONDS = 300.0  # from when on one should know that a handler waits
FOREIGN_CAP = 1_000
"""Where the count of another environment's mail stops."""


class Kind(StrEnum):
    """What a problem is about, in one word, for metrics and alert rules."""

    OLDEST = "oldest-due"
    NO_WORKER = "no-worker"
    DOWN = "transport-down"
    ROUTE = "no-transport"
    QUOTA = "quota"
    REFUSED = "refused"
    DEFERRED = "deferred"
    STOPPED = "scope-stopped"
    PAUSED = "paused"
    GROWING = "backlog-growing"
    DATABASE = "database"
    ENVIRONMENT = "environment"
    EFFECTS = "effects"
    COMPLAINED = "complained"
    BOUNCED = "bounced"
    DELAYED = "delayed"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong."""

    kind: Kind
    words: str  # with the remedy


def problems(seen: Status, alarms: Alarms, *, unserved: bool) -> Iterator[Problem]:
    """What makes `seen` degraded. `unserved`: our environment has mail and no worker."""
    oldest = seen.oldest_due_seconds
    if oldest is not None and oldest > alarms.oldest:
        words = f"the oldest due mail has been waiting for {spelled(oldest)}, longer than {spelled(alarms.oldest)}"
        yield Problem(Kind.OLDEST, words)
    if seen.due_now and unserved:
        dead = next((worker for worker in seen.workers if not worker.alive), None)
        last = f"; {dead.host} pid {dead.pid} was last heard of {spelled(dead.heartbeat_age)} ago" if dead else ""
        yield Problem(Kind.NO_WORKER, f"mail is due and no worker is alive{last}: start `outbox-sender`")
    yield from _transports(seen)
    yield from _outcomes(seen.outcomes, alarms)
    yield from (Problem(Kind.STOPPED, f"stopped: {stopped(one, seen.at)}") for one in seen.our_pauses if one.automatic)
    yield from _paused(seen, alarms)
    if seen.growing and seen.drain_seconds is not None:
        yield Problem(
            Kind.GROWING,
            f"mail is enqueued faster than it is sent: {_about(seen.due_now, seen.count_cap)} due, "
            f"about {spelled(seen.drain_seconds)} to send them, growing for {spelled(alarms.growing)}. "
            "Start more workers or raise OUTBOX_CONNECTIONS, unless the relay is slow or limits the rate",
        )
    for worker in seen.workers:
        if worker.alive and worker.health.get("database"):
            words = f"worker {worker.host} pid {worker.pid} has trouble with the database: {worker.health['database']}"
            yield Problem(Kind.DATABASE, words)
    yield from _effects(seen)
    yield from (Problem(Kind.EFFECTS, words) for words in problems_of(seen.digests))
    yield from (Problem(Kind(one.type), advice(one)) for one in seen.reported if too_many(one, alarms))
    if seen.late and alarms.delay is not None:
        are, they = ("message is", "it was") if seen.late == 1 else ("messages are", "they were")
        words = f"{_about(seen.late, seen.count_cap)} {are} still queued {spelled(alarms.delay)} after {they} due"
        yield Problem(Kind.DELAYED, f"{words}: `outbox-list --event delayed --state queued` names them")
    for name, number in seen.foreign.items():
        yield Problem(
            Kind.ENVIRONMENT,
            f"{_about(number, FOREIGN_CAP)} due mail of {_named(name)}, which no worker sends; ours is "
            f"{_named(seen.environment)}: is this a copy of another database, or is OUTBOX_ENVIRONMENT wrong?",
        )


def _effects(seen: Status) -> Iterator[Problem]:
    """Of handlers and webhooks, what is not tried any more."""
    for one in seen.effects:
        if one.given_up:
            calls = "call of it is" if one.given_up == 1 else "calls of it are"
            words = f"{one.name} fails: {_about(one.given_up, seen.count_cap)} {calls} given up"
            yield Problem(Kind.EFFECTS, f"{words}: `outbox-effects` shows why, and has it called again")
        if one.disabled:
            words = f"{one.name} is called no more, as its receiver asked for (410)"
            yield Problem(Kind.EFFECTS, f"{words}: take it out of OUTBOX_WEBHOOKS, or `outbox-effects --name … --run`")


def relay_words(transport: Transport, now: datetime) -> str:
    """`relay mail:587: up`, or since when it is down, why, and what to do."""
    words = f"relay {transport.shown}: {state_words(transport, now)}"
    if _is_well(transport):
        return words
    words = sentence(words)
    if transport.remedy:
        words += f" {sentence(transport.remedy)}"
    if transport.cause == Cause.REFUSALS:
        words += " What it refused is kept, and cost no attempt. `outbox-check --to ADDRESS` says more."
    elif not _is_held(transport):
        words += " `outbox-check` says more."
    if transport.next_probe_seconds is not None:
        words += f" Next attempt in {spelled(transport.next_probe_seconds)}."
    return words


def state_words(transport: Transport, now: datetime) -> str:
    """`up`, or since when it is down, and why."""
    if _is_well(transport):
        return "up"
    words = "held by a quota or rate limit" if _is_held(transport) else "down"
    if transport.since is not None:
        words += f" for {spelled((now - transport.since).total_seconds())}"
    if transport.cause == Cause.REFUSALS:
        words += ", it refuses every message"
    return f"{words}: {_said(transport.error)}" if transport.error else words


def _is_held(transport: Transport) -> bool:
    return transport.about == About.ACCOUNT


def _is_well(transport: Transport) -> bool:
    return transport.state == "up" and not _is_held(transport)


def _said(error: str) -> str:
    """Our own words say by themselves how far it came; a server's reply needs the phase before it."""
    phase, _, text = error.partition(": ")
    return error if _CODE.match(text) or not text or " " in phase else _ERRNO.sub("", text)


def notes(seen: Status) -> Iterator[str]:
    """What one should know although nothing is wrong."""
    if seen.suppressed:
        yield "MAIL_SUPPRESS_SEND is on: mail is recorded and nothing is sent"
    if seen.shared:
        yield (
            "other environments share this database: the figures count all of them, groups of failures only those of "
            f"{_named(seen.environment)}"
        )
    yield from (_pause_note(one, seen.at) for one in seen.pauses if not one.automatic)
    if seen.held:
        yield f"{_about(seen.held, seen.count_cap)} due and paused: `outbox-resume` lifts the pause"
    yield from (one.words for one in seen.rates if one.words is not None)
    yield from (one.words for one in seen.slowed)
    for worker in seen.workers:
        for what, ago in worker.repaired if worker.alive else ():
            yield f"worker {worker.host} pid {worker.pid}, {spelled(ago)} ago: {what}"
    yield from dict.fromkeys(few_connections(seen))
    yield from dict.fromkeys(one.soft_words for one in seen.transports if one.is_soft(seen.at))
    for effect in seen.effects:
        if effect.failing:
            yield f"{effect.name} fails, and is called again later: `outbox-effects` shows why"
        elif effect.waiting and effect.oldest_seconds > _LATE_SECONDS:
            yield (
                f"{effect.name} has not been called for {spelled(effect.oldest_seconds)}: does a worker of this "
                "application know it? `outbox-effects` shows what waits"
            )
    yield from notes_of(seen.digests)
    uncertain = seen.states[State.UNCERTAIN]
    if uncertain:
        number = _about(uncertain, seen.count_cap)
        yield f"{number} uncertain: did it arrive? `outbox-mark-sent` if so, else `outbox-requeue`"


def lasting(pause: Pause, alarms: Alarms) -> bool:
    """Whether a person's pause has no end, or one that is too far away to be only for now."""
    if pause.automatic:
        return False
    return pause.until is None or (pause.until - pause.since).total_seconds() > alarms.paused_seconds


def _transports(seen: Status) -> Iterator[Problem]:
    """Of relays that are down, or held by a quota; many workers say the same of one relay: once is enough."""
    troubled = [one for one in seen.transports if not _is_well(one)]
    by_name = {(one.name, one.state, one.about): one for one in reversed(troubled) if not seen.rests(one.name)}
    for one in by_name.values():
        words = relay_words(one, seen.at)
        others = [other.name for other in seen.transports if other.worker_id == one.worker_id and _is_well(other)]
        if others and one.address != one.name:
            words += f" Meanwhile what may go by {' or '.join(others)} as well goes there."
        yield Problem(Kind.QUOTA if _is_held(one) else Kind.DOWN, words)
    for route in sorted({route for worker in seen.workers if worker.alive for route in worker.unserved_routes}):
        yield Problem(
            Kind.ROUTE,
            f"{left_behind(route)}: {REMEDY[:1].lower()}{REMEDY[1:-1]}",
        )


def _outcomes(seen: Outcomes, alarms: Alarms) -> Iterator[Problem]:
    kind = worst(seen, alarms)
    if kind is None:
        return
    number = seen.refused if kind is Kind.REFUSED else seen.deferred
    within = f"in the last {spelled(seen.seconds)}" if seen.complete else "most recently"
    words = f"{number:,} of {seen.total:,} attempts {within} were {kind}"
    state = "failed" if kind is Kind.REFUSED else "queued"
    group = seen.group
    if group is None:
        yield Problem(kind, words)
        return
    error = group.enhanced or group.code
    look = f"`outbox-list --state {state}{f' --error {error}' if error else ''}`"
    yield Problem(kind, f"{words}, most of them{_group_words(group)} Look at them: {look}")


def worst(seen: Outcomes, alarms: Alarms) -> Kind | None:
    """Whether too many of the outcomes were refused, or deferred."""
    if seen.total < max(1, alarms.outcomes):
        return None
    if alarms.refused and seen.refused >= alarms.refused * seen.total:
        return Kind.REFUSED
    if alarms.deferred and seen.deferred >= alarms.deferred * seen.total:
        return Kind.DEFERRED
    return None


def _group_words(group: Group) -> str:
    """Which relay answered so, about which mail, and its words; without a code the words are ours."""
    who = f" {'by' if group.code else 'at'} {group.transport}" if group.transport else ""
    mail = ""
    if group.domain:
        mail = f" for mail to {group.domain}"
    elif group.sender:
        mail = f" for mail from {group.sender}"
    said = " ".join(str(part) for part in (group.code, group.enhanced, group.reply) if part)
    return f"{who}{mail}: {sentence(said)}"


def _paused(seen: Status, alarms: Alarms) -> Iterator[Problem]:
    long = [one for one in seen.our_pauses if lasting(one, alarms)]
    due = seen.due_now + seen.held
    everything = any(one.what is What.ALL for one in long)
    much = bool(alarms.paused and due) and seen.held_for_long >= alarms.paused * due and seen.held_for_long > 0
    if alarms.paused and (everything or much):
        part = f"{_about(seen.held_for_long, seen.count_cap)} of {due:,} due deliveries are"
        what = "all mail is" if everything else part
        yield Problem(
            Kind.PAUSED,
            f"{what} paused without an end or for more than {spelled(alarms.paused_seconds)} "
            f"({', '.join(f'{one} by {one.by}' for one in long[:3])}): `outbox-resume` lifts the pause, "
            "`outbox-pause … --for 1h` gives it an end",
        )


def _pause_note(pause: Pause, now: datetime) -> str:
    words = f"paused: {pause}, for {spelled((now - pause.since).total_seconds())}, by {pause.by}"
    if pause.until is not None:
        words += f", {spelled((pause.until - now).total_seconds())} to go"
    return f"{words}: {pause.reason}" if pause.reason else words


def _named(environment: str) -> str:
    return f"the environment {environment!r}" if environment else "the default environment"


def _about(number: int, cap: int) -> str:
    return f"more than {cap:,}" if number > cap else f"{number:,}"
