"""What a mail costs the application: a view's transaction with and without one, one alone, many at once.

There is one definition of each, here. All times are of transactions from their first statement to the end of their
commit, with the application context and the session that a request makes for them, taken by turns in slices: what
disturbs one disturbs the others. What is kept is the median of the slices.

- `view`: one business row, written by the ORM or by textual SQL, with and without a `send_email` of two templates.
- `enqueue`: one `enqueue` of a text and HTML message that the application has rendered, and nothing else; beside it
  django-mailer's `send_mail` of the same message, in another process on the same server.
- `many`: `enqueue_many` against one `enqueue` a message, each in one transaction.
"""

from __future__ import annotations

import importlib.util
import statistics
import time
from collections.abc import Callable
from typing import Any

from sqlalchemy.orm import Session

from benchmarks import build, mails
from benchmarks.ground import Ground
from benchmarks.peers import mailer
from benchmarks.shop import Shop, shop
from benchmarks.sink import Unavailable
from tests.servers.databases import NAMES, Database
from tests.servers.process import ServerUnavailable

Taken = tuple[float, float]
"""Seconds by the clock, and of this process's processor time."""

_SLICE = 10  # transactions of one kind, then of the next
_SINGLE_SHARE = 10  # of the mails of `enqueue_many`, as many are enqueued one by one


def view(ground: Ground) -> None:
    """One business row, by the ORM and by SQL, with and without one `send_email`."""

    def measure(name: str, database: Database) -> None:
        made = shop(database)
        for kind, write in (("ORM", made.by_orm), ("SQL", made.by_sql)):
            for _ in range(ground.size.repetitions):
                without, with_mail = by_turns(
                    ground.size.singles,
                    _timed(lambda n, write=write: made.transaction(n, write=write, mail=False)),
                    _timed(lambda n, write=write: made.transaction(n, write=write, mail=True)),
                )
                ground.keep("view", f"{name}, {kind}", ratio=without[0] / with_mail[0], **_values(with_mail, without))

    _on_each(ground, "view", measure)


def enqueue(ground: Ground) -> None:
    """One `enqueue` alone beside django-mailer's `send_mail`."""
    if importlib.util.find_spec("django") is None:
        raise Unavailable("django-mailer: install the extra bench, or run `make bench`")

    def measure(name: str, database: Database) -> None:
        made = shop(database)
        with ground.databases.empty(name) as theirs, mailer.running(ground, theirs) as peer:
            for _ in range(ground.size.repetitions):
                ours, other = by_turns(ground.size.singles, _timed(made.rendered), peer)
                ground.keep(
                    "enqueue", name, ratio=other[0] / ours[0], cpu_ratio=ours[1] / other[1], **_values(ours, other)
                )

    _on_each(ground, "enqueue", measure)


def many(ground: Ground) -> None:
    """`enqueue_many` against one `enqueue` a mail, all in one transaction each."""
    count = ground.size.mails
    with ground.database("postgresql") as database:
        made = shop(database)
        at_once = made.outbox.enqueue_many
        for _ in range(ground.size.repetitions):
            single = _seconds(made, count // _SINGLE_SHARE, lambda messages, session: _each(made, messages, session))
            together = _seconds(made, count, lambda messages, session: at_once(messages, session))
            ground.keep("many", "postgresql", ratio=single / together, single=1 / single, together=1 / together)


def bytes_built(ground: Ground) -> None:
    """The wire form of a mail of 2 KB, text and HTML; for comparison Flask-Mail's."""
    with build.application().app_context():
        mail = build.messages()["2 KB text + HTML"]
        for _ in range(ground.size.repetitions):
            ground.keep(
                "build",
                "2 KB text + HTML",
                ours=min(build.timed(build.ours, mail, 5)),
                flask_mail=min(build.timed(build.theirs, mail, 5)),
            )


def by_turns(count: int, *works: Callable[[int], Taken]) -> list[Taken]:
    """The median slice of each work, for one of its transactions; each has `count` in all."""
    taken: list[list[Taken]] = [[] for _ in works]
    for work in works:
        work(_SLICE)
    for turn in range(max(count // _SLICE, 1)):
        order = list(zip(works, taken, strict=True))
        for work, kept in order if turn % 2 else reversed(order):
            kept.append(work(_SLICE))
    return [
        (statistics.median(wall for wall, _ in kept) / _SLICE, statistics.median(cpu for _, cpu in kept) / _SLICE)
        for kept in taken
    ]


def _timed(work: Callable[[int], object]) -> Callable[[int], Taken]:
    def timed(count: int) -> Taken:
        start, cpu = time.perf_counter(), time.process_time()
        for number in range(count):
            work(number)
        return time.perf_counter() - start, time.process_time() - cpu

    return timed


def _values(mail: Taken, other: Taken) -> dict[str, float]:
    """Rates a second, and this side's processor time in seconds for 1,000."""
    return {"with_mail": 1 / mail[0], "without": 1 / other[0], "cpu": mail[1] * 1000, "cpu_without": other[1] * 1000}


def _on_each(ground: Ground, figure: str, measure: Callable[[str, Database], None]) -> None:
    """On the three databases; one whose server is not there is said to be missing, and the others are measured."""
    for name in NAMES:
        try:
            with ground.database(name) as database:
                measure(name, database)
        except ServerUnavailable as reason:
            ground.keep(figure, name, absent=str(reason))


def _each(made: Shop, messages: list[Any], session: Session) -> None:
    for message in messages:
        made.outbox.enqueue(message, session)


def _seconds(made: Shop, count: int, enqueue: Callable[[list[Any], Session], object]) -> float:
    """For one mail of `count` in one transaction, its end included; making the messages is not."""
    with made.app.app_context(), Session(made.engine) as session:
        messages = [mails.message(number) for number in range(count)]
        start = time.perf_counter()
        enqueue(messages, session)
        session.commit()
        return (time.perf_counter() - start) / count
