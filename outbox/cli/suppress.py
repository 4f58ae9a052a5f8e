"""`outbox-suppress`, `outbox-unsuppress`: put an address on the list of those that get no mail, and take it off."""

from __future__ import annotations

from datetime import timedelta

import click

from outbox import operations
from outbox.cli.command import Command
from outbox.cli.common import ask, database, in_app, say, settings, who
from outbox.cli.options import envelope_of, number, to_timedelta
from outbox.cli.output import print_json
from outbox.delivery.suppression import ALL, Why, described
from outbox.operations import duration, suppressions
from outbox.operations.suppressions import SCOPES, Entry, Wanted


def to_scope(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """An option's callback: all, category:NAME, kind:NAME."""
    try:
        return None if value is None else suppressions.check_scope(value)
    except ValueError as problem:
        raise click.BadParameter(str(problem), ctx, param) from None


@click.command("outbox-suppress", cls=Command)
@click.argument("address")
@click.option(
    "--scope",
    callback=to_scope,
    metavar="SCOPE",
    default=ALL,
    show_default=True,
    help=f"Which mail is stopped: {SCOPES}.",
)
@click.option("--for", "for_", callback=to_timedelta, metavar="TIME", help="For TIME: 12h, 30d. Default: for good.")
@click.option("--note", metavar="TEXT", help="Why, for those who look at the list, and for the audit.")
@click.option("--dry-run", is_flag=True, help="Only show what would be done.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@in_app
def suppress(address: str, scope: str, for_: timedelta | None, note: str | None, dry_run: bool, as_json: bool) -> None:
    """Send no more mail to an address.

    Mail to ADDRESS ends as failed with the reason "suppression", without a connection to the relay, until
    outbox-unsuppress. What is queued already is stopped, too. Doing it again replaces the end and the note.

    \b
    Examples:
      outbox-suppress ann@example.org --note "asked by phone"
      outbox-suppress ann@example.org --scope category:subscription
      outbox-suppress ann@example.org --scope kind:newsletter --for 30d
    """
    address = envelope_of(address, "ADDRESS")
    key = settings().address_digest_key
    with operations.guarded(database()), database().connect() as connection:
        seconds = None if for_ is None else for_.total_seconds()
        new = suppressions.suppress(connection, address, scope, by=who(), address_key=key, note=note, seconds=seconds)
        made = suppressions.entries(connection, Wanted(address=address, scope=scope), address_key=key)
        if not dry_run:  # else it is rolled back when the connection closes
            connection.commit()
    if as_json:
        print_json({"action": "suppress", "dry_run": dry_run, "new": new, "suppressions": made})
        return
    end = "for good" if for_ is None else f"for {duration(for_.total_seconds())}"
    before = "" if new else " It was suppressed before; the end and the note are replaced."
    say(f"{'Would suppress' if dry_run else 'Suppressed'} {address} for {described(scope)}, {end}.{before}")


@click.command("outbox-unsuppress", cls=Command)
@click.argument("address")
@click.option(
    "--scope", callback=to_scope, metavar="SCOPE", help=f"Only in this scope: {SCOPES}. Default: in every one."
)
@click.option("--reason", type=click.Choice([str(why) for why in Why]), help="Only what was suppressed so.")
@click.option("--note", metavar="TEXT", help="Why, for the audit.")
@click.option("--dry-run", is_flag=True, help="Only show what would be done.")
@click.option("--yes", is_flag=True, help="Do not ask; needed without a terminal.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@in_app
def unsuppress(
    address: str,
    scope: str | None,
    reason: str | None,
    note: str | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Let an address get mail again.

    Takes ADDRESS off the list of suppressed addresses. What failed meanwhile is not sent by this: use outbox-requeue.
    Asks where the person behind the address has complained or unsubscribed: mail against a person's will costs the
    reputation of your domain, and may be against the law.

    \b
    Examples:
      outbox-unsuppress ann@example.org
      outbox-unsuppress ann@example.org --scope kind:news --note "asked"
      outbox-unsuppress ann@example.org --reason bounced
    """
    address = envelope_of(address, "ADDRESS")
    key, engine = settings().address_digest_key, database()
    why = None if reason is None else Why(reason)
    wanted = Wanted(address=address, scope=scope, reason=why, ended=True)
    with operations.connected(engine) as connection:
        there = suppressions.entries(connection, wanted, address_key=key)
    if there and not dry_run:
        ask(_question(address, there), yes=yes or not any(_is_wish(one) for one in there))
        with operations.transaction(engine) as connection:
            suppressions.lift(connection, address, scope, by=who(), address_key=key, reason=why, note=note)
    if as_json:
        print_json({"action": "unsuppress", "dry_run": dry_run, "suppressions": there})
    elif not there:
        what = f" for {described(scope)}" if scope else ""
        say(f"{address} is not suppressed{what}{f' as {why}' if why else ''}.")
    else:
        scopes = ", ".join(dict.fromkeys(described(one.scope) for one in there))
        say(f"{'Would lift' if dry_run else 'Lifted'} {number(len(there))} of {address}: {scopes}.")
    if not there:
        raise click.exceptions.Exit(1)


def _is_wish(entry: Entry) -> bool:
    """Whether the person behind the address wants it so."""
    return entry.reason in (Why.COMPLAINED, Why.UNSUBSCRIBED)


def _question(address: str, there: list[Entry]) -> str:
    wishes = next((one for one in there if _is_wish(one)), None)
    if wishes is None:
        return f"Lift what suppresses {address}?"
    return (
        f"{address} {wishes.reason} on {wishes.since:%Y-%m-%d}: {described(wishes.scope)} is suppressed because of "
        "that. Send such mail again all the same?"
    )
