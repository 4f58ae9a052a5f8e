"""`outbox-erase`: take a person's address, and what was written to it, out of the outbox's tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

import click

from outbox import operations
from outbox.cli.busy import waiting
from outbox.cli.command import Command, No
from outbox.cli.common import database, in_app, say, settings, who
from outbox.cli.options import envelope_of, number
from outbox.cli.output import print_json
from outbox.operations.erase import Erased
from outbox.operations.erase import erase as erase_address


@click.command("outbox-erase", cls=Command)
@click.argument("address")
@click.option("--yes", is_flag=True, help="Do it. Without this the command only shows what it would do.")
@click.option("--dry-run", is_flag=True, help="Only show what it would do, also with --yes.")
@click.option("--note", metavar="TEXT", help="Why, for the audit. The address is taken out of it.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@in_app
def erase(address: str, yes: bool, dry_run: bool, note: str | None, as_json: bool) -> None:
    """Erase a person.

    Removes ADDRESS, in every spelling of the same mailbox, from all messages, events, suppressions, replies and the
    audit, in all environments of the database. Queued and failed mail to it is cancelled; text, subject and headers of
    what it got are removed. Rows stay, with their times and outcomes, and suppressions stay in force. Mail to others is
    still sent. It can't be undone: without --yes the command only counts.

    What is being sent, and what is still to be sent to others, is counted: exit code 1 says to run the command again.

    \b
    Examples:
      outbox-erase ann@example.org
      outbox-erase ann@example.org --yes --note "ticket 4711"
    """
    address = envelope_of(address, "ADDRESS")
    engine, yes = database(), yes and not dry_run
    with operations.guarded(engine), waiting("erasing" if yes else "looking") as told:
        done = erase_address(
            engine,
            address,
            address_key=settings().address_digest_key,
            by=who(),
            note=note,
            dry_run=not yes,
            told=told,
        )
    if as_json:
        print_json({"action": "erase", "dry_run": not yes, "complete": done.is_whole} | asdict(done))
    else:
        for line in _lines(done, yes):
            say(line)
    if yes and not done.is_whole:
        raise No("Not everything could be erased yet: run the same command again later.")


def _lines(done: Erased, yes: bool) -> Iterator[str]:
    if done.is_nothing:
        yield "Nothing is stored of this address. Was it mistyped?"
        return
    yield "Erased:" if yes else "Would erase (nothing was changed; --yes does it):"
    for count, words in (
        (done.deliveries, "deliveries to the address"),
        (done.cancelled, "of these cancelled, because they were queued or had failed"),
        (done.messages, "messages emptied (text, subject, headers, attachments of their own)"),
        (done.named, "messages to others that name the address"),
        (done.events, "events that belong to no delivery any more"),
        (done.gathered, "items that waited for a digest to the address"),
        (done.suppressions, "suppressions, which stay in force without the clear address"),
        (done.pauses, "pauses of the address as a sender"),
        (sum(done.words.values()), "rows whose words quote the address (replies, notes, the audit, workers)"),
    ):
        if count:
            yield f"  {words}: {number(count)}"
    if done.sending:
        yield f"  being sent now, and left alone: {number(done.sending)}"
    if done.senders:
        yield f"  pauses kept while mail from the address is still to be sent: {number(done.senders)}"
    if done.waiting:
        yield f"  messages that keep their text until it has been sent to others: {number(done.waiting)}"
