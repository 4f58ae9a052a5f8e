"""Whatever a relay refuses, and why: one delivery never keeps another from being offered (promise 4)."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from outbox.delivery.breaker import LONGEST_PROBE_WAIT
from outbox.delivery.states import Lane, State
from outbox.store.claimed import Claimed
from outbox.store.pauses import FIRST_PROBE, What
from tests.unit.simulation.database import Delivery, Hold, Queue
from tests.unit.simulation.relay import (
    DOWN,
    EVERYTHING,
    LARGE,
    NO_MORE,
    RELAY,
    REPLIES,
    SESSION_ENDS,
    Largest,
    Quota,
    Rule,
    Script,
    Spell,
)
from tests.unit.simulation.watch import PROBE, Watch
from tests.unit.simulation.world import Restart, World

EXAMPLES = int(os.environ.get("OUTBOX_EXAMPLES", "0"))
"""How many scripts of chance are played; 0: 60 that are always the same."""
HOUR = 3600.0
HORIZON = 3 * HOUR
SENDERS = ("a@ours.example", "b@ours.example", "c@ours.example")
DOMAINS = ("one.example", "two.example", "three.example", "four.example")
QUOTAS = {"account": ("quota", "too much mail", "quota, told"), "sender": ("not allowed", "rate"), "domain": ("rate",)}


@dataclass(frozen=True)
class Case:
    """One script and who meets it."""

    queue: tuple[tuple[str, str, float], ...]
    script: Script
    workers: int = 1
    connections: int = 3
    refusals: int = 10
    restarts: tuple[Restart, ...] = ()
    holds: tuple[Hold, ...] = ()
    expiry: tuple[tuple[int, float], ...] = ()  # (delivery, seconds after it is due for the first time)
    lanes: tuple[tuple[int, Lane], ...] = ()  # by delivery
    sizes: tuple[tuple[int, int], ...] = ()  # bytes by delivery
    heals: float | None = None  # when the relay comes to take everything
    seed: int = 0


def play(case: Case) -> tuple[World, Watch]:
    """Run it. Raises AssertionError."""
    script = case.script
    if case.heals is not None:
        script = replace(
            script,
            rules=tuple(replace(one, ends=min(one.ends, case.heals)) for one in script.rules),
            quotas=tuple(replace(one, ends=min(one.ends, case.heals)) for one in script.quotas),
            spells=tuple(
                replace(one, lasts=max(0.0, min(one.lasts, case.heals - one.begins))) for one in script.spells
            ),
            largest=script.largest and replace(script.largest, ends=min(script.largest.ends, case.heals)),
        )
    expiry, lanes, sizes = dict(case.expiry), dict(case.lanes), dict(case.sizes)
    deliveries = [
        Delivery(
            number,
            sender,
            f"r{number}@{domain}",
            due,
            due + expiry[number] if number in expiry else None,
            lanes.get(number, Lane.NORMAL),
            sizes.get(number, 1000),
        )
        for number, (sender, domain, due) in enumerate(case.queue, start=1)
    ]
    world = World(
        deliveries,
        script,
        case.workers,
        case.connections,
        case.refusals,
        restarts=case.restarts,
        holds=case.holds,
        seed=case.seed,
    )
    watch = Watch(world)
    try:
        if case.heals is None:
            world.run(HORIZON)
        else:
            world.run(case.heals)
            world.run(_ends(world, case.heals))
    finally:
        world.close()
    watch.check_end(case.heals)
    return world, watch


def _ends(world: World, heals: float) -> float:
    """When all is to be sent that the relay takes from now on: as it falls due, or its pause is probed, or two pauses
    of which none can be probed for the other have found nothing and end."""
    due = [one.due for one in world.deliveries if one.state is State.QUEUED]
    probes = [probe_at for probe_at, _ in world.database.waits.values()]
    free = [one.begins + one.lasts for one in world.holds]
    return (
        max([heals, *due, *probes, *free])
        + (len(world.deliveries) + 3) * PROBE
        + LONGEST_PROBE_WAIT
        + (2 * HOUR if len(probes) > 1 else FIRST_PROBE)
    )


seconds = st.floats(0, 2 * HOUR).map(lambda at: round(at, 1))
minutes = st.floats(0, 300).map(lambda at: round(at, 1))
moments = st.one_of(st.just(0.0), minutes, seconds)
due = st.one_of(st.just(0.0), st.just(0.0), minutes, minutes, seconds)
scopes = st.one_of(
    st.tuples(st.just("sender"), st.sampled_from(SENDERS)),
    st.tuples(st.just("domain"), st.sampled_from(DOMAINS)),
    st.tuples(st.just("delivery"), st.integers(1, 14).map(str)),
)
pairs = st.tuples(st.just("pair"), st.builds("{} {}".format, st.sampled_from(SENDERS), st.sampled_from(DOMAINS)))
rules = st.builds(
    lambda scope, reply, begins, lasts: Rule(*scope, reply, begins, begins + lasts),
    scopes,
    st.sampled_from(sorted(REPLIES)),
    st.one_of(st.just(0.0), st.just(0.0), moments),
    st.one_of(st.just(1e9), st.just(1e9), seconds),
)
quotas = st.one_of(
    st.builds(Quota, st.just("account"), st.just(""), st.integers(1, 5), st.sampled_from(QUOTAS["account"])),
    st.builds(Quota, st.just("sender"), st.sampled_from(SENDERS), st.integers(1, 3), st.sampled_from(QUOTAS["sender"])),
    st.builds(Quota, st.just("domain"), st.sampled_from(DOMAINS), st.integers(1, 3), st.sampled_from(QUOTAS["domain"])),
)
spells = st.one_of(
    st.builds(Spell, moments, seconds, st.sampled_from(sorted(DOWN)), st.just(True)),
    st.builds(Spell, moments, seconds, st.sampled_from(sorted(EVERYTHING)), st.just(False)),
)
sessions = st.tuples(st.integers(1, 5), st.sampled_from(sorted(SESSION_ENDS)))
mail = st.tuples(st.sampled_from(SENDERS), st.sampled_from(DOMAINS), due)
held_back = st.one_of(
    st.tuples(st.just(What.ALL), st.just("")),
    st.tuples(st.just(What.SENDER), st.sampled_from(SENDERS)),
    st.tuples(st.just(What.DOMAIN), st.sampled_from(DOMAINS)),
    st.tuples(st.just(What.TRANSPORT), st.just(RELAY.name)),
)
holds = st.builds(lambda what, begins, lasts: Hold(begins, lasts, *what), held_back, moments, seconds)
expiries = st.one_of(minutes.map(lambda at: at + 60.0), seconds.map(lambda at: at + 60.0))
ACCOUNT_LIKE = ("not allowed", "not verified", "rate", "too much mail", "quota", "a day", "421", "broken", "later")
few_rules = st.lists(rules, max_size=2).map(tuple)
few_spells = st.one_of(st.just(()), st.tuples(spells))
few_quotas = st.one_of(st.just(()), st.tuples(quotas))
sizes = st.lists(st.tuples(st.integers(1, 14), st.sampled_from((60_000, 10_000_000))), min_size=1, max_size=8).map(
    tuple
)
largest = st.builds(
    Largest, st.sampled_from((10_000, 1_000_000)), st.sampled_from(sorted(LARGE)), st.one_of(st.just(1e9), seconds)
)
lanes = st.lists(st.tuples(st.integers(1, 14), st.sampled_from((Lane.HIGH, Lane.BULK))), min_size=1, max_size=10).map(
    tuple
)
some_sessions = st.one_of(st.none(), sessions)
connections = st.one_of(st.just(100), st.integers(1, 4))


def _case(
    least: int = 4,
    rule: st.SearchStrategy[tuple[Rule, ...]] = few_rules,
    spell: st.SearchStrategy[tuple[Spell, ...]] = few_spells,
    quota: st.SearchStrategy[tuple[Quota, ...]] = few_quotas,
    session: st.SearchStrategy[tuple[int, str] | None] = some_sessions,
    admits: st.SearchStrategy[int] = connections,
    large: st.SearchStrategy[Largest | None] = st.none() | largest,  # noqa: B008 - a value
    lane: st.SearchStrategy[tuple[tuple[int, Lane], ...]] = st.just(()) | lanes,  # noqa: B008
) -> st.SearchStrategy[Case]:
    """`least`: so much mail at the least. What is not given is mostly absent."""
    script = st.builds(
        Script,
        rules=rule,
        quotas=quota,
        spells=spell,
        largest=large,
        session=session,
        announced=st.booleans(),
        idle=st.one_of(st.none(), st.floats(1, 29)),
        admits=admits,
        no_more=st.sampled_from(sorted(NO_MORE)),
        admits_until=st.one_of(st.just(1e9), seconds),
    )
    return st.builds(
        Case,
        queue=st.lists(mail, min_size=least, max_size=14).map(tuple),
        script=script,
        workers=st.integers(1, 3),
        connections=st.integers(1, 4),
        refusals=st.integers(4, 10),
        restarts=st.lists(st.builds(Restart, moments, st.integers(1, 3), st.booleans()), max_size=2).map(tuple),
        holds=st.one_of(st.just(()), st.just(()), st.lists(holds, min_size=1, max_size=2).map(tuple)),
        expiry=st.one_of(st.just(()), st.lists(st.tuples(st.integers(1, 14), expiries), max_size=6).map(tuple)),
        lanes=lane,
        sizes=st.just(()) | sizes,
        heals=st.one_of(st.none(), seconds),
        seed=st.integers(0, 1000),
    )


blamed = st.builds(
    lambda scope, reply, lasts: Rule(*scope, reply, 0.0, lasts),
    st.one_of(scopes.filter(lambda scope: scope[0] != "delivery"), pairs),
    st.sampled_from(ACCOUNT_LIKE),
    st.one_of(st.just(1e9), seconds),
)
everything = st.builds(
    Spell, st.one_of(st.just(0.0), minutes), seconds, st.sampled_from(sorted(EVERYTHING)), st.just(False)
)
rates = st.one_of(  # whose words speak of the account, whomever they are about
    st.builds(Quota, st.just("account"), st.just(""), st.integers(1, 4), st.just("rate")),
    st.builds(Quota, st.just("sender"), st.sampled_from(SENDERS), st.integers(1, 3), st.just("rate")),
    st.builds(Quota, st.just("domain"), st.sampled_from(DOMAINS), st.integers(1, 3), st.just("rate")),
)
cases = st.one_of(
    _case(rule=st.lists(rules, min_size=1, max_size=6).map(tuple)),
    _case(9, rule=st.lists(blamed, min_size=1, max_size=3).map(tuple)),
    _case(9, rule=st.lists(blamed, min_size=1, max_size=2).map(tuple), spell=st.just(())),
    _case(10, spell=st.lists(everything, min_size=1, max_size=2).map(tuple)),
    _case(6, quota=st.lists(quotas, min_size=1, max_size=2).map(tuple)),
    _case(9, rule=st.just(()), quota=st.lists(rates, min_size=1, max_size=2).map(tuple), spell=st.just(())),
    _case(6, large=largest, spell=st.just(()), lane=lanes),
    _case(6, session=sessions, admits=st.integers(1, 4)),
)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """The log of thousands of scripts interests nobody."""
    loggers = [logging.getLogger(name) for name in ("outbox", "outbox.transport")]
    before = [one.level for one in loggers]
    for one in loggers:
        one.setLevel(logging.CRITICAL)
    yield
    for one, level in zip(loggers, before, strict=True):
        one.setLevel(level)


@given(case=cases)
@settings(max_examples=EXAMPLES or 60, derandomize=not EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@pytest.mark.timeout(3600)
def test_no_delivery_keeps_another_from_being_offered(case: Case) -> None:
    """By sender, recipient, domain, session, connections, rate or time, over restarts and several workers."""
    play(case)


@pytest.mark.long
@given(case=cases)
@settings(max_examples=150, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
def test_nor_in_more_scripts(case: Case) -> None:
    """The same with more of them."""
    play(case)


A, B, C = SENDERS
ONE, TWO, THREE, FOUR = DOMAINS

FOUND = {  # scripts that broke an earlier mechanism, as small as they would get
    "content offered again each second to a relay whose connections other workers have": Case(
        queue=((C, ONE, 0.0), (A, TWO, 0.0), (B, ONE, 1.0), (B, TWO, 0.0)),
        script=Script(
            quotas=(Quota("account", "", 3, "quota"),), session=(5, "421"), idle=1.1, admits=2, no_more="432"
        ),
        workers=3,
        connections=1,
        restarts=(Restart(300.0, 3, killed=False),),
        seed=294,
    ),
    "a connection each second while the first probes were to follow at once": Case(
        queue=((B, THREE, 5044.8), (A, FOUR, 0.0), (A, TWO, 0.0)),
        script=Script(rules=(Rule("sender", A, "authentication"),), admits=1),
        workers=3,
        connections=1,
        refusals=4,
    ),
    "idle connections of three workers are each one too many for the others": Case(
        queue=(
            (B, THREE, 0.5),
            (C, FOUR, 1.1),
            (A, TWO, 0.0),
            (C, TWO, 0.0),
            (B, TWO, 15.0),
            (A, FOUR, 0.0),
            (B, THREE, 0.0),
            (A, ONE, 137.3),
        ),
        script=Script(rules=(Rule("domain", FOUR, "quota"),), session=(4, "plain"), admits=1, no_more="432"),
        workers=3,
        restarts=(Restart(20.0, 2, killed=False),),
        seed=269,
    ),
    "a domain is paused for a rate of the account that is over": Case(
        queue=(
            (C, THREE, 0.0),
            (A, THREE, 0.0),
            (A, THREE, 147.2),
            (A, FOUR, 0.0),
            (B, FOUR, 0.0),
            (C, TWO, 158.6),
            (A, TWO, 213.3),
            (B, TWO, 5536.5),
            (B, ONE, 3251.3),
            (B, ONE, 2465.8),
            (B, TWO, 277.0),
            (B, TWO, 0.0),
            (B, TWO, 0.0),
            (A, THREE, 158.6),
        ),
        script=Script(
            rules=(Rule("sender", A, "rate", 0.0, 4554.0),),
            quotas=(Quota("account", "", 2, "too much mail"),),
            session=(1, "452"),
            no_more="432",
        ),
        connections=2,
        refusals=8,
        restarts=(Restart(178.3, 2, killed=True),),
        heals=178.3,
        seed=825,
    ),
    "a domain is paused for a rate of one sender, whose words speak of the account": Case(
        queue=((A, ONE, 0.0),) * 8 + ((A, TWO, 0.0),),
        script=Script(quotas=(Quota("sender", A, 1, "rate"),)),
        connections=1,
        refusals=4,
    ),
    "a domain is paused for a rate of the account that is used up at each try": Case(
        queue=((A, ONE, 0.0),) * 8 + ((A, TWO, 0.0),),
        script=Script(quotas=(Quota("account", "", 1, "rate"),)),
        connections=1,
        refusals=4,
    ),
    "mail of another sender to a domain that refuses one waits for the probe of the domain's pause": Case(
        queue=((A, ONE, 0.0), (A, TWO, 0.0)) * 6 + ((B, ONE, 700.0),),
        script=Script(rules=(Rule("pair", f"{A} {ONE}", "rate"),)),
        connections=1,
    ),
    "a pause whose probe found only expired mail waits for hours": Case(
        queue=((B, ONE, 0.0), (A, ONE, 0.0), (A, TWO, 0.0), (B, TWO, 650.0)),
        script=Script(rules=(Rule("sender", A, "not allowed"),)),
        holds=(Hold(700.0, 2000.0, What.ALL),),
        expiry=((3, 1000.0),),
        heals=2000.0,
    ),
    "the same retry of the high lane is three of four probes": Case(
        queue=tuple((SENDERS[n % 3], DOMAINS[n % 4], 0.0) for n in range(14)),
        script=Script(spells=(Spell(0.0, HOUR, "later", False),)),
        connections=1,
        lanes=((13, Lane.HIGH), (14, Lane.BULK)),
    ),
    "those before what would be taken end all at once": Case(  # the bound was wrong, not the outbox
        queue=(
            (A, ONE, 105.0),
            (C, ONE, 246.0),
            (A, ONE, 218.0),
            (A, ONE, 116.0),
            (A, ONE, 0.0),
            (A, FOUR, 105.0),
            (A, ONE, 0.0),
            (A, ONE, 0.0),
            (C, THREE, 0.0),
            (A, ONE, 0.0),
        ),
        script=Script(
            rules=(Rule("sender", A, "spam", 0.0, 5894.4),), spells=(Spell(0.0, 603.8, "later", False),), admits=1
        ),
        connections=2,
        refusals=7,
        restarts=(Restart(195.7, 1, killed=False),),
    ),
    "a pause whose probe found nothing due waits for hours": Case(
        queue=((C, ONE, 0.0), (A, TWO, 500.0)),
        script=Script(rules=(Rule("sender", C, "not allowed"),)),
        heals=2000.0,
        seed=1,
    ),
}


@pytest.mark.parametrize("case", FOUND.values(), ids=FOUND)
def test_what_was_found_before_stays_repaired(case: Case) -> None:
    """One script each."""
    play(case)


def test_a_look_for_expired_mail_that_fails_keeps_nothing_from_being_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    """It looks at all that is due, and on a slow database may take too long each time."""
    claim = Queue.claim

    def fails_at_expired(queue: Queue, worker_id: int, token: int, limit: int, **how: Any) -> list[Claimed]:
        if queue._held.living:
            raise TimeoutError("the database did not answer in time")
        return claim(queue, worker_id, token, limit, **how)

    monkeypatch.setattr(Queue, "claim", fails_at_expired)
    world, _ = play(
        Case(queue=((A, ONE, 0.0),) * 4, script=Script(spells=(Spell(0.0, 900.0, "refuses", True),)), heals=900.0)
    )
    assert world.of(State.SENT) == {1, 2, 3, 4}
