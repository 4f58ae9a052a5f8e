"""What is slowed since its relay throttles: shown by `outbox-check`, forgotten by `outbox-resume --slowed`."""

from __future__ import annotations

from collections.abc import Iterator

import click
from sqlalchemy import Engine

from outbox import operations
from outbox.cli.common import database, say, settings, who
from outbox.cli.output import print_json, safe
from outbox.core.errors import OutboxError
from outbox.operations import Finding


def findings() -> Iterator[Finding]:
    """Of each transport's mail, or its mail to one domain. What keeps them from being read is told by other checks."""
    try:
        with operations.connected(database()) as connection:
            there = operations.slowed.slowed(connection, settings().environment)
    except OutboxError:
        return
    for one in there:
        since = f"{one.since:%Y-%m-%d %H:%M:%S} UTC"
        yield Finding(
            "slowed", None, f"{one.words}, since {since}", f"`outbox-resume --slowed {one.transport}` lifts it"
        )


def speed_up(
    engine: Engine, names: tuple[str, ...], environment: str | None, reason: str, *, dry_run: bool, as_json: bool
) -> None:
    """Forget the lower rates of these transports."""
    if environment is None:
        raise click.UsageError("--slowed is of one environment.")
    with operations.connected(engine) as connection:
        there = [one for one in operations.slowed.slowed(connection, environment) if one.transport in names]
    if there and not dry_run:
        with operations.transaction(engine) as connection:
            for name in dict.fromkeys(one.transport for one in there):
                operations.slowed.forget(connection, name, environment=environment, by=who(), note=reason)
    if as_json:
        print_json({"action": "resume", "dry_run": dry_run, "slowed": there})
    elif there:
        for one in there:
            say(f"{'Would be' if dry_run else 'Is'} not slowed any more: {safe(one.words)}")
    else:
        say("No mail by that transport is slowed: outbox-status shows what is.")
    if not there:
        raise click.exceptions.Exit(1)
