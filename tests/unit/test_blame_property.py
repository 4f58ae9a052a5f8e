"""Whatever a relay refuses, and why: one delivery never keeps another from being offered (promise 4)."""

from __future__ import annotations

import os
from collections import Counter

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from outbox.reply import About, Phase, Result, Verdict
from outbox.states import State
from tests.unit.relays import POLL, TAKES, Delivery, World, answer

EXAMPLES = int(os.environ.get("OUTBOX_EXAMPLES", "150"))
PROBE_INTERVAL = 60.0 * 1.1
HOURS = 3600.0

REPLIES: dict[str, Result] = {
    "quota": answer(Verdict.TRANSPORT, Phase.MAIL, 454, about=About.ACCOUNT),
    "not allowed": answer(Verdict.CONFIGURATION, Phase.MAIL, 550, enhanced="5.7.60", about=About.SENDER),
    "not verified": answer(Verdict.CONFIGURATION, Phase.RCPT, 554, enhanced="5.7.1", about=About.SENDER),
    "rate": answer(Verdict.TRANSPORT, Phase.RCPT, 450, enhanced="4.7.1"),
    "a day": answer(Verdict.TRANSPORT, Phase.DOT, 451, wait=86_400.0),
    "authentication": answer(Verdict.CONFIGURATION, Phase.MAIL, 530, about=About.RELAY),
    "broken": answer(Verdict.TRANSPORT, Phase.DATA, None),
    "421": answer(Verdict.TRANSPORT, Phase.RCPT, 421),
    "unknown": answer(Verdict.UNKNOWN, Phase.DOT, None),
    "denied": answer(Verdict.PERMANENT, Phase.RCPT, 554, enhanced="5.7.1"),
    "no such user": answer(Verdict.PERMANENT, Phase.RCPT, 550, enhanced="5.1.1"),
    "later": answer(Verdict.TRANSIENT, Phase.DOT, 451, enhanced="4.3.0"),
}
SENDERS = ("a@ours.example", "b@ours.example", "c@ours.example")
DOMAINS = ("one.example", "two.example", "three.example", "four.example")

rules = st.dictionaries(
    st.one_of(
        st.tuples(st.just("sender"), st.sampled_from(SENDERS)),
        st.tuples(st.just("domain"), st.sampled_from(DOMAINS)),
        st.tuples(st.just("delivery"), st.integers(1, 14).map(str)),
    ),
    st.sampled_from(sorted(REPLIES)),
    max_size=6,
)
queues = st.lists(
    st.tuples(st.sampled_from(SENDERS), st.sampled_from(DOMAINS), st.floats(0, 120)), min_size=2, max_size=14
)


@given(
    queue=queues,
    rule=rules,
    connections=st.integers(1, 4),
    admits=st.integers(1, 5),
    down=st.tuples(st.floats(0, 100), st.floats(0, 200)),
    ends=st.floats(0, 400),
)
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_delivery_keeps_another_from_being_offered(
    queue: list[tuple[str, str, float]],
    rule: dict[tuple[str, str], str],
    connections: int,
    admits: int,
    down: tuple[float, float],
    ends: float,
) -> None:
    """By sender, recipient, domain, number of connections or time: after each refusal the next offer is another's, and
    it comes within one probe interval; what the relay would take is sent, and nothing is failed for another's sake."""

    def says(one: Delivery, now: float) -> Result | None:
        for key in (("sender", one.sender), ("domain", one.domain), ("delivery", str(one.id))):
            if key in rule and (key[0] != "domain" or now < ends):  # some relays change their mind
                return REPLIES[rule[key]]
        return None

    deliveries = [
        Delivery(number, sender, f"r{number}@{domain}", due)
        for number, (sender, domain, due) in enumerate(queue, start=1)
    ]
    world = World(deliveries, says, connections, admits, is_down=lambda now: down[0] <= now < down[0] + down[1])
    world.run(6 * HOURS)
    _the_next_offer_is_anothers(world)
    taken = {one.id for one in deliveries if says(one, 1e9) is None}
    never_refused = {one for one in taken if not any(key == "domain" for key, _ in rule)}
    assert never_refused <= world.of(State.SENT)
    assert not {one.id for one in deliveries if one.state is State.FAILED} - _refused_for_their_own_sake(world)


def _the_next_offer_is_anothers(world: World) -> None:
    for before, after in zip(world.offers, world.offers[1:], strict=False):
        if before.result.verdict is Verdict.ACCEPTED or not before.others:
            continue
        assert after.at - before.at <= PROBE_INTERVAL + TAKES + POLL, (before, after)
        if before.result.phase is not Phase.CONNECT and after.delivery == before.delivery:
            raise AssertionError(f"{before} was offered again before {before.others}")


def _refused_for_their_own_sake(world: World) -> set[int]:
    """What the relay refused by a reply of its own, or what broke connections again and again."""
    own = {one.delivery for one in world.offers if one.result.verdict in {Verdict.PERMANENT, Verdict.TRANSIENT}}
    broke = Counter(one.delivery for one in world.offers if one.result.reply.code is None)
    return own | {number for number, times in broke.items() if times > 5}
