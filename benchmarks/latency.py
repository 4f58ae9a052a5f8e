"""From a commit to the server's 250, where the worker is idle: single mails, each when the one before has arrived.

The clock starts when `commit()` has returned to the application, and stops at the moment that the sink writes down,
both CLOCK_MONOTONIC of one machine. Beside it Postfix as a local queue: from the moment that it has taken a message.
"""

from __future__ import annotations

import random
import smtplib
import time
from collections.abc import Callable

from sqlalchemy.orm import Session

from app import create_app
from app.extensions import outbox
from benchmarks import mails, stats
from benchmarks.ground import Ground
from benchmarks.process import running, worker
from tests.servers.postfix import Postfix
from tests.servers.process import ServerUnavailable

_PAUSE = (0.04, 0.06)  # seconds between the arrival of a mail and the next
_WARM = 10  # mails that do not count: the connection is opened, everything is imported
_PATIENCE = 30.0
_TLS = "tlsmgr unix - - n 1000? 1 tlsmgr\ntlsproxy unix - - n - 0 tlsproxy\n"  # of Postfix, which its master.cf lacks
_REUSED = {"smtp_tls_connection_reuse": "yes", "smtp_connection_cache_destinations": "127.0.0.1"}


def latency(ground: Ground) -> None:
    """PostgreSQL and SQLite, the worker in another process with its default settings; and what polling alone takes."""
    count = ground.size.singles
    for _ in range(ground.size.repetitions):
        _measure(ground, "postgresql", "postgresql", count)
        _postfix(ground, count)
        _measure(ground, "sqlite", "sqlite", count)
    _measure(ground, "postgresql, polling alone", "postgresql", count // 10, OUTBOX_WAKE="false")


def _measure(ground: Ground, case: str, name: str, count: int, **settings: str) -> None:
    with ground.database(name) as database:
        environ = ground.environ(database) | settings
        with running(worker(environ, ground.folder / "worker.log")):
            taken = _milliseconds(ground, environ, count)
    _keep(ground, case, taken)


def _postfix(ground: Ground, count: int) -> None:
    """The same messages, handed over by one open connection: what counts begins with its reply to the final dot."""
    verified = {
        "smtp_tls_security_level": "secure",
        "smtp_tls_CAfile": str(ground.sink.ca_file),
        "smtp_tls_secure_cert_match": "localhost",
    }
    try:
        relay = Postfix(ground.sink.port, verified | _REUSED, _TLS)
    except ServerUnavailable as reason:
        ground.keep("latency", "Postfix", absent=str(reason))
        return
    with relay, smtplib.SMTP("127.0.0.1", relay.port) as queue:

        def hand_over(number: int) -> str:
            composed = mails.composed(f"n{number}")
            queue.sendmail(mails.SENDER, [mails.RECIPIENT], composed.skeleton)
            return composed.message_id

        _keep(ground, "Postfix", _taken(ground, count, hand_over))


def _keep(ground: Ground, case: str, times: list[tuple[float, float]]) -> None:
    whole, taken = ([*some] for some in zip(*times, strict=True))
    ground.keep(
        "latency",
        case,
        p50=stats.percentile(taken, 0.5),
        p99=stats.percentile(taken, 0.99),
        most=max(taken),
        whole_p50=stats.percentile(whole, 0.5),
        whole_p99=stats.percentile(whole, 0.99),
        samples=[round(value, 2) for value in taken],
    )


def _milliseconds(ground: Ground, environ: dict[str, str], count: int) -> list[tuple[float, float]]:
    app = create_app(environ=environ)
    with app.app_context(), Session(app.extensions["database"].engine) as session:

        def commit(number: int) -> str:
            message_id = outbox.enqueue(mails.message(number), session).message_id
            session.commit()
            return message_id

        return _taken(ground, count, commit)


def _taken(ground: Ground, count: int, hand_over: Callable[[int], str]) -> list[tuple[float, float]]:
    """Milliseconds to the server's 250: from the call of `hand_over`, which gives a Message-ID, and from its return."""
    pauses = random.Random(1)
    ground.sink.reset()
    handed: dict[str, tuple[int, int]] = {}
    for number in range(count + _WARM):
        began = time.monotonic_ns()
        message_id = hand_over(number)
        handed[message_id] = began, time.monotonic_ns()
        _wait_for(ground, number + 1)
        time.sleep(pauses.uniform(*_PAUSE))
    accepted = {one.message_id: one.at for one in ground.sink.accepted()}
    return [
        ((accepted[one] - began) / 1e6, (accepted[one] - at) / 1e6) for one, (began, at) in [*handed.items()][_WARM:]
    ]


def _wait_for(ground: Ground, count: int) -> None:
    deadline = time.monotonic() + _PATIENCE
    while ground.sink.count() < count:
        if time.monotonic() > deadline:
            raise TimeoutError(f"mail {count} was not accepted within {_PATIENCE:.0f} s")
        time.sleep(0.002)
