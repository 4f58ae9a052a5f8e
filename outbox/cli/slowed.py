"""`outbox-resume --slowed`: send as fast as before, whatever the relay has said."""

from __future__ import annotations

import click
from sqlalchemy import Engine

from outbox import operations
from outbox.cli.common import say, who
from outbox.cli.output import print_json, safe


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
