"""The window between claims and connections: order, room, and what the breaker lets through."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from outbox.core.clock import monotonic
from outbox.delivery.blame import Blame
from outbox.delivery.breaker import Breaker
from outbox.delivery.evidence import Refusals
from outbox.delivery.reply import Phase, Reply, Result, Verdict
from outbox.delivery.states import OnUncertain
from outbox.store.claimed import Claimed
from outbox.store.messages import StoredMessage
from outbox.worker.leased import Leased
from outbox.worker.prefetch import PrefetchBuffer
from tests.servers.process import polled

ACCEPTED = Result(Verdict.ACCEPTED, Phase.DOT, Reply(250, None, "OK"), 0.0)
BROKEN = Result(Verdict.CONFIGURATION, Phase.AUTH, Reply(535, None, "wrong password"), 0.0)
NOW = datetime(2026, 11, 1, tzinfo=UTC)


def leased(number: int, slot: int = 2) -> Leased:
    """A lease on a delivery."""
    message = StoredMessage(
        1, "<1@x>", "", None, "a@x", 1, False, (), (), OnUncertain.RETRY, NOW, None, b"x", ()
    )  # nothing here looks into it
    return Leased(Claimed(number, 1, "b@x", slot, NOW, 0, 0, False, False, message), 1e9)


def ready(lines: Sequence[Line] = ()) -> PrefetchBuffer:
    """A buffer whose breaker has seen a mail go through."""
    breaker = Breaker(faults=1, first_probe=1000)
    breaker.accepted(0)
    return PrefetchBuffer(Blame(breaker, Refusals(10)), monotonic, lines)


def test_the_most_important_goes_first_and_equals_in_order() -> None:
    """By lane, then as they came."""
    buffer = ready()
    buffer.put([leased(1, slot=4), leased(2), leased(3), leased(4, slot=0)])
    taken = [buffer.take(0, 0) for _ in range(5)]
    assert [one and one.claimed.id for one in taken] == [4, 2, 3, 1, None]


def test_a_connection_waits_for_mail() -> None:
    """What is put wakes who waits."""
    buffer, got = ready(), []
    thread = threading.Thread(target=lambda: got.append(buffer.take(30, 0)))
    thread.start()
    buffer.put([leased(1)])
    thread.join(10)
    assert got[0] is not None


def test_running_low_asks_for_more() -> None:
    """The claimer is woken before the connections run dry."""
    buffer = ready()
    buffer.put([leased(1), leased(2), leased(3)])
    buffer.take(0, 2)
    assert not buffer.running_low.is_set()
    buffer.take(0, 2)
    assert buffer.running_low.is_set()


def test_after_a_claim_that_took_all_the_end_of_a_message_asks() -> None:
    """A claim beside a single message would find nothing, and slow it down."""
    buffer = ready()
    buffer.took_all = True
    buffer.put([leased(1), leased(2)])
    first, second = buffer.take(0, 2), buffer.take(0, 2)
    assert first is not None
    assert second is not None
    assert not buffer.running_low.is_set()
    buffer.put([leased(3)])
    buffer.done(first, ACCEPTED, 0.5)
    assert not buffer.running_low.is_set()
    assert buffer.take(0, 2) is not None
    buffer.done(second, ACCEPTED, 0.5)
    assert buffer.running_low.is_set()


def test_an_open_breaker_lets_nothing_through() -> None:
    """Neither taken nor claimed while the transport is open."""
    buffer = ready()
    buffer.put([leased(1), leased(2)])
    taken = buffer.take(0, 0)
    assert taken is not None
    assert buffer.done(taken, BROKEN, 0.5)[1].turned
    assert buffer.is_down
    assert buffer.take(0, 0) is None
    assert buffer.room(10) == 0


def test_one_probe_at_a_time_and_success_opens_the_way() -> None:
    """Before anything went through one mail is out; when it is accepted the next follow at once."""
    buffer = PrefetchBuffer(Blame(Breaker(), Refusals(10)), monotonic)
    assert buffer.room(10) == 1
    buffer.put([leased(1), leased(2)])
    taken = buffer.take(0, 0)
    assert taken is not None
    assert buffer.take(0, 0) is None
    got: list[Leased | None] = []
    thread = threading.Thread(target=lambda: got.append(buffer.take(30, 0)))
    thread.start()
    buffer.done(taken, ACCEPTED, 0.5)
    thread.join(10)
    assert got[0] is not None


def test_closing_frees_who_waits_and_gives_back_the_rest() -> None:
    """On a stop nothing more is taken and what is left comes back."""
    buffer, got = ready(), []
    thread = threading.Thread(target=lambda: got.append(buffer.take(30, 0)))
    thread.start()
    buffer.close()
    thread.join(10)
    assert got == [None]
    buffer.put([leased(1)])
    assert buffer.take(0, 0) is None
    assert [one.claimed.id for one in buffer.empty()] == [1]
    assert buffer.idle


@dataclass(eq=False)
class Line:
    """A connection."""

    is_connected: bool = False


def test_one_message_wakes_one_connection_the_open_one() -> None:
    """Though others have waited for as long."""
    lines = [Line(), Line(is_connected=True), Line()]
    buffer = ready(lines)
    buffer.put([leased(9)])
    taken = buffer.take(0, 0, lines[1])
    assert taken is not None
    buffer.done(taken, ACCEPTED, 0.5, lines[1])
    got: dict[int, Leased | None] = {}

    def take(number: int) -> None:
        got[number] = buffer.take(30, 0, lines[number])

    threads = [threading.Thread(target=take, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    with polled("all wait", 30) as wait_a_little:
        while len(buffer._waiters) < 3:
            wait_a_little()
    buffer.put([leased(1)])
    threads[1].join(10)
    assert {number: one and one.claimed.id for number, one in got.items()} == {1: 1}
    assert len(buffer._waiters) == 2
    buffer.close()
    for thread in threads:
        thread.join(10)
    assert got[0] is got[2] is None


def test_who_waits_learns_that_the_relay_admits_one_connection_more() -> None:
    """A limit that ends by time wakes nobody, so they look."""
    lines = [Line(is_connected=True), Line()]
    buffer = ready(lines)
    buffer.put([leased(1), leased(2)])
    buffer.door.admission.turned_away(1, "421 too many", monotonic())
    assert buffer.take(0, 0, lines[0]) is not None
    got: list[Leased | None] = []
    thread = threading.Thread(target=lambda: got.append(buffer.take(30, 0, lines[1])))
    thread.start()
    with polled("it waits", 30) as wait_a_little:
        while not len(buffer._waiters):
            wait_a_little()
    buffer.door.admission.limit = 2
    thread.join(10)
    assert got[0] is not None
