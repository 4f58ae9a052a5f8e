"""`outbox-status`: the answer at three in the morning, on one screen."""

from __future__ import annotations

import sys
import threading
from typing import Any

import click

from outbox import operations
from outbox.cli.busy import waiting
from outbox.cli.command import Command, Failure
from outbox.cli.common import console, database, extension, failures_told, in_app, replica, settings
from outbox.cli.console import Console, Frame, FullScreen
from outbox.cli.output import plain, print_json
from outbox.cli.status_view import print_shape, print_status, print_unknown
from outbox.delivery.states import State
from outbox.operations import Shape, Status, duration

DEGRADED = 1
WATCH_CAP = 10_000
"""Where counting stops while watching: it is done again and again."""


@click.command("outbox-status", cls=Command)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@click.option("--shape", "shaped", is_flag=True, help="Also what is queued, by domain and age.")
@click.option("--watch", is_flag=True, help="Refresh until Ctrl-C.")
@click.option(
    "--interval",
    type=click.FloatRange(0.2),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="Between two refreshes.",
)
def status(as_json: bool, shaped: bool, watch: bool, interval: float) -> None:
    """Show the state of the outbox.

    Shows deliveries by state, the oldest due mail, rates, workers, transports, what failed and what is deferred.
    Problems come first, with what to do about them, then what is paused.

    Exit code 0: healthy. 1: degraded: the oldest due mail is older than OUTBOX_ALARM_OLDEST_SECONDS; no worker is
    running while mail is due; a relay is down, or a quota is used up; too many of the last attempts were refused or
    deferred (OUTBOX_ALARM_REFUSED, OUTBOX_ALARM_DEFERRED); workers have paused a sender or domain that the relay
    refuses; much is paused for long (OUTBOX_ALARM_PAUSED); mail is enqueued faster than it is sent; too much of what
    was sent lately was complained about or bounced (OUTBOX_ALARM_COMPLAINED, OUTBOX_ALARM_BOUNCED); or mail of another
    environment is due. 2: unknown: not configured, no database, not migrated.

    \b
    Examples:
      outbox-status
      outbox-status --json | jq .oldest_due_seconds
      outbox-status --shape
      outbox-status --watch --interval 1
    """
    if watch and as_json:
        raise click.UsageError("--watch and --json exclude each other.")
    if watch and not sys.stdout.isatty():
        raise click.UsageError("--watch needs a terminal.")
    try:
        code = _watch(interval, shaped=shaped) if watch else _once(as_json, shaped=shaped)
    except Failure as failure:
        failure.value = cannot_tell(failure.message)
        raise
    raise click.exceptions.Exit(code)


@in_app
def _once(as_json: bool, *, shaped: bool) -> int:
    with waiting("looking"):
        seen = look()
        shape = look_at_shape() if shaped else None
    if as_json:
        print_json(as_object(seen) | ({} if shape is None else {"shape": shape}))
    else:
        _print(console(), seen, shape)
    return _code(seen)


def _print(out: Console, seen: Status, shape: Shape | None, aside: str = "", *, brief: bool = False) -> None:
    print_status(out, seen, aside, brief=brief)
    if shape is not None:
        print_shape(out, shape)


@in_app
def _watch(interval: float, *, shaped: bool) -> int:
    """Until Ctrl-C; the exit code is that of the last look. A database that is away is shown, and asked again."""
    code = 0
    try:
        with console().full_screen() as screen:
            while True:
                frame, code = _drawn(screen, interval, shaped=shaped)
                screen.show(frame)
                threading.Event().wait(interval)
    except KeyboardInterrupt:
        return code


def _drawn(screen: FullScreen, interval: float, *, shaped: bool) -> tuple[Frame, int]:
    """One look, and its exit code."""
    aside = f"every {duration(interval)}, Ctrl-C to end"
    frame = screen.frame()
    try:
        with failures_told():
            seen = look(count_cap=WATCH_CAP)
            shape = look_at_shape() if shaped else None
    except Failure as failure:
        print_unknown(frame, failure.message, aside)
        return frame, failure.exit_code
    _print(frame, seen, shape, aside)
    if not frame.fits:
        frame = screen.frame()
        _print(frame, seen, shape, aside, brief=True)
    return frame, _code(seen)


def look(**options: Any) -> Status:
    """The status by the application's settings. Raises what `operations.connected` raises, and ConfigurationError."""
    configured = settings()
    with operations.connected(replica()) as connection:
        seen = operations.status(
            connection,
            dead_after=configured.dead_after_seconds,
            alarms=operations.Alarms.of(configured),
            environment=configured.environment,
            suppressed=configured.suppress_send,
            **options,
        )
    if wrong := operations.another_database(database(), extension().application_database()):
        seen.problems.insert(0, wrong)
    return seen


def look_at_shape() -> Shape:
    """What waits, by domain and age. Raises what `operations.connected` raises."""
    with operations.connected(replica()) as connection:
        return operations.shape(connection)


def as_object(seen: Status) -> dict[str, Any]:
    """What --json prints: the status with `healthy`."""
    found: dict[str, Any] = plain(seen)
    return found | {"healthy": seen.healthy}


def _code(seen: Status) -> int:
    return 0 if seen.healthy else DEGRADED


def cannot_tell(problem: str) -> dict[str, object]:
    """The JSON of a status that is not known: the same keys, without figures."""
    return {
        "states": dict.fromkeys(State),
        "oldest_due_seconds": None,
        "workers": [],
        "healthy": False,
        "problems": [problem],
    }
