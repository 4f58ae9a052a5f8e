"""What a change did, in words: what became of how many messages, and which pauses hold them back all the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flask import url_for

from outbox import operations
from outbox.delivery.states import State
from outbox.operations import Filter
from outbox.operations.pauses import Pause, What
from outbox.web import template_helpers

if TYPE_CHECKING:
    from sqlalchemy import Connection

CAP = 10_000
NAMED = 3
"""Pauses that are named; of more the number is said."""

Held = Sequence[tuple[Pause, int]]


@dataclass(frozen=True, slots=True)
class Result:
    """What is said on the page that a change leads to."""

    text: str
    good: bool = True
    link: tuple[str, str] | None = None  # words and address


UNTICKED = Result("No message is ticked. Tick some; with a filter you can also choose all that match.", good=False)


def changed(count: int, became: str, held: Held, *, this: bool) -> Result:
    """So many are now what `became` says. `this`: the one message on whose page it is said."""
    who = "This message" if this and count == 1 else messages(count)
    text = f"{who} {_is(count)} {became}"
    if not held or not count:
        return Result(f"{text}.")
    return Result(f"{text}; {_stay(count, held)}.", link=pauses_link())


def nothing(done: str) -> Result:
    """No message could be changed any more."""
    return Result(f"Nothing was changed: no message was still in a state that can be {done}.", good=False)


def uncertain(count: int) -> Result:
    """So many could not be cancelled."""
    link = "Requeue or mark as sent", url_for(".mails", state=State.UNCERTAIN)
    return Result(f"{messages(count)} may have been sent already, and {_is(count)} uncertain now.", False, link)


def paused(made: Pause, connection: Connection, *, this: bool) -> Result:
    """What is held back from now on, how much of it there is, and until when."""
    until = f"until {template_helpers.utc(made.until)}" if made.until else "until somebody resumes it"
    if this:
        return Result(f"This message is paused {until}. A worker that is sending it already is not stopped.")
    count = operations.pauses.concerned(connection, made.what, made.name, _queued(made), CAP)
    return Result(
        f"Paused {name(made)} {until}: {messages(count, 'queued ')} {_is(count)} held back. "
        "Workers stop sending within a few seconds."
    )


def resumed(lifted: Pause, connection: Connection, *, this: bool) -> Result:
    """What may be sent again, and what holds it back all the same."""
    text = f"Resumed {'this message' if this else name(lifted)}"
    there = operations.pauses.active(connection, _environment(lifted))
    everything = next((one for one in there if one.what is What.ALL), None)
    if everything is not None:
        by = operations.stopped.who_paused(everything)
        return Result(f"{text}; everything is still paused by {by}.", False, pauses_link())
    count = operations.pauses.concerned(connection, lifted.what, lifted.name, _queued(lifted), CAP)
    held = operations.pauses.holding_of(connection, _queued(lifted), CAP, within=lifted)
    if held:
        return Result(f"{text}; {'it' if this else 'of its mail'} {_stay(count, held)}.", False, pauses_link())
    if this:
        return Result(f"{text}: it is sent when it is due.")
    return Result(f"{text}: {messages(count, 'queued ')} {_is(count)} sent when due.")


def held_by(connection: Connection, id: int) -> Held:
    """The pauses that hold this one message."""
    return operations.pauses.holding_of(connection, Filter(ids=(id,)), 1)


def messages(count: int, which: str = "") -> str:
    """`1 message`, `37 messages`, `over 10,000 messages`."""
    return f"{template_helpers.capped(count, CAP)} {which}message{'' if count == 1 else 's'}"


def name(pause: Pause) -> str:
    """`all mail`, `kind newsletter`."""
    return str(pause).replace("all", "all mail", 1) if pause.what is What.ALL else str(pause)


def pauses_link() -> tuple[str, str]:
    """The way to all pauses."""
    return "Show the pauses", url_for(".pauses")


def _stay(count: int, held: Held) -> str:
    """`1 stays held by the pause of kind newsletter`. Those that are named may hold the same messages."""
    said = []
    for one, of in held[:NAMED]:
        number = min(of, count) if count <= CAP else of
        stays = "stays" if number == 1 else "stay"
        what = "it" if count == 1 else template_helpers.capped(number, CAP)
        said.append(f"{what} {stays} held by the pause of {name(one)}")
    if len(held) > NAMED:
        said.append(f"more by {len(held) - NAMED} other pauses")
    return ", ".join(said)


def _is(count: int) -> str:
    return "is" if count == 1 else "are"


def _queued(pause: Pause) -> Filter:
    return Filter(states=(State.QUEUED,), environment=_environment(pause))


def _environment(pause: Pause) -> str | None:
    return None if pause.environment == operations.pauses.EVERY else pause.environment
