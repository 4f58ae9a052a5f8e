"""The table `replies.csv`: what relays say when they refuse, and what is to be made of it.

Each reply is as documentation or a public report has it (names and addresses changed); `source` says where: a thread
(owner/name#number), a repository's file, a page, an RFC. `fault`: "account" for faults of the account, the sender, the
connection or the relay, which no message may be failed for; "recipient" for the recipients' and the messages' own,
which no rule may take for the account's. `about` is empty where only comparison with other deliveries can tell.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple

from outbox.delivery.reply import About, Phase, Verdict


class Said(NamedTuple):
    """One reply, and what is to be made of it."""

    fault: str
    relay: str
    preset: str
    phase: Phase
    line: str
    verdict: Verdict
    about: About | None
    source: str


def _read() -> tuple[Said, ...]:
    with Path(__file__).with_name("replies.csv").open(newline="", encoding="utf-8") as file:
        return tuple(
            Said(
                row["fault"],
                row["relay"],
                row["preset"],
                Phase(row["phase"]),
                row["reply"],
                Verdict(row["verdict"]),
                About(row["about"]) if row["about"] else None,
                row["source"],
            )
            for row in csv.DictReader(file, strict=True)
        )


SAID = _read()
ACCOUNT = tuple(said for said in SAID if said.fault == "account")
RECIPIENTS = tuple(said for said in SAID if said.fault == "recipient")
