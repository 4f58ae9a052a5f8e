"""The soak: mails enqueued, some rolled back, workers killed at random moments; then the account of every mail."""

from __future__ import annotations

import os
import random
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.servers.databases import Database
from tests.servers.process import polled
from tests.story.stage import ForkedWorker, Relay, Stage

MAILS = int(os.environ.get("OUTBOX_TEST_MAILS", "60"))
KILLS = int(os.environ.get("OUTBOX_TEST_KILLS", "3"))
"""A short loop, where a test does not say how long its own is; `make test-engines` has the long ones."""

CONNECTIONS = 4
MOST_WORKERS = 3
ROLLED_BACK = 0.2
"""The share of transactions that are rolled back."""


@dataclass
class Account:
    """What became of the mails."""

    committed: set[str] = field(default_factory=set)
    rolled_back: set[str] = field(default_factory=set)
    kills: int = 0
    lost: set[str] = field(default_factory=set)  # not at the server, and not where a person sees them
    ghosts: set[str] = field(default_factory=set)  # at the server though rolled back
    duplicates: int = 0
    altered: int = 0  # copies of one mail that differ
    uncertain: set[str] = field(default_factory=set)
    unlisted: set[str] = field(default_factory=set)  # recorded as sent, but not at the server
    states: Counter[str] = field(default_factory=Counter)

    @property
    def allowed_duplicates(self) -> int:
        """One for each connection that each kill may have cut off."""
        return self.kills * CONNECTIONS

    def __str__(self) -> str:
        """The figures, as a line of a log."""
        return (
            f"{len(self.committed)} messages, {self.kills} kills: {len(self.lost)} lost, {len(self.ghosts)} ghosts, "
            f"{self.duplicates} duplicates of {self.allowed_duplicates}, {len(self.uncertain)} uncertain"
        )

    def faults(self, policy: str) -> Iterator[str]:
        """The promises that were broken."""
        if self.lost:
            yield f"{len(self.lost)} mails lost: {sorted(self.lost)[:5]}"
        if self.ghosts:
            yield f"{len(self.ghosts)} mails sent that were rolled back: {sorted(self.ghosts)[:5]}"
        if self.unlisted:
            yield f"{len(self.unlisted)} mails recorded as sent that are not at the server: {sorted(self.unlisted)[:5]}"
        if self.altered:
            yield f"{self.altered} second copies differ from the first"
        if self.states["failed"]:
            yield f"{self.states['failed']} mails failed, of a server that refuses none"
        if policy == "hold" and self.duplicates:
            yield f"{self.duplicates} duplicates, although uncertain mail is held"
        if policy == "retry" and self.uncertain:
            yield f"{len(self.uncertain)} mails are uncertain, although they are to be sent again"
        if self.duplicates > self.allowed_duplicates:
            yield f"{self.duplicates} duplicates, more than kills × connections"


def soak(
    database: Database,
    folder: Path,
    *,
    mails: int,
    kills: int,
    policy: str,
    seed: int,
    told: Callable[[str], None] = lambda line: None,
    **more: str,
) -> Account:
    """Send `mails` with `kills` times `kill -9` of one of 1 to 3 workers; `policy` is OUTBOX_ON_UNCERTAIN.

    `more`: other settings.
    """
    chance = random.Random(seed)
    account = Account()
    settings = {"OUTBOX_ON_UNCERTAIN": policy, "OUTBOX_CONNECTIONS": str(CONNECTIONS), **more}
    with Relay(folder) as relay, Stage(database, relay.port, folder, **settings) as stage:
        workers = [stage.fork() for _ in range(MOST_WORKERS)]
        for number in range(kills):
            enqueue(stage, account, mails * (number + 1) // kills - mails * number // kills, chance)
            kill_one(workers, relay, stage, chance)
            account.kills += 1
            if number % 50 == 49:
                told(f"{account.kills} kills, {len(relay.taken())} mails at the server")
        account.states = stage.settle(60.0 + mails / 100)
        balance(account, stage, relay)
    return account


def enqueue(stage: Stage, account: Account, count: int, chance: random.Random) -> None:
    """Commit so many mails in small transactions, and roll back some."""
    while count > 0:
        if chance.random() < ROLLED_BACK:
            account.rolled_back.update(stage.send(commit=False))
        size = min(count, chance.choice((1, 1, 2, 5)))
        account.committed.update(stage.send_together(size))
        count -= size


def kill_one(workers: list[ForkedWorker], relay: Relay, stage: Stage, chance: random.Random) -> None:
    """Kill at a random moment: after some more mails went through, or a little later, whatever goes on then."""
    target = len(relay.taken()) + chance.randrange(12)
    with polled("a moment to kill", chance.uniform(0.0, 0.4)) as wait_a_little:
        try:
            while len(relay.taken()) < target:
                wait_a_little()
        except TimeoutError:
            pass  # nothing flows at the moment: as good a time as any
    victim = workers.pop(chance.randrange(len(workers)))
    victim.signal(signal.SIGKILL)
    victim.wait(10)
    workers += [stage.fork() for _ in range(chance.randint(1, MOST_WORKERS) - len(workers))]


def balance(account: Account, stage: Stage, relay: Relay) -> None:
    """What became of each mail, at the end."""
    copies = relay.copies()
    arrived = {id_ for id_, _ in copies}
    sent = stage.ids("sent")
    account.uncertain = stage.ids("uncertain")
    account.lost = account.committed - arrived - account.uncertain - stage.ids("failed", "cancelled")
    account.ghosts = arrived & account.rolled_back | arrived - account.committed
    account.unlisted = sent - arrived
    account.duplicates = sum(copies.values()) - len(copies)
    digests = {(one.id, one.to, one.digest) for one in relay.taken()}
    account.altered = len(digests) - len(copies)
