"""`outbox-keys` and `outbox-rotate-keys`: which keys are in use, and all of it under the newest."""

from __future__ import annotations

import click

from outbox import operations
from outbox.cli.busy import waiting
from outbox.cli.command import Command, Failure, No
from outbox.cli.common import ask, console, database, in_app, say, settings, who
from outbox.cli.options import number
from outbox.cli.output import print_json, print_whole
from outbox.cli.tables import print_pairs
from outbox.cli.text import Text
from outbox.message.keyring import Keyring, new_key
from outbox.operations.audit import Trail
from outbox.operations.rotate_keys import in_use, rotate


@click.command("outbox-keys", cls=Command)
@click.option("--new", is_flag=True, help="Print a new random key, and do nothing else.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@in_app
def keys(new: bool, as_json: bool) -> None:
    """Show which encryption keys are in use.

    Lists the keys of OUTBOX_ENCRYPTION_KEYS by their names (a hash; no key is ever shown), and how many stored values
    each encrypts. A key that is unused may be destroyed. A key that is missing is still needed: exit code 1. Reads all
    of the outbox's tables.

    \b
    Examples:
      outbox-keys
      outbox-keys --new
    """
    if new:
        print_whole(new_key())
        return
    ring = settings().keyring
    with waiting("looking"), operations.connected(database()) as connection:
        used = in_use(connection)
    known = () if ring is None else ring.names
    missing = sorted(used.keys() - set(known))
    if as_json:
        found = [
            {"name": name, "newest": name in known[:1], "missing": name in missing, "values": used.get(name, {})}
            for name in [*known, *missing]
        ]
        print_json({"keys": found})
    else:
        pairs = [(name, Text(_words(name, known, used.get(name, {})))) for name in [*known, *missing]]
        print_pairs(console(), pairs)
        if not known and not missing:
            say("No keys: OUTBOX_ENCRYPTION_KEYS is not set, and nothing is encrypted.")
    if missing:
        raise No(
            f"OUTBOX_ENCRYPTION_KEYS lacks {', '.join(missing)}, which encrypts what is stored: mail that needs it "
            "waits. Add the key at the end of the list."
        )


@click.command("outbox-rotate-keys", cls=Command)
@click.option("--yes", is_flag=True, help="Do not ask; needed without a terminal.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@in_app
def rotate_keys(yes: bool, as_json: bool) -> None:
    """Put everything under the newest encryption key.

    Wraps the key of each encrypted message with the first key of OUTBOX_ENCRYPTION_KEYS. Afterwards the others are
    unused, and may be destroyed: what they encrypted in backups can then be read by nobody. Mail is enqueued and sent
    meanwhile. Before this, restart the web application and the workers with the new key in front: a process with the
    old list would go on using the old key.

    \b
    Examples:
      outbox-rotate-keys
      outbox-rotate-keys --yes
    """
    ring = settings().keyring
    if ring is None:
        raise Failure("OUTBOX_ENCRYPTION_KEYS is not set: there is no key to rotate to. `outbox-keys --new` makes one.")
    ask(f"Wrap everything with the key {ring.newest}?", yes=yes)
    engine = database()
    with operations.guarded(engine), waiting("wrapping") as told:
        done = rotate(engine, ring, told=told)
        with engine.begin() as connection:
            Trail("rotate-keys", by=who(), filters=f"key {ring.newest}").add(connection, sum(done.rows.values()))
    unopened = sum(done.unopened.values())
    if as_json:
        print_json({"newest": ring.newest, "rows": done.rows, "unopened": done.unopened})
    else:
        say(f"{number(sum(done.rows.values()))} rows wrapped with the key {ring.newest}. {_older(ring)}")
    if unopened:
        raise No(
            f"{number(unopened)} values could not be: their key is missing, or they were changed. See outbox-keys."
        )


def _older(ring: Keyring) -> str:
    if len(ring.names) == 1:
        return "It is the only one."
    return "Check with outbox-keys that the others are unused before you destroy them."


def _words(name: str, known: tuple[str, ...], used: dict[str, int]) -> str:
    places = ", ".join(f"{table} {number(count)}" for table, count in sorted(used.items()))
    total = sum(used.values())
    counts = f"{number(total)} stored {'value' if total == 1 else 'values'} ({places})"
    if name not in known:
        return f"missing; encrypts {counts}"
    if not used:
        return "newest, unused" if name == known[0] else "unused"
    return f"newest, encrypts {counts}" if name == known[0] else f"encrypts {counts}"
