"""Kill loops with many recipients: those of one message share an SMTP transaction, and a kill repeats few of these.

A repeated transaction need not come back whole: what a killed worker held is offered in smaller ones. So what is
counted is the transactions that were cut off: whose recipients, some or all, got the message once more later.
"""

from __future__ import annotations

import random
import zlib
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import sqlalchemy as sa

from outbox import Message
from outbox.models import OutboxDelivery, OutboxMessage
from tests.servers.databases import Database
from tests.story.soak import CONNECTIONS, KILLS, MAILS, MOST_WORKERS, ROLLED_BACK, kill_one
from tests.story.stage import Relay, Stage

SHARE = 8  # recipients of one transaction at the most
MOST_RECIPIENTS = 20
DELAY = 0.02  # seconds between taking a message and saying so: most kills fall into one of them

Delivery = tuple[str, str]  # Message-ID, recipient


@dataclass
class Groups:
    """What became of each recipient."""

    policy: str
    kills: int
    committed: set[Delivery] = field(default_factory=set)
    states: dict[Delivery, str] = field(default_factory=dict)
    transactions: dict[Delivery, list[int]] = field(default_factory=lambda: defaultdict(list))
    shared: int = 0  # transactions with several recipients
    contents: int = 0  # different ones, of all messages

    @property
    def cut_off(self) -> set[int]:
        """The transactions that were repeated, whole or in part."""
        return {one for every in self.transactions.values() for one in every[:-1]}

    @property
    def uncertain(self) -> set[Delivery]:
        return {one for one, state in self.states.items() if state == "uncertain"}

    def check(self) -> None:
        """The promises."""
        at_most = self.kills * CONNECTIONS
        arrived = set(self.transactions)
        assert self.states.keys() == self.committed, "a committed delivery is missing, or one was rolled back"
        assert set(self.states.values()) <= {"sent", "uncertain"}
        assert arrived <= self.committed, "sent though it was rolled back"
        assert self.committed - self.uncertain <= arrived, "recorded as sent, but not at the server"
        assert self.contents == len({id_ for id_, _ in arrived}), "a second copy has other bytes"
        assert self.shared, "no transaction had several recipients"
        if self.policy == "hold":
            assert not self.cut_off, "sent twice, although uncertain mail is held"
            assert len({id_ for id_, _ in self.uncertain}) <= at_most
            assert len(self.uncertain) <= at_most * SHARE
        else:
            assert not self.uncertain
            assert len(self.cut_off) <= at_most

    def __str__(self) -> str:
        copies = sum(map(len, self.transactions.values())) - len(self.transactions)
        return (
            f"{len(self.committed)} deliveries, {self.shared} shared transactions, {self.kills} kills: "
            f"{len(self.cut_off)} transactions repeated of {self.kills * CONNECTIONS}, {copies} copies, "
            f"{len(self.uncertain)} uncertain"
        )


@pytest.mark.long
@pytest.mark.parametrize("policy", ["retry", "hold"])
@pytest.mark.once("sqlite", "postgresql")
def test_kill_loop_with_groups(database: Database, tmp_path: Path, policy: str) -> None:
    """Nothing lost, nothing sent that was rolled back; at most one transaction repeated a kill and connection.

    A short loop; `make test-engines` has the long one.
    """
    chance = random.Random(zlib.crc32(f"{database.name} {policy}".encode()))
    found = Groups(policy, KILLS)
    settings = {
        "OUTBOX_ON_UNCERTAIN": policy,
        "OUTBOX_CONNECTIONS": str(CONNECTIONS),
        "OUTBOX_RECIPIENTS_PER_TRANSACTION": str(SHARE),
    }
    with Relay(tmp_path, delay=DELAY) as relay, Stage(database, relay.port, tmp_path, **settings) as stage:
        workers = [stage.fork() for _ in range(MOST_WORKERS)]
        for _ in range(KILLS):
            enqueue(stage, found, MAILS // KILLS, chance)
            kill_one(workers, relay, stage, chance)
        stage.settle(60.0 + MAILS / 10)
        count(stage, relay, found)
    print(found)  # `make test-engines` shows it
    found.check()


def enqueue(stage: Stage, found: Groups, count: int, chance: random.Random) -> None:
    """So many messages, each to one recipient or to many, in transactions of their own; some are rolled back."""
    for _ in range(count):
        recipients = [f"r{n}@example.org" for n in range(chance.choice((1, 2, SHARE, MOST_RECIPIENTS)))]
        with stage.transaction() as session:
            id_ = stage.outbox.enqueue(Message("To all", recipients=recipients, body="x\n"), session).message_id
            if chance.random() < ROLLED_BACK:
                session.rollback()
            else:
                session.commit()
                found.committed |= {(id_, recipient) for recipient in recipients}


def count(stage: Stage, relay: Relay, found: Groups) -> None:
    """What the database says, and the server."""
    joined = sa.select(OutboxMessage.message_id, OutboxDelivery.recipient, OutboxDelivery.state).join(
        OutboxDelivery, OutboxDelivery.message_id == OutboxMessage.id
    )
    with stage.engine.connect() as connection:
        found.states = {(row.message_id, row.recipient): row.state for row in connection.execute(joined)}
    sizes = defaultdict[int, int](int)
    for one in relay.taken():
        found.transactions[one.id, one.to].append(one.transaction)
        sizes[one.transaction] += 1
    found.shared = sum(size > 1 for size in sizes.values())
    found.contents = len({(one.id, one.digest) for one in relay.taken()})
