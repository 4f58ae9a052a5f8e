"""Pure decisions: what follows from a verdict, when to try again, when to leave a server alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outbox.delivery.breaker import LONGEST_PROBE_WAIT, cause_of
from outbox.delivery.reply import About, Phase, Reply, Result, Verdict
from outbox.delivery.retry import Facts, Reason, RetryPolicy, before_sending, decide
from outbox.delivery.states import OnUncertain, State

POLICY = RetryPolicy(first=60.0, most=3600.0, attempts=5, poison=3)
FACTS = Facts(attempts=0, rescues=0, on_uncertain=OnUncertain.RETRY, expires_in=None, healthy=True)


def result(verdict: Verdict, phase: Phase = Phase.RCPT, code: int | None = 450, wait: float | None = None) -> Result:
    """A result with the parts that decisions look at."""
    return Result(verdict, phase, Reply(code, None, "text"), 0.1, retry_after=wait)


@pytest.mark.parametrize(
    ("verdict", "state", "reason", "counted"),
    [
        (Verdict.ACCEPTED, State.SENT, None, True),
        (Verdict.PERMANENT, State.FAILED, Reason.REFUSED, True),
        (Verdict.TRANSIENT, State.QUEUED, Reason.DEFERRED, True),
        (Verdict.TRANSPORT, State.QUEUED, Reason.TRANSPORT, False),
        (Verdict.CONFIGURATION, State.QUEUED, Reason.CONFIGURATION, False),
        (Verdict.UNKNOWN, State.QUEUED, Reason.UNKNOWN, True),
    ],
)
def test_each_verdict_has_its_state(verdict: Verdict, state: State, reason: Reason | None, counted: bool) -> None:
    """Each verdict leads to one state, and costs an attempt only where the mail was judged."""
    decision = decide(result(verdict), FACTS, POLICY, 0.5)
    assert (decision.state, decision.reason, decision.counted) == (state, reason, counted)


def test_hold_keeps_an_unknown_outcome_for_a_person() -> None:
    """With "hold" a mail that may have arrived is never sent again by the daemon."""
    facts = replace(FACTS, on_uncertain=OnUncertain.HOLD)
    assert decide(result(Verdict.UNKNOWN, Phase.DOT, None), facts, POLICY, 0.5).state is State.UNCERTAIN


def test_a_mark_left_by_a_dead_worker_is_held() -> None:
    """A marked lease that was lost is uncertain under "hold", without a mark it is provably not taken."""
    facts = replace(FACTS, on_uncertain=OnUncertain.HOLD)
    held = before_sending(facts, rescued=True, marked=True, policy=POLICY)
    assert held is not None
    assert held.state is State.UNCERTAIN
    assert before_sending(facts, rescued=True, marked=False, policy=POLICY) is None
    assert before_sending(FACTS, rescued=True, marked=True, policy=POLICY) is None


def test_backoff_doubles_up_to_its_cap_with_jitter() -> None:
    """60 s, doubled each time, at most an hour, give or take a fifth."""
    assert [POLICY.backoff(n, 0.5) for n in (1, 2, 3, 7, 50)] == pytest.approx([60, 120, 240, 3600, 3600])
    assert POLICY.backoff(1, 0.0) == pytest.approx(48)
    assert POLICY.backoff(1, 0.999) == pytest.approx(72, rel=0.01)


def test_the_servers_own_wait_is_honoured_within_a_day() -> None:
    """ "Try again in ten minutes" is taken at its word, "in a year" is not."""
    assert decide(result(Verdict.TRANSIENT, wait=600), FACTS, POLICY, 0.5).delay == 600
    assert decide(result(Verdict.TRANSIENT, wait=3e7), FACTS, POLICY, 0.5).delay == 24 * 3600


def test_attempts_come_to_an_end() -> None:
    """The last attempt that is allowed fails for good; if it may have arrived, a person sees that."""
    facts = replace(FACTS, attempts=POLICY.attempts - 1)
    assert decide(result(Verdict.TRANSIENT), facts, POLICY, 0.5).reason is Reason.ATTEMPTS
    assert decide(result(Verdict.UNKNOWN), facts, POLICY, 0.5).state is State.UNCERTAIN


def test_expired_mail_is_not_sent() -> None:
    """Neither begun after its time nor kept for a retry that would come too late."""
    barred = before_sending(replace(FACTS, expires_in=0.0), rescued=False, marked=False, policy=POLICY)
    assert barred is not None
    assert (barred.state, barred.reason) == (State.FAILED, Reason.EXPIRED)
    late = replace(FACTS, attempts=1, expires_in=30)
    assert decide(result(Verdict.TRANSIENT), late, POLICY, 0.5).reason is Reason.EXPIRED


CHANCES = st.floats(0, 1, exclude_max=True)
REFUSALS = st.builds(
    result,
    st.sampled_from([Verdict.TRANSIENT, Verdict.UNKNOWN]),
    st.just(Phase.DOT),
    st.just(451),
    st.none() | st.floats(0, 1e6),
)
LEADS = st.floats(0.1, 300)


@pytest.mark.parametrize(
    ("attempts", "left", "wait"), [(6, 29 * 60.0, None), (1, 3600.0, 7200.0), (1, 61.0, 3600.0), (3, 90.0, 1e9)]
)
@pytest.mark.parametrize("chance", [0.0, 0.3, 0.999])
def test_the_last_attempt_comes_shortly_before_the_expiry(
    attempts: int, left: float, wait: float | None, chance: float
) -> None:
    """Between a minute and the time that a send needs before it, where the backoff or the server's wish is later."""
    policy = RetryPolicy(lead=10)
    decision = decide(
        result(Verdict.TRANSIENT, wait=wait), replace(FACTS, attempts=attempts, expires_in=left), policy, chance
    )
    assert decision.state is State.QUEUED
    assert decision.delay is not None
    assert 10 <= left - decision.delay <= 60


def test_last_attempts_are_spread_over_the_minute() -> None:
    """Many that expire together (an outage, a campaign) don't come at one moment."""
    facts = replace(FACTS, attempts=6, expires_in=1740.0)
    delays = [
        decide(result(Verdict.TRANSIENT), facts, RetryPolicy(lead=10), chance).delay for chance in (0.0, 0.5, 0.999)
    ]
    assert delays == pytest.approx([1730.0, 1705.0, 1680.0], abs=0.1)


@given(REFUSALS, st.integers(0, 28), st.floats(-10, 1e6), LEADS, CHANCES)
def test_a_retry_is_never_due_too_late_to_be_made(
    refused: Result, attempts: int, left: float, lead: float, chance: float
) -> None:
    """Before the expiry by what a send needs, or by a quarter of what is left of a short life."""
    decision = decide(refused, replace(FACTS, attempts=attempts, expires_in=left), RetryPolicy(lead=lead), chance)
    if decision.state is State.QUEUED:
        assert decision.delay is not None
        assert 0 <= decision.delay <= max(left - lead, 0.75 * left) + 1e-6
    else:
        assert (decision.state, decision.reason) in {
            (State.FAILED, Reason.EXPIRED),
            (State.UNCERTAIN, Reason.UNKNOWN),
        }


@given(REFUSALS, st.integers(0, 28), st.floats(0.001, 1e6), LEADS, CHANCES)
def test_nothing_is_given_up_while_there_is_time(
    refused: Result, attempts: int, left: float, lead: float, chance: float
) -> None:
    """As expired only in the last minute (or what a send needs), and never after the first attempt."""
    decision = decide(refused, replace(FACTS, attempts=attempts, expires_in=left), RetryPolicy(lead=lead), chance)
    if decision.state is not State.QUEUED:
        assert left <= max(60, lead)
        assert attempts > 0


@given(REFUSALS, st.integers(0, 28), st.floats(0.001, 1e6), st.floats(0.001, 1e6), LEADS, CHANCES)
def test_more_time_never_means_an_earlier_retry(
    refused: Result, attempts: int, one: float, other: float, lead: float, chance: float
) -> None:
    """Nor that a delivery is given up which with less time was not."""
    policy = RetryPolicy(lead=lead)

    def delay(left: float | None) -> float:
        facts = replace(FACTS, attempts=attempts, expires_in=left)
        found = decide(refused, facts, policy, chance).delay
        return -1.0 if found is None else found

    assert delay(min(one, other)) <= delay(max(one, other)) + 1e-6
    assert delay(one) <= delay(None) + 1e-6


@given(st.floats(5, 50_000), LEADS, st.lists(CHANCES, min_size=1), st.none() | st.floats(30, 1e6))
def test_a_life_of_deferrals_ends_with_a_late_attempt(
    life: float, lead: float, chances: list[float], wait: float | None
) -> None:
    """Whatever the chances: the last of all attempts comes in the last minute, and there is a last one."""
    policy, left, attempts = RetryPolicy(lead=lead, attempts=10_000), life, 0
    while True:
        decision = decide(
            result(Verdict.TRANSIENT, wait=wait),
            replace(FACTS, attempts=attempts, expires_in=left),
            policy,
            chances[attempts % len(chances)],
        )
        attempts += 1
        if decision.delay is None:
            break
        left -= decision.delay
    assert decision.reason is Reason.EXPIRED
    assert 0 < left <= max(60, lead)


def test_the_limit_of_attempts_holds_before_the_expiry() -> None:
    """The last attempt that is allowed is the last, with or without time left."""
    facts = replace(FACTS, attempts=POLICY.attempts - 1, expires_in=3600)
    assert decide(result(Verdict.TRANSIENT), facts, POLICY, 0.5).reason is Reason.ATTEMPTS


def test_a_suspected_mail_gets_its_last_attempt_too() -> None:
    """One that breaks connections is not offered for the last time after its expiry."""
    facts = replace(FACTS, rescues=2, expires_in=200)
    delay = decide(result(Verdict.TRANSPORT, Phase.BODY, None), facts, replace(POLICY, lead=10), 0.5).delay
    assert delay is not None
    assert 140 <= delay <= 190


def test_a_mail_that_alone_breaks_connections_is_poison() -> None:
    """Suspected only while other mail goes through, and given up after a bounded number of connections."""
    broken = result(Verdict.TRANSPORT, Phase.BODY, None)
    first = decide(broken, FACTS, POLICY, 0.5)
    assert (first.state, first.suspected, first.counted) == (State.QUEUED, True, False)
    last = decide(broken, replace(FACTS, rescues=POLICY.poison), POLICY, 0.5)
    assert (last.state, last.reason) == (State.FAILED, Reason.POISON)
    down = decide(broken, replace(FACTS, rescues=POLICY.poison, healthy=False), POLICY, 0.5)
    assert (down.state, down.suspected) == (State.QUEUED, False)


def test_what_got_as_far_as_mail_steps_behind_further_each_time() -> None:
    """Its fault or not: the next offer is another's. While nothing passes it waits no longer than a probe does."""
    refused = result(Verdict.CONFIGURATION, Phase.MAIL, 550)
    delays = [decide(refused, replace(FACTS, deferrals=n), POLICY, 0.5).delay for n in range(4)]
    assert delays == [60, 120, 240, 480]
    down = replace(FACTS, deferrals=3, healthy=False)
    assert decide(refused, down, POLICY, 0.5).delay == POLICY.probe
    assert decide(replace(refused, retry_after=86_400.0), FACTS, POLICY, 0.5).delay == 86_400.0
    assert decide(replace(refused, retry_after=86_400.0), down, POLICY, 0.5).delay == LONGEST_PROBE_WAIT
    connecting = decide(result(Verdict.TRANSPORT, Phase.CONNECT, None), FACTS, POLICY, 0.5)
    assert (connecting.delay, connecting.deferred) == (None, False)


def test_the_end_of_a_session_is_nobodys_fault() -> None:
    """What was not taken because the session had carried enough goes at once over another."""
    ended = replace(result(Verdict.TRANSPORT, Phase.DOT, 451), about=About.SESSION)
    decision = decide(ended, FACTS, POLICY, 0.5)
    assert (decision.state, decision.delay, decision.counted, decision.deferred) == (State.QUEUED, 0.0, False, False)
    assert cause_of(ended) is None


def test_a_refusal_that_every_message_meets_costs_nothing() -> None:
    """Not an attempt, and no failure: the relay would refuse any other message as well."""
    denied = result(Verdict.PERMANENT, Phase.RCPT, 554)
    decision = decide(denied, replace(FACTS, withheld=True), POLICY, 0.5)
    assert (decision.state, decision.reason, decision.counted) == (State.QUEUED, Reason.TRANSPORT, False)


def test_workers_that_die_on_a_mail_make_it_poison() -> None:
    """A mail whose leases are lost again and again is given up, once one was lost while it was being tried."""
    facts = replace(FACTS, rescues=POLICY.poison + 1)
    assert before_sending(facts, rescued=True, marked=False, policy=POLICY) is None
    barred = before_sending(facts, rescued=True, marked=True, policy=POLICY)
    assert barred is not None
    assert barred.reason is Reason.POISON


def test_what_breaks_alone_steps_behind_further_each_time() -> None:
    """Nothing else has gone through since, but the relay is not out of use: it is not offered every minute for days."""
    broken = result(Verdict.TRANSPORT, Phase.DATA, None)
    alone = replace(FACTS, healthy=False, down=False)
    delays = [decide(broken, replace(alone, deferrals=n), POLICY, 0.5).delay for n in range(4)]
    assert delays == [60, 120, 240, 480]
    assert decide(broken, replace(alone, deferrals=3, down=True), POLICY, 0.5).delay == 60
