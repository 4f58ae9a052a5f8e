"""`outbox-export`: what is stored of a person, as files that can be handed to them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import click

from outbox import operations
from outbox.cli.busy import waiting
from outbox.cli.command import Command, Failure
from outbox.cli.common import application, database, in_app, say, settings, who
from outbox.cli.options import envelope_of, number
from outbox.cli.output import print_json
from outbox.extension.state import bound_to
from outbox.extension.subscribing import listed, lists
from outbox.message.digest import digest
from outbox.operations import export_person, person_files
from outbox.operations.export_rows import Exported


@click.command("outbox-export", cls=Command)
@click.argument("address")
@click.option("--to", metavar="PATH", help="A new folder, or a new file that ends in .zip.")
@click.option("--note", metavar="TEXT", help="Why, for the audit. The address is taken out of it.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@in_app
def export(address: str, to: str | None, note: str | None, as_json: bool) -> None:
    """Export a person.

    Writes what is stored of ADDRESS, in every spelling of the same mailbox, in all environments of the database, to a
    folder or a zip file that only you can read: each message to it as an .eml file, and tables (CSV and JSON) of the
    deliveries, attempts, events, suppressions, subscriptions, what is gathered for digests, and what people did to its
    mail. Messages to others that name the address are in a folder of their own, "about": look at them before you hand
    them out. Other recipients of a message are left out. The audit has who exported it, and why.

    \b
    Examples:
      outbox-export ann@example.org
      outbox-export ann@example.org --to ann.zip --note "ticket 4711"
    """
    address = envelope_of(address, "ADDRESS")
    engine, bound = database(), bound_to(application())
    path = Path(to or f"outbox-export-{digest(address, settings().address_digest_key)[:8]}")
    titles = {one.name: one.label for one in lists(bound)}
    try:
        with tempfile.TemporaryDirectory() as scratch, operations.guarded(engine), waiting("reading"):
            if path.exists():
                raise FileExistsError
            is_zip = path.suffix.lower() == ".zip"
            where = Path(scratch) / "files" if is_zip else path
            done = export_person.export(engine, address, where, lists=listed(bound), titles=titles, by=who(), note=note)
            if is_zip:
                person_files.zipped(where, path)
    except FileExistsError as error:
        raise Failure(f"{path} exists already. Give another name with --to, or remove it.") from error
    except OSError as error:
        raise Failure(f"{path} can't be written: {error.strerror}.") from error
    if as_json:
        print_json({"action": "export", "path": str(path)} | asdict(done))
    else:
        for line in _lines(done, path):
            say(line)


def _lines(done: Exported, path: Path) -> Iterator[str]:
    yield f"Nothing is stored of this address: {path}" if done.is_nothing else f"Exported to {path}:"
    for count, words in (
        (done.messages, "messages to the address, as .eml files"),
        (done.rows["deliveries"] - done.messages, "of which only the envelope is left (redacted, erased or damaged)"),
        (done.rows["attempts"], "attempts"),
        (done.rows["events"], "events"),
        (done.rows["gathered"], "items that wait for a digest to it"),
        (done.rows["suppressions"], "suppressions"),
        (done.rows["about"], "messages to others that name it: look at them before you hand them out"),
        (done.rows["history"], "entries of what people did to its mail"),
    ):
        if count:
            yield f"  {words}: {number(count)}"
