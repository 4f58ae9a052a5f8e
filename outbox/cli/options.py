"""The filter words that all commands share, and how values are written for people."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import click

from outbox.cli.common import settings
from outbox.core import clock
from outbox.core.clock import UNREADABLE
from outbox.core.errors import MessageError
from outbox.delivery.reported import EventType
from outbox.delivery.states import Lane, State
from outbox.message.addresses import parse
from outbox.operations import Filter, Row, Waits, duration, parse_duration, parse_moment


def to_timedelta(ctx: click.Context, param: click.Parameter, value: str | None) -> timedelta | None:
    """An option's callback: 30s, 15m, 2h, 7d."""
    try:
        return None if value is None else parse_duration(value)
    except ValueError as problem:
        raise click.BadParameter(str(problem), ctx, param)


def to_moment(ctx: click.Context, param: click.Parameter, value: str | None) -> datetime | None:
    """An option's callback: 2026-11-24, 2026-11-24T08:00, 08:00, in UTC."""
    try:
        return None if value is None else parse_moment(value, clock.utcnow())
    except (ValueError, OverflowError) as problem:
        raise click.BadParameter(str(problem), ctx, param) from None


_OPTIONS = (
    click.option(
        "--state",
        "states",
        multiple=True,
        type=click.Choice([str(state) for state in State]),
        help="In this state; may be given several times.",
    ),
    click.option("--recipient", metavar="TEXT", help="To this address, or to one that contains TEXT."),
    click.option("--domain", metavar="NAME", help="To this domain."),
    click.option("--kind", metavar="NAME", help="Of this kind."),
    click.option(
        "--error",
        metavar="TEXT",
        help="Code (550), enhanced code (5.1.1), reason (expired), or part of the reply.",
    ),
    click.option("--subject", metavar="TEXT", help="With TEXT in its subject."),
    click.option("--priority", type=click.Choice([str(lane) for lane in Lane]), help="Of this priority."),
    click.option(
        "--since",
        callback=to_timedelta,
        metavar="TIME",
        help="Attempted or changed within TIME: 30s, 15m, 2h, 7d.",
    ),
    click.option("--older-than", callback=to_timedelta, metavar="TIME", help="Enqueued longer than TIME ago."),
    click.option(
        "--from",
        "from_",
        callback=to_moment,
        metavar="WHEN",
        help="Enqueued at or after WHEN (UTC): 2026-11-24T08:00.",
    ),
    click.option("--until", callback=to_moment, metavar="WHEN", help="Enqueued at or before WHEN."),
    click.option(
        "--waits",
        type=click.Choice([str(word) for word in Waits]),
        help="Queued, and due now, scheduled for later, or deferred until its next attempt.",
    ),
    click.option("--metadata", metavar="TEXT", help="With NAME=VALUE, or TEXT, in the metadata of enqueue()."),
    click.option("--transport", metavar="NAME", help="Attempted by this transport: its name, host:port, or a host."),
    click.option("--reason", metavar="WORD", help="Why it is in its state: suppressed, expired, refused."),
    click.option(
        "--event",
        type=click.Choice([str(one) for one in EventType]),
        metavar="EVENT",
        help="With this event reported of it: bounced, complained, delivered.",
    ),
    click.option("--batch", metavar="NAME", help="Of the batch with this name."),
    click.option("--search", metavar="TEXT", help="A whole address or Message-ID, or a part of recipient or subject."),
)

FILTER_NAMES = (  # in the order of the options
    "states",
    "recipient",
    "domain",
    "kind",
    "error",
    "subject",
    "priority",
    "since",
    "older_than",
    "from_",
    "until",
    "waits",
    "metadata",
    "transport",
    "reason",
    "event",
    "batch",
    "search",
)
_NOT_OF_ENDED = ("since", "older_than", "waits")


def envelope_of(text: str, option: str) -> str:
    """The address in `text`, as the envelope has it. Raises BadParameter for `option` if it is invalid."""
    try:
        return parse(text, option).envelope
    except MessageError as error:
        raise click.BadParameter(str(error).removeprefix(f"{option}: "), param_hint=option) from None


def environment_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Whose messages a command is about; `environment_of` reads them."""
    every = click.option("--all-environments", is_flag=True, help="Of all environments in this database.")
    one = click.option("--environment", metavar="NAME", help="Of this environment, instead of OUTBOX_ENVIRONMENT.")
    return one(every(function))


def environment_of(options: dict[str, Any]) -> str | None:
    """The environment that a command is about, None for all; takes it out of the options."""
    named, every = options.pop("environment", None), options.pop("all_environments", False)
    if named is not None and every:
        raise click.UsageError("--environment and --all-environments exclude each other.")
    return None if every else settings().environment if named is None else named


def filter_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The filter's options on a command; `taken` makes a Filter of them."""
    return _with(_OPTIONS, function)


def options_of_ended(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same for mail that has ended, without the times that a command has of its own."""
    names = zip(FILTER_NAMES, _OPTIONS, strict=True)
    return _with([option for name, option in names if name not in _NOT_OF_ENDED], function)


def _with(options: Sequence[Callable[..., Any]], function: Callable[..., Any]) -> Callable[..., Any]:
    function = environment_options(function)
    for option in reversed(options):
        function = option(function)
    return function


def taken(options: dict[str, Any], ids: tuple[int, ...] = ()) -> Filter:
    """The filter in a command's options; takes its words out of them."""
    words = {name: options.pop(name, None) for name in FILTER_NAMES}
    return Filter(
        ids=ids,
        states=_states(words["states"] or (), words["waits"]),
        recipient=words["recipient"],
        domain=words["domain"],
        kind=words["kind"],
        error=words["error"],
        subject=words["subject"],
        priority=None if words["priority"] is None else Lane(words["priority"]),
        older_than=words["older_than"],
        since=words["since"],
        enqueued_from=words["from_"],
        enqueued_until=words["until"],
        waits=None if words["waits"] is None else Waits(words["waits"]),
        metadata=words["metadata"],
        search=words["search"],
        transport=words["transport"],
        reason=words["reason"],
        batch=words["batch"],
        event=None if words["event"] is None else EventType(words["event"]),
        environment=environment_of(options),
    )


def _states(asked: Sequence[str], waits: str | None) -> tuple[State, ...]:
    """Those that were asked for; what waits is queued."""
    states = tuple(State(state) for state in asked)
    if waits is None:
        return states
    if states and states != (State.QUEUED,):
        raise click.UsageError(f"Only queued mail waits: leave --state out, or --waits {waits}.")
    return (State.QUEUED,)


def moment(at: datetime | None) -> str:
    """A time in UTC, to the second."""
    if at == UNREADABLE:
        return "unreadable"
    return "-" if at is None else at.strftime("%Y-%m-%d %H:%M:%S UTC")


def age(seconds: float) -> str:
    """A time in its largest unit, in whole ones: "45s", "3h", "12d"."""
    return duration(int(seconds)).partition(" ")[0]


def number(count: int, cap: int | None = None) -> str:
    """With thousands separated; "over 10,000" where counting stopped at `cap`."""
    return f"over {cap:,}" if cap is not None and count > cap else f"{count:,}"


def deliveries(count: int, cap: int | None = None) -> str:
    """ "1 delivery", "over 10,000 deliveries"."""
    return f"{number(count, cap)} {'delivery' if count == 1 else 'deliveries'}"


def fault(row: Row) -> str:
    """Why it is in its state, as short as can be: the reply's code, else the reason."""
    codes = " ".join(str(part) for part in (row.code, row.enhanced) if part)
    if row.state in (State.SENT, State.CANCELLED):
        return ""
    return codes or row.reason or ""


COLOURS = {
    State.QUEUED: "cyan",
    State.SENDING: "blue",
    State.SENT: "green",
    State.FAILED: "red",
    State.UNCERTAIN: "yellow",
    State.CANCELLED: "bright_black",
}
