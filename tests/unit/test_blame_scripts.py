"""What chance finds too seldom: one script for each part of the mechanism that keeps a promise (docs/decisions/0014).

The relay, the table and the clock are those of `test_blame_property`, and so is all that must hold meanwhile.
"""

from __future__ import annotations

import math
from collections import Counter

import pytest

from outbox.delivery.states import Lane, State
from outbox.store.pauses import What
from tests.unit.simulation.database import Hold
from tests.unit.simulation.relay import LARGE, TAKES, Largest, Rule, Script, Spell
from tests.unit.simulation.watch import Watch
from tests.unit.simulation.world import Restart
from tests.unit.test_blame_property import DOMAINS, HOUR, SENDERS, Case, play

A, B, C = SENDERS
ONE, TWO, THREE, FOUR = DOMAINS
DENIED = Script(spells=(Spell(0.0, HOUR, "denied", False),))


def paused(watch: Watch) -> set[tuple[What, str]]:
    """What was ever paused by itself."""
    return {(pause.what, pause.value) for _, what, pause in watch.pauses if what == "paused"}


def sent_at(watch: Watch, number: int) -> float:
    """When the relay took it; never: for ever."""
    return next((at for at, one, words in watch.offers if one == number and "-> sent" in words), math.inf)


def various(count: int, *due: float) -> tuple[tuple[str, str, float], ...]:
    """So much mail to all domains for each moment."""
    return tuple((SENDERS[n % 3], DOMAINS[n % 4], at) for at in due for n in range(count))


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(Case(various(14, 0.0), DENIED, heals=HOUR), id="one worker"),
        pytest.param(Case(various(14, 0.0), DENIED, workers=3, heals=HOUR), id="three workers"),
        pytest.param(
            Case(
                various(3, 0.0, 400.0, 800.0, 1200.0),
                DENIED,
                restarts=tuple(Restart(at, 1, killed=False) for at in (300.0, 700.0, 1100.0)),
                heals=HOUR,
            ),
            id="a worker that lives for three messages",
        ),
        pytest.param(
            Case(various(3, 0.0, 30.0, 60.0, 90.0, 120.0), DENIED, workers=3, connections=1, heals=HOUR),
            id="three workers, none of which sees enough",
        ),
    ],
)
def test_what_every_message_meets_fails_none(case: Case) -> None:
    """The refusals are taken back, and what comes after them is withheld."""
    world, _ = play(case)
    assert world.of(State.SENT) == set(range(1, len(case.queue) + 1))


def test_a_sender_that_is_refused_where_others_pass_is_paused() -> None:
    """For a person to see it."""
    mail = ((A, ONE, 0.0), (B, ONE, 0.0), (A, TWO, 0.0), (B, TWO, 0.0))
    _, watch = play(Case(mail * 2, Script(rules=(Rule("sender", A, "not allowed"),))))
    assert paused(watch) == {(What.SENDER, A)}


def test_a_domain_that_is_refused_while_its_senders_pass_elsewhere_is_paused() -> None:
    """Though the words speak of the account."""
    mail = ((A, ONE, 0.0), (A, TWO, 0.0))
    _, watch = play(Case(mail * 6, Script(rules=(Rule("domain", ONE, "rate"),)), connections=1))
    assert paused(watch) == {(What.DOMAIN, ONE)}


def test_a_sender_is_not_paused_for_the_domain_it_writes_to() -> None:
    """Its mail to others was taken a moment before."""
    mail = ((A, TWO, 0.0), *((A, ONE, 10.0),) * 5, *((B, THREE, 12.0),) * 3)
    _, watch = play(Case(mail, Script(rules=(Rule("domain", ONE, "not verified", 0.0, 250.0),)), connections=1))
    assert not paused(watch)


def test_a_sender_is_not_paused_for_one_message() -> None:
    """The words name it, and mean the From of that message: others of it pass."""
    mail = ((A, TWO, 0.0), (A, ONE, 10.0), (B, THREE, 10.0), (A, ONE, 20.0))
    _, watch = play(Case(mail, Script(rules=(Rule("delivery", "2", "not allowed"),)), connections=1))
    assert not paused(watch)


def test_one_refusal_pauses_nobody() -> None:
    """Where the words don't name the sender for certain."""
    mail = ((A, ONE, 0.0), (B, TWO, 0.0), (B, THREE, 0.0), (A, FOUR, 500.0))
    _, watch = play(Case(mail, Script(rules=(Rule("delivery", "1", "not verified", 0.0, 400.0),)), connections=1))
    assert not paused(watch)


def test_one_message_that_breaks_connections_says_nothing_of_the_relay() -> None:
    """However often: the relay is not reported as down for its sake."""
    world, _ = play(Case(((A, ONE, 0.0),), Script(rules=(Rule("delivery", "1", "broken"),))))
    assert world.workers[1].breaker.openings == 0


@pytest.mark.parametrize(
    ("count", "reply"),
    [
        pytest.param(6, "a day", id="chosen from what was claimed"),
        pytest.param(20, "quota", id="what was claimed goes back for it"),
        pytest.param(20, "broken", id="connections that break"),
        pytest.param(4, "421, told", id="a wait told to one"),
    ],
)
def test_another_senders_mail_is_the_next_probe(count: int, reply: str) -> None:
    """Though so much of the refused sender's was due before it."""
    mail = ((C, THREE, 0.0), *((A, ONE, 10.0),) * count, (B, TWO, 10.0))
    _, watch = play(Case(mail, Script(rules=(Rule("sender", A, reply),)), connections=1))
    assert sent_at(watch, len(mail)) < 10.0 + 10.0


@pytest.mark.parametrize("lanes", [(), ((5, Lane.HIGH),), ((6, Lane.HIGH),)])
@pytest.mark.parametrize("due", [100.0, 117.0, 200.0])
def test_probes_take_turns_though_the_breaker_closes_between_them(
    lanes: tuple[tuple[int, Lane], ...], due: float
) -> None:
    """A refusal shows that the relay is up, and closes it; what was refused before opens it again. In between one
    retry can go out, which of the two depends on the moment; neither keeps the other from being tried."""
    mail = (*((C, domain, 0.0) for domain in DOMAINS), (B, ONE, due), (B, TWO, due))
    rules = Rule("sender", C, "denied"), Rule("sender", B, "broken")
    _, watch = play(Case(mail, Script(rules=rules), connections=1, refusals=4, lanes=lanes))
    offered = Counter(number for at, number, _ in watch.offers if 900.0 <= at < 900.0 + HOUR)
    assert min(offered[5], offered[6]) >= 2
    assert max(offered[5], offered[6]) <= 4 * min(offered[5], offered[6])


@pytest.mark.parametrize("reply", LARGE)
def test_large_messages_stop_only_themselves(reply: str) -> None:
    """Whatever the relay says or does to them: ten that are smaller, of the same sender, go out at once."""
    mail = ((A, TWO, 0.0), *((A, ONE, 10.0),) * 14)
    large = tuple((number, 10_000_000) for number in range(2, 6))
    world, watch = play(Case(mail, Script(largest=Largest(1_000_000, reply)), sizes=large))
    assert max(sent_at(watch, number) for number in range(6, 16)) < 10.0 + 10.0
    assert world.of(State.SENT) == {1, *range(6, 16)}


def test_connections_are_added_again_once_the_relay_admits_more() -> None:
    """One after the other: the last mail goes over all of them."""
    times = (0.0, 200.0, 400.0, 600.0)
    script = Script(admits=1, admits_until=100.0)
    world, _ = play(Case(tuple((A, ONE, at) for at in times for _ in range(12)), script, connections=4))
    took = [max(at for at, _ in world.relay.taken if at < begun + 200.0) - begun for begun in times]
    assert took[0] > 12 * TAKES
    assert took[3] < 12 * TAKES / 2


def test_what_has_expired_ends_while_its_sender_is_paused() -> None:
    """By itself, that is; what an operator has paused waits for them."""
    mail = ((A, ONE, 0.0), (B, ONE, 0.0), (A, TWO, 100.0), (B, TWO, 100.0))
    case = Case(
        mail,
        Script(rules=(Rule("sender", A, "not allowed"),)),
        holds=(Hold(50.0, HOUR, What.SENDER, B),),
        expiry=((3, 200.0), (4, 200.0)),
    )
    _, watch = play(case)
    assert paused(watch) == {(What.SENDER, A)}
    ended = {number: at for at, number, words in watch.offers if "expired" in words}
    assert ended[3] < 320.0
    assert HOUR <= ended[4] < HOUR + 60.0
