"""What a mail costs the application: a view's transaction with and without one, and many at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from sqlalchemy.orm import Session

from benchmarks import build, mails
from benchmarks.ground import Ground
from benchmarks.shop import Shop, shop
from benchmarks.sink import Unavailable

_SLICE = 25  # transactions of one kind, then of the other: what disturbs one disturbs both
_SINGLE_SHARE = 10  # of the mails of `enqueue_many`, as many are enqueued one by one


def view(ground: Ground) -> None:
    """One business row, by the ORM and by Core, with and without one `send_email`."""
    for name in ("postgresql", "sqlite"):
        with ground.database(name) as database:
            made = shop(database)
            for kind, write in (("ORM", made.by_orm), ("Core", made.by_core)):
                for _ in range(ground.size.repetitions):
                    without, with_mail = _alternating(made, write, ground.size.singles)
                    ground.keep(
                        "view",
                        f"{name}, {kind}",
                        ratio=without / with_mail,
                        with_mail=1 / with_mail,
                        without=1 / without,
                    )


def many(ground: Ground) -> None:
    """`enqueue_many` against one `enqueue` a mail, all in one transaction each."""
    count = ground.size.mails
    with ground.database("postgresql") as database:
        made = shop(database)
        at_once = getattr(made.outbox, "enqueue_many", None)
        if at_once is None:
            raise Unavailable("Outbox.enqueue_many is not there")
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


def _alternating(made: Shop, write: Callable[[Session, int], None], count: int) -> tuple[float, float]:
    """Seconds for one transaction, without and with mail."""
    taken = {False: 0.0, True: 0.0}
    for mail in (False, True):
        made.transaction(0, write=write, mail=mail)
    for _ in range(max(count // _SLICE, 1)):
        for mail in (False, True):
            start = time.perf_counter()
            for number in range(_SLICE):
                made.transaction(number, write=write, mail=mail)
            taken[mail] += time.perf_counter() - start
    done = max(count // _SLICE, 1) * _SLICE
    return taken[False] / done, taken[True] / done


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
