"""Processor time per message: the worker, and three references that send the same mail, in turns.

Of the sending process and of the database server; the SMTP server's is the same for all. Starting does not count: what
is measured is what goes by between the first quarter of the messages and the last look before the end.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass

import psutil

from benchmarks import awake, drain, stock
from benchmarks.ground import Ground
from benchmarks.peers import POST_OFFICE, django_environ
from benchmarks.process import Process
from benchmarks.servers import seconds, server_process
from benchmarks.sink import Sink
from tests.servers.process import ServerUnavailable

BARE = "bare loop"
LOOP = "bare recording loop"
_RARE = 3  # turns of which one has the cases that are not the point
_PEER_MAILS = 2000


@dataclass(frozen=True, slots=True)
class Taken:
    """By some messages of one drain, in seconds of processor time for 1,000 of them."""

    sender: float
    server: float
    rate: float  # messages a second

    @property
    def machine(self) -> float:
        return self.sender + self.server


class Window:
    """Looks at a drain from its first quarter to its end."""

    def __init__(self, sink: Sink, mails: int, server: psutil.Process | None) -> None:
        self._sink = sink
        self._mails = mails
        self._server = server
        self._looks: list[tuple[int, float, float]] = []  # messages, seconds of the sender, of the server

    def look(self, pid: int) -> None:
        """As often as the drain is looked at."""
        count = self._sink.count()
        if self._mails / 4 <= count < self._mails:
            try:
                self._looks.append((count, seconds(psutil.Process(pid)), seconds(self._server)))
            except psutil.NoSuchProcess:
                return

    def taken(self) -> Taken:
        """What was seen. Raises RuntimeError where there was too little to see."""
        moments = sorted(one.at for one in self._sink.accepted())
        if len(self._looks) < 2 or self._looks[-1][0] - self._looks[0][0] < self._mails / 4:
            raise RuntimeError(f"{self._mails} messages were over too soon to be measured: take more (--mails)")
        first, last = self._looks[0], self._looks[-1]
        thousands = (last[0] - first[0]) / 1000
        passed = (moments[last[0] - 1] - moments[first[0] - 1]) / 1e9
        return Taken((last[1] - first[1]) / thousands, (last[2] - first[2]) / thousands, 1000 * thousands / passed)


def processor(ground: Ground) -> None:
    """As many turns as the size says, each the other way round; ratios are to what the same turn had."""
    for turn in range(ground.size.turns):
        machine = awake.look()
        cases = _cases(turn)
        found: dict[str, Taken] = {}
        for name in cases if turn % 2 == 0 else reversed(cases):
            try:
                found[name] = cases[name](ground)
            except ServerUnavailable as reason:
                ground.keep("processor", name, absent=str(reason))
        for name in (name for name in cases if name in found):
            _keep(ground, name, found, machine)


def _cases(turn: int) -> dict[str, Callable[[Ground], Taken]]:
    often: dict[str, Callable[[Ground], Taken]] = {
        "16 connections": _worker(16),
        "32 connections": _worker(32),
        BARE: _bare,
        LOOP: _loop,
    }
    if importlib.util.find_spec("django") is not None:
        often[POST_OFFICE] = _post_office
    if turn % _RARE:
        return often
    return often | {
        "4 connections": _worker(4, share=0.5),
        "1 connection": _worker(1, share=0.25),
        "32 connections, SQLite": _worker(32, database="sqlite"),
        "32 connections, MariaDB": _worker(32, database="mariadb"),
    }


def _keep(ground: Ground, name: str, found: dict[str, Taken], machine: dict[str, float]) -> None:
    one = found[name]
    ratios = {
        word: one.machine / found[reference].machine
        for word, reference in (("of_bare", BARE), ("multiple", LOOP), ("of_peer", POST_OFFICE))
        if reference in found
    }
    ground.keep(
        "processor",
        name,
        machine=one.machine,
        sender=one.sender,
        server=one.server,
        rate=one.rate,
        share=one.rate / found[BARE].rate,
        **ratios,
        **machine,
    )


def _worker(connections: int, *, database: str = "postgresql", share: float = 1.0) -> Callable[[Ground], Taken]:
    def take(ground: Ground) -> Taken:
        mails = int(ground.size.mails * share)
        with ground.database(database) as made:
            stock.fill(made.worker_engine, mails)
            window = Window(ground.sink, mails, server_process(made))
            drain.drain(ground, made, connections, look=window.look)
            return window.taken()

    return take


def _bare(ground: Ground) -> Taken:
    words = ["benchmarks.bare", str(ground.sink.port), str(ground.sink.ca_file), str(ground.size.mails)]
    return _windowed(ground, words, None)


def _loop(ground: Ground) -> Taken:
    with ground.database("postgresql") as database:
        stock.fill(database.worker_engine, ground.size.mails)
        words = ["benchmarks.recording", database.url, str(ground.sink.port), str(ground.sink.ca_file)]
        return _windowed(ground, words, server_process(database))


def _windowed(ground: Ground, words: list[str], server: psutil.Process | None) -> Taken:
    ground.sink.reset()
    window = Window(ground.sink, ground.size.mails, server)
    process = Process([sys.executable, "-m", *words], {}, ground.folder / "loop.log")
    process.wait(lambda: bool(window.look(process.pid)), look=0.02)
    process.stop()
    if (accepted := ground.sink.count()) != ground.size.mails:
        raise RuntimeError(f"{accepted} of {ground.size.mails} messages were accepted: {process.last_words()}")
    return window.taken()


def _post_office(ground: Ground) -> Taken:
    """Whole, less a run with nothing to send: it records what it sent at the end of each batch."""
    count = min(_PEER_MAILS, ground.size.mails)
    with ground.databases.empty("postgresql") as database:
        environ = django_environ(ground, database, "post_office")
        _site(ground, environ, "enqueue", "0")
        server = server_process(database)
        empty, _ = _sent(ground, environ, server)
        _site(ground, environ, "enqueue", str(count))
        ground.sink.reset()
        sender, database_seconds = _sent(ground, environ, server)
        moments = [one.at for one in ground.sink.accepted()]
    if len(moments) != count:
        raise RuntimeError(f"{len(moments)} of {count} messages were accepted")
    thousands = count / 1000
    return Taken(
        (sender - empty) / thousands, database_seconds / thousands, (count - 1) / (max(moments) - min(moments)) * 1e9
    )


def _sent(ground: Ground, environ: dict[str, str], server: psutil.Process | None) -> tuple[float, float]:
    before = seconds(server)
    sender = _site(ground, environ, "send").stop().cpu
    return sender, seconds(server) - before


def _site(ground: Ground, environ: dict[str, str], *words: str) -> Process:
    process = Process([sys.executable, "-m", "benchmarks.peers.site", *words], environ, ground.folder / "peer.log")
    process.wait()
    return process
