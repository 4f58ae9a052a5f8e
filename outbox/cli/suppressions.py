"""`outbox-suppressions`: the list of addresses that get no mail; why one gets nothing; the list as a file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from outbox import operations
from outbox.cli.busy import waiting
from outbox.cli.command import Command
from outbox.cli.common import console, in_app, remark, replica, say, settings
from outbox.cli.options import moment
from outbox.cli.output import print_json, safe
from outbox.cli.suppress import to_scope
from outbox.cli.suppression_files import export, import_
from outbox.cli.tables import Column, print_mails, print_pairs, print_table
from outbox.cli.text import Text
from outbox.delivery.suppression import Why
from outbox.operations import suppression_search, why_nothing
from outbox.operations.conditions import is_whole
from outbox.operations.suppressions import Entry
from outbox.operations.why_nothing import AddressReport

MAX_LIST = 10_000
SECONDS = 60.0
"""How long a search for a part of an address goes on."""


@click.command("outbox-suppressions", cls=Command)
@click.argument("address", required=False)
@click.option("--search", metavar="TEXT", help="Addresses that contain TEXT.")
@click.option("--scope", callback=to_scope, metavar="SCOPE", help="Of this scope.")
@click.option("--reason", type=click.Choice([str(why) for why in Why]), help="For this reason.")
@click.option("--ended", is_flag=True, help="Also those that are no longer in force.")
@click.option(
    "--limit", type=click.IntRange(1, MAX_LIST), default=50, show_default=True, metavar="N", help="At most this many."
)
@click.option("--before", type=click.IntRange(1), metavar="ID", help="Only those with a smaller ID: the next page.")
@click.option("--export", "to", type=click.Path(dir_okay=False, allow_dash=True), metavar="FILE", help="Write as CSV.")
@click.option(
    "--import", "from_", type=click.Path(exists=True, dir_okay=False), metavar="FILE", help="Add those in a CSV file."
)
@click.option("--dry-run", is_flag=True, help="With --import: only show what would be done.")
@click.option("--yes", is_flag=True, help="With --import: do not ask; needed without a terminal.")
@click.option("--json", "as_json", is_flag=True, help="One JSON value on stdout.")
@in_app
def suppressions(address: str | None, to: str | None, from_: str | None, as_json: bool, **options: Any) -> None:
    """List the addresses that get no mail, or say why one gets none.

    With ADDRESS it answers "why do I get nothing?": what is suppressed for it and why, the last deliveries to it, and
    what was reported of them. Without, it lists what is suppressed, the newest first.

    --import reads a CSV file whose first line names the columns: address (or email), and if you like scope, reason,
    until and note. Without a scope it is all mail, without a reason "manual", without an end for good. The file is
    checked first: a line that can't be read is named, and nothing is imported. Importing a file again changes nothing.

    \b
    Examples:
      outbox-suppressions ann@example.org
      outbox-suppressions --search @example.org --reason bounced
      outbox-suppressions --export suppressions.csv
      outbox-suppressions --import from-the-old-provider.csv --dry-run
    """
    if address is not None and (to or from_ or options["search"]):
        raise click.UsageError("ADDRESS goes with --json alone.")
    if to and from_:
        raise click.UsageError("--export and --import exclude each other.")
    if from_ is None and (options["dry_run"] or options["yes"]):
        raise click.UsageError("--dry-run and --yes are for --import.")
    if address is not None:
        _tell(address, as_json=as_json)
    elif from_:
        import_(from_, dry_run=options["dry_run"], yes=options["yes"], as_json=as_json)
    else:
        wanted = suppression_search.wanted_by(
            options["search"] or "", options["scope"], options["reason"], ended=options["ended"]
        )
        if to:
            export(to, wanted, as_json=as_json)
        else:
            _list(wanted, options["before"], options["limit"], as_json=as_json)


def _list(wanted: operations.suppressions.Wanted, before: int | None, limit: int, *, as_json: bool) -> None:
    with waiting("looking"), operations.connected(replica()) as connection:
        found = suppression_search.search(
            connection,
            wanted,
            address_key=settings().address_digest_key,
            before=before,
            limit=limit,
            seconds=SECONDS,
        )
    if as_json:
        print_json(found.rows)
        return
    if not found.rows:
        everything = operations.suppressions.Wanted(ended=wanted.ended)
        say("No address is suppressed." if wanted == everything and before is None else "No suppression matches.")
    else:
        _print(found.rows)
    if found.older is not None:
        remark(f"There is more: add --before {found.older} for the next page.")


def _print(rows: list[Entry]) -> None:
    columns = (
        Column("ADDRESS", ratio=3),
        Column("SCOPE", ratio=2),
        Column("REASON"),
        Column("SINCE (UTC)"),
        Column("UNTIL"),
        Column("NOTE", ratio=2),
    )
    lines = [
        (
            safe(one.address or "(erased)"),
            safe(one.scope),
            one.reason,
            f"{one.since:%Y-%m-%d}",
            "-" if one.until is None else f"{one.until:%Y-%m-%d}",
            safe(one.note or ""),
        )
        for one in rows
    ]
    print_table(console(), columns, [[Text(cell) for cell in line] for line in lines])


def _tell(address: str, *, as_json: bool) -> None:
    if not is_whole(address):
        raise click.UsageError(f"{safe(address)!r} is not a whole address. --search finds addresses by a part of them.")
    with waiting("looking"), operations.connected(replica()) as connection:
        report = why_nothing.look_up(connection, address, address_key=settings().address_digest_key)
    if as_json:
        print_json(report)
        return
    say(report.answer)
    out = console()
    for heading, pairs in (("suppressed", list(_suppressed(report))), ("events", list(_events(report)))):
        if pairs:
            out.print()
            out.print(Text(heading, style="bold"))
            print_pairs(out, pairs)
    if report.deliveries:
        out.print()
        out.print(Text("last deliveries", style="bold"))
        print_mails(out, report.deliveries)


def _suppressed(report: AddressReport) -> Iterator[tuple[str, Text]]:
    for one in report.suppressions:
        end = "for good" if one.until is None else f"until {moment(one.until)}"
        note = f": {one.note}" if one.note else ""
        yield one.scope, Text(safe(f"{one.reason} {moment(one.since)}, {end}, by {one.actor}{note}"))


def _events(report: AddressReport) -> Iterator[tuple[str, Text]]:
    for one in report.events:
        about = f"  (delivery {one.delivery_id})" if one.delivery_id else ""
        yield moment(one.at), Text(safe(f"{one}, by {one.source}{about}"))
