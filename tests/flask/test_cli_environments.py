"""The commands where two environments share a database: each acts on its own mail, unless it is told otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from outbox.delivery.states import State
from outbox.operations import pauses
from outbox.store.enqueue import Posting
from tests.db.mails import put, states
from tests.flask.terminal import Terminal

OWN: dict[str, tuple[str, ...]] = {
    "own": (),
    "named": ("--environment", "blue"),
    "all": ("--all-environments",),
}
TOUCHED = {"own": {"red"}, "named": {"blue"}, "all": {"red", "blue"}}

CHANGES: dict[str, tuple[State, float, tuple[str, ...]]] = {
    "outbox-requeue": (State.FAILED, 0.0, ("--state", "failed")),
    "outbox-cancel": (State.QUEUED, 0.0, ("--domain", "example.org")),
    "outbox-mark-sent": (State.FAILED, 0.0, ("--state", "failed")),
    "outbox-send-now": (State.QUEUED, -600.0, ("--domain", "example.org")),
    "outbox-purge": (State.SENT, 90.0, ("--older-than", "60s")),
}
"""By command: the state of the mail that it changes, how long ago it came to that, and words that match it."""


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    """Of the environment red, whose database has mail of the environment blue as well."""
    made = Terminal(tmp_path)
    made.env["OUTBOX_ENVIRONMENT"] = "red"
    made.migrate()
    yield made
    made.engine.dispose()


def of_each(terminal: Terminal, state: State = State.QUEUED, ago: float = 0.0) -> dict[int, str]:
    """One message of each environment: whose it is, by the delivery's id."""
    return {
        put(terminal.engine, f"{name}@example.org", posting=Posting(environment=name), state=state, ago=ago)[0]: name
        for name in ("red", "blue")
    }


@pytest.mark.parametrize("whose", OWN)
@pytest.mark.parametrize("command", CHANGES)
def test_a_change_by_a_filter(terminal: Terminal, command: str, whose: str) -> None:
    """Of the own environment, of the one that is named, or of all."""
    state, ago, words = CHANGES[command]
    ids = of_each(terminal, state, ago)
    code, said = terminal.json(command, *words, *OWN[whose], "--yes")
    assert (code, said["matched"]) == (0, len(TOUCHED[whose]))
    with terminal.engine.connect() as connection:
        due_later = set(
            connection.exec_driver_sql("SELECT id FROM outbox_delivery WHERE due_at > updated_at").scalars()
        )
    now = states(terminal.engine)
    untouched = {name for id, name in ids.items() if now.get(id) == state and (ago >= 0 or id in due_later)}
    assert untouched == {"red", "blue"} - TOUCHED[whose]


@pytest.mark.parametrize("command", ["outbox-requeue", "outbox-cancel", "outbox-mark-sent", "outbox-send-now"])
def test_a_change_by_an_id(terminal: Terminal, command: str) -> None:
    """Another environment's is left alone, and the reason is given."""
    state, ago, _ = CHANGES[command]
    ids = of_each(terminal, state, ago)
    other = next(id for id, name in ids.items() if name == "blue")
    done = terminal.here(command, str(other))
    assert done.returncode == 1
    assert f"Delivery {other} is of the environment 'blue', not of 'red'" in done.stdout
    assert states(terminal.engine)[other] == state


@pytest.mark.parametrize("whose", OWN)
def test_a_list(terminal: Terminal, whose: str) -> None:
    """Shows the same as the changes would change."""
    of_each(terminal)
    said = terminal.here("outbox-list", *OWN[whose]).stdout
    assert {name for name in ("red", "blue") if f"{name}@example.org" in said} == TOUCHED[whose]


@pytest.mark.parametrize("whose", OWN)
def test_pauses(terminal: Terminal, whose: str) -> None:
    """A pause holds in the environment that it was set for, and only those of that environment are lifted."""
    of_each(terminal)
    code, said = terminal.json("outbox-pause", "--all", *OWN[whose], "--yes")
    assert (code, said["queued"]) == (0, len(TOUCHED[whose]))
    assert held(terminal) == TOUCHED[whose]
    for other in (one for one in OWN if one != whose):
        terminal.json("outbox-pause", "--kind", "news", *OWN[other], "--yes")
    assert terminal.json("outbox-resume", "--all", *OWN[whose], "--yes")[0] == 0
    left = [one.environment for one in active(terminal)]
    assert sorted(left) == ([] if whose == "all" else sorted({"red", "blue", "*"} - TOUCHED[whose]))


def test_one_or_all(terminal: Terminal) -> None:
    """Both words are wrong use."""
    done = terminal.here("outbox-list", "--environment", "blue", "--all-environments")
    assert (done.returncode, "exclude each other" in done.stderr) == (2, True)


def active(terminal: Terminal) -> list[pauses.Pause]:
    with terminal.engine.connect() as connection:
        return pauses.active(connection)


def held(terminal: Terminal) -> set[str]:
    """The environments whose mail is held."""
    found = {one.environment for one in active(terminal)}
    return {"red", "blue"} if "*" in found else found
