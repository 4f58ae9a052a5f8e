"""Pauses: set, seen, ended and lifted, the same on every database."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from outbox.delivery.lane_shares import SLOTS
from outbox.delivery.staging import Allowed
from outbox.models import OutboxMessage, OutboxPause
from outbox.operations import audit, pauses
from outbox.store.enqueue import Posting
from outbox.store.held import Held
from outbox.store.pauses import Pause, What, refuse
from outbox.store.queue import Queue
from outbox.store.types import DbNow
from tests.db.mails import put
from tests.servers.databases import Database


@pytest.fixture
def connection(database: Database) -> Iterator[sa.Connection]:
    """In a transaction that is rolled back."""
    with database.worker_engine.connect() as connection:
        yield connection


@pytest.fixture
def queue(engine: sa.Engine) -> Queue:
    """A worker's view of the queue."""
    return Queue(engine, environment="", lease=60.0)


def test_a_pause_says_what_who_why_and_until_when(connection: sa.Connection) -> None:
    """All of it comes back as it was given, and the audit has a row."""
    made = pauses.pause(connection, What.KIND, "newsletter", by="ann", reason="wrong link", seconds=3600)
    (seen,) = pauses.active(connection)
    assert seen == made
    assert (seen.what, seen.value, seen.by, seen.reason) == (What.KIND, "newsletter", "ann", "wrong link")
    assert seen.until is not None
    assert abs(seen.until - seen.since - timedelta(hours=1)) < timedelta(seconds=10)
    (row,) = audit.recent(connection)
    assert (row.action, row.by, row.note) == ("pause", "ann", "wrong link")
    assert row.filters.startswith("kind newsletter until ")


def test_the_widest_pause_comes_first(connection: sa.Connection) -> None:
    """One of everything must not be the last of a list."""
    for what, value in (
        (What.KIND, "news"),
        (What.TRANSPORT, "mail.example:587"),
        (What.DOMAIN, "x.org"),
        (What.ALL, ""),
    ):
        pauses.pause(connection, what, value, by="ann")
    found = [one.what for one in pauses.active(connection)]
    assert found == [What.ALL, What.TRANSPORT, What.KIND, What.DOMAIN]


def test_a_pause_ends_by_itself(connection: sa.Connection) -> None:
    """Past its end it is not in force, and needs nobody."""
    made = pauses.pause(connection, What.ALL, by="ann", seconds=60)
    assert made.until is not None
    assert pauses.active(connection, now=made.until - timedelta(seconds=1)) == [made]
    assert pauses.active(connection, now=made.until + timedelta(seconds=1)) == []
    connection.execute(sa.update(OutboxPause).values(until=DbNow(-1.0)))
    assert pauses.active(connection) == []


def test_the_same_again_gets_a_new_end(connection: sa.Connection) -> None:
    """One pause for one thing: the later word counts."""
    pauses.pause(connection, What.DOMAIN, "example.org", by="ann", reason="first", seconds=60)
    pauses.pause(connection, What.DOMAIN, "EXAMPLE.org", by="ben", reason="second")
    (seen,) = pauses.active(connection)
    assert (seen.value, seen.by, seen.reason, seen.until) == ("example.org", "ben", "second", None)


def test_a_domain_is_held_as_deliveries_hold_it(connection: sa.Connection) -> None:
    """In ASCII, by IDNA 2008."""
    assert pauses.pause(connection, What.DOMAIN, "Straße.example", by="ann").value == "xn--strae-oqa.example"
    assert pauses.resume(connection, What.DOMAIN, "straße.EXAMPLE", by="ann")


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("Ann.B@EXAMPLE.org", "Ann.B@example.org"),
        ("News <news@bücher.example>", "news@xn--bcher-kva.example"),
        ("<>", ""),
    ],
)
def test_a_sender_is_held_as_messages_hold_it(
    engine: sa.Engine, connection: sa.Connection, queue: Queue, written: str, kept: str
) -> None:
    """In the form of the envelope, so that the workers find its mail; its case before the @ is its own."""
    made = pauses.pause(connection, What.SENDER, written, by="ann")
    assert (made.value, str(made)) == (kept, f"sender {kept or '<>'}")
    assert pauses.holding(connection, "a@example.org", None, "", kept) == [made]
    assert pauses.holding(connection, "a@example.org", None, "", "other@example.org") == []
    connection.rollback()
    put(engine, "a@example.org", envelope_from=kept)
    put(engine, "b@example.org")
    assert claimed(queue, Held.by([made], ())) == ["b@example.org"]


def test_resume_lifts_automatic_ones_as_well(connection: sa.Connection) -> None:
    """By name, in any spelling, and with all; the history says who had set them."""
    learnt = {"environment": "", "transport": "mail:25", "reason": "refused", "reply": "550 not verified"}
    assert refuse(connection, What.SENDER, "news@example.org", **learnt)
    assert refuse(connection, What.DOMAIN, "far.example", **learnt)
    pauses.pause(connection, What.SENDER, "news@example.org", by="ann", environment="")
    lifted = pauses.resume(connection, What.SENDER, "News <news@EXAMPLE.org>", by="ben", environment="")
    assert sorted((one.value, one.automatic) for one in lifted) == [
        ("news@example.org", False),
        ("news@example.org", True),
    ]
    assert [one.automatic for one in pauses.resume(connection, by="ben")] == [True]
    assert {row.filters for row in audit.recent(connection, 3)} == {
        "sender news@example.org",
        "sender news@example.org, set by the outbox itself",
        "domain far.example, set by the outbox itself",
    }


def test_what_messages_hold_is_lifted_as_it_is(connection: sa.Connection) -> None:
    """Also where it is not an address by today's rules."""
    learnt = {"environment": "", "transport": "mail:25", "reason": "refused", "reply": "550 no"}
    assert refuse(connection, What.SENDER, "odd..one@example.org", **learnt)
    assert len(pauses.resume(connection, What.SENDER, "odd..one@example.org", by="ben")) == 1


def test_a_sender_that_is_too_long_to_be_kept_is_not_paused(connection: sa.Connection) -> None:
    """The worker goes on without, instead of failing at it again and again."""
    long = f"{'l' * 64}@{'.'.join(['d' * 60] * 4)}"
    learnt = {"environment": "", "transport": "mail:25", "reason": "refused", "reply": "550 no"}
    assert not refuse(connection, What.SENDER, long, **learnt)
    assert pauses.active(connection) == []


def test_resume_lifts_one_or_all(connection: sa.Connection) -> None:
    """It tells what it lifted, and the audit has a row for each."""
    pauses.pause(connection, What.ALL, by="ann")
    pauses.pause(connection, What.KIND, "newsletter", by="ann")
    pauses.pause(connection, What.TRANSPORT, "MX.example.org:25", by="ann")
    lifted = pauses.resume(connection, What.KIND, "newsletter", by="ben", note="repaired")
    assert [str(one) for one in lifted] == ["kind newsletter"]
    assert [str(one) for one in pauses.active(connection)] == ["all", "transport mx.example.org:25"]
    assert len(pauses.resume(connection, by="ben")) == 2
    assert pauses.active(connection) == pauses.resume(connection, by="ben") == []
    assert [(row.action, row.by) for row in audit.recent(connection, 3)] == [("resume", "ben")] * 3


@pytest.mark.databases("sqlite")
@pytest.mark.parametrize(
    ("what", "value"),
    [
        (What.ALL, "x"),
        (What.KIND, " "),
        (What.DOMAIN, ""),
        (What.KIND, "a\0"),
        (What.KIND, "x" * 256),
        (What.TRANSPORT, "mx.example.org"),
        (What.SENDER, ""),
        (What.SENDER, "news"),
        (What.SENDER, "a\0@example.org"),
    ],
)
def test_what_does_not_fit_is_refused(connection: sa.Connection, what: What, value: str) -> None:
    """A pause of nothing, or of all with a name, is a slip."""
    with pytest.raises(ValueError, match=r"is no|is not|has no value"):
        pauses.pause(connection, what, value, by="ann")


def test_an_end_that_is_past_is_refused(connection: sa.Connection) -> None:
    """It would hold back nothing."""
    now = connection.execute(sa.select(DbNow())).scalar_one()
    with pytest.raises(ValueError, match="past"):
        pauses.pause(connection, What.ALL, by="ann", until=now - timedelta(minutes=1))


def claimed(queue: Queue, held: Held, limit: int = 10) -> list[str]:
    """To whom a claim under these pauses goes."""
    queue.hold(held)
    worker_id = queue.register(host="here", pid=1, version="1", connections=4)
    return [one.recipient for one in queue.claim(worker_id, 7, limit)]


def test_paused_mail_is_not_claimed(engine: sa.Engine, queue: Queue) -> None:
    """By its kind or its domain; the rest goes on, and what is resumed is claimed as it was due."""
    put(engine, "a@example.org", "b@example.com", "c@example.net", posting=Posting(kind="newsletter"))
    put(engine, "d@example.org", "e@example.com")
    held = Held(kinds=frozenset({"newsletter"}), domains=frozenset({"example.com"}))
    assert claimed(queue, held) == ["d@example.org"]
    assert claimed(queue, replace(held, kinds=frozenset())) == ["a@example.org", "c@example.net"]
    assert claimed(queue, Held()) == ["b@example.com", "e@example.com"]


def test_a_pause_of_all_holds_all(engine: sa.Engine, queue: Queue) -> None:
    """Nothing is claimed, until it is lifted."""
    put(engine, "a@example.org")
    assert claimed(queue, Held(everything=True)) == []
    assert claimed(queue, Held()) == ["a@example.org"]


def test_mail_of_no_kind_is_of_no_paused_kind(engine: sa.Engine, queue: Queue) -> None:
    """NULL is not mistaken for the paused kind, nor for what cannot be told."""
    put(engine, "a@example.org")
    assert claimed(queue, Held(kinds=frozenset({"newsletter"}))) == ["a@example.org"]


@pytest.mark.parametrize("what", ["sender", "domain"])
def test_what_has_expired_is_claimed_in_spite_of_an_automatic_pause(what: str, engine: sa.Engine, queue: Queue) -> None:
    """It has to end, and goes to no relay; what an operator has paused waits, expired or not."""
    for recipient, expires in (("dead@example.org", True), ("alive@example.org", False)):
        put(
            engine,
            recipient,
            envelope_from="a@example.com",
            posting=Posting(max_age=3600.0),
            message_id=f"<{recipient}>",
        )
        if expires:
            with engine.begin() as connection:
                connection.execute(sa.update(OutboxMessage).values(expires_at=DbNow(-1.0)))
    names = {"sender": frozenset({"a@example.com"}), "domain": frozenset({"example.org"})}
    assert claimed(queue, Held(**{f"{what}s": names[what]})) == []
    assert claimed(queue, Held(**{f"refused_{what}s": names[what]})) == ["dead@example.org"]


def test_a_claim_does_not_run_through_what_is_paused_each_time(engine: sa.Engine) -> None:
    """The first search tells where to begin; mail that came due before that place is found by a later sweep."""
    put(engine, "old@example.org", ago=50, posting=Posting(kind="newsletter"))
    put(engine, "new@example.org", ago=10)
    clock = [100.0]
    queue = Queue(engine, environment="", lease=60.0, monotonic=lambda: clock[0])
    held = Held(kinds=frozenset({"newsletter"}))
    assert claimed(queue, held) == ["new@example.org"]
    put(engine, "late@example.org", ago=20)
    put(engine, "newer@example.org")
    assert claimed(queue, held) == ["newer@example.org"]
    assert claimed(queue, held) == []
    clock[0] += 60.0
    assert claimed(queue, held) == ["late@example.org"]
    put(engine, "released@example.org", ago=30)
    assert claimed(queue, held) == []
    queue.search(again=True)  # whoever released it says so
    assert queue.is_any()
    assert claimed(queue, held) == ["released@example.org"]
    put(engine, "later@example.org", ago=40)
    assert claimed(queue, held) == []


def test_a_probe_does_not_run_through_what_is_paused_each_time(engine: sa.Engine) -> None:
    """One that found nothing is followed by looks at what came since, until the next search is due."""
    put(engine, "new@example.org", ago=60)
    put(engine, "old@example.org", ago=50, posting=Posting(kind="newsletter"))
    clock = [100.0]
    queue = Queue(engine, environment="", lease=60.0, monotonic=lambda: clock[0])
    queue.hold(Held(kinds=frozenset({"newsletter"})))
    worker_id = queue.register(host="here", pid=1, version="1", connections=4)
    from_start: list[str] = []

    def note(*event: Any) -> None:
        if "1970" in str(event[3]):  # where a range begins
            from_start.append(event[2])

    def probe() -> list[str]:
        from_start.clear()
        return [one.recipient for one in queue.claim(worker_id, 7, 1, probe=True)]

    sa.event.listen(engine, "before_cursor_execute", note)
    assert probe() == ["new@example.org"]
    assert probe() == []
    assert len(from_start) == len(SLOTS), "nothing is due, so that there is nothing to take"
    assert [probe() + from_start for _ in range(3)] == [[]] * 3
    put(engine, "late@example.org", ago=20)
    assert probe() == []
    put(engine, "newer@example.org")
    assert probe() == ["newer@example.org"]
    clock[0] += 60.0
    assert probe() == ["late@example.org"]


def effort(engine: sa.Engine) -> list[int]:
    """What is read from now on: a sum of SQLite's steps, a tenth of them, or of MariaDB's reads of rows and keys."""
    total = [0]

    def tick() -> None:
        total[0] += 1

    def reads(cursor: Any) -> int:
        cursor.execute("SHOW SESSION STATUS LIKE 'Handler_read%'")
        return sum(int(row[1]) for row in cursor.fetchall())

    def before(connection: sa.Connection, *_: Any) -> None:
        total[0] -= reads(connection.connection.cursor())

    def after(connection: sa.Connection, *_: Any) -> None:
        total[0] += reads(connection.connection.cursor())

    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "checkout", lambda raw, *_: raw.set_progress_handler(tick, 10))
    else:
        sa.event.listen(engine, "before_cursor_execute", before)
        sa.event.listen(engine, "after_cursor_execute", after)
    return total


@pytest.mark.databases("sqlite", "mariadb")  # PostgreSQL's worker has no look before its claim, which begins at a place
@pytest.mark.parametrize("probe", [False, True])
def test_an_idle_worker_does_not_read_what_is_paused_each_time(engine: sa.Engine, probe: bool) -> None:
    """A search that finds nothing is remembered; only the next one, seconds later, reads it all again."""
    put(engine, *(f"{n}@example.org" for n in range(2000)), posting=Posting(kind="newsletter"))
    clock = [100.0]
    queue = Queue(engine, environment="", lease=60.0, monotonic=lambda: clock[0])
    queue.hold(Held(kinds=frozenset({"newsletter"})))
    worker_id = queue.register(host="here", pid=1, version="1", connections=4)
    total = effort(engine)

    def look() -> int:
        before = total[0]
        assert queue.claim(worker_id, 7, 1 if probe else 64, probe=probe) == []
        return total[0] - before

    assert look() > 2000
    assert max(look() for _ in range(3)) < 300
    put(engine, "paused@example.org", posting=Posting(kind="newsletter"))
    assert look() < 300
    clock[0] += 60.0
    assert look() > 2000
    put(engine, "free@example.org")
    assert [one.recipient for one in queue.claim(worker_id, 7, 1, probe=probe)] == ["free@example.org"]


def test_without_a_pause_the_claim_is_the_same_statement(engine: sa.Engine, queue: Queue) -> None:
    """Pauses cost nothing where there is none: neither a statement nor a condition more."""
    put(engine, "a@example.org")
    seen: list[str] = []
    sa.event.listen(engine, "before_cursor_execute", lambda *a: seen.append(a[2]))
    assert claimed(queue, Held()) == ["a@example.org"]
    assert not [statement for statement in seen if "outbox_pause" in statement or "kind IN" in statement]


@pytest.mark.parametrize(
    ("transports", "everything"),
    [((), False), (("a:25",), False), (("B:587",), True), (("a:25", "b:587"), False), (("b:587", "c:25"), True)],
)
def test_a_pause_of_a_transport_holds_who_has_no_other(transports: tuple[str, ...], everything: bool) -> None:
    """A worker that can send by no other claims nothing."""
    since = datetime(2026, 1, 1, tzinfo=UTC)
    pauses_ = [Pause(1, What.TRANSPORT, name, "", "ann", since, None) for name in ("b:587", "c:25")]
    assert Held.by(pauses_, transports).everything is everything


def test_what_is_claimed_already_is_told_apart() -> None:
    """A worker gives back what it had leased ahead and is paused now."""
    held = Held(kinds=frozenset({"newsletter"}), domains=frozenset({"example.com"}))
    assert held.holds("a@example.org", "newsletter")
    assert held.holds("a@example.com", None)
    assert not held.holds("a@example.org", None)
    assert Held(everything=True).holds("a@example.org", None)


def test_patterns_of_who_is_allowed_mean_the_same_in_sql(engine: sa.Engine, queue: Queue) -> None:
    """A claim finds those whom a worker may write to, and no other, with what LIKE takes for a wildcard in them."""
    patterns = frozenset({"qa_%*@example.org", "*.shop.example", "back\\*@example.net", "pipe|*@example.net"})
    allowed = Allowed(frozenset({"ann@example.com"}), frozenset({"own.example"}), patterns)
    there = [
        *("qa_%1@example.org", "QA_%@Example.org", "qaxx1@example.org", "a@x.shop.example", "a@x.y.shop.example"),
        *("a@shop.example", "ann@example.com", "bob@example.com", "b@own.example", "b@x.own.example"),
        *("back\\1@example.net", "back1@example.net", "pipe|1@example.net", "pipe1@example.net"),
    ]
    put(engine, *there)
    found = claimed(queue, Held(allowed=allowed), limit=50)
    assert sorted(found) == sorted(one for one in there if one in allowed)
    assert len(found) == 8
