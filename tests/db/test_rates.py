"""Permits in the database: who asks, on whichever connection, gets no more than there are."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from outbox import operations
from outbox.delivery.rate_limits import RateLimits, parse
from outbox.models import OutboxAttempt
from outbox.store.connections import Connections
from outbox.store.rate_models import OutboxRate
from outbox.store.rates import TRANSPORT, Grant, Rates
from outbox.store.types import DbMicros, DbNow
from tests.db.mails import put, worker


@pytest.fixture
def rates(engine: sa.Engine) -> Iterator[Rates]:
    """On a connection of its own, as a worker has it."""
    connections = Connections(engine)
    with connections.pinned():
        yield Rates(engine, connections, "")


def take(rates: Rates, limits: RateLimits, wanted: int = 64) -> int:
    """How many permits were given out."""
    return rates.reserve(TRANSPORT, "relay", limits, wanted).permits


def undisturbed(ask: Callable[[str], list[Grant]], seconds: float) -> list[Grant]:
    """What `ask`, called with a transport, is given; with others until it took less than `seconds`.

    What falls due meanwhile on a busy machine is given out, too.
    """
    for number in range(200):
        began = time.monotonic()
        given = ask(f"relay {number}")
        if time.monotonic() - began < seconds:
            return given
    raise TimeoutError(f"not once within {seconds} s")


def test_a_rate_a_second_is_given_out_for_one_second(rates: Rates) -> None:
    """And the permits that follow begin after those."""
    first, second, none = undisturbed(
        lambda relay: [rates.reserve(TRANSPORT, relay, parse("5/s"), wanted) for wanted in (3, 64, 64)], 0.15
    )
    assert first.permits == 3
    assert 1 <= second.permits <= 3
    assert second.first > 0.3
    assert none.permits == 0
    assert 0 < none.wait <= 1


def test_several_limits_hold_together(rates: Rates) -> None:
    limits = parse("100/s, 60/m, 1000/h, 50/d")
    given = undisturbed(lambda relay: [rates.reserve(TRANSPORT, relay, limits, 64) for _ in range(2)], 0.5)
    assert [one.permits for one in given] == [3, 0]


def test_a_quota_is_given_out_once(rates: Rates) -> None:
    """What was not used is given out again."""
    quota = parse("20/d")
    assert take(rates, quota, 15) == 15
    assert take(rates, quota, 15) == 5
    assert take(rates, quota) == 0
    rates.give_back(TRANSPORT, "relay", 4, 0.0, limits=quota)
    assert take(rates, quota) == 4


def test_many_at_once_get_no_more_than_there_are(engine: sa.Engine) -> None:
    quota = parse("100/d")

    def ask(_: int) -> int:
        connections = Connections(engine)
        with connections.pinned():
            return sum(take(Rates(engine, connections, ""), quota, 3) for _ in range(10))

    with ThreadPoolExecutor(6) as threads:
        assert sum(threads.map(ask, range(6))) == 100


def test_a_lower_rate_for_now(rates: Rates) -> None:
    """Also where the settings have none."""
    given = undisturbed(
        lambda relay: [rates.reserve(TRANSPORT, relay, RateLimits(), 64, per_second=2.0) for _ in range(2)], 0.25
    )
    assert [one.permits for one in given] == [3, 0]


def test_the_status_says_what_holds_a_transport_back(rates: Rates, engine: sa.Engine) -> None:
    with engine.connect() as connection:
        assert operations.status(connection, dead_after=60.0).rates == []
    take(rates, parse("100/s, 50/d"))
    with engine.connect() as connection:
        seen = operations.status(connection, dead_after=60.0)
    (one,) = seen.rates
    assert (one.name, one.limits, one.used, one.held_by) == ("relay", "100/second, 50/day", 50, "50/day")
    assert one.held_until is not None
    assert (one.held_until - seen.at).total_seconds() > 86_000
    assert any(note.startswith("relay is held by rate (50/day) until") for note in seen.notes)


def test_a_worker_that_was_taken_for_dead_loses_no_permit(rates: Rates, engine: sa.Engine) -> None:
    """Of six others have given back five, since one may have been used: what it gives back itself is the sixth."""
    quota = parse("10/d")
    id, (delivery,) = worker(engine), put(engine)
    assert rates.reserve(TRANSPORT, "relay", quota, 6, worker=id).permits == 6
    with engine.begin() as connection:
        attempt = {"delivery_id": delivery, "at": DbNow(), "worker_id": id, "transport": "relay", "phase": "dot"}
        rest = {"verdict": "accepted", "reply": "", "duration": 0.1, "counted": True}
        connection.execute(sa.insert(OutboxAttempt).values(**attempt, **rest))
    for _ in range(2):
        rates.release_dead([id])
    assert take(rates, quota, 20) == 9
    rates.give_back(TRANSPORT, "relay", 6, 0.0, limits=quota, worker=id)
    assert take(rates, quota, 20) == 1


def test_a_fast_rate_is_given_out_in_batches(rates: Rates) -> None:
    """While little of it is used: each is good at once and for a quarter of a second. Used as late as they may be,
    and with those that then have moments of their own, no second has more than the rate allows.
    """
    most, used = 200, list[float]()
    limits, end = parse(f"{most}/s, 5000/h"), time.monotonic() + 2.5
    kinds = set[bool]()
    while time.monotonic() < end:
        grant = rates.reserve(TRANSPORT, "relay", limits, 20 if not kinds or time.monotonic() < end - 2 else 64)
        if not grant.permits:
            time.sleep(min(grant.wait, 0.05))
            continue
        kinds.add(grant.life is not None)
        pace = 0.0 if grant.life is not None else limits.cells()["second"].interval / 1e6
        used += [grant.began + grant.first + (grant.life or 0.0) + number * pace for number in range(grant.permits)]
    assert kinds == {True, False}
    used.sort()
    assert max(sum(one <= at < one + 1 for at in used) for one in used) <= most + 1
    assert len(used) > 1.2 * most


def test_who_waited_for_the_row_gets_no_more(engine: sa.Engine) -> None:
    """Its statement knows an older time than theirs: what they took meanwhile is no clock stepped back."""
    end = time.monotonic() + 1.5

    def hammer(_: int) -> list[float]:
        connections, moments = Connections(engine), list[float]()
        with connections.pinned():
            rates = Rates(engine, connections, "")
            while time.monotonic() < end:
                grant = rates.reserve(TRANSPORT, "relay", parse("50/s"), 3)
                moments += [grant.began + grant.first] * grant.permits
        return moments

    began = time.monotonic()
    with ThreadPoolExecutor(4) as threads:
        taken = [one for found in threads.map(hammer, range(4)) for one in found]
    assert len(taken) <= 50 * (time.monotonic() - began + 1) + 5


def test_what_is_taken_while_one_waits_for_the_row_counts(engine: sa.Engine, rates: Rates) -> None:
    """The statement that waits began before: the others are ahead of it, by no clock stepped back."""
    limits = parse("50/s")
    cell = limits.cells()["second"]
    take(rates, limits)

    def waiting() -> int:
        connections = Connections(engine)
        with connections.pinned():
            return take(Rates(engine, connections, ""), limits)

    with ThreadPoolExecutor(1) as thread, engine.begin() as other:
        other.execute(sa.update(OutboxRate).values(used=OutboxRate.used))
        taken = thread.submit(waiting)
        time.sleep(0.5)  # the database's clock goes on, and its statement keeps the time of its begin
        all_taken = DbMicros() + cell.ahead + cell.interval * cell.burst
        other.execute(sa.update(OutboxRate).values(second_at=all_taken))
    assert taken.result() < 25  # what falls due until it looks again; else it takes all 50 once more
