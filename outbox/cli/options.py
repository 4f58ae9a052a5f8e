"""The filter words that all commands share, and how values are written for people."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import click

from outbox.cli.common import settings
from outbox.core.clock import UNREADABLE
from outbox.delivery.states import Lane, State
from outbox.operations import Filter, Row, duration, parse_duration


def to_timedelta(ctx: click.Context, param: click.Parameter, value: str | None) -> timedelta | None:
    """An option's callback: 30s, 15m, 2h, 7d."""
    try:
        return None if value is None else parse_duration(value)
    except ValueError as problem:
        raise click.BadParameter(str(problem), ctx, param)


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
    click.option("--transport", metavar="NAME", help="Attempted by this transport: host:port, or a host."),
    click.option("--reason", metavar="WORD", help="Why it is in its state: suppressed, expired, refused."),
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
    "transport",
    "reason",
    "search",
)
_TIMES = ("since", "older_than")


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
    """The same without the times, for what has times of its own."""
    return _with([option for name, option in zip(FILTER_NAMES, _OPTIONS, strict=True) if name not in _TIMES], function)


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
        states=tuple(State(state) for state in words["states"] or ()),
        recipient=words["recipient"],
        domain=words["domain"],
        kind=words["kind"],
        error=words["error"],
        subject=words["subject"],
        priority=None if words["priority"] is None else Lane(words["priority"]),
        older_than=words["older_than"],
        since=words["since"],
        search=words["search"],
        transport=words["transport"],
        reason=words["reason"],
        environment=environment_of(options),
    )


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
