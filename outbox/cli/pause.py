"""`outbox-pause`, `outbox-resume`: hold back all mail, or some of it by one property, and resume sending it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import click
from sqlalchemy import Engine

from outbox import operations
from outbox.cli.busy import waiting
from outbox.cli.command import Command
from outbox.cli.common import ask, console, database, in_app, say, who
from outbox.cli.options import deliveries, environment_of, environment_options, moment, to_timedelta
from outbox.cli.output import print_json, safe
from outbox.cli.paused_targets import Targets, must_exist
from outbox.cli.slowed import speed_up
from outbox.cli.tables import Column, print_pairs, print_table
from outbox.cli.text import Text
from outbox.core import clock
from outbox.delivery.states import State
from outbox.operations import Filter, duration, parse_moment, pauses, stopped
from outbox.operations.pauses import Pause, What

CAP = 100_000

_NARROW = "--kind, --domain, --sender, --batch, --message or --transport"


@dataclass(frozen=True, slots=True)
class Asked:
    """The options of both commands that say how."""

    dry_run: bool
    yes: bool
    as_json: bool


def pause_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """What both commands take."""
    function = in_app(function)
    for option in (
        click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout."),
        click.option("--yes", is_flag=True, help="Do not ask; needed without a terminal."),
        click.option("--dry-run", is_flag=True, help="Only show what would be done."),
        click.option("--reason", metavar="TEXT", default="", help="Reason shown to other operators."),
        environment_options,
        click.option(
            "--message", "messages", multiple=True, type=click.IntRange(1), metavar="ID", help="One delivery."
        ),
        click.option("--transport", "transports", multiple=True, metavar="NAME", help="Mail by this one."),
        click.option("--sender", "senders", multiple=True, metavar="ADDRESS", help="Mail from this envelope sender."),
        click.option("--domain", "domains", multiple=True, metavar="NAME", help="Mail to this domain."),
        click.option("--batch", "batches", multiple=True, metavar="NAME", help="Mail of this batch."),
        click.option("--kind", "kinds", multiple=True, metavar="NAME", help="Mail of this kind."),
    ):
        function = option(function)
    return function


@click.command("outbox-pause", cls=Command)
@click.option("--all", "everything", is_flag=True, help="All mail.")
@click.option("--for", "for_", callback=to_timedelta, metavar="TIME", help="End the pause after TIME: 30m, 2h, 1d.")
@click.option("--until", metavar="WHEN", help="End the pause at WHEN, in UTC: 18:30, or 2026-11-24T08:00.")
@pause_options
def pause(for_: timedelta | None, until: str | None, reason: str, **options: Any) -> None:
    """Pause sending.

    Pauses all mail, or that of a kind, to a domain, from a sender, of a batch, by a transport, or one delivery by its
    ID (each may be given several times). It stays queued until the pause ends or outbox-resume lifts it, and may expire
    meanwhile. Workers stop within a few seconds and finish what they are sending. Pausing the same again replaces the
    reason and the end. Asks if it affects more than one queued delivery.

    \b
    Examples:
      outbox-pause --kind newsletter --for 2h --reason "wrong link in it"
      outbox-pause --all --until 06:00
      outbox-pause --message 4711 --reason "ask Ann first"
    """
    environment = environment_of(options)
    asked, targets = _asked(options)
    if not targets:
        raise click.UsageError(
            "Nothing to pause: give --all, --kind, --domain, --sender, --batch, --message or --transport."
        )
    if for_ is not None and until is not None:
        raise click.UsageError("--for and --until exclude each other.")
    engine = database()
    with _wrong_use():
        must_exist(engine, targets, environment)
        held = _held(engine, targets, environment)
        words, queued = " and ".join(_words(what, value) for what, value in targets), deliveries(held, CAP)
        if not asked.dry_run:
            ask(f"Pause {words} ({queued} queued now)?", yes=asked.yes or held <= 1)
        made = _pause(
            engine, targets, asked, {"reason": reason, "until": until, "for_": for_, "environment": environment}
        )
    if asked.as_json:
        print_json({"action": "pause", "dry_run": asked.dry_run, "queued": held, "pauses": made})
    else:
        say(f"{'Would pause' if asked.dry_run else 'Paused'} {words} {_end(made[0])}: {queued} queued now.")


@click.command("outbox-resume", cls=Command)
@click.option("--all", "everything", is_flag=True, help="Every pause.")
@click.option("--slowed", multiple=True, metavar="TRANSPORT", help="What is slowed since this transport throttles.")
@pause_options
def resume(reason: str, slowed: tuple[str, ...], **options: Any) -> None:
    """Resume sending, or list what is paused.

    Lifts the pause of a kind, a domain, a sender, a batch, a transport or a message, or with --all every pause; also
    those that workers made automatically because the relay refuses a sender or domain. Without any of these options it
    lists the pauses. Asks if it affects more than one queued delivery. With --slowed mail goes as fast as before by a
    transport, whatever its relay has said.

    \b
    Examples:
      outbox-resume
      outbox-resume --slowed ses
      outbox-resume --kind newsletter
      outbox-resume --all --yes
    """
    every = bool(options["everything"])
    environment = environment_of(options)
    asked, targets = _asked(options)
    engine = database()
    if slowed:
        if targets:
            raise click.UsageError("--slowed can't be combined with other options of what to resume.")
        speed_up(engine, slowed, environment, reason, dry_run=asked.dry_run, as_json=asked.as_json)
        return
    with operations.connected(engine) as connection:
        there = pauses.active(connection, environment)
    with _wrong_use():
        mine = [one for one in there if environment in (None, one.environment)]
        wanted = mine if every else [one for what, value in targets for one in _of(mine, what, value)]
        lifted = wanted
        if wanted and not asked.dry_run:
            held = _held(engine, [(one.what, one.value) for one in wanted], environment)
            ask(f"Resume {_names(wanted)} ({deliveries(held, CAP)} queued now)?", yes=asked.yes or held <= 1)
            lifted = _resume(engine, wanted, reason)
    if asked.as_json:
        print_json({"action": "resume", "dry_run": asked.dry_run, "pauses": lifted if targets else there})
    elif not targets:
        _list(there)
    else:
        _tell(lifted, asked)
        if (every or len(lifted) < len(targets)) and len(mine) < len(there):
            say("Some pauses are for all environments: --all-environments lifts them, too.")
    if targets and len(lifted) < (1 if every else len(targets)):
        raise click.exceptions.Exit(1)


def _asked(options: dict[str, Any]) -> tuple[Asked, Targets]:
    targets = [(What.ALL, "")] if options["everything"] else []
    names = {"kinds": What.KIND, "domains": What.DOMAIN, "senders": What.SENDER, "batches": What.BATCH}
    names |= {"messages": What.MESSAGE, "transports": What.TRANSPORT}
    for name, what in names.items():
        targets += [(what, str(value)) for value in options[name]]
    if options["everything"] and len(targets) > 1:
        raise click.UsageError(
            "--all can't be combined with --kind, --domain, --sender, --batch, --message or --transport."
        )
    return Asked(options["dry_run"], options["yes"], options["as_json"]), targets


def _pause(engine: Engine, targets: Targets, asked: Asked, options: dict[str, Any]) -> list[Pause]:
    """In one transaction; rolled back for a dry run, which so finds every fault."""
    with operations.guarded(engine), engine.connect() as connection:
        until = options["until"]
        end = None if until is None else parse_moment(until, operations.now(connection))
        seconds = None if options["for_"] is None else options["for_"].total_seconds()
        made = [
            pauses.pause(
                connection,
                what,
                value,
                by=who(),
                reason=options["reason"],
                until=end,
                seconds=seconds,
                environment=pauses.EVERY if options["environment"] is None else options["environment"],
            )
            for what, value in targets
        ]
        if not asked.dry_run:  # else it is rolled back when the connection closes
            connection.commit()
    return made


def _resume(engine: Engine, wanted: list[Pause], reason: str) -> list[Pause]:
    with operations.transaction(engine) as connection:
        lifted = [
            pauses.resume(connection, one.what, one.value, by=who(), note=reason, environment=one.environment)
            for one in wanted
        ]
    return [one for some in lifted for one in some]


def _of(there: list[Pause], what: What, value: str) -> Iterator[Pause]:
    written = any((one.what, one.value) == (what, value) for one in there)
    name = value if written else pauses.value_of(what, value)
    return (one for one in there if (one.what, one.value) == (what, name))


def _held(engine: Engine, targets: Targets, environment: str | None) -> int:
    """How many queued deliveries they concern; of a transport, all."""
    with operations.connected(engine) as connection, waiting("counting"):
        queued = Filter(states=(State.QUEUED,), environment=environment)
        if any(what in (What.ALL, What.TRANSPORT) for what, _ in targets):
            return operations.count(connection, queued, cap=CAP)
        return sum(pauses.concerned(connection, what, value, queued, CAP) for what, value in targets)


@contextmanager
def _wrong_use() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise click.UsageError(safe(error)) from error


def _list(there: list[Pause]) -> None:
    columns = (
        Column("PAUSED", ratio=2, wrap=True),
        Column("SINCE (UTC)"),
        Column("UNTIL (UTC)"),
        Column("BY", ratio=1, wrap=True),
        Column("REASON", ratio=2, wrap=True),
    )
    by_people = [one for one in there if not one.automatic]
    rows = [(_named(one), _short(one.since), _short(one.until), safe(one.by), safe(one.reason)) for one in by_people]
    if rows:
        print_table(console(), columns, [[Text(cell) for cell in row] for row in rows])
    if len(rows) < len(there):
        say("By the workers:")
        now = clock.utcnow()
        words = [stopped.stopped(one, now, _named(one)) for one in there if one.automatic]
        print_pairs(console(), [("!", Text(safe(one), style="red")) for one in words])
    say(f"{len(there) or 'Nothing'} {'are' if len(there) > 1 else 'is'} paused.")


def _named(one: Pause) -> str:
    words = _words(one.what, one.name)
    if one.environment == pauses.EVERY:
        return f"{words} (all environments)"
    return f"{words} ({safe(one.environment)})" if one.environment else words


def _short(at: datetime | None) -> str:
    return "-" if at is None else at.strftime("%d %b %H:%M")


def _tell(lifted: list[Pause], asked: Asked) -> None:
    names = _names(lifted)
    if not lifted:
        say("That is not paused. `outbox-resume` without options lists what is.")
    else:
        say(f"{'Would resume' if asked.dry_run else 'Resumed'} {names}.")


def _names(there: list[Pause]) -> str:
    """Each once: a person and workers may have paused the same."""
    return " and ".join(dict.fromkeys(_words(one.what, one.name) for one in there))


def _words(what: What, value: str) -> str:
    return "all mail" if what is What.ALL else safe(f"{what} {value}")


def _end(one: Pause) -> str:
    if one.until is None:
        return "until outbox-resume"
    return f"until {moment(one.until)} ({duration((one.until - one.since).total_seconds())})"
